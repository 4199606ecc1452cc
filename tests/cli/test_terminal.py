"""The command line as a process: pipes, terminals, colours, Ctrl-C, two runs at once."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from conftest import Place, Ran

ESCAPE = "\x1b"

SLOW = """
slow = pgflow.Pipeline("slow", target=make("slow"), mode="merge",
                       source="SELECT 1 AS id, 'x' AS v FROM pg_sleep(30)")
gated = pgflow.Pipeline("gated", target=make("gated"), mode="merge",
                        source="SELECT 1 AS id, 'x' AS v FROM pg_advisory_xact_lock_shared(42)")
"""


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Ask until something is true; fail if it is not within 20 seconds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)


def waiting(place: Place, text: str) -> int:
    """How many statements with a text are active on the server."""
    return int(
        place.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND"
            f" state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%{text}%'"
        )[0][0]
    )


Start = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]


@pytest.fixture
def start(console_script: list[str], environment: Callable[..., dict[str, str]]) -> Start:
    """Starts the command line in a process of its own, which is gone at the end."""

    @contextmanager
    def start(*words: str) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [*console_script, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        try:
            with process:
                yield process
        finally:
            process.kill()

    return start


Show = Callable[..., tuple[int, str]]


@pytest.fixture
def show(console_script: list[str], environment: Callable[..., dict[str, str]]) -> Show:
    """Runs a command with all its streams on a terminal; returns exit code and what it showed."""

    def show(*words: str, columns: int = 120, **more: str) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        env = environment(TERM="xterm-256color", COLUMNS=str(columns), **more)
        process = subprocess.Popen(
            [*console_script, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=env
        )
        os.close(theirs)
        shown = read_all(ours)
        return process.wait(timeout=60), shown

    return show


def read_all(terminal: int) -> str:
    """What is written to a terminal until its other end is closed."""
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # how Linux says that the other end is closed
            piece = b""
        if not piece:
            os.close(terminal)
            return shown.decode()
        shown += piece


@pytest.mark.parametrize("command", [("list",), ("sync", "--all"), ("history",)])
def test_piped_output_is_plain_and_whole(
    ready: Place, execute: Callable[..., Ran], command: tuple[str, ...]
) -> None:
    """No escape sequence and no line that depends on the terminal's width comes out of a pipe."""
    long = "a_name_that_is_longer_than_forty_columns_would_ever_show"
    ready.write(
        f'p = pgflow.Pipeline("{long}", target=raw, mode="merge", source="SELECT 1 id, NULL v")'
    )
    execute("sync", long)
    ran = execute(*command, COLUMNS="40", FORCE_COLOR="1")
    assert ran.code == 0
    assert ESCAPE not in ran.out + ran.err
    lines = [line for line in ran.out.splitlines() if long in line]
    assert len(lines) == 1
    assert ran.out.splitlines()[0].split()[-1] in ("description", "seconds", "error")


def test_a_terminal_gets_styles_and_no_color_takes_them_away(ready: Place, show: Show) -> None:
    """Headings are bold on a terminal; --no-color and NO_COLOR leave the same without colours."""
    code, styled = show("list")
    assert code == 0
    assert f"{ESCAPE}[1mpipeline" in styled
    uncoloured = re.sub(r"\x1b\[[0-9;]*m", "", styled)
    for words, more in ((("list", "--no-color"), {}), (("list",), {"NO_COLOR": "1"})):
        code, plain = show(*words, **more)
        assert code == 0
        assert ESCAPE not in plain
        assert plain == uncoloured, "only the colours are gone"


def test_a_preview_on_a_terminal_sets_apart_what_pgflow_adds(ready: Place, show: Show) -> None:
    """Added columns and reasons are dim, hazards stand out; plain where colours are unwanted."""
    ready.write(
        'p = pgflow.Pipeline("p", target=make("long"), mode="truncate",'
        ' source="SELECT 1 AS id, NULL AS v")'
    )
    ready.create()
    code, styled = show("preview", "p", columns=40)
    assert code == 0
    assert f"{ESCAPE}[2m_loaded_at, _batch_id{ESCAPE}[0m" in styled
    assert f"{ESCAPE}[33m  hazard: TRUNCATE locks readers out" in styled
    assert "INSERT INTO warehouse.long (id, v, _loaded_at, _batch_id)" in styled, "not wrapped"
    assert ESCAPE not in show("preview", "p", "--no-color")[1]


def test_a_narrow_terminal_cuts_nothing_off(ready: Place, show: Show) -> None:
    """What does not fit beside each other stands below each other, every name whole."""
    code, shown = show("sync", "--all", columns=40)
    assert code == 0
    assert "warehouse.report" in shown
    assert "seconds" in shown
    ids = ready.execute("SELECT left(run_id::text, 8) FROM pgflow.runs")
    _, history = show("history", columns=40)
    assert all(run_id in history for (run_id,) in ids), "to ask `history show` for"
    assert history.count("warehouse.report") == 1


def test_a_reader_that_goes_away_ends_nothing(ready: Place, start: Start) -> None:
    """A closed pipe loses the output, not the run, and the exit code is the run's."""
    with start("sync", "--all") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        assert process.wait(timeout=60) == 0
    assert ready.execute("SELECT count(*) FROM warehouse.report") == [(3,)]


def test_output_that_cannot_be_written_is_a_failure(
    ready: Place, console_script: list[str], environment: Callable[..., dict[str, str]]
) -> None:
    """A full disk ends a command that has results to write; lines of progress stop no run."""
    full = Path("/dev/full")
    for words, stream, code in (("list", "stdout", 1), ("sync --all", "stderr", 0)):
        with full.open("w") as file:
            streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: file}
            process = subprocess.Popen(
                [*console_script, *words.split()], text=True, env=environment(), **streams
            )
            _, err = process.communicate(timeout=60)
        assert process.returncode == code
        assert err is None or "No space left on device" in err


@pytest.mark.parametrize(
    ("sent", "code", "told"),
    [
        (signal.SIGINT, 130, ("KeyboardInterrupt", "The run was interrupted, as by Ctrl-C.")),
        (signal.SIGTERM, 143, ("Terminated", "The run was terminated (SIGTERM).")),
    ],
)
def test_interrupts_cancel_the_query_and_say_what_was_not_committed(
    ready: Place, start: Start, sent: signal.Signals, code: int, told: tuple[str, str]
) -> None:
    """Ctrl-C and SIGTERM end the run at once, with 130 and 143; the server keeps nothing."""
    ready.write(SLOW)
    ready.create()
    with start("sync", "raw", "slow", "report", "-j", "1") as process:
        wait_for(lambda: waiting(ready, "pg_sleep(30)"), "the slow statement")
        pressed = time.monotonic()
        process.send_signal(sent)
        out, err = process.communicate(timeout=20)
        assert time.monotonic() - pressed < 5, "far less than the query would have taken"
    assert process.returncode == code
    assert waiting(ready, "pg_sleep(30)") == 0
    rows = [line.split() for line in out.splitlines()]
    assert [(row[0], row[3]) for row in rows[1:3]] == [("raw", "success"), ("slow", "failed")]
    assert rows[3][:5] == ["report", "warehouse.report", "scd2", "not", "run"]
    ((run_id,),) = ready.execute("SELECT run_id::text FROM pgflow.runs WHERE pipeline = 'slow'")
    assert err.splitlines()[-1] == (
        f"pgflow: interrupted; run {run_id} (slow -> warehouse.slow) was cancelled and nothing of "
        "it committed; pgflow history has the last word."
    )
    assert "Traceback" not in err
    assert ready.execute("SELECT count(*) FROM warehouse.slow") == [(0,)]
    assert ready.execute(
        "SELECT status, error_type, error FROM pgflow.runs WHERE pipeline = 'slow'"
    ) == [("failed", *told)]


def test_interrupts_reach_pipelines_that_run_at_the_same_time(ready: Place, start: Start) -> None:
    """SIGTERM ends the runs of all workers at once; each of them is named, the rest not begun."""
    ready.write(SLOW + SLOW.replace("slow", "other").replace("gated", "later"))
    ready.create()
    with start("sync", "slow", "other", "gated", "-j", "2") as process:
        wait_for(lambda: waiting(ready, "pg_sleep(30)") == 2, "the slow statements")
        pressed = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
        assert time.monotonic() - pressed < 5, "far less than the queries would have taken"
    assert process.returncode == 143
    assert waiting(ready, "pg_sleep(30)") == 0
    rows = [line.split() for line in out.splitlines()]
    assert [(row[0], row[3]) for row in rows[1:3]] == [("slow", "failed"), ("other", "failed")]
    assert rows[3][:5] == ["gated", "warehouse.gated", "merge", "not", "run"]
    assert sorted(line.partition(" after")[0] for line in err.splitlines()[:2]) == [
        "other -> warehouse.other: interrupted",
        "slow -> warehouse.slow: interrupted",
    ]
    assert len(err.splitlines()) == 3
    assert " (slow -> warehouse.slow), run " in err
    assert "were cancelled and nothing of them committed" in err
    assert ready.execute("SELECT DISTINCT status, error FROM pgflow.runs") == [
        ("failed", "The run was terminated (SIGTERM); nothing of this run was written.")
    ]


def test_two_runs_at_once_wait_for_each_other(ready: Place, start: Start) -> None:
    """The second run says which run it waits for; both end well, one after the other."""
    ready.write(SLOW)
    ready.create()
    with psycopg.connect(ready.database.replace("+psycopg", "")) as gate:
        gate.execute("SELECT pg_advisory_xact_lock(42)")
        with start("sync", "gated") as first:
            wait_for(lambda: waiting(ready, "lock_shared(42)"), "the first run's statement")
            with start("sync", "gated") as second:
                assert second.stderr is not None
                line = second.stderr.readline()
                ((run_id,),) = ready.execute(
                    "SELECT run_id::text FROM pgflow.runs ORDER BY started_at LIMIT 1"
                )
                assert line.startswith(
                    f"gated -> warehouse.gated: waiting for run {run_id} of 'gated' (server process"
                )
                gate.rollback()
                assert (first.wait(timeout=20), second.wait(timeout=20)) == (0, 0)
    assert ready.execute("SELECT count(*) FROM warehouse.gated") == [(1,)]


def test_a_terminal_shows_what_takes_long(ready: Place, show: Show) -> None:
    """After a second the terminal shows the statement that is running; at the end it is gone."""
    ready.write(
        'nap = pgflow.Pipeline("nap", target=make("nap"), mode="merge",'
        " source=\"SELECT 1 AS id, 'x' AS v FROM pg_sleep(1.6)\")"
    )
    ready.create()
    code, shown = show("sync", "nap")
    assert code == 0
    assert "nap -> warehouse.nap: insert" in shown or "nap -> warehouse.nap: read" in shown
    assert "0:00:01" in shown
    assert shown.count("nap -> warehouse.nap: inserted 1, read 1 in ") == 1
