"""Which processes use an embedded server, kept in a file beside it under a lock."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pgflow.connections.postmaster import Postmaster
from pgflow.connections.process import Process
from pgflow.errors import EmbeddedServerFailed


@dataclass(frozen=True)
class Holders:
    """The living processes that use a server, and the server that shall outlive them.

    Attributes:
        processes: Who uses it.
        kept: The number and start of the server that was marked to be kept, if one was.
    """

    processes: frozenset[Process] = frozenset()
    kept: tuple[int, int] | None = None

    def add(self, process: Process) -> Holders:
        """Return the holders with one more."""
        return replace(self, processes=self.processes | {process})

    def remove(self, process: Process) -> Holders:
        """Return the holders without one."""
        return replace(self, processes=self.processes - {process})

    def keep(self, server: Postmaster) -> Holders:
        """Return the holders with a mark that this server goes on when nobody holds it."""
        return replace(self, kept=(server.pid, server.started))

    def without_mark(self) -> Holders:
        """Return the holders without a server to be kept."""
        return replace(self, kept=None)

    def keeps(self, server: Postmaster) -> bool:
        """Tell whether this very server was marked; a later one on the same data was not."""
        return self.kept == (server.pid, server.started)

    @classmethod
    def read(cls, path: Path) -> Holders:
        """Read the file, leaving out processes that have died.

        A file that is missing, or was cut off by a crash, holds nobody.
        """
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            found = json.loads(path.read_text())
            processes = (Process(int(pid), str(started)) for pid, started in found["processes"])
            kept = found["kept"]
            return cls(
                frozenset(each for each in processes if each.alive),
                (int(kept[0]), int(kept[1])) if kept else None,
            )
        return cls()

    def write(self, path: Path) -> None:
        """Write the file."""
        processes = sorted((each.pid, each.started) for each in self.processes)
        path.write_text(json.dumps({"processes": processes, "kept": self.kept}))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file's lock; other processes and threads that want it wait.

    Args:
        path: The lock file; it is created when missing and stays.

    Raises:
        EmbeddedServerFailed: The file belongs to somebody else.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise EmbeddedServerFailed(
            f"{str(path.parent)!r} belongs to another user, so its embedded server cannot be used "
            "from here. Choose another name, or set PGFLOW_DATA_DIR to a directory of your own."
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
