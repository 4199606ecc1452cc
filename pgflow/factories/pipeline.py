"""Pipelines: a source, a body, and targets, resolved into plans that can be shown and run."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy.engine import Connection

from pgflow.declare.body import Body, bind_parameters
from pgflow.declare.instant import check_instant
from pgflow.declare.options import OPTION_NAMES, SyncOptions, check_columns, check_fit
from pgflow.declare.pipeline import PipelineSpec
from pgflow.declare.schedule import Schedule
from pgflow.declare.spelling import advice
from pgflow.declare.targets import Target, several
from pgflow.errors import InvalidOption, TargetsFailed, UnsuitableTransaction
from pgflow.factories import ends
from pgflow.factories.awaited import AwaitedRuns
from pgflow.factories.fan_out import FanOut
from pgflow.factories.firing import with_instant
from pgflow.factories.outlook import Outlook
from pgflow.factories.parts import parts
from pgflow.factories.simple import TableFactory
from pgflow.factories.sync_target import SyncTarget
from pgflow.factories.watched import watched
from pgflow.observe.failure import Failure, in_one
from pgflow.observe.preview import Preview
from pgflow.observe.watching import Watch
from pgflow.plan.modes import modes
from pgflow.plan.statement import Plan
from pgflow.resolve.config import Config, check_config
from pgflow.resolve.wiring import PluginSource
from pgflow.run.events import Observer
from pgflow.run.positions.watermarks import MovedWatermark, StoredWatermark
from pgflow.run.recovery.interrupts import uncovered
from pgflow.run.result import SyncResult, TargetResult
from pgflow.run.sharing.reading import Reading


class Pipeline(SyncTarget, AwaitedRuns):
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
        schedule: A cron expression of five fields, or a `Schedule`.
        continue_on_failure: Whether later targets run after one has failed.
        tags: Labels for selecting pipelines.
        on_failure: Called with a `Failure` for each target whose run failed for good.
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
        schedule: str | Schedule | None = None,
        continue_on_failure: bool = False,
        tags: Sequence[str] = (),
        on_failure: Callable[[Failure], object] | None = None,
        config: Config | None = None,
        plugins: Sequence[PluginSource] | None = None,
        extra_plugins: Sequence[PluginSource] | None = None,
        **options: Any,
    ) -> None:
        owner = f"pipeline {name!r}"
        check_config(config, owner)
        defaults = _options(options, owner)
        spec = PipelineSpec(
            name=name,
            targets=_targets(target, targets, defaults, owner),
            source=ends.source_of(source, source_table, column_map, owner),
            body=None if body is None else Body.of(body),
            timing=Schedule.of(schedule, owner),
            source_connection=ends.of_source(source_connection, connection, target_connection),
            target_connection=target_connection if target_connection is not None else connection,
            continue_on_failure=continue_on_failure,
            tags=tags,
            on_failure=on_failure,
        )
        ends.check_column_map(spec, owner)
        ends.check_connections(spec, owner)
        ends.check_targets(spec, owner)
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
        #: Who watches every run of the project that has loaded the pipeline.
        self.watch: Watch | None = None
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

    def preview(self, *, analyze: bool = False, **parameters: Any) -> Preview:
        """Say what a run would do, and why. Nothing is written; the function's body is called.

        Args:
            analyze: Whether the servers are asked for their plans too (EXPLAIN); they execute
                nothing for it.
            **parameters: The run parameters.

        Returns:
            Every decision with its reason and every statement; where the database cannot be
            reached, what is known without it.
        """
        values = self._values(parameters)
        shared = parts(self.sync_targets, values)
        return Preview(
            self.name,
            self.spec.schedule,
            tuple(
                Outlook(target, values, analyze, shared.get(place, Reading())).preview()
                for place, target in enumerate(self.sync_targets)
            ),
            tuple((k, str(v)) for k, v in values.items()),
        )

    def sync(
        self,
        *,
        effective_at: datetime | None = None,
        connection: Connection | None = None,
        observer: Observer | None = None,
        firing: datetime | None = None,
        **parameters: Any,
    ) -> SyncResult:
        """Run the pipeline.

        Args:
            effective_at: The instant of the run, timezone-aware, instead of the server's clock.
            connection: A connection in a transaction that the run joins, without retries; the
                caller commits.
            observer: Who watches the run.
            firing: The instant at which a schedule asked for the run, timezone-aware. A target
                on which a run of this instant has succeeded is left alone. A function that takes
                `scheduled_at` is given it.
            **parameters: The run parameters.

        Returns:
            What was done.

        Raises:
            PgflowError: The run failed and was rolled back; the history says so.
            TargetsFailed: One of several targets failed.
        """
        with watched(self, observer, joined=connection is not None) as watchers:
            given = with_instant(self.spec, firing, parameters)
            return self._run(False, effective_at, connection, watchers, given, firing)

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
        with watched(self, observer, dry_run=True) as watchers:
            return self._run(True, effective_at, connection, watchers, parameters)

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
        firing: datetime | None = None,
    ) -> SyncResult:
        if connection is not None and not isinstance(connection, Connection):
            raise UnsuitableTransaction(
                f"pipeline {self.name!r}: connection={type(connection).__name__} cannot be joined. "
                "Give the SQLAlchemy connection of a transaction that you have begun: "
                "`with pgflow.engine().begin() as conn: pipeline.sync(connection=conn)`. Which "
                "database a pipeline uses is said where it is declared."
            )
        check_instant(effective_at, f"effective_at={effective_at!r}")
        values, begun = self._values(parameters), time.perf_counter()
        results: list[TargetResult] = []
        failure: Exception | None = None
        with FanOut(
            self.sync_targets, values, observer, effective_at, connection, dry_run, firing
        ) as runs:
            for place, target in enumerate(self.sync_targets):
                try:
                    with uncovered():
                        results.append(runs.run(place))
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
        raise TargetsFailed(in_one(result), result=result) from failure


def _options(given: Mapping[str, Any], owner: str) -> SyncOptions:
    for name in given:
        if name not in OPTION_NAMES:
            own = inspect.signature(Pipeline).parameters
            known = [*(each for each in own if each not in ("body", "options")), *OPTION_NAMES]
            raise InvalidOption(f"{owner}: unknown option {name!r}.{advice(name, known)}")
    try:
        return SyncOptions(**given)
    except InvalidOption as error:
        raise InvalidOption(f"{owner}: {error}") from error


def _targets(
    target: Any, targets: Sequence[Any] | None, defaults: SyncOptions, owner: str
) -> tuple[Target, ...]:
    if target is not None and targets is not None:
        raise InvalidOption(f"{owner}: give target= or targets=[...], not both.")
    given = [target] if target is not None else several(targets, owner)
    return tuple(
        _complete(t if isinstance(t, Target) else Target(t), defaults, owner) for t in given
    )


def _complete(target: Target, defaults: SyncOptions, owner: str) -> Target:
    """Let the target's options win over the pipeline's, and those over the table's."""
    spec = ends.factory_of(target, owner).spec
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


def _first_line(body: Callable[..., Any] | None) -> str:
    text = (getattr(body, "__doc__", None) or "").strip()
    return text.splitlines()[0] if text else ""
