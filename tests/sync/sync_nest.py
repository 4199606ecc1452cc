"""A program that loads everything once, and forks a process for each order that it is sent.

Starting Python and loading pgflow takes longer than most syncs of the tests. Requests and answers
are JSON on the socket whose number is the only argument. `{"order": {...}}` comes with two files,
for the standard output and error of a new process that does what `sync_child` does; the answer is
its number. `{"poll": number}` asks for its exit code: None while it lives, negative for a signal.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

import sync_child

import pgflow.run.runner  # noqa: F401  # loaded before the first fork, not after each

_WARMING = {"url": "postgresql+psycopg://nobody@/nowhere?host=/nowhere&port=1", "mode": "merge"}


def _do(order: dict[str, Any]) -> int:
    """Do what the interpreter does around `main`."""
    try:
        return sync_child.main(order)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1


def _live(order: dict[str, Any], files: list[int]) -> NoReturn:
    """Be the new process."""
    code = 1
    try:
        for number, file in zip((1, 2), files, strict=True):
            os.dup2(file, number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = _do(order)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _poll(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the tests
    sync_child.pipeline(_WARMING, sync_child.Stops(_WARMING))
    with socket.socket(fileno=int(sys.argv[1])) as link:
        while True:
            message, files, _, _ = socket.recv_fds(link, 1 << 16, 2)
            if not message:
                return
            request = json.loads(message)
            if "poll" in request:
                answer = _poll(request["poll"])
            else:
                answer = os.fork()
                if not answer:
                    link.close()
                    _live(request["order"], files)
            for file in files:
                os.close(file)
            link.sendall(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
