"""A job: one target of a pipeline with everything that a run needs, resolved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pgflow import idents
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, name
from pgflow.plan.statement import Plan
from pgflow.run.body import BodyConnection
from pgflow.run.sources.delivery import Delivery

#: Makes the source of a run, from the connections of the source and of the target.
SourceMaker = Callable[[BodyConnection, BodyConnection], Delivery]


def _any_version(server_version: int) -> None:  # the signature is the contract
    """Accept every server."""


@dataclass(frozen=True)
class Job:
    """One target of a pipeline, ready to run.

    Attributes:
        draft: What is planned, without any fact of the database.
        source: Calls the pipeline's function, where there is one.
        make_plan: Plans a spec with facts; the mode, and what plugins add to it.
        bookkeeping: The schema of pgflow's own tables.
        parameters: The run parameters.
        attempts: How often the run is tried when the server asks for another try.
        min_pg_version: What the pipeline's plugins need of the server.
        quarantines: Whether rows may end in quarantine.
        checked: Whether rows are looked at in a stage before they are written.
        check_version: Refuses a server that is too old for them.
        source_connection: What names the source's connection; None if it is the target's own.
        firing: The instant at which a schedule asked for the run, or None.
        step: The range of a backfill's step, if the run is one: from, and to below.
    """

    draft: SyncSpec
    source: SourceMaker
    make_plan: Callable[[SyncSpec], Plan]
    bookkeeping: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    attempts: int = 5
    check_version: Callable[[int], None] = _any_version
    source_connection: object | None = None
    quarantines: bool = False
    checked: bool = False
    firing: datetime | None = None
    step: tuple[str, str] | None = None

    @property
    def pipeline(self) -> str:
        """The pipeline's name."""
        return self.draft.owner

    @property
    def runs(self) -> Sql:
        """The table of runs."""
        return name(self.bookkeeping, "runs")

    @property
    def own_tables(self) -> tuple[str, ...]:
        """Pgflow's own tables that the run writes."""
        tables = ["runs"] + (["watermarks"] if self.draft.options.incremental else [])
        tables += ["quarantine"] if self.quarantines else []
        return tuple(idents.qualify(self.bookkeeping, table) for table in tables)

    @property
    def lock_timeout(self) -> timedelta | None:
        """How long to wait for another run on the target."""
        return self.draft.options.lock_timeout
