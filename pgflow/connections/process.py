"""What the system says about other processes: alive, started when, by which words."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One process, told apart from a later one that gets the same number.

    Attributes:
        pid: Its number.
        started: When it started, in the system's own unit; empty where that cannot be known.
    """

    pid: int
    started: str

    @classmethod
    def current(cls) -> Process:
        """Return this process."""
        return cls(os.getpid(), started(os.getpid()) or "")

    @property
    def alive(self) -> bool:
        """Whether it still runs; one that only waits to be reaped does not."""
        now = started(self.pid)
        return now is not None and self.started in (now, "")


def started(pid: int) -> str | None:
    """Return when a process started, or None if it does not run."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None if _has_proc() else _ask_ps(pid, "lstart=")
    # The name in parentheses may hold anything; state is the first field after it, start the 20th.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def command_line(pid: int) -> str:
    """Return the words that started a process, joined by blanks; empty if it does not run."""
    try:
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return "" if _has_proc() else _ask_ps(pid, "command=") or ""
    return os.fsdecode(raw.replace(b"\0", b" "))


def at_work_in(directory: Path) -> Iterator[int]:
    """Yield the numbers of processes whose working directory this is, as far as one may see.

    Args:
        directory: The directory. Where the system has no /proc, nothing is found.
    """
    here = str(directory.resolve())
    for entry in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str((entry / "cwd").readlink()) == here:
                yield int(entry.name)


def _has_proc() -> bool:
    return (_PROC / "self" / "stat").exists()


def _ask_ps(pid: int, columns: str) -> str | None:
    """Ask `ps`, where the system has no /proc."""
    said = subprocess.run(  # noqa: S603  # only a number varies
        ["/bin/ps", "-o", f"stat=,{columns}", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    state, _, rest = said.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else rest.strip()
