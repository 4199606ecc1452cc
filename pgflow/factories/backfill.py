"""Backfills: a range of a source read again in steps, each of them a run of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from sqlalchemy.engine import Connection

from pgflow.declare.body import Parameter, bind_parameters
from pgflow.errors import BackfillRefused, MissingParameter
from pgflow.factories.pipeline import Pipeline
from pgflow.factories.sync_target import SyncTarget
from pgflow.factories.watched import watched
from pgflow.plan.decision import Unknown
from pgflow.plan.spec import SyncSpec
from pgflow.plan.statement import Plan
from pgflow.plan.window import enclosed, windowed
from pgflow.run.events import Observer, Silence
from pgflow.run.job import Job
from pgflow.run.positions import backfills
from pgflow.run.positions.backfills import Progress, Range, Step
from pgflow.run.result import SyncResult, TargetResult
from pgflow.run.session import Session

#: What a function calls the bounds of a step, unless somebody says otherwise.
BOUNDS = ("start", "end")

#: Types of parameters that a range can be counted in, by the server's name for them.
_KINDS: dict[Any, str] = {
    int: "bigint",
    date: "date",
    datetime: "timestamp with time zone",
}
_INSTANTS = ("date", "timestamp")


@dataclass
class Backfill:
    """A range that is read again in steps, of which each is remembered when it is done.

    How a step reaches the source: a function that takes the parameters `start` and `end` is given
    the bounds; of any other source the rows are read whose value in a column is at least the
    first bound and less than the second.

    Attributes:
        pipeline: The pipeline.
        begin: The first value, as text.
        end: The first value after the last step, as text.
        step: How much of it is one run: a number, or an interval such as `1 day`.
        column: The source's column; by default the incremental column.
        bounds: What the function calls the bounds.
        parameters: Further run parameters.
        advance: Whether the watermark moves to the end of the range when all is done.
        again: Whether it begins anew although it was begun or finished before.
        observer: Who watches the runs.
    """

    pipeline: Pipeline
    begin: str
    end: str
    step: str
    column: str | None = None
    bounds: tuple[str, str] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    advance: bool = False
    again: bool = False
    observer: Observer = field(default_factory=Silence)

    def __post_init__(self) -> None:
        self._taken = self._parameters_for_bounds()
        if self._taken is None:
            self._check_window()
        self._last: SyncTarget = self.pipeline.sync_targets[-1]
        self._schema = self._last.config.utility_schema
        self._kind = self._find_kind()
        self._check_targets()
        self.all_steps = self._cut()

    def left(self) -> tuple[Step, ...]:
        """Say which steps are still to be done; nothing is written."""
        with self._last.transaction() as live, live.begin_nested() as nothing:
            progress = self._begin(live)
            nothing.rollback()
        return self._after(progress)

    def run(self) -> Iterator[tuple[Step, SyncResult]]:
        """Do the steps that are left, one after the other.

        Yields:
            Each step that is done, with what it did.

        Raises:
            PgflowError: A step failed; those before it are committed, and the next call goes on
                with it.
            BackfillOvertaken: Somebody else does the same backfill.
        """
        with self._last.transaction() as live:
            progress = self._begin(live)
        done_to = progress.done_to
        for step in self._after(progress):
            yield step, self._do(step, done_to)
            done_to = step.end
        if self.advance:
            self._advance_watermarks()

    # -- one step ---------------------------------------------------------------------

    def _do(self, step: Step, done_to: str | None) -> SyncResult:
        results: list[TargetResult] = []
        with watched(self.pipeline, self.observer) as observer:
            for target in self.pipeline.sync_targets:
                job = self._job(target, step)
                if target is self._last:
                    job = replace(job, make_plan=partial(self._plan, job, step, done_to))
                at = self._instant(target, step)
                results.append(target.run_job(job, effective_at=at, observer=observer))
        if results[-1].returned:
            self._remember(step, done_to)
        seconds = sum(result.seconds for result in results)
        return SyncResult.of(self.pipeline.name, tuple(results), seconds, False)

    def _job(self, target: SyncTarget, step: Step) -> Job:
        job = target.job(self._values(step.begin, step.end))
        job = replace(job, step=(step.begin, step.end))
        if self._taken is None:
            return replace(job, draft=windowed(job.draft, self._column, step.begin, step.end))
        # The function has chosen the rows; a watermark would leave some of them out.
        return replace(job, draft=replace(job.draft, watermark=None))

    def _plan(self, job: Job, step: Step, done_to: str | None, spec: SyncSpec) -> Plan:
        """The run's own plan, with the step remembered in the transaction of its data."""
        before = backfills.guard(self._schema, self._range, done_to)
        after = backfills.advance(self._schema, self._range, step)
        reason = f"backfill: from {step.begin} to below {step.end}"
        return enclosed(job.make_plan(spec), before, after, reason)

    def _remember(self, step: Step, done_to: str | None) -> None:
        """Remember a step whose function did the work itself, so that nothing was planned."""
        with self._last.transaction() as live:
            session = Session(live, owner=self.pipeline.name)
            guard = backfills.guard(self._schema, self._range, done_to)
            found = session.run(guard.sql, guard.purpose).rows
            error = None if guard.refuses is None else guard.refuses(found)
            if error is not None:
                raise error
            advance = backfills.advance(self._schema, self._range, step)
            session.run(advance.sql, advance.purpose)

    def _instant(self, target: SyncTarget, step: Step) -> datetime | None:
        """Versions of a history begin at the end of their step, unless rows have instants.

        Steps through a number that is part of the key are ordinary runs over some of the keys.
        """
        options = target.sync_target.options
        if options.mode != "scd2" or options.event_timestamp_column is not None:
            return None
        if self._by_key(target):
            return None
        read = datetime.fromisoformat(step.end)
        return read if read.utcoffset() is not None else read.replace(tzinfo=UTC)

    def _by_key(self, target: SyncTarget) -> bool:
        """Whether no key can be in two steps, and the steps say nothing about time."""
        if self._taken is not None or self._kind.startswith(_INSTANTS):
            return False
        return self._column in target.merge_keys

    # -- the range --------------------------------------------------------------------

    @property
    def _column(self) -> str:
        options = self.pipeline.sync_target.options
        return self.column or options.incremental_column or ""

    @property
    def _range(self) -> Range:
        told = {name: str(value) for name, value in self.parameters.items()}
        if self._taken is None:
            told["column"] = self._column
        text = json.dumps(dict(sorted(told.items())))
        # As the server has read them: 'yesterday' is another day tomorrow.
        begin, end = self.all_steps[0].begin, self.all_steps[-1].end
        return Range(self.pipeline.name, begin, end, self.step, text)

    def _values(self, begin: str, end: str) -> dict[str, object]:
        given = dict(self.parameters)
        if self._taken is not None:
            given |= {self._taken[0].name: begin, self._taken[1].name: end}
        body = self.pipeline.spec.body
        known = body.parameters if body is not None else ()
        return bind_parameters(known, given, f"pipeline {self.pipeline.name!r}")

    def _begin(self, live: Connection) -> Progress:
        return backfills.begin_backfill(live, self._schema, self._range, again=self.again)

    def _after(self, progress: Progress) -> tuple[Step, ...]:
        if progress.finished:
            return ()
        ends = [None, *(step.end for step in self.all_steps)]
        return self.all_steps[ends.index(progress.done_to) :]

    def _cut(self) -> tuple[Step, ...]:
        with self._last.transaction() as live:
            session = Session(live, owner=self.pipeline.name)
            return backfills.steps(session, self._kind, self.begin, self.end, self.step)

    def _find_kind(self) -> str:
        """The type of the bounds: of the parameters, or of the source's column."""
        if self._taken is not None:
            kind = self._taken[0].type
            if kind not in _KINDS or self._taken[1].type is not kind:
                raise BackfillRefused(
                    f"pipeline {self.pipeline.name!r}: its parameters {self._taken[0].name} and "
                    f"{self._taken[1].name} must both be annotated as int, date or datetime, so "
                    "that a range of them can be cut into steps."
                )
            return _KINDS[kind]
        job = self._last.job(self._values(self.begin, self.end))
        draft = windowed(job.draft, self._column, self.begin, self.end)
        mark = self._last.inspect_job(replace(job, draft=draft))[1].watermark
        return "text" if mark is None or isinstance(mark.type, Unknown) else mark.type

    def _parameters_for_bounds(self) -> tuple[Parameter, Parameter] | None:
        body = self.pipeline.spec.body
        known = {p.name: p for p in (body.parameters if body is not None else ())}
        names = self.bounds or BOUNDS
        if all(name in known for name in names) and self.column is None:
            return known[names[0]], known[names[1]]
        if self.bounds is not None:
            raise MissingParameter(
                f"pipeline {self.pipeline.name!r} has no parameters {names[0]!r} and {names[1]!r}. "
                f"It takes: {', '.join(known) or 'none'}."
            )
        return None

    # -- what would falsify the target ------------------------------------------------

    def _check_window(self) -> None:
        name = self.pipeline.name
        options = self.pipeline.sync_target.options
        if self.column is None and (options.watermark or "value") != "value":
            raise BackfillRefused(
                f"pipeline {name!r} keeps its position by watermark={options.watermark!r}, in "
                "which nobody can name a range. Say which column of the source to go by: "
                "--column NAME."
            )
        if not self._column:
            raise BackfillRefused(
                f"pipeline {name!r} has no incremental_column= to go by, and its function takes no "
                f"parameters {BOUNDS[0]!r} and {BOUNDS[1]!r}. Say which column of the source to go "
                "by: --column NAME."
            )

    def _check_targets(self) -> None:
        name = self.pipeline.name
        for target in self.pipeline.sync_targets:
            options, label = target.sync_target.options, target.target_label
            if options.handle_deletes is not None or options.mode == "truncate":
                what = "truncate" if options.mode == "truncate" else "handle_deletes="
                raise BackfillRefused(
                    f"pipeline {name!r} -> {label}: with {what} every row outside of a step "
                    "would be deleted. Backfill by a second pipeline over the same target without."
                )
            timeless = not self._kind.startswith(_INSTANTS) and not self._by_key(target)
            if options.mode == "scd2" and options.event_timestamp_column is None and timeless:
                raise BackfillRefused(
                    f"pipeline {name!r} -> {label} keeps a history, and steps of {self._kind} say "
                    "nothing about when their versions began. Go by a date, a timestamp or a "
                    "number of the key (--column), or give the history event_timestamp_column=."
                )
            if not target.merge_keys and len(self.pipeline.sync_targets) > 1:
                raise BackfillRefused(
                    f"pipeline {name!r} -> {label} appends without a key, and feeds several "
                    "targets: a step that fails between two of them would be appended twice. "
                    "Backfill by a pipeline for each target."
                )
            if self.advance and target.watermark_kind != "value":
                raise BackfillRefused(
                    f"pipeline {name!r} -> {label} keeps no value that --advance could move."
                )

    def _advance_watermarks(self) -> None:
        for target in self.pipeline.sync_targets:
            target.move_watermark(
                self._values(self.begin, self.end), self.all_steps[-1].end, forward=True
            )
