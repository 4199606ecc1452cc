"""Batches that are ended from outside: everything that runs in threads ends with them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import pgflow
from pgflow.declare.targets import Target
from pgflow.errors import RunCancelled
from pgflow.project.batch import OnFailure
from tests.project.conftest import ROW, wait_for
from tests.project.test_batch import statuses

if TYPE_CHECKING:
    from tests.project.conftest import World

#: Ending runs takes a tenth of a second; a busy machine gets some slack.
SOON = 4.0

SLOW = "SELECT 1 AS id, '' AS v FROM pg_sleep(60)"


@contextmanager
def pressing_ctrl_c(when: Any, times: int = 1) -> Iterator[list[float]]:
    """Send this process a SIGINT from another thread, once something is true."""
    pressed: list[float] = []

    def press() -> None:
        for _ in range(times):
            wait_for(when, "what is to be interrupted")
            pressed.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield pressed
    finally:
        thread.join()


def test_ctrl_c_ends_the_runs_of_all_threads(world: World) -> None:
    """Servers stop at once; what runs is rolled back, what waits never begins."""
    for name in "abc":
        world.pipe(name, SLOW)
    world.create()
    with pressing_ctrl_c(lambda: world.asleep() == 2) as pressed:
        batch = world.sync(workers=2)
        took = time.monotonic() - pressed[0]
    assert isinstance(batch.interrupt, KeyboardInterrupt)
    assert took < SOON
    assert world.asleep() == 0
    assert statuses(batch) == {"a": "interrupted", "b": "interrupted", "c": "not run"}
    assert batch.failed == ()
    assert [run.pipeline for each in batch.outcomes for run in each.seen.open.values()] == [
        "a",
        "b",
    ]
    assert world.run("SELECT DISTINCT status, error_type, error FROM pgflow.runs") == [
        (
            "failed",
            "RunCancelled",
            "The run was interrupted, as by Ctrl-C; nothing of this run was written.",
        )
    ]
    wait_for(lambda: threading.active_count() == 1, "the end of all threads")


def test_no_further_target_begins_after_an_interrupt(world: World) -> None:
    """A pipeline that goes on after failures does not take an interrupt for one."""
    targets = [Target(world.table(name)) for name in "xy"]
    world.pipe("fan", SLOW, targets=targets, continue_on_failure=True)
    world.pipe("other", SLOW)
    world.create()
    with pressing_ctrl_c(lambda: world.asleep() == 2):
        batch = world.sync(workers=2, on_failure=OnFailure.GO_ON)
    assert set(statuses(batch).values()) == {"interrupted"}
    assert sorted(world.run("SELECT target, status FROM pgflow.runs")) == [
        ("w.other", "failed"),
        ("w.x", "failed"),
    ]


@pytest.mark.parametrize("times", [1, 2])
def test_a_function_that_does_not_return_does_not_hold_up_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Python in a thread cannot be interrupted, so it is left alone; what it had is not written."""
    monkeypatch.setattr("pgflow.project.crew.PATIENCE", 0.3 if times == 1 else 60.0)
    entered, go = threading.Event(), threading.Event()

    def stuck(conn: Any) -> str:
        entered.set()
        assert go.wait(30)
        return ROW

    world.pipe("stuck", stuck)
    world.pipe("slow", SLOW)
    world.create()
    with pressing_ctrl_c(lambda: entered.is_set() and (times == 2 or world.asleep()), times):
        batch = world.sync(workers=2)
    assert statuses(batch)["stuck"] == "running"
    go.set()
    wait_for(lambda: threading.active_count() == 1, "the end of the thread")
    assert statuses(batch) == {"stuck": "interrupted", "slow": "interrupted"}
    assert world.run("SELECT count(*) FROM w.stuck") == [(0,)]
    assert dict(world.history()) == {"stuck": "failed", "slow": "failed"}


def test_cancel_runs_ends_a_batch(world: World) -> None:
    """Whoever cancels all runs of the process does not want the next ones to begin."""
    for name in "abc":
        world.pipe(name, SLOW)
    world.create()

    def cancel() -> None:
        wait_for(lambda: world.asleep() == 2, "the sleep")
        pgflow.cancel_runs()

    thread = threading.Thread(target=cancel)
    thread.start()
    batch = world.sync(workers=2, on_failure=OnFailure.GO_ON)
    thread.join()
    assert statuses(batch) == {"a": "interrupted", "b": "interrupted", "c": "not run"}
    assert batch.interrupt is None
    assert [type(each.error) for each in batch.failed] == [RunCancelled, RunCancelled]


def test_a_function_that_ends_the_program_ends_the_others_too(world: World) -> None:
    """SystemExit comes out of the batch when all other runs have been rolled back."""

    def leave(conn: Any) -> str:
        wait_for(lambda: world.asleep() == 1, "the other one")
        raise SystemExit(7)

    world.pipe("leaves", leave)
    world.pipe("slow", SLOW)
    world.create()
    with pytest.raises(SystemExit) as caught:
        world.sync(workers=2)
    assert caught.value.code == 7
    assert world.asleep() == 0
    assert dict(world.history()) == {"leaves": "failed", "slow": "failed"}
