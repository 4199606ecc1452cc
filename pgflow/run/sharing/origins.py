"""Sources that are elsewhere, read once: who may share one reading, who keeps it, who takes it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pgflow.errors import PgflowError
from pgflow.plan.decision import Decision
from pgflow.plan.spec import SyncSpec, TargetColumn
from pgflow.plan.sql import Sql, join, name, sql
from pgflow.plan.staging import STAGE
from pgflow.plan.statement import Feed, Statement
from pgflow.run.facts import with_target
from pgflow.run.job import Job
from pgflow.run.session import Answer, Session
from pgflow.run.sharing.kept import Kept, Offer, attempted
from pgflow.run.sources.origin import Loading, Origin, OriginColumn, Tell

#: Why a target reads rows from elsewhere again.
OTHER_COLUMNS = "this target takes other columns or types than the one that read the source"

#: What some targets are given, and why the others are not, both by their place in the pipeline.
Shares = tuple[Mapping[int, Offer], Mapping[int, str]]


def shares(
    session: Session,
    origin: Origin,
    kept: Kept,
    columns: Sequence[OriginColumn],
    jobs: Mapping[int, Job],
) -> Shares:
    """Find out which targets can take the rows as the first one gets them.

    Values have been made into the types of its stage. Only who wants the very same types may
    share them: what was cast twice could be another value.

    Args:
        session: The target's session.
        origin: The source, which has told its columns to the first target.
        kept: The table that the rows will be in.
        columns: Those columns.
        jobs: The other targets, by their place in the pipeline.
    """
    offers: dict[int, Offer] = {}
    refused: dict[int, str] = {}
    for place, job in jobs.items():
        offer = None
        with attempted(session, origin.session):
            offer = _offer(session, origin, kept, columns, job)
        if offer is None:
            refused[place] = OTHER_COLUMNS
        else:
            offers[place] = offer
    return offers, refused


def groups(
    session: Session, origin: Origin, kept: Kept, jobs: Mapping[int, Job]
) -> list[dict[int, Offer | None]]:
    """Foresee which targets will share one reading, without reading anything.

    Args:
        session: The target's session.
        origin: The source.
        kept: The table that the rows would be in.
        jobs: The targets, by their place in the pipeline.

    Returns:
        What each of a group is given, by its place; None for the one that reads the source.
    """
    found: list[dict[int, Offer | None]] = []
    rest = dict(jobs)
    while rest:
        first = min(rest)
        job = rest.pop(first)
        offers: Mapping[int, Offer] = {}
        with attempted(session, origin.session):
            spec = with_target(session, job.draft)
            columns = copy.copy(origin).columns(session, spec, job.draft.target.columns)
            offers, _ = shares(session, origin, kept, columns, rest)
        found.append({first: None, **offers})
        rest = {place: each for place, each in rest.items() if place not in offers}
    return found


def _offer(
    session: Session, origin: Origin, kept: Kept, columns: Sequence[OriginColumn], job: Job
) -> Offer | None:
    twin = copy.copy(origin)  # what it is told of this target stays with it
    spec = with_target(session, job.draft)
    wanted = tuple(twin.columns(session, spec, job.draft.target.columns))
    if not {*wanted} <= {*columns}:
        return None
    picked = join(", ", (name("s", c.name) for c in wanted))
    rows = sql("(SELECT {c} FROM {t} AS s)", c=picked, t=kept.relation)
    return Offer(rows, bool(spec.keys.value) and twin.proves_unique(spec), wanted)


@dataclass
class RecordedOrigin:
    """A source that is elsewhere, whose rows are kept once they are in the stage.

    Attributes:
        inner: The source.
        record: Is told the stage's columns before the rows come, and returns what keeps them
            when they are there.
    """

    inner: Origin
    record: Callable[[Session, Sequence[OriginColumn]], Callable[[], None]]
    _columns: Sequence[OriginColumn] = ()

    @property
    def label(self) -> str:
        """Where the rows come from."""
        return self.inner.label

    @property
    def path(self) -> Decision[str]:
        """How rows get from there, and why."""
        return self.inner.path

    @property
    def session(self) -> Session | None:
        """The session on the source's server; see `Origin`."""
        return self.inner.session

    @property
    def relation(self) -> Sql | None:
        """The source as that server reads it; see `Origin`."""
        return self.inner.relation

    def columns(
        self, session: Session, spec: SyncSpec, declared: Sequence[TargetColumn]
    ) -> Sequence[OriginColumn]:
        """Say which columns there are; see `Origin`."""
        self._columns = self.inner.columns(session, spec, declared)
        return self._columns

    def proves_unique(self, spec: SyncSpec) -> bool:
        """Tell whether keys cannot repeat; see `Origin`."""
        return self.inner.proves_unique(spec)

    def loading(self, spec: SyncSpec) -> Loading:
        """Say how the rows are copied; see `Origin`."""
        return self.inner.loading(spec)

    def feed(self, session: Session, statement: Statement, tell: Tell) -> Answer:
        """Copy the rows into the stage, and keep them; see `Origin`."""
        # Afterwards the source's connection may be gone, and its rows are.
        finish = self.record(session, self._columns)
        answer = self.inner.feed(session, statement, tell)
        finish()
        return answer

    def close(self) -> None:
        """Let go of the source; see `Origin`."""
        self.inner.close()


@dataclass
class KeptOrigin:
    """A source that is elsewhere, as an earlier target has read it.

    Attributes:
        kept: Where its rows are.
        offer: What of them this target is given.
        target: The target's session.
    """

    kept: Kept
    offer: Offer
    target: Session
    relation: Sql | None = None

    @property
    def label(self) -> str:
        """Where the rows came from."""
        return self.kept.label

    @property
    def path(self) -> Decision[str]:
        """How they came."""
        return self.kept.path

    @property
    def session(self) -> Session | None:
        """A session, where times without a zone came from a server that read them in one.

        It is the target's: the source's had the same zone, and nothing else is asked of it.
        """
        return self.target if self.kept.zoned else None

    def columns(
        self,
        session: Session,  # noqa: ARG002  # the protocol's
        spec: SyncSpec,  # noqa: ARG002  # the protocol's
        declared: Sequence[TargetColumn],  # noqa: ARG002  # the protocol's
    ) -> Sequence[OriginColumn]:
        """Return what the source said of them to this very target."""
        return self.offer.columns

    def proves_unique(self, spec: SyncSpec) -> bool:  # noqa: ARG002  # the protocol's
        """Return what the source's server said when the rows were read."""
        return self.offer.proven

    def loading(self, spec: SyncSpec) -> Loading:  # noqa: ARG002  # the protocol's
        """Name the source; `staged_again` says what is done instead of a COPY."""
        return Loading(Feed(self.label))

    def feed(self, session: Session, statement: Statement, tell: Tell) -> Answer:  # noqa: ARG002
        """Refuse to copy: nothing comes from anywhere.

        Raises:
            PgflowError: Always.
        """
        raise PgflowError(f"the rows of {self.label} have been read already")

    def close(self) -> None:
        """Have nothing to let go of."""


def staged_again(spec: SyncSpec, offer: Offer) -> SyncSpec:
    """Fill a target's stage from what is kept, and not from the source.

    Args:
        spec: What is planned from a `KeptOrigin`.
        offer: What it is given.
    """
    stage = spec.source.stage
    if stage is None:
        return spec
    text = sql(
        "CREATE TEMPORARY TABLE {stage} ON COMMIT DROP AS\nSELECT * FROM {rows} AS s",
        stage=STAGE,
        rows=offer.source,
    )
    fill = Statement("put the rows that an earlier target read into a stage", text)
    # What follows the copy, to begin with the planner's statistics, is as for any stage.
    at = next(i for i, each in enumerate(stage.fill) if each.feed is not None)
    known = replace(stage, fill=(fill, *stage.fill[at + 1 :]))
    return replace(spec, source=replace(spec.source, stage=known))
