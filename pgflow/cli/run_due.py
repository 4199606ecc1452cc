"""`pgflow run-due`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pgflow.cli.failures import OK, exit_code, first_reason, sentence
from pgflow.cli.output import Output
from pgflow.cli.sync import watching
from pgflow.declare.schedule import Schedule
from pgflow.factories.pipeline import Pipeline
from pgflow.factories.watched import begun_again
from pgflow.observe.progress import LineProgress
from pgflow.project.project import Project
from pgflow.schedule.due import Firing, check_instant, scheduled
from pgflow.schedule.patience import pause
from pgflow.schedule.turn import Turn, server_now, turn_of


@dataclass(frozen=True)
class Question:
    """Which firings are asked for.

    Attributes:
        names: Pipelines; all that have a schedule if there are none.
        since: After which instant; by default after the newest firing in the history.
        firing: Exactly which one, or None.
        off_schedule: Whether that may be an instant at which the schedule does not fire.
    """

    names: tuple[str, ...]
    since: datetime | None
    firing: datetime | None
    off_schedule: bool = False


def run_due_pipelines(
    output: Output,
    question: Question,
    modules: Sequence[str] | None,
    *,
    dry_run: bool,
    again: bool,
) -> int:
    """Run what is due, pipeline by pipeline in the project's order.

    A pipeline that fails does not keep the others from running.

    Args:
        output: Where to say what happens.
        question: Which firings are asked for.
        modules: What `--module` said.
        dry_run: Whether to say only what is due.
        again: Whether to wait and try again what failed, as its schedule says.
    """
    project = Project.load(modules or None)
    chosen = project.select(question.names) if question.names else project.on_schedule
    codes: list[int] = []
    due = scheduled(chosen)
    if question.firing is not None and not question.off_schedule:
        for pipeline, schedule in due:
            check_instant(pipeline.name, schedule, question.firing)
    for each in (p for p in chosen if p.spec.timing is None and question.names):
        output.note(f"{each.name}: it has no schedule")
    with watching(output) as progress:
        for pipeline, schedule in due:
            try:
                turn = _turn(pipeline, schedule, question)
            except Exception as error:
                codes.append(_failed(output, pipeline.name, error))
                continue
            if dry_run:
                _show(output, turn)
            elif turn.firings:
                codes.append(_run(output, turn, schedule, progress, again=again))
            else:
                output.note(f"{pipeline.name}: {turn.why}")
    return first_reason(codes)


def _turn(pipeline: Pipeline, schedule: Schedule, question: Question) -> Turn:
    if question.firing is not None:
        return Turn(pipeline, (Firing(pipeline.name, question.firing),))
    now = server_now(pipeline)
    return turn_of(pipeline, schedule, since=question.since, now=now)


def _run(
    output: Output, turn: Turn, schedule: Schedule, progress: LineProgress, *, again: bool
) -> int:
    """Run firings in order; after one that failed for good, those after it wait."""
    tried = 0

    def more(error: Exception) -> bool:
        return again and pause(schedule, error, tried) is not None

    for firing in turn.firings:
        tried = 0
        error = _fire(output, turn.pipeline, firing, progress, more)
        while again and error is not None:
            seconds = pause(schedule, error, tried)
            if seconds is None:
                break
            output.error(_told(str(firing), firing.pipeline, error), error)
            output.note(f"{firing}: again in {seconds:g} s")
            time.sleep(seconds)
            tried += 1
            error = _fire(output, turn.pipeline, firing, progress, more)
        if error is not None:
            return _failed(output, str(firing), error, firing.pipeline)
    return OK


def _fire(
    output: Output,
    pipeline: Pipeline,
    firing: Firing,
    progress: LineProgress,
    more: Callable[[Exception], bool],
) -> Exception | None:
    output.note(f"{firing}: begins")
    try:
        with begun_again(more):
            result = pipeline.sync(firing=firing.instant, observer=progress)
    except Exception as error:
        return error
    settled = all("settled_by" in each.details for each in result.targets)
    output.line(f"{firing}: {'had been run before' if settled else 'done'}")
    return None


def _show(output: Output, turn: Turn) -> None:
    for firing in turn.firings:
        output.line(f"{firing}: due")
    if not turn.firings:
        output.note(f"{turn.pipeline.name}: {turn.why}")


def _failed(output: Output, name: str, error: Exception, pipeline: str | None = None) -> int:
    output.error(_told(name, pipeline or name, error), error)
    return exit_code(error)


def _told(name: str, pipeline: str, error: Exception) -> str:
    """Put a name before an error, which may begin with the pipeline's."""
    text = sentence(error)
    for own in (f"{pipeline}: ", f"pipeline {pipeline!r}: "):
        text = text.removeprefix(own)
    return f"{name}: {text}"
