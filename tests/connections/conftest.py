"""Embedded servers for one test, and processes that hold them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HOLD = """
import os, sys
from pgflow.connections.embedded import EmbeddedServer

server = EmbeddedServer(sys.argv[1])
server.start(keep="keep" in sys.argv)
if "fork" in sys.argv:
    child = os.fork()
    if child == 0:
        sys.exit()
    os.waitpid(child, 0)
print(server._server().pid, flush=True)
sys.stdin.read()
"""


class Holder:
    """A process that uses an embedded server until it is told to end.

    Args:
        process: The process.
    """

    def __init__(self, process: subprocess.Popen[str]):
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    def server_pid(self) -> int:
        """Wait until the process has its server, and return the server's process number."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def finish(self) -> None:
        """Let the process end by itself, without an error."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait() == 0

    def kill(self) -> None:
        """End the process as kill -9 does."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def hold(data_directory: Path) -> Iterator[Callable[..., Holder]]:
    """A function that starts a process which uses a server until its standard input ends."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> Holder:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", HOLD, *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            return Holder(process)

        yield start
