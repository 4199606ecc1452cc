"""`pgflow run-due`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pgflow.cli.diary import Diary, in_one_line, timed
from pgflow.cli.failures import OK, exit_code, first_reason
from pgflow.cli.output import Output
from pgflow.cli.sync import watching
from pgflow.declare.schedule import Schedule
from pgflow.factories.pipeline import Pipeline
from pgflow.factories.watched import begun_again
from pgflow.observe.progress import LineProgress
from pgflow.project.project import Project
from pgflow.schedule.due import Firing, check_instant, scheduled
from pgflow.schedule.patience import given_up, pause
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
    diary = Diary(output)
    for each in (p for p in chosen if p.spec.timing is None and question.names):
        diary.tell(f"{each.name}: it has no schedule")
    with watching(output, timed) as progress, diary.of("pgflow.observe"):
        for pipeline, schedule in due:
            try:
                turn = _turn(pipeline, schedule, question)
            except Exception as error:
                codes.append(_failed(output, pipeline.name, error))
                continue
            if dry_run:
                _show(output, diary, turn)
            elif turn.firings:
                codes.append(_Round(output, diary, turn, schedule, progress, again).run())
            else:
                diary.tell(f"{pipeline.name}: {turn.why}")
    return first_reason(codes)


def _turn(pipeline: Pipeline, schedule: Schedule, question: Question) -> Turn:
    if question.firing is not None:
        return Turn(pipeline, (Firing(pipeline.name, question.firing),))
    now = server_now(pipeline)
    return turn_of(pipeline, schedule, since=question.since, now=now)


@dataclass(frozen=True)
class _Round:
    """What is due of one pipeline, as it is run; its lines are those of a worker."""

    output: Output
    diary: Diary
    turn: Turn
    schedule: Schedule
    progress: LineProgress
    again: bool

    def run(self) -> int:
        """Run firings in order; after one that failed for good, those after it wait."""
        codes = (self._settle(firing) for firing in self.turn.firings)
        return next((code for code in codes if code != OK), OK)

    def _settle(self, firing: Firing) -> int:
        tried = 0
        while (error := self._fire(firing, tried)) is not None:
            code = _failed(self.output, str(firing), error, firing.pipeline)
            seconds = self._pause(error, tried)
            tried += 1
            if seconds is None:
                if self.again:
                    self.diary.tell(f"{firing}: {given_up(tried)}")
                return code
            self.diary.tell(f"{firing}: again in {seconds:g} s")
            time.sleep(seconds)
        return OK

    def _pause(self, error: Exception, tried: int) -> float | None:
        return pause(self.schedule, error, tried) if self.again else None

    def _fire(self, firing: Firing, tried: int) -> Exception | None:
        self.diary.tell(f"{firing}: begins" + (f", attempt {tried + 1}" if tried else ""))
        try:
            with begun_again(lambda error: self._pause(error, tried) is not None):
                result = self.turn.pipeline.sync(firing=firing.instant, observer=self.progress)
        except Exception as error:
            return error
        settled = all("settled_by" in each.details for each in result.targets)
        self.output.line(timed(f"{firing}: {'had been run before' if settled else 'done'}"))
        return None


def _show(output: Output, diary: Diary, turn: Turn) -> None:
    for firing in turn.firings:
        output.line(f"{firing}: due")
    if not turn.firings:
        diary.tell(f"{turn.pipeline.name}: {turn.why}")


def _failed(output: Output, name: str, error: Exception, pipeline: str | None = None) -> int:
    """Tell of an error after a name; the error may begin with the pipeline's."""
    text = in_one_line(error)
    for own in (f"{pipeline or name}: ", f"pipeline {pipeline or name!r}: "):
        text = text.removeprefix(own)
    output.error(f"{name}: failed: {text}", error, whose=timed(""))
    return exit_code(error)
