"""How a run comes to its source's rows: by reading the source, if nobody says otherwise."""

from __future__ import annotations

from collections.abc import Callable

from pgflow.plan.spec import SyncSpec
from pgflow.run.events import Observer, RunStarted
from pgflow.run.execution import Execution
from pgflow.run.session import Session
from pgflow.run.sources.ends import Located

#: Calls the pipeline's function, where there is one, and finds out where its source is.
Locate = Callable[[], Located]


class Reading:
    """The reading of a run that has its source to itself; others derive from it."""

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

    def foresee(self, session: Session, found: Located) -> Located:  # noqa: ARG002  # as above
        """Add to the path of a preview whether the source would be read for this target alone.

        Args:
            session: The target's session; nothing is written.
            found: The source.
        """
        return found

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
