"""Pipelines: a source, a body, and targets, resolved into plans that can be shown and run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy.engine import Connection
from sqlalchemy.sql import ClauseElement

from pgflow.declare.body import Body, bind_parameters
from pgflow.declare.options import OPTION_NAMES, SyncOptions, check_columns, check_fit, nearest
from pgflow.declare.pipeline import PipelineSpec
from pgflow.declare.rows import Rows, RowSource
from pgflow.declare.sources import Query, Source, SourceTable
from pgflow.declare.targets import Target
from pgflow.errors import DeclarationError, InvalidOption, TargetsFailed, UnsuitableTransaction
from pgflow.factories.simple import TableFactory
from pgflow.factories.sync_target import SyncTarget
from pgflow.observe.preview import Preview
from pgflow.plan.modes import modes
from pgflow.plan.statement import Plan
from pgflow.resolve.config import Config
from pgflow.resolve.wiring import PluginSource
from pgflow.run.events import Observer, Silence
from pgflow.run.positions.watermarks import MovedWatermark, StoredWatermark
from pgflow.run.result import SyncResult, TargetResult


class Pipeline(SyncTarget):
    """A source and the targets that it feeds.

    Args:
        name: The pipeline's name, unique in a project.
        target: A class under `@pgflow.table`, a table factory, or a `Target`.
        targets: Several of them, instead of `target`.
        source: A `Query`, a `SourceTable`, SQL text, a `select()`, `Rows`, files, or an iterable.
        source_table: `schema.table`, as a short form of `SourceTable`.
        column_map: With `source_table`: target column to source column.
        body: A function that returns the source; what it returns wins over `source`.
        connection: The connection of both ends: a name, a URL or an engine.
        source_connection: The source's, where it differs.
        target_connection: The targets'.
        schedule: A cron expression of five fields.
        continue_on_failure: Whether later targets run after one has failed.
        tags: Labels for selecting pipelines.
        config: Plugins and names for the whole project.
        plugins: Replace the default plugins.
        extra_plugins: Are added to them.
        **options: See `SyncOptions`; defaults for every target.

    Raises:
        DeclarationError: Something about the declaration cannot work; the message says what
            would.
    """

    DEFAULT_PLUGINS: ClassVar[Sequence[PluginSource]] = SyncTarget.DEFAULT_PLUGINS

    def __init__(
        self,
        name: str,
        *,
        target: Any = None,
        targets: Sequence[Any] | None = None,
        source: Any = None,
        source_table: str | None = None,
        column_map: Mapping[str, str] | None = None,
        body: Callable[..., Any] | None = None,
        connection: Any = None,
        source_connection: Any = None,
        target_connection: Any = None,
        schedule: str | None = None,
        continue_on_failure: bool = False,
        tags: Sequence[str] = (),
        config: Config | None = None,
        plugins: Sequence[PluginSource] | None = None,
        extra_plugins: Sequence[PluginSource] | None = None,
        **options: Any,
    ) -> None:
        owner = f"pipeline {name!r}"
        defaults = _options(options, owner)
        spec = PipelineSpec(
            name=name,
            targets=_targets(target, targets, defaults, owner),
            source=_source(source, source_table, column_map, owner),
            body=None if body is None else Body.of(body),
            schedule=schedule,
            source_connection=_source_connection(source_connection, connection, target_connection),
            target_connection=target_connection if target_connection is not None else connection,
            continue_on_failure=continue_on_failure,
            tags=tuple(tags),
        )
        _check_column_map(spec, owner)
        super().__init__(
            spec, spec.targets[0], config=config, plugins=plugins, extra_plugins=extra_plugins
        )
        others = (
            SyncTarget(
                spec,
                t,
                config=config,
                plugins=plugins or list(self.DEFAULT_PLUGINS),
                extra_plugins=extra_plugins,
            )
            for t in spec.targets[1:]
        )
        self.sync_targets: tuple[SyncTarget, ...] = (self, *others)
        self.doc = _first_line(body)

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self.spec.name

    def plan(self, **parameters: Any) -> Plan:
        """Plan a run on the first target, with the facts of the database as they are now.

        Args:
            **parameters: The run parameters.

        Returns:
            The plan; nothing is written and no lock is taken.
        """
        return self.inspect(self._values(parameters))[0]

    def preview(self, **parameters: Any) -> Preview:
        """Say what a run would do, and why. Nothing is written; the function's body is called.

        Args:
            **parameters: The run parameters.

        Returns:
            Every decision with its reason and every statement; where the database cannot be
            reached, what is known without it.
        """
        values = self._values(parameters)
        return Preview(
            self.name,
            self.spec.schedule,
            tuple(t.preview_target(values) for t in self.sync_targets),
            tuple((k, str(v)) for k, v in values.items()),
        )

    def sync(
        self,
        *,
        effective_at: datetime | None = None,
        connection: Connection | None = None,
        observer: Observer | None = None,
        **parameters: Any,
    ) -> SyncResult:
        """Run the pipeline.

        Args:
            effective_at: The instant of the run, timezone-aware, instead of the server's clock.
            connection: A connection in a transaction that the run joins, without retries; the
                caller commits.
            observer: Who watches the run.
            **parameters: The run parameters.

        Returns:
            What was done.

        Raises:
            PgflowError: The run failed and was rolled back; the history says so.
            TargetsFailed: One of several targets failed.
        """
        return self._run(False, effective_at, connection, observer or Silence(), parameters)

    def dry_run(
        self,
        *,
        effective_at: datetime | None = None,
        connection: Connection | None = None,
        observer: Observer | None = None,
        **parameters: Any,
    ) -> SyncResult:
        """Run the pipeline and roll everything back; every target is tried.

        Args:
            effective_at: As for `sync`.
            connection: As for `sync`.
            observer: As for `sync`.
            **parameters: As for `sync`.

        Returns:
            The counts that the next run would have.
        """
        return self._run(True, effective_at, connection, observer or Silence(), parameters)

    def watermarks(self, **parameters: Any) -> tuple[StoredWatermark, ...]:
        """Say how far an incremental pipeline has read.

        Args:
            **parameters: The run parameters, which a scope may use.

        Returns:
            One position for each target that has one.
        """
        values = self._values(parameters)
        found = (target.watermark(values) for target in self.sync_targets)
        return tuple(mark for mark in found if mark is not None)

    def set_watermark(
        self, value: str | datetime | None, *, dry_run: bool = False, **parameters: Any
    ) -> tuple[MovedWatermark, ...]:
        """Move the position of an incremental pipeline, of every target, under its lock.

        Args:
            value: A value of the incremental column: a datetime, or text, which the server reads,
                times without a zone as UTC; `now` for positions of other kinds; None has the
                next run read everything.
            dry_run: Whether everything is rolled back.
            **parameters: The run parameters, which a scope may use.

        Returns:
            What was there, and what is there now, for each target.

        Raises:
            InvalidPosition: The pipeline is not incremental, or cannot be set to that, such as
                a datetime without a zone for a column that names instants.
        """
        values = self._values(parameters)
        return tuple(t.move_watermark(values, value, dry_run=dry_run) for t in self.sync_targets)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the pipeline's own function, as if it were not decorated."""
        body = self.spec.body
        if body is None:
            raise TypeError(f"pipeline {self.name!r} has no function to call")
        return body.function(*args, **kwargs)

    def __repr__(self) -> str:
        targets = ", ".join(t.target_label for t in self.sync_targets)
        return f"<Pipeline {self.name!r} -> {targets}>"

    def _values(self, parameters: Mapping[str, Any]) -> dict[str, object]:
        body = self.spec.body
        known = body.parameters if body is not None else ()
        return bind_parameters(known, parameters, f"pipeline {self.name!r}")

    def _run(
        self,
        dry_run: bool,
        effective_at: datetime | None,
        connection: Connection | None,
        observer: Observer,
        parameters: Mapping[str, Any],
    ) -> SyncResult:
        if connection is not None and not isinstance(connection, Connection):
            raise UnsuitableTransaction(
                f"pipeline {self.name!r}: connection={type(connection).__name__} cannot be joined. "
                "Give the SQLAlchemy connection of a transaction that you have begun: "
                "`with pgflow.engine().begin() as conn: pipeline.sync(connection=conn)`. Which "
                "database a pipeline uses is said where it is declared."
            )
        values, begun = self._values(parameters), time.perf_counter()
        results: list[TargetResult] = []
        failure: Exception | None = None
        for target in self.sync_targets:
            try:
                results.append(
                    target.run_target(
                        values,
                        effective_at=effective_at,
                        connection=connection,
                        dry_run=dry_run,
                        observer=observer,
                    )
                )
            except Exception as error:
                failure = failure or error
                results.append(target.failure(error))
                if not (dry_run or self.spec.continue_on_failure):
                    break
        result = SyncResult.of(self.name, tuple(results), time.perf_counter() - begun, dry_run)
        if failure is None:
            return result
        if len(self.sync_targets) == 1:
            raise failure
        failed = ", ".join(t.target for t in results if t.error is not None)
        raise TargetsFailed(
            f"pipeline {self.name!r} failed on {failed}: {failure}", result=result
        ) from failure


def _options(given: Mapping[str, Any], owner: str) -> SyncOptions:
    for name in given:
        if name not in OPTION_NAMES:
            raise InvalidOption(
                f"{owner}: unknown option {name!r}.{nearest(name, OPTION_NAMES)} "
                f"Options are: {', '.join(OPTION_NAMES)}."
            )
    try:
        return SyncOptions(**given)
    except InvalidOption as error:
        raise InvalidOption(f"{owner}: {error}") from error


def _targets(
    target: Any, targets: Sequence[Any] | None, defaults: SyncOptions, owner: str
) -> tuple[Target, ...]:
    if target is not None and targets is not None:
        raise InvalidOption(f"{owner}: give target= or targets=[...], not both.")
    given = [target] if target is not None else list(targets or ())
    return tuple(
        _complete(t if isinstance(t, Target) else Target(t), defaults, owner) for t in given
    )


def _complete(target: Target, defaults: SyncOptions, owner: str) -> Target:
    """Let the target's options win over the pipeline's, and those over the table's."""
    spec = TableFactory.of(target.table).spec
    options = target.options.over(defaults).over(spec.options).completed()
    said = (
        (target.options.mode, "mode= of target()"),
        (defaults.mode, "mode= of the pipeline"),
        (spec.mode, "mode= of the table"),
    )
    mode, reason = next(((m, why) for m, why in said if m is not None), (None, ""))
    options = replace(options, mode=modes.get(mode, owner).name)
    label = f"{owner} -> {spec.label}"
    check_fit(options, label)
    check_columns(options, [c.name for c in TableFactory.of(target.table).table.columns], label)
    return replace(target, options=options, mode_reason=reason)


def _source(
    source: Any, source_table: str | None, column_map: Mapping[str, str] | None, owner: str
) -> Source | None:
    if source is not None and source_table is not None:
        raise InvalidOption(f"{owner}: give source= or source_table=, not both.")
    if column_map is not None and source_table is None:
        raise InvalidOption(f"{owner}: column_map= goes with source_table=, which is not given.")
    if source_table is not None:
        return SourceTable(source_table, column_map or {})
    if source is None or isinstance(source, (Query, SourceTable, RowSource)):
        return source
    if isinstance(source, (str, ClauseElement)):
        return Query(source)  # type: ignore[arg-type]  # it refuses clauses that are no query
    return Rows(source)


def _check_column_map(spec: PipelineSpec, owner: str) -> None:
    """Refuse renames of columns that no target has."""
    if not isinstance(spec.source, SourceTable):
        return
    for target in spec.targets:
        factory = TableFactory.of(target.table)
        columns = list(factory.table.columns.keys())
        for column in spec.source.column_map:
            if column not in columns:
                raise DeclarationError(
                    f"{owner}: column_map= names {column!r}, which is no column of "
                    f"{factory.spec.label}.{nearest(column, columns)}"
                )


def _source_connection(given: Any, both: Any, target: Any) -> Any:
    """The source's connection where it is not the targets': `connection=` alone says one place."""
    return both if given is None and target is not None else given


def _first_line(body: Callable[..., Any] | None) -> str:
    text = (getattr(body, "__doc__", None) or "").strip()
    return text.splitlines()[0] if text else ""
