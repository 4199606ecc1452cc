"""How an embedded server stands: whether it runs, for whom, and what it left behind."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

from pgflow.connections.holders import Holders
from pgflow.connections.postmaster import Postmaster


@dataclass(frozen=True)
class ServerState:
    """How a server stood when it was looked at.

    Attributes:
        postmaster: Its main process; None if it does not run.
        kept: Whether it goes on when nobody uses it any more.
        killed: Whether it ended without being stopped, so that its next start replays its log.
        users: The numbers of the other processes of pgflow that use it.
        data: Its data directory.
        version: The major version that wrote the data; None if there is none yet.
    """

    postmaster: Postmaster | None
    kept: bool
    killed: bool
    users: tuple[int, ...]
    data: Path
    version: int | None

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.postmaster is not None

    @property
    def pid(self) -> int | None:
        """The number of its main process."""
        return self.postmaster.pid if self.postmaster else None

    def url(self, database: str) -> URL | None:
        """Return the URL of a database, which need not be there; None if the server is down.

        Args:
            database: Its name.
        """
        return self.postmaster.url(database) if self.postmaster else None

    @classmethod
    def of(cls, data: Path, holders: Holders) -> ServerState:
        """Look at a data directory.

        Args:
            data: The directory; it need not be there yet.
            holders: Who uses the server.
        """
        server = Postmaster.find(data)
        return cls(
            postmaster=server,
            kept=server is not None and holders.keeps(server),
            killed=server is None and (data / "postmaster.pid").exists(),
            users=tuple(sorted(e.pid for e in holders.processes if e.pid != os.getpid())),
            data=data,
            version=_version(data),
        )


def _version(data: Path) -> int | None:
    try:
        return int((data / "PG_VERSION").read_text().split(".")[0])
    except FileNotFoundError:
        return None
