"""`pgflow sync` and `pgflow dry-run`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgflow.cli import signals
from pgflow.cli.accounts import NOT_RUN, account, status
from pgflow.cli.failures import exit_code, first_reason, sentence
from pgflow.cli.output import Output
from pgflow.factories.pipeline import Pipeline
from pgflow.observe.progress import LineProgress, TerminalProgress, title
from pgflow.observe.rehearsal import rehearsal_listing
from pgflow.observe.report import result_listing
from pgflow.project.batch import Batch, Chosen, OnFailure, Outcome
from pgflow.project.crew import run_batch
from pgflow.project.repeats import narrowed
from pgflow.run.events import Observer
from pgflow.run.result import SyncResult


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
        output.note("nothing to run: no pipeline fits what you asked for.")
        return 0
    with watching(output) as progress:
        batch = _run(order, progress)
    results = [(each, account(each, dry_run=order.dry_run)) for each in batch.outcomes]
    if as_json:
        output.json([_plain(outcome, result) for outcome, result in results])
    else:
        _write(output, order, [result for _, result in results])
    for outcome in batch.failed:
        if outcome.error is not None:
            output.error(_culprit(outcome.name, sentence(outcome.error)), outcome.error)
    for outcome in batch.outcomes:
        if outcome.because is not None:
            output.error(f"{outcome.name} was not run, because {outcome.because} failed.")
    if batch.interrupt is not None:
        output.error(_interruption(batch))
    elif left := [e.name for e in batch.outcomes if e.status == NOT_RUN and e.because is None]:
        were = "was" if len(left) == 1 else "were"
        output.error(
            f"{', '.join(left)} {were} not run: after a failure nothing more begins. --continue "
            "goes on with what does not depend on it."
        )
    return _exit_code(batch)


@contextmanager
def watching(output: Output, mark: Callable[[str], str] = str) -> Iterator[LineProgress]:
    """Show the progress of runs: live on a terminal, else in plain lines.

    Args:
        output: Where to.
        mark: What becomes of a line before it is written.

    Yields:
        The observer to give to `sync()`.
    """
    console = output.console
    if console is None:
        yield LineProgress(lambda line: output.note(mark(line)))
        return
    with TerminalProgress(console, mark=mark) as progress:
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


def _write(output: Output, order: Order, results: Sequence[SyncResult]) -> None:
    show = rehearsal_listing if order.dry_run else result_listing
    output.listing(show(results))
    for result in results:
        if result.returned:
            told = ", ".join(f"{name}={value}" for name, value in result.returned.items())
            output.line(f"{result.pipeline} returned {told}")
    if order.dry_run:
        output.note(f"dry run: {_undone(results)}")


def _undone(results: Sequence[SyncResult]) -> str:
    """Say what was rolled back; a run that could not begin has nothing to roll back."""
    if any(not each.targets for each in results) or any(
        target.run_id is not None for each in results for target in each.targets
    ):
        return "everything was rolled back"
    return "no run could begin, so there was nothing to roll back"


def _plain(outcome: Outcome, result: SyncResult) -> dict[str, Any]:
    because = {"because": outcome.because} if outcome.because is not None else {}
    told = {"status": status(result), "returned": dict(result.returned)}
    return {**result.to_dict(), **told, **because}


def _culprit(name: str, text: str) -> str:
    """Put the pipeline's name before a message that does not begin with it."""
    said = text.startswith((f"{name}:", f"{name} ->", f"pipeline {name!r}"))
    return text if said else f"{name}: {text}"


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
