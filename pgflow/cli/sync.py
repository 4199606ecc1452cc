"""`pgflow sync` and `pgflow dry-run`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pgflow.cli import signals
from pgflow.cli.failures import exit_code, first_reason, sentence
from pgflow.cli.output import Output
from pgflow.cli.selection import Chosen
from pgflow.errors import TargetsFailed
from pgflow.observe.progress import LineProgress, TerminalProgress, title
from pgflow.observe.report import result_listing
from pgflow.run.events import RunStarted
from pgflow.run.result import SyncResult, TargetResult


@dataclass(frozen=True)
class Order:
    """What is to be run, and how.

    Attributes:
        chosen: Pipelines with their parameters, in order.
        effective_at: The instant of the runs, or None.
        dry_run: Whether everything is rolled back.
        go_on: Whether the next pipeline runs after one has failed.
    """

    chosen: tuple[Chosen, ...]
    effective_at: datetime | None
    dry_run: bool
    go_on: bool


@dataclass
class Done:
    """What has become of an order so far.

    Attributes:
        results: The results of pipelines, in order, failed ones among them.
        errors: What the failed ones raised, by name.
        interrupted: What broke in, Ctrl-C or SIGTERM; None if nothing did.
    """

    results: list[SyncResult] = field(default_factory=list)
    errors: dict[str, Exception] = field(default_factory=dict)
    interrupted: KeyboardInterrupt | None = None

    def not_run(self, order: Order) -> list[str]:
        """Names of the pipelines that were not begun."""
        return [each.pipeline.name for each in order.chosen[len(self.results) :]]

    @property
    def exit_code(self) -> int:
        """The exit code for all of it."""
        if self.interrupted is not None:
            return signals.exit_code(self.interrupted)
        return first_reason(exit_code(error) for error in self.errors.values())


def sync_pipelines(output: Output, order: Order, *, as_json: bool) -> int:
    """Run pipelines, write what they did, and say what went wrong."""
    with watching(output) as progress:
        done = _run(order, progress)
    if as_json:
        output.json(_plain(order, done))
    else:
        _write(output, order, done)
    for name, error in done.errors.items():
        output.error(_culprit(name, sentence(error)), error)
    if done.interrupted is not None:
        output.error(_interruption(progress.current))
    return done.exit_code


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


def _run(order: Order, progress: LineProgress) -> Done:
    done = Done()
    for each in order.chosen:
        before = len(progress.results)
        try:
            done.results.append(_sync(each, order, progress))
        except KeyboardInterrupt as interrupt:
            if seen := progress.results[before:]:
                done.results.append(_summed(each, order, seen))
            done.interrupted = interrupt
            break
        except Exception as error:
            done.results.append(_unfinished(each, order, error, progress.results[before:]))
            done.errors[each.pipeline.name] = error
            if not order.go_on:
                break
    return done


def _sync(each: Chosen, order: Order, progress: LineProgress) -> SyncResult:
    call = each.pipeline.dry_run if order.dry_run else each.pipeline.sync
    return call(effective_at=order.effective_at, observer=progress, **each.values)


def _unfinished(
    each: Chosen, order: Order, error: Exception, seen: Sequence[TargetResult]
) -> SyncResult:
    """Put together what a pipeline had done before it failed.

    Targets that failed before their run began were seen by nobody; the error tells of them.
    """
    told: object = error.result if isinstance(error, TargetsFailed) else None
    results = {target.target: target for target in seen}
    if isinstance(told, SyncResult):
        results = {target.target: target for target in told.targets} | results
    if not results:
        failure = each.pipeline.failure(error)
        results = {failure.target: failure}
    return _summed(each, order, tuple(results.values()))


def _summed(each: Chosen, order: Order, targets: Sequence[TargetResult]) -> SyncResult:
    seconds = sum(target.seconds for target in targets)
    return SyncResult.of(each.pipeline.name, tuple(targets), seconds, order.dry_run)


def _write(output: Output, order: Order, done: Done) -> None:
    output.listing(result_listing(done.results, done.not_run(order)))
    for result in done.results:
        if result.returned:
            told = ", ".join(f"{name}={value}" for name, value in result.returned.items())
            output.line(f"{result.pipeline} returned {told}")
    if order.dry_run:
        output.note("dry run: everything was rolled back")


def _plain(order: Order, done: Done) -> list[dict[str, Any]]:
    ran = [
        {**result.to_dict(), "status": _status(result), "returned": dict(result.returned)}
        for result in done.results
    ]
    return ran + [{"pipeline": name, "status": "not run"} for name in done.not_run(order)]


def _status(result: SyncResult) -> str:
    return "success" if result.ok else "failed"


def _culprit(name: str, text: str) -> str:
    """Put the pipeline's name before a message that does not begin with it."""
    return text if text.startswith((name, f"pipeline {name!r}")) else f"{name}: {text}"


def _interruption(run: RunStarted | None) -> str:
    if run is None:
        return "interrupted; no run was in progress."
    return (
        f"interrupted; run {run.run_id} ({title(run)}) was cancelled and nothing of it committed; "
        "pgflow history has the last word."
    )
