"""Observers: a live line on a terminal, plain lines in a file, records in a log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from pgflow.observe.listing import printable
from pgflow.observe.report import counts_text
from pgflow.plan.statement import Statement
from pgflow.run.events import RunStarted, Silence, Transferred
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
        #: The run that is not over; after Ctrl-C the one that was interrupted.
        self.current: RunStarted | None = None
        #: How runs ended, in order.
        self.results: list[TargetResult] = []

    def started(self, run: RunStarted) -> None:
        """Remember the run."""
        self.current = run

    def waiting(self, run: RunStarted, holders: tuple[str, ...]) -> None:
        """Say whom the run waits for."""
        self._say(f"{title(run)}: waiting for {' and '.join(holders) or 'another run'}")

    def retrying(self, run: RunStarted, error: Exception, attempt: int, delay: float) -> None:
        """Say why the run starts again."""
        reason = str(error).partition("\n")[0]
        self._say(f"{title(run)}: attempt {attempt} in {delay:.1f} s, because {reason}")

    def finished(self, run: RunStarted, result: TargetResult) -> None:
        """Say how the run ended."""
        if not isinstance(result.error, KeyboardInterrupt):
            self.current = None
        self.results.append(result)
        self._say(f"{title(run)}: {outcome(result)}")
        for warning in result.warnings:
            self._say(f"warning: {warning}")

    def _say(self, line: str) -> None:
        self._write(printable(line, keep="\t"))


class TerminalProgress(LineProgress):
    """The same lines, and below them what is going on if it takes longer than a second.

    Use it in a `with` statement, which takes the live line away at the end.

    Args:
        console: A rich console on a terminal.
        patience: Seconds until the live line is shown.
    """

    def __init__(self, console: Console, patience: float = PATIENCE) -> None:
        super().__init__(lambda line: console.print(line, markup=False, highlight=False))
        self._console = console
        self._patience = patience
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._live: Progress | None = None
        self._task: TaskID | None = None
        self._activity = ""

    def __enter__(self) -> TerminalProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def started(self, run: RunStarted) -> None:
        """Start the clock."""
        super().started(run)
        self._stop()
        self._activity = f"{title(run)}: begin"
        self._timer = threading.Timer(self._patience, self._show)
        self._timer.daemon = True
        self._timer.start()

    def waiting(self, run: RunStarted, holders: tuple[str, ...]) -> None:
        """Say whom the run waits for, and show it until it goes on."""
        super().waiting(run, holders)
        self._update(f"{title(run)}: waiting")

    def executing(self, run: RunStarted, statement: Statement) -> None:
        """Show what the statement is for."""
        self._update(f"{title(run)}: {statement.purpose}")

    def transferring(self, run: RunStarted, progress: Transferred) -> None:
        """Show how much has come from the source, and how fast."""
        self._update(f"{title(run)}: {progress_text(progress)}")

    def finished(self, run: RunStarted, result: TargetResult) -> None:
        """Take the live line away, and say how the run ended."""
        self._stop()
        super().finished(run, result)

    def _update(self, activity: str) -> None:
        with self._lock:
            self._activity = activity
            if self._live is not None and self._task is not None:
                self._live.update(self._task, description=printable(activity, keep=""))

    def _show(self) -> None:
        """Begin the live line; called by the timer, in its own thread."""
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        with self._lock:
            if self._timer is None:  # the run ended in the meantime
                return
            self._live = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._live.add_task(printable(self._activity, keep=""))
            # The clock shows the run's time, not the live line's.
            self._live.tasks[0].start_time = self._live.get_time() - self._patience
            self._live.start()

    def _stop(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._live is not None:
                self._live.stop()
                self._live = None


class LogProgress(Silence):
    """Writes what happens to a logger, for services and schedulers.

    Args:
        logger: The logger, `pgflow` by default. Ends of runs are INFO or ERROR, waiting, retries
            and warnings WARNING, statements DEBUG.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._log = logger or logging.getLogger("pgflow")

    def started(self, run: RunStarted) -> None:
        """Log the beginning."""
        self._log.info("%s: run %s begins", title(run), run.run_id)

    def waiting(self, run: RunStarted, holders: tuple[str, ...]) -> None:
        """Log whom the run waits for."""
        self._log.warning("%s: waiting for %s", title(run), " and ".join(holders) or "another run")

    def executing(self, run: RunStarted, statement: Statement) -> None:
        """Log what the statement is for."""
        self._log.debug("%s: %s", title(run), statement.purpose)

    def transferring(self, run: RunStarted, progress: Transferred) -> None:
        """Log how much has come from the source, and how fast."""
        self._log.debug("%s: %s", title(run), progress_text(progress))

    def retrying(self, run: RunStarted, error: Exception, attempt: int, delay: float) -> None:
        """Log why the run starts again."""
        self._log.warning("%s: attempt %d in %.1f s: %s", title(run), attempt, delay, error)

    def finished(self, run: RunStarted, result: TargetResult) -> None:
        """Log the end, and the warnings."""
        level = logging.INFO if result.status == "success" else logging.ERROR
        detail = f": {result.error}" if result.error else ""
        self._log.log(level, "%s: %s%s", title(run), outcome(result), detail)
        for warning in result.warnings:
            self._log.warning("%s", warning)


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
    if isinstance(result.error, KeyboardInterrupt):
        return f"interrupted after {result.seconds:.2f} s"
    if result.status == "success":
        return f"{counts_text(result)} in {result.seconds:.2f} s"
    return f"{result.status} after {result.seconds:.2f} s"
