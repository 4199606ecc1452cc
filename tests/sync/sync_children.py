"""Starting, stopping and killing processes that sync, and waiting for what they do."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import psycopg
from sqlalchemy import make_url

#: How long a test waits for something that should happen at once.
DEADLINE = 30.0

_PROGRAM = Path(__file__).with_name("sync_child.py")

_NEST = Path(__file__).with_name("sync_nest.py")

#: The advisory lock that holds children back.
GATE = 4711


def until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    """Wait for a condition; its value, once that is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds} seconds for {what}")


def session(url: str, **options: Any) -> psycopg.Connection[Any]:
    """Open a connection of the test's own, in autocommit."""
    parsed = make_url(url)
    return psycopg.connect(
        host=str(parsed.query["host"]),
        port=str(parsed.query["port"]),
        user=parsed.username,
        dbname=parsed.database,
        autocommit=True,
        **options,
    )


class Gate:
    """An advisory lock that children wait for."""

    def __init__(self, url: str, key: int = GATE) -> None:
        self.key = key
        self._connection = session(url)

    def __enter__(self) -> Gate:
        self._connection.execute("SELECT pg_advisory_lock(%s)", [self.key])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def waiting(self) -> int:
        """How many wait in front of it."""
        row = self._connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND objid::bigint = %s AND classid = 0",
            [self.key],
        ).fetchone()
        return int(row[0]) if row else 0

    def await_waiters(self, count: int = 1) -> None:
        """Wait until somebody waits in front of it."""
        until(lambda: self.waiting() >= count, f"{count} to wait at the gate")

    def open(self) -> None:
        """Let everybody go on."""
        self._connection.execute("SELECT pg_advisory_unlock(%s)", [self.key])


class Nest:
    """A process that has loaded everything, and forks for each order."""

    def __init__(self) -> None:
        self._link, theirs = socket.socketpair()
        number = str(theirs.fileno())
        words = [sys.executable, "-W", "error", str(_NEST), number]
        with theirs:
            self._process = subprocess.Popen(words, pass_fds=[theirs.fileno()])
        self._guard = threading.Lock()
        atexit.register(self._close)

    def ask(self, request: dict[str, Any], files: Sequence[int] = ()) -> Any:
        """Send a request with the numbers of open files; the answer."""
        with self._guard:
            socket.send_fds(self._link, [json.dumps(request).encode()], files)
            return json.loads(self._link.recv(1 << 16))

    def _close(self) -> None:
        self._link.close()
        self._process.wait()


@functools.cache
def nest() -> Nest:
    """The one nest of the tests' process."""
    return Nest()


class Hatched:
    """A process out of the nest; it has what the tests need of `subprocess.Popen`."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.returncode: int | None = None
        self._files = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115
        self.pid: int = nest().ask({"order": order}, [each.fileno() for each in self._files])

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = nest().ask({"poll": self.pid})
        return self.returncode

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def communicate(self, timeout: float) -> tuple[str, str]:
        until(lambda: self.poll() is not None, f"process {self.pid} to end", timeout)
        out, err = (_drained(each) for each in self._files)
        return out, err


def _drained(file: IO[str]) -> str:
    with file:
        file.seek(0)
        return file.read()


def interpreter(order: dict[str, Any]) -> subprocess.Popen[str]:
    """Start a process of its own with an interpreter of its own, as scripts are started."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(_PROGRAM), json.dumps(order)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Child:
    """A process that syncs."""

    def __init__(self, process: Hatched | subprocess.Popen[str]) -> None:
        self.process = process

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def answer(self) -> dict[str, Any]:
        """What it said at its end."""
        out, err = self.process.communicate(timeout=DEADLINE)
        assert self.process.returncode == 0, err
        assert err == "", err
        found: dict[str, Any] = json.loads(out)
        return found

    def kill(self) -> None:
        """End it without any warning."""
        self.process.kill()
        self.process.communicate(timeout=DEADLINE)

    def interrupt(self, sent: signal.Signals = signal.SIGINT) -> tuple[float, int | None, str]:
        """Press Ctrl-C; seconds until its end, its exit code, and what it said."""
        begun = time.monotonic()
        os.kill(self.process.pid, sent)
        _, err = self.process.communicate(timeout=DEADLINE)
        return time.monotonic() - begun, self.process.returncode, err


@contextmanager
def nursery(
    url: str, hatch: Callable[[dict[str, Any]], Hatched | subprocess.Popen[str]] = Hatched
) -> Iterator[Callable[..., Child]]:
    """Give a function that starts children; those that still run at the end are killed."""
    children: list[Child] = []

    def start(mode: str = "scd2", **order: Any) -> Child:
        children.append(Child(hatch({"url": url, "mode": mode, "gate": GATE, **order})))
        return children[-1]

    try:
        yield start
    finally:
        for child in children:
            if child.process.returncode is None:
                child.kill()


def waiting_for_target(url: str) -> int:
    """How many runs wait for a target that another one holds."""
    with session(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND NOT (classid = 0 AND objid::bigint = %s)",
            [GATE],
        ).fetchone()
    return int(row[0]) if row else 0
