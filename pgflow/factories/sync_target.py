"""One target of a pipeline: resolved by plugins into a planner, run by the runner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from sqlalchemy import Table
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from pgflow import bookkeeping
from pgflow.connections.registry import describe, engine
from pgflow.declare.pipeline import PipelineSpec
from pgflow.declare.sources import SourceTable
from pgflow.declare.targets import Target
from pgflow.errors import NotSupportedYet, PgflowError, WrongDriver
from pgflow.factories.simple import TableFactory
from pgflow.factory import ResourceFactory
from pgflow.observe.preview import TargetPreview, preview_target
from pgflow.plan.decision import Decision
from pgflow.plan.modes import modes
from pgflow.plan.scope import scope_condition
from pgflow.plan.spec import SourceShape, SyncSpec
from pgflow.plan.sql import Sql, join, name, sql
from pgflow.plan.statement import Plan
from pgflow.plugins.compare_columns import CompareColumnsPlugin
from pgflow.plugins.load import LoadColumnsPlugin
from pgflow.plugins.merge_keys import MergeKeysPlugin
from pgflow.plugins.planner import SQLPlannerPlugin
from pgflow.plugins.scd2 import Scd2ColumnsPlugin
from pgflow.plugins.sync_keys import MODE, OPTIONS, PLANNER, SYSTEM_COLUMNS, TARGET, TARGET_SPEC
from pgflow.plugins.watermark import ValueWatermarkPlugin
from pgflow.resolve.config import Config
from pgflow.resolve.explain import Explanation
from pgflow.resolve.plugin import Plugin
from pgflow.resolve.wiring import PluginSource
from pgflow.run.body import BodyConnection
from pgflow.run.events import Observer, Silence
from pgflow.run.job import Job
from pgflow.run.result import TargetResult
from pgflow.run.runner import Run, run_alone
from pgflow.run.source import source_maker


class SyncTarget(ResourceFactory):
    """One target of a pipeline.

    Args:
        spec: The pipeline.
        target: The target, with complete options.
        config: Plugins and names for the whole project.
        plugins: Replace the default plugins.
        extra_plugins: Are added to them.
    """

    spec: PipelineSpec

    DEFAULT_PLUGINS: ClassVar[Sequence[PluginSource]] = (
        MergeKeysPlugin,
        CompareColumnsPlugin,
        ValueWatermarkPlugin,
        SQLPlannerPlugin,
    )

    def __init__(
        self,
        spec: PipelineSpec,
        target: Target,
        *,
        config: Config | None = None,
        plugins: Sequence[PluginSource] | None = None,
        extra_plugins: Sequence[PluginSource] | None = None,
    ) -> None:
        self.sync_target = target
        self._owner = f"pipeline {spec.name!r}"
        factory = TableFactory.of(target.table)
        self.target_table: Table = factory.table
        self._mode = modes.get(target.options.mode, self._owner)
        self._inputs: dict[str, object] = {
            TARGET: factory.table,
            TARGET_SPEC: factory.spec,
            OPTIONS: target.options,
            MODE: self._mode,
        }
        super().__init__(
            factory.table.name,
            factory.table.schema,
            factory.table.metadata,
            [],
            config=config,
            plugins=plugins,
            extra_plugins=extra_plugins,
            spec=spec,
            inputs=self._inputs,
        )
        bookkeeping.want(
            factory.table.metadata,
            self.config.utility_schema,
            self.config.utility_schema_renamed_from,
        )

    def _complete(self, plugins: list[Plugin]) -> list[Plugin]:
        """Leave out shared plugins that need a new table; add what gives system columns."""
        shared = self.config.all_plugins
        plugins = [p for p in plugins if p not in shared or self._fits(p, plugins)]
        if any(SYSTEM_COLUMNS in p.resolved_produces() for p in plugins):
            return plugins
        kind = Scd2ColumnsPlugin if self._mode.columns == "scd2" else LoadColumnsPlugin
        return [*plugins, kind(table_key="target")]

    def explain(self) -> Explanation:
        """Say which plugins resolved this target, in which order and why."""
        name = f"{self.spec.name} -> {self.target_label}"
        return replace(super().explain(), name=name)

    def _fits(self, plugin: Plugin, plugins: list[Plugin]) -> bool:
        """Whether somebody here gives a plugin what it reads."""
        have = {str(key) for key in self._inputs}
        have.update(key for p in plugins for key in p.resolved_produces())
        return have.issuperset(plugin.resolved_requires())

    @property
    def target_label(self) -> str:
        """The target's qualified name."""
        return self.ctx[PLANNER].draft.target.label

    # -- running ----------------------------------------------------------------------

    def job(self, values: Mapping[str, object]) -> Job:
        """Put together what a run needs.

        Args:
            values: The run parameters.

        Returns:
            The job.
        """
        planner = self.ctx[PLANNER]
        scope, scope_name = scope_condition(
            self.sync_target.options.scope, self.target_table, values, self._owner
        )
        return Job(
            draft=replace(
                planner.draft,
                owner=self.spec.name,
                scope=scope,
                scope_name=scope_name,
                mode_reason=self.sync_target.mode_reason,
            ),
            source=source_maker(self.spec, values),
            make_plan=planner.plan,
            bookkeeping=self.config.utility_schema,
            parameters=values,
            check_version=self.check_pg_version,
        )

    def run_target(
        self,
        values: Mapping[str, object],
        *,
        effective_at: datetime | None,
        connection: Connection | None,
        dry_run: bool,
        observer: Observer,
    ) -> TargetResult:
        """Run this target; see `Pipeline.sync`."""
        job = self.job(values)
        if connection is not None:
            return Run(job, connection, observer, effective_at, dry_run).joined()
        target_engine = self._engine()
        self._path(target_engine)
        return run_alone(
            job, target_engine, observer=observer, effective_at=effective_at, dry_run=dry_run
        )

    def failure(self, error: Exception) -> TargetResult:
        """Describe a target whose run failed."""
        draft, run_id = self.ctx[PLANNER].draft, getattr(error, "run_id", None)
        return TargetResult(
            target=draft.target.label,
            mode=draft.mode,
            run_id=run_id if isinstance(run_id, UUID) else None,
            status="failed",
            error=error,
        )

    # -- looking ----------------------------------------------------------------------

    def inspect(self, values: Mapping[str, object]) -> tuple[Plan, SyncSpec]:
        """Plan a run with the facts of the database, without a lock and without writing."""
        target_engine = self._engine()
        self._path(target_engine)
        with target_engine.connect() as connection:
            plain = connection.execution_options(isolation_level="READ COMMITTED")
            return Run(self.job(values), plain, Silence()).inspect()

    def preview_target(self, values: Mapping[str, object]) -> TargetPreview:
        """Say what a run would do to this target; see `Pipeline.preview`."""
        where, path = "not known", Decision("not known", "")
        try:
            target_engine = self._engine()
            where = str(describe(target_engine))
            path = self._path(target_engine)
            plan, spec = self.inspect(values)
        except (DBAPIError, psycopg.OperationalError) as error:
            return self._offline(values, where, path, _first(error), refused=False)
        except PgflowError as error:
            return self._offline(values, where, path, str(error), refused=True)
        return preview_target(spec, plan, where, path)

    def _offline(
        self,
        values: Mapping[str, object],
        where: str,
        path: Decision[str],
        problem: str,
        *,
        refused: bool,
    ) -> TargetPreview:
        """Preview without facts: the database is down, or it refuses."""
        job = self.job(values)
        try:
            relation = _relation(job, _unreachable)
        except (PgflowError, DBAPIError) as error:
            relation, problem = Sql(("(...)",)), f"{problem}; {error}"
        spec = replace(job.draft, source=SourceShape(relation))
        return preview_target(
            spec, job.make_plan(spec), where, path, problem=problem, refused=refused
        )

    # -- connections ------------------------------------------------------------------

    def _engine(self) -> Engine:
        given = self.sync_target.target_connection
        if given is None:
            given = self.spec.target_connection
        found = engine("default" if given is None else given)
        if (found.dialect.name, found.dialect.driver) != ("postgresql", "psycopg"):
            raise WrongDriver(
                f"{self._owner}: the target's connection is {found.dialect.name}+"
                f"{found.dialect.driver}; targets are PostgreSQL by psycopg 3: "
                "postgresql+psycopg://..."
            )
        return found

    def _path(self, target_engine: Engine) -> Decision[str]:
        source = self.spec.source
        given = self.spec.source_connection
        if given is None and source is not None:
            given = source.connection
        if given is None:
            return Decision("same_db", "source and target share one connection")
        other = engine(given)
        if other is target_engine or _same_database(other, target_engine):
            return Decision("same_db", "source and target connection are the same database")
        raise NotSupportedYet(
            f"{self._owner}: the source is at {describe(other)} and the target at "
            f"{describe(target_engine)}. This version reads from the target's own database only; "
            "bring the source there, for instance by postgres_fdw."
        )


def _same_database(one: Engine, other: Engine) -> bool:
    """Whether two engines lead to one database of one server, asked from the servers."""
    if one.dialect.name != "postgresql" or other.dialect.name != "postgresql":
        return False
    question = "SELECT system_identifier, current_database() FROM pg_control_system()"
    answers = []
    for each in (one, other):
        with each.connect() as connection:
            answers.append(tuple(connection.exec_driver_sql(question).one()))
    return answers[0] == answers[1]


def _relation(job: Job, connect: Any) -> Sql:
    """The source as far as it can be told without a database."""
    source = job.source(BodyConnection(connect))
    if isinstance(source, Mapping):
        return Sql(("(...)",))
    if isinstance(source, SourceTable):
        columns = (
            sql("{s} AS {t}", s=name(source.source_column(c)), t=name(c))
            for c in job.draft.delivered
        )
        return sql("(SELECT {c} FROM {r})", c=join(", ", columns), r=name(*source.path))
    return source


def _unreachable() -> Connection:
    raise PgflowError("the function needs its connection, which cannot be had")


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
