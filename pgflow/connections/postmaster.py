"""The running server as its own `postmaster.pid` describes it, and what is left of a dead one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

from pgflow.connections.process import at_work_in, command_line
from pgflow.errors import EmbeddedServerFailed

#: The superuser of every server that pgflow creates.
SUPERUSER = "postgres"

#: The port names the socket's file; no server of pgflow listens on a network.
PORT = 5432

#: Where a socket goes whose path would be too long; TMPDIR may itself be long, or private.
SHORT_SOCKETS = Path("/tmp")  # noqa: S108  # the directory below it is private, its owner checked

#: Seconds that a stop may take; it writes what is not yet on disk.
_STOP_TIMEOUT = 60

#: Seconds that a process of a dead server gets to end by itself.
_ORPHAN_TIMEOUT = 5.0


@dataclass(frozen=True)
class Postmaster:
    """A server's main process.

    Attributes:
        pid: Its number.
        started: Seconds since the epoch at which it says it started.
        socket_directory: Where its unix socket is.
        status: What it is doing: `starting`, `ready`, `stopping` or `standby`.
    """

    pid: int
    started: int
    socket_directory: Path
    status: str

    @classmethod
    def find(cls, data: Path) -> Postmaster | None:
        """Return the server that runs on a data directory, or None."""
        found = _recorded(data)
        return found if found and found.runs_on(data) else None

    def runs_on(self, data: Path) -> bool:
        """Tell whether the process lives and is a server; one names its data when it starts."""
        return str(data) in command_line(self.pid)

    def url(self, database: str = SUPERUSER) -> URL:
        """Return the URL of one of the server's databases."""
        return URL.create(
            "postgresql+psycopg",
            username=SUPERUSER,
            database=database,
            query={"host": str(self.socket_directory), "port": str(PORT)},
        )

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server, ending its connections, and wait until it is gone.

        Args:
            immediate: Do not write what is not yet on disk: the next start recovers it.

        Raises:
            EmbeddedServerFailed: It is still there after a minute.
        """
        words = command_line(self.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGQUIT if immediate else signal.SIGINT)
        deadline = time.monotonic() + _STOP_TIMEOUT
        while words and command_line(self.pid) == words:
            if time.monotonic() > deadline:
                raise EmbeddedServerFailed(
                    f"The PostgreSQL server with process number {self.pid} is still stopping "
                    f"after {_STOP_TIMEOUT} seconds. Look into the server.log beside its data, "
                    "and wait."
                )
            time.sleep(0.02)
        if self.socket_directory.parent == SHORT_SOCKETS:
            with contextlib.suppress(OSError):
                self.socket_directory.rmdir()


def defuse(data: Path) -> None:
    """Let PostgreSQL see that a recorded server is dead whose process number another one has now.

    The file itself stays: it names the shared memory by which PostgreSQL finds out whether
    processes of the dead server are still writing.

    Args:
        data: The data directory; nothing is done if its server runs, or ended well.
    """
    found = _recorded(data)
    if found is None or found.runs_on(data):
        return
    path = data / "postmaster.pid"
    _, _, rest = path.read_text().partition("\n")
    path.write_text(f"{_dead_pid()}\n{rest}")


def end_orphans(data: Path) -> None:
    """End processes of a server whose main process was killed, which cannot end them any more.

    The idle ones notice by themselves. One that is busy with a long statement does not, and keeps
    the shared memory without which the next server does not start. Nothing that it does counts:
    what was not committed is lost with the server anyway.

    Args:
        data: The data directory; nothing is done if its server runs.
    """
    if Postmaster.find(data) is not None:
        return
    for sent in (signal.SIGQUIT, signal.SIGKILL):
        deadline = time.monotonic() + _ORPHAN_TIMEOUT
        for pid in _orphans(data):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sent)
        while _orphans(data):
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)


def _orphans(data: Path) -> list[int]:
    """Name the processes that work in a data directory and call themselves a server's."""
    return [pid for pid in at_work_in(data) if command_line(pid).startswith("postgres: ")]


def _recorded(data: Path) -> Postmaster | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = (data / "postmaster.pid").read_text().splitlines()
        complete = len(lines) > 7
        return Postmaster(
            pid=int(lines[0]),
            started=int(lines[2]),
            socket_directory=Path(lines[4] if complete else ""),
            status=lines[7].strip() if complete else "starting",
        )
    return None


def _dead_pid() -> int:
    """Return the number of a process that has just ended."""
    with subprocess.Popen(["/bin/sh", "-c", ":"]) as shell:
        return shell.pid
