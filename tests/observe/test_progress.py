"""Observers: what they say while runs go on."""

from __future__ import annotations

import io
import logging
import re
import time
from uuid import UUID

import pytest
from rich.console import Console

from pgflow.errors import RunCancelled, StatementFailed
from pgflow.observe.progress import LineProgress, LogProgress, TerminalProgress
from pgflow.plan.sql import raw
from pgflow.plan.statement import Statement
from pgflow.run.events import Observer, RunStarted
from pgflow.run.result import TargetResult

RUN = RunStarted(UUID(int=1), "sales", "w.sales", False)
DONE = TargetResult(
    target="w.sales", mode="merge", run_id=RUN.run_id, seconds=1.234, inserted=1200, read=1300,
    warnings=("the key is not the primary key",),
)  # fmt: skip
ERROR = StatementFailed("deadlock\nDETAIL: x", purpose="", statement="", sqlstate="40P01",
                        diagnostic="")  # fmt: skip
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
WORK = Statement("insert what is [new]", raw("SELECT 1"))


def failed(error: BaseException) -> TargetResult:
    """The result of a run that an error ended."""
    return TargetResult(target="w.sales", mode="merge", run_id=RUN.run_id, status="failed",
                        error=error, seconds=0.5)  # fmt: skip


def play(observer: Observer, result: TargetResult) -> None:
    """Tell an observer of a run that waits, is tried again, and ends."""
    observer.started(RUN)
    observer.waiting(RUN, ("run 7 of 'other'", "server process 9"))
    observer.executing(RUN, WORK)
    observer.retrying(RUN, ERROR, 2, 0.25)
    observer.finished(RUN, result)


def test_lines_say_what_waits_and_what_has_finished() -> None:
    """One line for each thing that a reader of a log file wants to know, and its warnings."""
    lines: list[str] = []
    progress = LineProgress(lines.append)
    play(progress, DONE)
    assert lines == [
        "sales -> w.sales: waiting for run 7 of 'other' and server process 9",
        "sales -> w.sales: attempt 2 in 0.2 s, because deadlock",
        "sales -> w.sales: inserted 1,200, read 1,300 in 1.23 s",
        "sales -> w.sales: warning: the key is not the primary key",
    ]


def test_a_failed_run_is_a_line_without_the_error() -> None:
    """The error itself is told once, by whoever catches it."""
    lines: list[str] = []
    play(LineProgress(lines.append), failed(ERROR))
    assert lines[-1] == "sales -> w.sales: failed after 0.50 s"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RunCancelled("Ctrl-C")])
def test_an_interrupted_run_is_told_as_such(error: BaseException) -> None:
    """What was stopped from outside has not failed by itself."""
    lines: list[str] = []
    play(LineProgress(lines.append), failed(error))
    assert lines[-1] == "sales -> w.sales: interrupted after 0.50 s"


def test_a_dry_run_is_marked() -> None:
    """Nobody takes the line of a dry run for rows that were written."""
    lines: list[str] = []
    dry = RunStarted(RUN.run_id, "sales", "w.sales", True)
    LineProgress(lines.append).finished(dry, DONE)
    assert lines[0].startswith("sales -> w.sales (dry run): inserted 1,200")


def test_control_characters_do_not_reach_the_screen() -> None:
    """A name with an escape sequence is shown as text."""
    lines: list[str] = []
    evil = RunStarted(RUN.run_id, "sales", '"\x1b[2Jx"', False)
    LineProgress(lines.append).waiting(evil, ())
    assert lines == ['sales -> "\N{REPLACEMENT CHARACTER}[2Jx": waiting for another run']


def terminal() -> tuple[Console, io.StringIO]:
    """A console that takes itself for a terminal, and what it has shown."""
    file = io.StringIO()
    return Console(file=file, force_terminal=True, width=100, color_system=None), file


def test_a_terminal_shows_the_statement_that_runs() -> None:
    """A run that takes its time gets a live line with what is going on, gone at the end."""
    console, file = terminal()
    with TerminalProgress(console, patience=0) as progress:
        progress.started(RUN)
        deadline = time.monotonic() + 20
        while "sales -> w.sales: begin" not in file.getvalue():
            assert time.monotonic() < deadline
        progress.executing(RUN, WORK)
        while "insert what is [new]" not in file.getvalue():
            assert time.monotonic() < deadline
        progress.finished(RUN, DONE)
        assert file.getvalue().count("inserted 1,200") == 1
        length = len(file.getvalue())
    assert len(file.getvalue()) == length


def test_a_terminal_has_a_line_for_each_run_that_goes_on() -> None:
    """Runs at the same time stand below each other; the last one takes the display away."""
    console, file = terminal()
    other = RunStarted(UUID(int=2), "stock", "w.stock", False)
    both = re.compile(
        r"sales -> w\.sales: begin +0:00:\d\d\n. stock -> w\.stock: insert what is \[new\] +0:0"
    )
    with TerminalProgress(console, patience=0) as progress:
        progress.started(RUN)
        deadline = time.monotonic() + 20
        while "sales -> w.sales: begin" not in file.getvalue():
            assert time.monotonic() < deadline
        progress.started(other)
        progress.executing(other, WORK)
        while not both.search(file.getvalue()):
            assert time.monotonic() < deadline
        progress.finished(RUN, DONE)
        shown = file.getvalue().partition("inserted 1,200")[2]
        assert "sales -> w.sales: begin" not in shown, "its line is gone at once"
        assert SHOW_CURSOR not in shown, "the other one goes on"
        progress.finished(other, DONE)
        assert SHOW_CURSOR in file.getvalue()


def test_a_short_run_shows_no_live_line() -> None:
    """What is over before anybody could read it leaves its last line only."""
    console, file = terminal()
    with TerminalProgress(console, patience=1000, mark="at noon: {}".format) as progress:
        play(progress, DONE)
    assert "insert what" not in file.getvalue()
    done = "at noon: sales -> w.sales: inserted 1,200, read 1,300 in 1.23 s"
    assert done in file.getvalue().splitlines()
    assert "\x1b" not in file.getvalue()


def test_the_live_line_goes_when_the_command_does() -> None:
    """The cursor is back at the end, also when no observer was told that the run ended."""
    console, file = terminal()
    with TerminalProgress(console, patience=0) as progress:
        progress.started(RUN)
        deadline = time.monotonic() + 20
        while HIDE_CURSOR not in file.getvalue():
            assert time.monotonic() < deadline
        assert SHOW_CURSOR not in file.getvalue()
    assert SHOW_CURSOR in file.getvalue()


def test_a_log_gets_records_of_fitting_levels(caplog: pytest.LogCaptureFixture) -> None:
    """Services see ends as INFO, waits and warnings as WARNING, failures with their error."""
    caplog.set_level(logging.DEBUG, "pgflow")
    play(LogProgress(), DONE)
    play(LogProgress(), failed(ERROR))
    seen = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert seen[:6] == [
        ("INFO", f"sales -> w.sales: run {RUN.run_id} begins"),
        ("WARNING", "sales -> w.sales: waiting for run 7 of 'other' and server process 9"),
        ("DEBUG", "sales -> w.sales: insert what is [new]"),
        ("WARNING", "sales -> w.sales: attempt 2 in 0.2 s: deadlock\nDETAIL: x"),
        ("INFO", "sales -> w.sales: inserted 1,200, read 1,300 in 1.23 s"),
        ("WARNING", "sales -> w.sales: the key is not the primary key"),
    ]
    assert seen[-1] == ("ERROR", "sales -> w.sales: failed after 0.50 s: deadlock\nDETAIL: x")
