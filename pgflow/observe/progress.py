"""Observers: a live line on a terminal, plain lines in a file, records in a log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from pgflow.errors import RunCancelled
from pgflow.observe.listing import printable
from pgflow.observe.report import counts_text
from pgflow.plan.statement import Statement
from pgflow.run.events import RunStarted, Silence, Transferred
from pgflow.run.failures import reason
from pgflow.run.result import TargetResult

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

#: Seconds after which a terminal shows that something is going on.
PATIENCE = 1.0


class LineProgress(Silence):
    """Says in one plain line what has finished, what waits and what is tried again.

    Args:
        write: Takes one line without its end, such as `print`.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        # Runs that go on at the same time tell of themselves from threads of their own.
        self._lock = threading.RLock()

    def waiting(self, run: RunStarted, holders: tuple[str, ...]) -> None:
        """Say whom the run waits for."""
        self._say(f"{title(run)}: waiting for {' and '.join(holders) or 'another run'}")

    def retrying(self, run: RunStarted, error: Exception, attempt: int, delay: float) -> None:
        """Say why the run starts again."""
        why = reason(error).partition("\n")[0]
        self._say(f"{title(run)}: attempt {attempt} in {delay:.1f} s, because {why}")

    def finished(self, run: RunStarted, result: TargetResult) -> None:
        """Say how the run ended."""
        with self._lock:
            self._say(f"{title(run)}: {outcome(result)}")
            for warning in result.warnings:
                self._say(f"{title(run)}: warning: {_own(run, warning)}")

    def _say(self, line: str) -> None:
        with self._lock:
            self._write(printable(line, keep="\t"))


@dataclass
class _Live:
    """A run that goes on: what it does, and its line once it is shown."""

    activity: str
    timer: threading.Timer
    task: TaskID | None = None


class TerminalProgress(LineProgress):
    """The same lines, and below them what is going on if it takes longer than a second.

    Each run that goes on has a line of its own. Use it in a `with` statement, which takes the
    live lines away at the end.

    Args:
        console: A rich console on a terminal.
        patience: Seconds until a live line is shown.
        mark: What becomes of a line before it is written; live ones stay as they are.
    """

    def __init__(
        self,
        console: Console,
        patience: float = PATIENCE,
        *,
        mark: Callable[[str], str] = str,
    ) -> None:
        # Lines are not broken here: the terminal does that, so that they can be copied whole.
        show = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        super().__init__(lambda line: show(mark(line)))
        self._console = console
        self._patience = patience
        self._going_on: dict[UUID, _Live] = {}
        self._shown: Progress | None = None

    def __enter__(self) -> TerminalProgress:
        return self

    def __exit__(self, *_: object) -> None:
        for run_id in list(self._going_on):
            self._take_away(run_id)

    def started(self, run: RunStarted) -> None:
        """Start the clock."""
        self._take_away(run.run_id)
        timer = threading.Timer(self._patience, self._show, [run.run_id])
        timer.daemon = True
        with self._lock:
            self._going_on[run.run_id] = _Live(f"{title(run)}: begin", timer)
        timer.start()

    def waiting(self, run: RunStarted, holders: tuple[str, ...]) -> None:
        """Say whom the run waits for, and show it until it goes on."""
        super().waiting(run, holders)
        self._update(run, "waiting")

    def executing(self, run: RunStarted, statement: Statement) -> None:
        """Show what the statement is for."""
        self._update(run, statement.purpose)

    def transferring(self, run: RunStarted, progress: Transferred) -> None:
        """Show how much has come from the source, and how fast."""
        self._update(run, progress_text(progress))

    def finished(self, run: RunStarted, result: TargetResult) -> None:
        """Take the live line away, and say how the run ended."""
        self._take_away(run.run_id)
        super().finished(run, result)

    def _update(self, run: RunStarted, activity: str) -> None:
        with self._lock:
            live = self._going_on.get(run.run_id)
            if live is None:
                return
            live.activity = f"{title(run)}: {activity}"
            if self._shown is not None and live.task is not None:
                self._shown.update(live.task, description=printable(live.activity, keep=""))

    def _show(self, run_id: UUID) -> None:
        """Begin a run's live line; called by the timer, in its own thread."""
        with self._lock:
            live = self._going_on.get(run_id)
            if live is None:  # the run ended in the meantime
                return
            if self._shown is None:
                self._shown = _display(self._console)
                self._shown.start()
            live.task = self._shown.add_task(printable(live.activity, keep=""))
            # The clock shows the run's time, not the live line's.
            task = next(each for each in self._shown.tasks if each.id == live.task)
            task.start_time = self._shown.get_time() - self._patience

    def _take_away(self, run_id: UUID) -> None:
        with self._lock:
            live = self._going_on.pop(run_id, None)
            if live is None:
                return
            live.timer.cancel()
            if self._shown is None or live.task is None:
                return
            self._shown.remove_task(live.task)
            if self._shown.tasks:
                self._shown.refresh()
            else:
                self._shown.stop()
                self._shown = None


def _display(console: Console) -> Progress:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


class LogProgress(Silence):
    """Writes what happens to a logger of the standard library, for services and schedulers.

    Every run does so on the logger `pgflow.run`, unless another one of these watches it. What the
    text says in words, the record has as attributes: `event`, `run_id`, `pipeline`, `target`,
    `dry_run`, and those of the event. No value of a row is among them, unless an error quotes it.

    Args:
        logger: The logger; `pgflow.run` if left out. Ends of runs are INFO or ERROR, waiting,
            retries and warnings WARNING, statements DEBUG.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._log = logger or logging.getLogger("pgflow.run")

    def started(self, run: RunStarted) -> None:
        """Log the beginning."""
        self._tell(logging.INFO, "started", run, "run %s begins", run.run_id, mode=run.mode)

    def waiting(self, run: RunStarted, holders: tuple[str, ...]) -> None:
        """Log whom the run waits for."""
        whom = " and ".join(holders) or "another run"
        self._tell(logging.WARNING, "waiting", run, "waiting for %s", whom, holders=list(holders))

    def executing(self, run: RunStarted, statement: Statement) -> None:
        """Log what the statement is for."""
        purpose = statement.purpose
        self._tell(logging.DEBUG, "executing", run, "%s", purpose, purpose=purpose)

    def transferring(self, run: RunStarted, progress: Transferred) -> None:
        """Log how much has come from the source, and how fast."""
        text = progress_text(progress)
        self._tell(logging.DEBUG, "transferring", run, "%s", text, **vars(progress))

    def retrying(self, run: RunStarted, error: Exception, attempt: int, delay: float) -> None:
        """Log why the run starts again."""
        said = {"attempt": attempt, "delay": delay, **_told(error)}
        text = "attempt %d in %.1f s: %s"
        self._tell(logging.WARNING, "retrying", run, text, attempt, delay, error, **said)

    def finished(self, run: RunStarted, result: TargetResult) -> None:
        """Log the end, and the warnings."""
        said = {
            "mode": result.mode,
            "status": result.status,
            "seconds": result.seconds,
            "counts": result.counts,
            **_told(result.error),
        }
        level = logging.INFO if result.status == "success" else logging.ERROR
        detail = f": {result.reason}" if result.reason else ""
        self._tell(level, "finished", run, "%s%s", outcome(result), detail, **said)
        for warning in result.warnings:
            self._tell(logging.WARNING, "warning", run, "%s", warning, warning=warning)

    def refused(self, pipeline: str, result: TargetResult) -> None:
        """Log that a run could not begin, and why."""
        said = {"mode": result.mode, "status": result.status, **_told(result.error)}
        names = {"run_id": None, "pipeline": pipeline, "target": result.target, "dry_run": False}
        self._log.error(
            "%s -> %s: could not begin: %s",
            pipeline,
            result.target,
            result.reason,
            extra={"event": "refused", **names, **said},
        )

    def _tell(
        self, level: int, event: str, run: RunStarted, text: str, *args: object, **said: object
    ) -> None:
        if not self._log.isEnabledFor(level):
            return
        names = {
            "run_id": str(run.run_id),
            "pipeline": run.pipeline,
            "target": run.target,
            "dry_run": run.dry_run,
        }
        extra = {"event": event, **names, **said}
        self._log.log(level, f"%s: {text}", title(run), *args, extra=extra)


def _own(run: RunStarted, warning: str) -> str:
    """What a warning says, without the names that stand before it already."""
    for name in (f"{run.pipeline} -> {run.target}: ", f"{run.pipeline}: "):
        warning = warning.removeprefix(name)
    return warning


def _told(error: BaseException | None) -> dict[str, object]:
    """What records and others say of an error."""
    if error is None:
        return {}
    return {"error_type": type(error).__name__, "error": reason(error)}


def title(run: RunStarted) -> str:
    """Name a run by pipeline and target."""
    kind = " (dry run)" if run.dry_run else ""
    return f"{run.pipeline} -> {run.target}{kind}"


def progress_text(progress: Transferred) -> str:
    """Say how many rows and bytes have come from the source, and at which rate."""
    size, rate = _bytes(progress.bytes), _bytes(progress.rate)
    return f"{progress.rows:,} rows, {size}, {rate}/s"


def _bytes(count: float) -> str:
    """Spell a number of bytes in the unit that suits it."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def outcome(result: TargetResult) -> str:
    """Say in a few words how a run ended; the error itself is told by whoever catches it."""
    if isinstance(result.error, (KeyboardInterrupt, RunCancelled)):
        return f"interrupted after {result.seconds:.2f} s"
    if result.status == "success":
        return f"{counts_text(result)} in {result.seconds:.2f} s"
    return f"{result.status} after {result.seconds:.2f} s"
