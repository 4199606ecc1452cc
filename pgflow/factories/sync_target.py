"""One target of a pipeline: resolved by plugins into a planner, run by the runner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import Table
from sqlalchemy.engine import Connection, Engine

from pgflow import bookkeeping
from pgflow.connections.registry import engine
from pgflow.declare.pipeline import PipelineSpec
from pgflow.declare.targets import Target
from pgflow.errors import InvalidPosition, WrongDriver
from pgflow.factories.simple import TableFactory
from pgflow.factory import ResourceFactory
from pgflow.plan.modes import modes
from pgflow.plan.scope import scope_condition
from pgflow.plan.spec import SyncSpec
from pgflow.plan.statement import Plan
from pgflow.plugins.compare_columns import CompareColumnsPlugin
from pgflow.plugins.load import LoadColumnsPlugin
from pgflow.plugins.lookup import LookupPlugin
from pgflow.plugins.merge_keys import MergeKeysPlugin
from pgflow.plugins.planner import SQLPlannerPlugin
from pgflow.plugins.row_checks import CheckEvaluationPlugin
from pgflow.plugins.scd2 import Scd2ColumnsPlugin
from pgflow.plugins.sync_keys import (
    CHECKS,
    MODE,
    OPTIONS,
    PLANNER,
    SYSTEM_COLUMNS,
    TARGET,
    TARGET_SPEC,
)
from pgflow.plugins.watermark import WatermarkPlugin
from pgflow.resolve.config import Config
from pgflow.resolve.explain import Explanation
from pgflow.resolve.plugin import Plugin
from pgflow.resolve.wiring import PluginSource
from pgflow.run.events import Observer, Silence
from pgflow.run.job import Job
from pgflow.run.positions.watermarks import (
    MovedWatermark,
    StoredWatermark,
    move_watermark,
    stored_watermark,
)
from pgflow.run.recovery.cancellation import present
from pgflow.run.result import TargetResult
from pgflow.run.runner import Run, run_alone
from pgflow.run.sharing.reading import Reading
from pgflow.run.sources.source import source_maker


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
        WatermarkPlugin,
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
        target = _with_config(target, config)
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
        if self.sync_target.options.lookups:
            plugins = [*plugins, LookupPlugin(*self.sync_target.options.lookups)]
        if self.sync_target.options.checks or any(
            CHECKS in p.resolved_contributes() for p in plugins
        ):
            plugins = [*plugins, CheckEvaluationPlugin(self.config.utility_schema)]
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
            quarantines=planner.rejects,
            checked=planner.looks,
            source_connection=self.source_connection,
        )

    @property
    def merge_keys(self) -> tuple[str, ...]:
        """The columns that make a row unique; empty where every row is appended."""
        return self.ctx[PLANNER].draft.keys.value

    @property
    def watermark_kind(self) -> str | None:
        """How the position is kept, or None where the whole source is read every time."""
        mark = self.ctx[PLANNER].draft.watermark
        return None if mark is None else mark.kind

    def run_job(
        self, job: Job, *, effective_at: datetime | None, observer: Observer
    ) -> TargetResult:
        """Run a job that `job` has made and that was changed since."""
        return run_alone(job, self._engine(), observer=observer, effective_at=effective_at)

    def inspect_job(self, job: Job) -> tuple[Plan, SyncSpec]:
        """Plan such a job, without a lock and without writing."""
        with self._engine().connect() as connection:
            plain = connection.execution_options(isolation_level="READ COMMITTED")
            return Run(job, plain, Silence()).inspect()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction on the target's database, committed at the end."""
        with self._engine().begin() as live:
            yield live

    def move_watermark(
        self,
        values: Mapping[str, object],
        value: str | datetime | None,
        *,
        dry_run: bool = False,
        forward: bool = False,
    ) -> MovedWatermark:
        """Set or reset this target's position; see `Pipeline.set_watermark`."""
        job = self.job(values)
        if job.draft.watermark is None:
            raise InvalidPosition(
                f"{self._owner} reads its whole source every time, so it has no watermark. Give "
                "it incremental_column= or watermark=."
            )
        spec = None if value is None else self.inspect(values)[1]
        with self._engine().connect() as live, live.begin() as transaction:
            moved = move_watermark(live, job, value, spec, forward=forward)
            if dry_run:
                transaction.rollback()
        return moved

    def watermark(self, values: Mapping[str, object]) -> StoredWatermark | None:
        """Read this target's position; see `Pipeline.watermarks`."""
        with self._engine().connect() as live:
            return stored_watermark(live, self.job(values))

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
        with self._inspection(values) as run:
            return run.inspect()

    @contextmanager
    def _inspection(self, values: Mapping[str, object]) -> Iterator[Run]:
        with self._engine().connect() as connection:
            yield self.inspection(values, connection)

    def inspection(
        self, values: Mapping[str, object], connection: Connection, reading: Reading | None = None
    ) -> Run:
        """Return a run that can only look; its id is the same each time, and nothing has it."""
        plain = connection.execution_options(isolation_level="READ COMMITTED")
        own = Reading() if reading is None else reading
        nobody, looks = Silence(), UUID(int=0)
        return Run(
            self.job(values), plain, nobody, run_id=looks, reading=own, cancellation=present()
        )

    # -- connections ------------------------------------------------------------------

    def target_engine(self) -> Engine:
        """Return the engine of the target's connection."""
        return self._engine()

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

    @property
    def source_connection(self) -> object | None:
        """What names the source's connection; None if the source is where the target is."""
        named: object | None = self.spec.source_connection
        if named is not None:
            return named
        if self.sync_target.target_connection is None:
            return None
        # One source feeds all targets, also those that have a connection of their own.
        shared: object | None = self.spec.target_connection
        return "default" if shared is None else shared


def _with_config(target: Target, config: Config | None) -> Target:
    """Let the configuration say whether keys may be named, where nobody nearer has."""
    shared = Config.of(TableFactory.of(target.table).table.metadata) if config is None else config
    if shared.sample_keys or target.options.sample_keys is not None:
        return target
    return replace(target, options=replace(target.options, sample_keys=False))
