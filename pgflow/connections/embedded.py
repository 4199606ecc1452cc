"""A PostgreSQL server of the user's own, shared by the processes that use it.

The first process that asks for it creates and starts it; the last one that ends stops it. It
listens on a unix socket in a directory that only its owner can enter, and on no network port.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import secrets
import shlex
import shutil
import threading
from pathlib import Path

import platformdirs
import psycopg
from psycopg import sql
from sqlalchemy import URL

from pgflow.connections.account import Account, server_account
from pgflow.connections.binaries import find_binaries
from pgflow.connections.cluster import Cluster
from pgflow.connections.holders import Holders, locked
from pgflow.connections.postmaster import PORT, SUPERUSER, Postmaster
from pgflow.connections.process import Process
from pgflow.connections.server_state import ServerState
from pgflow.errors import EmbeddedServerFailed, InvalidServerName

#: Where root's servers live when their account may not enter root's own data directory.
SYSTEM_DIRECTORY = Path("/var/lib/pgflow")

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}\Z")

#: The servers that this process holds, by process number: a fork inherits none.
_held: dict[tuple[int, Path], EmbeddedServer] = {}
_guard = threading.Lock()


def data_directory() -> Path:
    """Return the directory below which embedded servers keep their data.

    Returns:
        `PGFLOW_DATA_DIR` if it is set, else the user's data directory for pgflow.
    """
    named = os.environ.get("PGFLOW_DATA_DIR")
    return Path(named).absolute() if named else Path(platformdirs.user_data_dir("pgflow"))


class EmbeddedServer:
    """A named server whose data stays, started when it is needed.

    Args:
        name: Letters, digits, `_`, `-` and `.`; each name has data of its own.

    Raises:
        InvalidServerName: The name has other characters, or starts with `-` or `.`.
    """

    def __init__(self, name: str):
        if not _NAME.match(name):
            raise InvalidServerName(
                f"{name!r} cannot name an embedded server. Use up to 63 letters, digits, '_', '-' "
                "and '.', starting with a letter, a digit or '_'.",
                name=name,
            )
        self.name = name
        self.directory = data_directory() / name

    def __repr__(self) -> str:
        return f"EmbeddedServer({self.name!r})"

    @property
    def running(self) -> bool:
        """Whether the server runs, whoever started it."""
        return self._server() is not None

    def state(self) -> ServerState:
        """Look how the server stands; one that is just starting or stopping is waited for.

        Raises:
            EmbeddedServerFailed: It belongs to another user.
        """
        data = self.place / "data"
        if not self.directory.exists():
            return ServerState.of(data, Holders())
        with self._locked():
            return ServerState.of(data, Holders.read(self._holders))

    @property
    def place(self) -> Path:
        """The directory of the server's files; root's may be below `/var/lib/pgflow`."""
        try:
            return Path((self.directory / "location").read_text())
        except FileNotFoundError:
            return self.directory / "server"

    def start(self, *, keep: bool = False) -> None:
        """Make sure that the server runs and stays until this process ends.

        Args:
            keep: Leave this server running when the last process that uses it ends, until
                `stop()`.

        Raises:
            MissingServerBinaries: No PostgreSQL server is installed.
            EmbeddedServerFailed: The server cannot be created or started.
            OtherServerVersion: The data belongs to another major version.
            UnreachableDirectory: The account that runs the server for root cannot reach it.
        """
        if not keep and self._is_held and self.running:
            return
        self._make_directory()
        with self._locked():
            self._start(keep=keep)
        self._hold()

    def stop(self) -> None:
        """Stop the server now, also for other processes, and forget that it was kept.

        Raises:
            EmbeddedServerFailed: It does not stop.
        """
        if not self.directory.exists():
            return
        with self._locked():
            Holders.read(self._holders).without_mark().write(self._holders)
            server = self._server()
            if server is not None:
                server.stop()

    def release(self) -> None:
        """Say that this process needs the server no more; the last one to say so stops it."""
        with _guard:
            _held.pop((os.getpid(), self.directory), None)
        if not self.directory.exists():
            return
        with self._locked():
            left = Holders.read(self._holders).remove(Process.current())
            left.write(self._holders)
            server = self._server()
            if server is not None and not left.processes and not left.keeps(server):
                server.stop()

    def url(self, database: str = SUPERUSER) -> URL:
        """Start the server if needed and return the URL of one of its databases.

        Args:
            database: Its name; it is created when missing.

        Returns:
            A `postgresql+psycopg` URL; it needs no password.

        Raises:
            EmbeddedServerFailed: As `start()` does, and so do its other errors.
        """
        self.start()
        server = self._server()
        if server is None:
            raise EmbeddedServerFailed(
                f"The embedded server {self.name!r} was stopped by another process just after it "
                "had started. Try again."
            )
        if database != SUPERUSER:
            _create_database(server.url(), database)
        return server.url(database)

    def psql_command(self, database: str = SUPERUSER) -> str:
        """Return the line that connects to the running server from a shell.

        Args:
            database: The database's name.

        Raises:
            EmbeddedServerFailed: The server is not running.
        """
        server = self._server()
        if server is None:
            raise EmbeddedServerFailed(
                f"The embedded server {self.name!r} is not running. Start it first."
            )
        psql = "psql" if shutil.which("psql") else _own_psql()
        host = str(server.socket_directory)
        return shlex.join([psql, "-h", host, "-p", str(PORT), "-U", SUPERUSER, "-d", database])

    @property
    def _is_held(self) -> bool:
        return (os.getpid(), self.directory) in _held

    @property
    def _holders(self) -> Path:
        return self.directory / "holders.json"

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return locked(self.directory / "lock")

    def _make_directory(self) -> None:
        """Create the directory of the lock, which the server's account passes if it is another."""
        if not self.directory.exists():
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.geteuid() == 0:
                self.directory.chmod(0o711)

    def _hold(self) -> None:
        with _guard:
            _held[os.getpid(), self.directory] = self

    def _start(self, *, keep: bool) -> None:
        cluster = self._cluster()
        if not cluster.exists:
            cluster.create()
        server = cluster.wait_ready()
        if server is None:
            cluster.start()
            server = cluster.postmaster()
        holders = Holders.read(self._holders).add(Process.current())
        if keep and server is not None:
            holders = holders.keep(server)
        holders.write(self._holders)

    def _server(self) -> Postmaster | None:
        return Postmaster.find(self.place / "data")

    def _cluster(self) -> Cluster:
        """Return the files and programs of the server; where they are is decided once."""
        place = self.place
        account = _owner(place) if place.exists() else server_account()
        if not place.exists() and not account.reaches(self.directory):
            place = self._move_out()
        near = self.directory.parent if place.parent == self.directory else place.parent
        return Cluster(place, find_binaries().reachable_by(account, near / ".programs"), account)

    def _move_out(self) -> Path:
        """Choose a place below the system's directory, and write down where it is."""
        try:
            SYSTEM_DIRECTORY.mkdir(exist_ok=True)
            SYSTEM_DIRECTORY.chmod(0o755)
        except OSError as error:
            raise EmbeddedServerFailed(
                f"The account that runs PostgreSQL for root may not enter {str(self.directory)!r}, "
                f"and {str(SYSTEM_DIRECTORY)!r} cannot be created: {error.strerror}. Set "
                "PGFLOW_DATA_DIR to a directory that every account may enter."
            ) from error
        place = SYSTEM_DIRECTORY / f"{self.name}-{secrets.token_hex(4)}"
        (self.directory / "location").write_text(str(place))
        return place


def _own_psql() -> str:
    """Return the psql that came with the server programs; not all of them bring one."""
    own = find_binaries().program("psql")
    return str(own) if own.exists() else "psql"


def _owner(place: Path) -> Account:
    """Return who runs a server that exists; the files of one that root made are not root's."""
    uid = place.stat().st_uid
    return server_account() if uid == 0 or os.geteuid() != 0 else Account.of(uid)


def _create_database(url: URL, name: str) -> None:
    """Create a database if it is missing; another process may be doing the same."""
    with psycopg.connect(
        host=str(url.query["host"]),
        port=str(url.query["port"]),
        user=url.username,
        dbname=url.database,
        autocommit=True,
    ) as connection:
        found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).rowcount
        if not found:
            with contextlib.suppress(
                psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation
            ):
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _release_all() -> None:
    """Release what this process holds; what a parent process holds is the parent's."""
    for (pid, _), server in list(_held.items()):
        if pid == os.getpid():
            server.release()


atexit.register(_release_all)
