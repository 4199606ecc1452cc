"""`pgflow sync` and `pgflow dry-run`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgflow.cli import signals
from pgflow.cli.failures import exit_code, first_reason, sentence
from pgflow.cli.output import Output
from pgflow.errors import TargetsFailed
from pgflow.factories.pipeline import Pipeline
from pgflow.observe.progress import LineProgress, TerminalProgress, title
from pgflow.observe.rehearsal import rehearsal_listing
from pgflow.observe.report import result_listing
from pgflow.project.batch import Batch, Chosen, OnFailure, Outcome
from pgflow.project.crew import run_batch
from pgflow.project.repeats import narrowed
from pgflow.run.events import Observer, RunStarted
from pgflow.run.result import SyncResult, TargetResult


@dataclass(frozen=True)
class Order:
    """What is to be run, and how.

    Attributes:
        chosen: Pipelines with their parameters.
        effective_at: The instant of the runs, or None.
        dry_run: Whether everything is rolled back.
        go_on: Whether pipelines that do not depend on a failed one run after it.
        workers: How many run at the same time; None for the default. Dry runs follow each other.
        project: All pipelines of the project.
    """

    chosen: tuple[Chosen, ...]
    effective_at: datetime | None
    dry_run: bool
    go_on: bool
    workers: int | None = None
    project: tuple[Pipeline, ...] = ()


def sync_pipelines(output: Output, order: Order, *, as_json: bool) -> int:
    """Run pipelines, write what they did, and say what went wrong."""
    if not order.chosen and not as_json:
        output.note("nothing to run: no pipeline is such.")
        return 0
    with watching(output) as progress:
        batch = _run(order, progress)
    results = [(each, _told(each, order)) for each in batch.outcomes]
    if as_json:
        output.json([_plain(outcome, result) for outcome, result in results])
    else:
        _write(output, order, results)
    for outcome in batch.failed:
        if outcome.error is not None:
            output.error(_culprit(outcome.name, sentence(outcome.error)), outcome.error)
    for outcome in batch.outcomes:
        if outcome.because is not None:
            output.error(f"{outcome.name} was not run, because {outcome.because} failed.")
    if batch.interrupt is not None:
        output.error(_interruption(batch))
    return _exit_code(batch)


@contextmanager
def watching(output: Output) -> Iterator[LineProgress]:
    """Show the progress of runs: live on a terminal, else in plain lines.

    Args:
        output: Where to.

    Yields:
        The observer to give to `sync()`.
    """
    console = output.console
    if console is None:
        yield LineProgress(output.note)
        return
    with TerminalProgress(console) as progress:
        yield progress


def _run(order: Order, progress: LineProgress) -> Batch:
    on_failure = OnFailure.GO_ON if order.go_on else OnFailure.STOP
    if order.dry_run:
        on_failure = OnFailure.IGNORE

    def call(each: Chosen, observer: Observer) -> SyncResult:
        pipeline = narrowed(each.pipeline, each.targets)
        at = each.effective_at or order.effective_at
        if order.dry_run:
            return pipeline.dry_run(effective_at=at, observer=observer, **each.values)
        return pipeline.sync(effective_at=at, observer=observer, firing=each.firing, **each.values)

    return run_batch(
        order.chosen,
        call,
        project=order.project,
        workers=1 if order.dry_run else order.workers,
        on_failure=on_failure,
        observer=progress,
    )


def _exit_code(batch: Batch) -> int:
    if batch.interrupt is not None:
        return signals.exit_code(batch.interrupt)
    stopped = (each.error for each in batch.outcomes if each.error is not None)
    return first_reason(exit_code(error) for error in stopped)


def _told(outcome: Outcome, order: Order) -> SyncResult | None:
    """What is known of a pipeline's runs; None if none was begun.

    Targets that failed before their run began were seen by nobody; the error tells of them.
    """
    if outcome.result is not None:
        return outcome.result
    error, pipeline = outcome.error, outcome.chosen.pipeline
    told: object = error.result if isinstance(error, TargetsFailed) else None
    results = {target.target: target for target in outcome.seen.results}
    if isinstance(told, SyncResult):
        results = {target.target: target for target in told.targets} | results
    if outcome.status == "running":
        results |= {run.target: _running(run) for run in outcome.seen.open.values()}
    if not results and outcome.status == "failed" and isinstance(error, Exception):
        failure = pipeline.failure(error)
        results = {failure.target: failure}
    if not results:
        return None
    return _summed(pipeline.name, order, tuple(results.values()))


def _running(run: RunStarted) -> TargetResult:
    """A run that an interrupt could not end: it ends with the process."""
    return TargetResult(target=run.target, mode=run.mode, run_id=run.run_id, status="running")


def _summed(name: str, order: Order, targets: Sequence[TargetResult]) -> SyncResult:
    seconds = sum(target.seconds for target in targets)
    return SyncResult.of(name, tuple(targets), seconds, order.dry_run)


def _write(
    output: Output, order: Order, results: Sequence[tuple[Outcome, SyncResult | None]]
) -> None:
    done = [result for _, result in results if result is not None]
    show = rehearsal_listing if order.dry_run else result_listing
    output.listing(show(done, [each.name for each, r in results if r is None]))
    for result in done:
        if result.returned:
            told = ", ".join(f"{name}={value}" for name, value in result.returned.items())
            output.line(f"{result.pipeline} returned {told}")
    if order.dry_run:
        output.note("dry run: everything was rolled back")


def _plain(outcome: Outcome, result: SyncResult | None) -> dict[str, Any]:
    if result is None:
        told = {"because": outcome.because} if outcome.because is not None else {}
        return {"pipeline": outcome.name, "status": outcome.status, **told}
    status = outcome.status if outcome.status == "running" else _status(result)
    return {**result.to_dict(), "status": status, "returned": dict(result.returned)}


def _status(result: SyncResult) -> str:
    return "success" if result.ok else "failed"


def _culprit(name: str, text: str) -> str:
    """Put the pipeline's name before a message that does not begin with it."""
    return text if text.startswith((name, f"pipeline {name!r}")) else f"{name}: {text}"


def _interruption(batch: Batch) -> str:
    ended = [each for each in batch.outcomes if each.status != "running"]
    left = [each.name for each in batch.outcomes if each.status == "running"]
    runs = [run for each in ended for run in each.seen.open.values()]
    text = "interrupted." if left else "interrupted; no run was in progress."
    if runs:
        named = ", ".join(f"run {run.run_id} ({title(run)})" for run in runs)
        was, it = ("was", "it") if len(runs) == 1 else ("were", "them")
        text = (
            f"interrupted; {named} {was} cancelled and nothing of {it} committed; "
            "pgflow history has the last word."
        )
    if left:
        text += (
            f" The function of {' and '.join(left)} has not returned; it ends with this process, "
            "and nothing of it is committed."
        )
    return text
