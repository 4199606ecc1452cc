"""A program that loads what pages use, and forks a process for each page that it is told to run.

Loading it takes longer than most pages do. Each line that it reads is a JSON object with `script`,
`directory`, `environment`, `output` and `errors`; it answers with the exit code.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import pgflow.alembic.apply
import pgflow.decorators
import pgflow.project
import pgflow.run.runner  # noqa: F401  # loaded before the first fork, not after each

#: Seconds that a page may take.
_LONGEST = 60


def run(order: dict[str, Any]) -> None:
    """Run a page in this process, which ends."""
    code = 1
    signal.alarm(_LONGEST)
    try:
        for number, path in ((1, order["output"]), (2, order["errors"])):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.chdir(order["directory"])
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.path.insert(0, str(Path(order["script"]).parent))
        runpy.run_path(order["script"], run_name="__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        # What the interpreter would do at its end: close connections, stop servers.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Wait for orders until there are no more."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            run(json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
