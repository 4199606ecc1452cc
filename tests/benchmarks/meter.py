"""What a piece of work costs: seconds on the clock, and seconds of CPU in the server and here."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = 100  # of /proc/PID/stat, a second; Linux shows users this number on every architecture
_QUIET = 0.15
_READER = "postgres: io worker"


@dataclass(frozen=True)
class Cost:
    """What one run took.

    Attributes:
        wall: Seconds on the clock.
        cpu: Seconds of CPU of the server's process, its workers and this process; None where the
            server's processes cannot be seen.
    """

    wall: float
    cpu: float | None


@dataclass(frozen=True)
class Meter:
    """Watches one backend of a server, and those who work for it.

    Attributes:
        backend: The process id of the backend, or None if it is on another machine.
    """

    backend: int | None

    @classmethod
    def of(cls, backend: int) -> Meter:
        """Watch a backend, if it is a process of this machine that tells its costs."""
        try:
            _nanoseconds(backend)
        except OSError:
            return cls(None)
        return cls(backend if _title(backend).startswith("postgres:") else None)

    def measure(self, work: Callable[[], object]) -> Cost:
        """Do a piece of work and say what it cost."""
        self._settle()
        cpu, wall = self._cpu(), time.perf_counter()
        work()
        taken = time.perf_counter() - wall
        after = self._cpu()
        return Cost(taken, None if cpu is None or after is None else after - cpu)

    def _cpu(self) -> float | None:
        """Seconds that the server's processes and this one have used."""
        if self.backend is None:
            return None
        alive = sum(_nanoseconds(pid) for pid in (self.backend, *self._readers())) / 1e9
        return alive + self._reaped() + time.process_time()

    def _readers(self) -> list[int]:
        """The processes that read files for backends, which PostgreSQL 18 and later have."""
        parent = _parent(self.backend)
        pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
        return [p for p in pids if _title(p).startswith(_READER) and _parent(p) == parent]

    def _reaped(self) -> float:
        """Seconds of ended server processes: parallel workers are the postmaster's children."""
        children = _stat(_parent(self.backend))[13:15]
        return sum(map(int, children)) / _TICKS

    def _settle(self) -> None:
        """Wait until connections that were closed before are no longer being cleaned up."""
        if self.backend is None:
            return
        seen = -1.0
        while seen != (seen := self._reaped()):
            time.sleep(_QUIET)


def _nanoseconds(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def _title(pid: int) -> str:
    """What a process calls itself; empty for one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def _parent(pid: int | None) -> int:
    return int(_stat(pid)[1])


def _stat(pid: int | None) -> list[str]:
    """Fields of /proc/PID/stat after the command's name, which may hold blanks."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def median_wall(costs: Sequence[Cost]) -> float:
    """Return the median of the seconds on the clock."""
    return statistics.median(cost.wall for cost in costs)


def median_cpu(costs: Sequence[Cost]) -> float | None:
    """Return the median of the seconds of CPU, or None where they are not known."""
    known = [cost.cpu for cost in costs if cost.cpu is not None]
    return statistics.median(known) if known else None
