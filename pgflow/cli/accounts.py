"""What became of every target of a pipeline: of those that were tried, and of those that were not.

Errors and observers each know a part of it. A target that failed before its run began was seen by
nobody; one that runs when an interrupt ends the command is in no error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgflow.errors import TargetsFailed
from pgflow.factories.pipeline import Pipeline
from pgflow.project.batch import Outcome
from pgflow.project.repeats import narrowed
from pgflow.run.events import RunStarted
from pgflow.run.result import SyncResult, TargetResult

#: The status of what was not begun.
NOT_RUN = "not run"


def account(outcome: Outcome, *, dry_run: bool) -> SyncResult:
    """Tell what became of each of a pipeline's targets.

    Args:
        outcome: What became of the pipeline.
        dry_run: Whether everything was rolled back.

    Returns:
        A result for each target, in their order. What was not begun is `not run`.
    """
    if outcome.result is not None:
        return outcome.result
    pipeline = narrowed(outcome.chosen.pipeline, outcome.chosen.targets)
    tried = list(_tried(outcome, pipeline))
    targets = tuple(_placed(pipeline, tried))
    seconds = sum(target.seconds for target in targets)
    return SyncResult.of(pipeline.name, targets, seconds, dry_run)


def status(result: SyncResult) -> str:
    """Say in one word how a pipeline stands.

    Args:
        result: Its account.
    """
    found = {target.status for target in result.targets}
    if "running" in found:
        return "running"
    if found == {NOT_RUN}:
        return NOT_RUN
    return "success" if result.ok else "failed"


def _tried(outcome: Outcome, pipeline: Pipeline) -> Iterator[TargetResult]:
    """The targets that were begun, and those that could not be."""
    seen: Sequence[TargetResult] = outcome.seen.results
    error = outcome.error
    told = error.result if isinstance(error, TargetsFailed) else None
    if isinstance(told, SyncResult):
        yield from (_seen(each, seen) for each in told.targets)
        return
    if outcome.status == "running":
        # It goes on meanwhile, and what is open now may end before the results are read.
        going_on = tuple(outcome.seen.open.values())
        seen = tuple(outcome.seen.results)
        ended = {each.run_id for each in seen}
        yield from (_running(run) for run in going_on if run.run_id not in ended)
        yield from seen
        return
    yield from seen
    if outcome.status == "failed" and isinstance(error, Exception) and not seen:
        yield pipeline.failure(error)


def _seen(told: TargetResult, seen: Sequence[TargetResult]) -> TargetResult:
    """The same run as its watcher saw it, who knows how long it took; not all have begun."""
    for each in seen:
        same = each.error is told.error if told.run_id is None else each.run_id == told.run_id
        if each.target == told.target and same:
            return each
    return told


def _running(run: RunStarted) -> TargetResult:
    """A run that an interrupt could not end: it ends with the process."""
    return TargetResult(target=run.target, mode=run.mode, run_id=run.run_id, status="running")


def _placed(pipeline: Pipeline, tried: Sequence[TargetResult]) -> Iterator[TargetResult]:
    """Put what was tried into the order of the targets, of which two may bear one name."""
    left = list(tried)
    for target in pipeline.sync_targets:
        found = next((each for each in left if each.target == target.target_label), None)
        if found is not None:
            left.remove(found)
            yield found
            continue
        mode = target.sync_target.options.mode or ""
        yield TargetResult(target=target.target_label, mode=mode, run_id=None, status=NOT_RUN)
    yield from left
