"""How a run comes to its source's rows: by reading the source, if nobody says otherwise."""

from __future__ import annotations

from collections.abc import Callable

from pgflow.plan.decision import Decision
from pgflow.plan.spec import SyncSpec
from pgflow.plan.statement import Plan
from pgflow.run.events import Observer, RunStarted
from pgflow.run.execution import Execution
from pgflow.run.session import Session
from pgflow.run.sources.ends import Located

#: Calls the pipeline's function, where there is one, and finds out where its source is.
Locate = Callable[[], Located]


class Reading:
    """The reading of a run that has its source to itself; others derive from it.

    Attributes:
        foreseen: For a preview: whether the source would be read once or again, and why.
    """

    foreseen: Decision[str] | None = None

    def locate(
        self,
        session: Session,  # noqa: ARG002  # others ask it, and tell what they do
        locate: Locate,
        observer: Observer,  # noqa: ARG002
        run: RunStarted,  # noqa: ARG002
    ) -> Located:
        """Say what the run reads.

        Args:
            session: The target's session, in the run's transaction and under its lock.
            locate: Finds the source itself.
            observer: Who watches.
            run: The run.

        Returns:
            What is read, and how its rows get to the target.
        """
        return locate()

    def foresee(self, session: Session, found: Located, *, itself: bool) -> Located:  # noqa: ARG002  # as above
        """Find out for a preview how the source would be read.

        Args:
            session: The target's session; nothing is written.
            found: The source.
            itself: Whether the plan must be one that the servers can explain: it reads nothing
                that is not there yet.

        Returns:
            What is to be asked for facts, and how its rows get to the target.
        """
        return found

    def foretold(self, spec: SyncSpec) -> SyncSpec:
        """Put into a preview's spec what a run would read.

        Args:
            spec: What is planned, with its facts.
        """
        return spec

    def shown(self, plan: Plan) -> Plan:
        """Add to a preview's plan what a run would keep.

        Args:
            plan: The plan.
        """
        return plan

    def fitted(self, spec: SyncSpec) -> SyncSpec:
        """Put into what is planned what is known of the rows that `locate` gave.

        Args:
            spec: What is planned, with its facts.
        """
        return spec

    def noted(self, done: Execution) -> Execution:
        """Add to the run's details how the source was read.

        Args:
            done: What the run did.
        """
        return done
