"""One PostgreSQL data directory of our own: create it, start it, stop it. It knows no sharing."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from sqlalchemy import URL

from pgflow.connections.account import Account
from pgflow.connections.binaries import Binaries, installed
from pgflow.connections.postmaster import (
    PORT,
    SHORT_SOCKETS,
    SUPERUSER,
    Postmaster,
    defuse,
    end_orphans,
)
from pgflow.connections.process import started
from pgflow.errors import EmbeddedServerFailed, OtherServerVersion

#: Bytes that a socket's path may have on every system (macOS allows 103, Linux 107).
_SOCKET_PATH = 103
#: Seconds to wait for a start: a server that was killed first replays its log.
_START_TIMEOUT = 300
_LOG_LINES = 15
#: Bytes after which a start begins a new log.
_LOG_SIZE = 10_000_000

#: Bytes of /dev/shm below which a parallel query may not find enough; containers often have 64 MB.
_SHARED_MEMORY = 512_000_000

#: Settings that hold wherever the server runs, so that results do not depend on the machine.
_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "datestyle": "ISO, MDY",
    "lc_messages": "C",
}


class Cluster:
    """A data directory, its socket and its log below one place, and the server that runs on it.

    Args:
        place: A directory of which the account owns everything; it is created when missing, its
            parent is not.
        binaries: The programs, which the account can run.
        account: Who runs the server.
    """

    def __init__(self, place: Path, binaries: Binaries, account: Account):
        self.place = place
        self.binaries = binaries
        self.account = account
        self.data = place / "data"
        self.log = place / "server.log"

    @property
    def exists(self) -> bool:
        """Whether the data directory was created."""
        return (self.data / "PG_VERSION").exists()

    def create(self, *, durable: bool = True) -> None:
        """Create the data directory, complete or not at all.

        Args:
            durable: Wait until the files are on disk; a throw-away server need not.

        Raises:
            EmbeddedServerFailed: `initdb` fails; the error ends with what it said.
        """
        self.account.make_directory(self.place)
        for left in self.place.glob("data.new*"):
            shutil.rmtree(left, ignore_errors=True)
        # The initdb of a process that was killed may go on, and removes its directory in the end.
        half = self.place / f"data.new.{uuid4().hex}"
        said = self._initdb(half, self._locales(), durable=durable)
        if "invalid locale name" in said.stdout:
            said = self._initdb(half, ["--locale=C"], durable=durable)
        if said.returncode:
            raise EmbeddedServerFailed(
                f"initdb could not create a server in {str(self.place)!r}:\n{_tail(said.stdout)}",
                log=said.stdout,
            )
        half.rename(self.data)

    def _locales(self) -> list[str]:
        """Sort by code point everywhere; before 17 only the C library can do that."""
        if self.binaries.major >= 17:
            return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        return ["--locale=C.UTF-8"]

    def _initdb(
        self, target: Path, locales: list[str], *, durable: bool
    ) -> subprocess.CompletedProcess[str]:
        options = ["-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", *locales]
        if not durable:
            options.append("--no-sync")
        return self.account.run(
            [self.binaries.program("initdb"), "-D", target, *options], env=_environment()
        )

    def start(self, settings: Mapping[str, str] | None = None) -> None:
        """Start the server and wait until it takes connections.

        Args:
            settings: Server settings beside pgflow's own.

        Raises:
            OtherServerVersion: The data was written by another major version.
            EmbeddedServerFailed: The server does not start; the error ends with its log.
        """
        self._check_version()
        defuse(self.data)
        end_orphans(self.data)
        sockets = self._socket_directory()
        self.account.make_directory(sockets)
        # The socket of a server that was killed is locked by its number, which may live on as
        # another process, or as one that nobody reaps.
        for left in sockets.glob(".s.PGSQL.*"):
            left.unlink()
        options = {
            **_SETTINGS,
            "unix_socket_directories": '"' + str(sockets).replace('"', '""') + '"',
            **_shared_memory(),
            **(settings or {}),
        }
        if self.log.exists() and self.log.stat().st_size > _LOG_SIZE:
            self.log.unlink()
        pid = self._launch(options)
        if self.wait_ready(pid) is None:
            raise EmbeddedServerFailed(
                f"The PostgreSQL server in {str(self.place)!r} did not start. "
                f"The end of {str(self.log)!r}:\n{self._log_tail()}",
                log=self._log_tail(),
            )

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server if it runs; see `Postmaster.stop()`."""
        found = self.postmaster()
        if found is not None:
            found.stop(immediate=immediate)

    def postmaster(self) -> Postmaster | None:
        """Return the running server, or None if none runs on this data directory."""
        return Postmaster.find(self.data)

    def wait_ready(self, pid: int | None = None) -> Postmaster | None:
        """Wait while the server is on its way up or down.

        Args:
            pid: A server process that was started just now and has not yet said so.

        Returns:
            The server that takes connections, or None if there is none.

        Raises:
            EmbeddedServerFailed: It neither came up nor went away in time.
        """
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            found = self.postmaster()
            if found is not None and found.status == "ready":
                return found
            if found is None and (pid is None or started(pid) is None):
                return None
            time.sleep(0.02)
        raise EmbeddedServerFailed(
            f"The PostgreSQL server in {str(self.place)!r} has been starting or stopping for "
            f"{_START_TIMEOUT} seconds. The end of {str(self.log)!r}:\n{self._log_tail()}",
            log=self._log_tail(),
        )

    def url(self, database: str = SUPERUSER) -> URL:
        """Return the URL of a database on the server.

        Args:
            database: Its name.

        Raises:
            EmbeddedServerFailed: The server is not running.
        """
        found = self.postmaster()
        if found is None:
            raise EmbeddedServerFailed(
                f"No PostgreSQL server is running in {str(self.place)!r}. Start it first."
            )
        return found.url(database)

    def _launch(self, settings: Mapping[str, str]) -> int:
        """Start the server's process, detached from this one and its terminal.

        `pg_ctl start` is not used: it hands paths to a shell without quoting them.
        """
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        script = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'
        server = (self.binaries.program("postgres"), "-D", self.data)
        said = self.account.run(
            ["/bin/sh", "-c", script, "sh", self.log, *server, *words],
            env=_environment(),
            detached=True,
        )
        return int(said.stdout)

    def _socket_directory(self) -> Path:
        """Choose the place's own directory, or a short one for a path that libpq cannot use.

        Too many bytes do not fit the system's socket addresses; a comma separates hosts.
        """
        own = self.place / "run"
        fits = len(os.fsencode(own / f".s.PGSQL.{PORT}")) <= _SOCKET_PATH
        if fits and "," not in str(own):
            return own
        digest = hashlib.sha256(os.fsencode(self.place)).hexdigest()[:12]
        return SHORT_SOCKETS / f"pgflow-{self.account.uid}-{digest}"

    def _check_version(self) -> None:
        written = int((self.data / "PG_VERSION").read_text().split(".")[0])
        if written == self.binaries.major:
            return
        fitting = [each for each in installed() if each.major == written]
        remedy = (
            f"set PGFLOW_PG_BIN={shlex.quote(str(fitting[0].directory))}"
            if fitting
            else f"install PostgreSQL {written} and name its bin directory in PGFLOW_PG_BIN"
        )
        raise OtherServerVersion(
            f"The data in {str(self.data)!r} was written by PostgreSQL {written}, but the programs "
            f"in {str(self.binaries.directory)!r} are PostgreSQL {self.binaries.major}. To use the "
            f"data, {remedy}; to start empty, move {str(self.place)!r} away.",
            data=written,
            programs=self.binaries.major,
        )

    def _log_tail(self) -> str:
        try:
            return _tail(self.log.read_text(errors="replace"))
        except OSError:
            return ""


def _shared_memory() -> dict[str, str]:
    """Let parallel queries use files where the shared memory is as small as a container's."""
    try:
        small = shutil.disk_usage("/dev/shm").total < _SHARED_MEMORY  # noqa: S108  # only measured
    except OSError:
        return {}
    return {"dynamic_shared_memory_type": "mmap"} if small else {}


def _environment() -> dict[str, str]:
    """Return this process's environment without what would change the server or its messages."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "LANG"))
    }
    return {**kept, "LC_ALL": "C"}


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_LOG_LINES:])
