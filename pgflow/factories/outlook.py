"""What a run of one target would do, gathered whether the database answers or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from pgflow.connections.dsn import is_dsn
from pgflow.connections.registry import describe, describe_open
from pgflow.declare.sources import SourceTable
from pgflow.errors import PgflowError, RunCancelled, SourceFailed
from pgflow.factories.sync_target import SyncTarget
from pgflow.observe.preview import Obstacle, Place, TargetPreview, preview_target
from pgflow.plan.decision import UNKNOWN, Decision, Unknown
from pgflow.plan.spec import SourceShape, SyncSpec
from pgflow.plan.sql import Sql, join, name, sql
from pgflow.plan.statement import Plan
from pgflow.run.body import BodyConnection
from pgflow.run.job import Job
from pgflow.run.recovery.retries import is_lost
from pgflow.run.runner import Run
from pgflow.run.server_plans import ServerPlan
from pgflow.run.sharing.reading import Reading
from pgflow.run.sources.origin import Origin

#: What stands for a source that cannot be told without a database.
_SOMETHING = Sql(("(...)",))

#: Whether a query has each key once, as long as no planner was asked.
_UNASKED: Decision[Unknown] = Decision(UNKNOWN, "a run checks every batch unless it is proven")


@dataclass
class Outlook:
    """Gathers what is known of one target.

    Args:
        target: The target.
        values: The run parameters.
        analyze: Whether the servers are asked for their plans.
        reading: Whether a run would read the source for this target alone.
    """

    target: SyncTarget
    values: Mapping[str, object]
    analyze: bool = False
    reading: Reading = field(default_factory=Reading)

    def __post_init__(self) -> None:
        self._place = Place(self._name, None)
        self._path = self._declared_path()
        self._run: Run | None = None

    def preview(self) -> TargetPreview:
        """Say what a run would do to the target; see `Pipeline.preview`."""
        try:
            spec, plan = self._asked()
        except (DBAPIError, PoolTimeout, psycopg.OperationalError) as error:
            return self._unasked(Obstacle(_first(error), refused=False))
        except RunCancelled:
            raise  # nobody waits for what could be told without the database
        except PgflowError as error:
            refused = not (isinstance(error, SourceFailed) and is_lost(error))
            return self._unasked(Obstacle(str(error), refused=refused))
        told = () if self._run is None else self._run.server_plans
        return self._put_together(spec, plan, spec.path, server_plans=told)

    def _asked(self) -> tuple[SyncSpec, Plan]:
        engine = self.target.target_engine()
        self._place = Place(self._name, describe(engine))
        with engine.connect() as connection:
            self._place = Place(self._name, describe_open(connection))
            self._run = self.target.inspection(self.values, connection, self.reading)
            driver: Any = connection.connection.driver_connection
            try:
                with self._run.cancellation.watching(driver):
                    plan, spec = self._run.inspect(analyze=self.analyze)
            finally:
                self._path = self._run.path or self._path
        return spec, plan

    def _unasked(self, obstacle: Obstacle) -> TargetPreview:
        """Preview without facts: a database is down, or it refuses."""
        job = self.target.job(self.values)
        found = None if self._run is None else self._run.source
        if found is None:  # the function was not called yet
            found, trouble = _source(job)
            if trouble is not None and str(trouble) not in obstacle.reason:
                refused = obstacle.refused or not isinstance(trouble, (_OutOfReach, DBAPIError))
                obstacle = Obstacle(f"{obstacle.reason}; {trouble}", refused)
        shape = SourceShape(_relation(job, found))
        if not isinstance(found, (Mapping, Origin)):  # of other rows nothing is ever proven
            shape = replace(shape, unique=_UNASKED)
        spec = replace(job.draft, source=shape)
        path = self._path_from(found)
        return self._put_together(spec, job.make_plan(spec), path, obstacle)

    def _put_together(
        self,
        spec: SyncSpec,
        plan: Plan,
        path: Decision[str],
        obstacle: Obstacle | None = None,
        server_plans: tuple[ServerPlan, ...] = (),
    ) -> TargetPreview:
        found = None if self._run is None else self._run.source
        source = found.label if isinstance(found, Origin) else ""
        return preview_target(
            spec,
            plan,
            self._place,
            path,
            obstacle,
            source=source,
            # What refuses the target has kept others from finding out what it could share.
            reading=None if obstacle else self.reading.foreseen,
            server_plans=server_plans,
        )

    @property
    def _name(self) -> str | None:
        """What the connection is called, if it has a name."""
        given = self.target.sync_target.target_connection
        if given is None:
            given = self.target.spec.target_connection
        found = "default" if given is None else given
        return found if isinstance(found, str) and not is_dsn(found) else None

    def _declared_path(self) -> Decision[str]:
        """The path as far as the declaration tells it."""
        named = getattr(self.target.spec.source, "connection", None)
        if self.target.source_connection is None and named is None:
            return Decision("same_db", "source and target share one connection")
        return _open_path()

    def _path_from(self, source: object) -> Decision[str]:
        """The path as far as the source tells it, if no run has found out."""
        if self._run is not None and self._run.path is not None:
            return self._run.path
        if isinstance(source, Origin):
            return source.path
        if isinstance(source, Mapping):
            return Decision("function", "the function does the work itself")
        return _open_path() if source is None else self._path


def _open_path() -> Decision[str]:
    return Decision("not known", "")


class _OutOfReach(PgflowError):
    """The connection that a function needs cannot be had."""


def _source(job: Job) -> tuple[object, Exception | None]:
    """The source as far as it can be told without a database, and what stood in the way."""
    connection = BodyConnection(_unreachable)
    try:
        delivery = job.source(connection, connection)
        if isinstance(delivery.given, (Mapping, Origin)):
            return delivery.given, None
        return delivery.relation(), None
    except (PgflowError, DBAPIError) as error:
        return None, error


def _relation(job: Job, source: object) -> Sql:
    """The source as statements show it; what is not SQL, or is not known, is left open."""
    if isinstance(source, Sql):
        return source
    if not isinstance(source, SourceTable):
        return _SOMETHING
    columns = (
        sql("{s} AS {t}", s=name(source.source_column(c)), t=name(c)) for c in job.draft.delivered
    )
    return sql("(SELECT {c} FROM {r})", c=join(", ", columns), r=name(*source.path))


def _unreachable() -> Connection:
    raise _OutOfReach("the function needs its connection, which cannot be had")


def _first(error: Exception) -> str:
    """The driver's own sentence; SQLAlchemy adds a link to it."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
