"""The program that syncs until it is killed, again and again.

It loads everything once and then forks a process whenever it is asked to, so that two hundred
deaths do not cost two hundred starts of Python. Each of its processes runs pipelines by
chance, over and over. What goes wrong in a way that no fault explains is appended to a file.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from pgflow.connections.registry import dispose
from pgflow.errors import OutcomeUnknown
from pgflow.run.recovery import retries
from tests.faults.targets import Targets


def expected(error: BaseException) -> bool:
    """Whether a fault explains an error: the connection or the server went away, or Ctrl-C."""
    return isinstance(error, (KeyboardInterrupt, OutcomeUnknown)) or retries.is_lost(error)


def sync_for_ever(pipelines: dict[str, Any], seed: str, problems: Path) -> None:
    parent, chance = os.getppid(), random.Random(seed)
    names = list(pipelines)
    while os.getppid() == parent:
        # Half of the time all processes want the same, so that they meet.
        meeting = names[int(time.time()) % len(names)]
        name = meeting if chance.random() < 0.5 else chance.choice(names)
        try:
            pipelines[name].sync()
        except KeyboardInterrupt:
            return
        except Exception as error:
            if not expected(error):
                with problems.open("a") as file:
                    file.write(f"{name}: {''.join(traceback.format_exception(error))}\n")


def main() -> None:
    url, seed, problems = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    targets = Targets(url)
    dispose()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
    # A shell that starts `make soak` in the background has it ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Python's own work after a fork swallows what a signal's handler raises; so the signal waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    print("ready", flush=True)  # noqa: T201  # the answer
    for number, _ in enumerate(sys.stdin):
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
                sync_for_ever(targets.pipelines, f"{seed} {number}", problems)
            finally:
                os._exit(0)
        print(pid, flush=True)  # noqa: T201  # the answer


if __name__ == "__main__":
    main()
