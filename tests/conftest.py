"""A PostgreSQL server for the whole test session, and databases on it that live for one test."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Connection, Engine, NullPool, create_engine

from pgflow.connections.account import server_account
from pgflow.connections.binaries import Binaries, find_binaries
from pgflow.connections.cluster import Cluster
from pgflow.connections.embedded import EmbeddedServer

#: What makes a server fast whose data nobody needs after a crash.
THROW_AWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    # Compiling takes longer than running, for what tests run.
    "jit": "off",
}

_numbers = itertools.count(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what has nothing to do with a database, if `PGFLOW_TEST_DATABASE_ONLY` says so."""
    if not os.environ.get("PGFLOW_TEST_DATABASE_ONLY"):
        return
    about = [item for item in items if "server" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(about)])
    items[:] = about


@pytest.fixture(scope="session")
def server_directory() -> Iterator[Path]:
    """A directory with a short path that the server's account can enter; deleted at the end."""
    path = Path(tempfile.mkdtemp(prefix="pgflow-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def binaries(server_directory: Path) -> Binaries:
    """The server programs under test: `PGFLOW_TEST_PG_BIN`, or what pgflow itself would use."""
    named = os.environ.get("PGFLOW_TEST_PG_BIN")
    found = Binaries(Path(named), "PGFLOW_TEST_PG_BIN") if named else find_binaries()
    return found.reachable_by(server_account(), server_directory / "binaries")


@pytest.fixture(scope="session")
def server(server_directory: Path, binaries: Binaries) -> Iterator[Cluster]:
    """A throw-away server on a unix socket, for the whole session."""
    cluster = Cluster(server_directory / "server", binaries, server_account())
    cluster.create(durable=False)
    cluster.start(THROW_AWAY)
    yield cluster
    cluster.stop(immediate=True)


@pytest.fixture(scope="session")
def logical(
    server: Cluster,  # so that it is about a database
    server_directory: Path,
    binaries: Binaries,
) -> Iterator[Cluster]:
    """A throw-away server whose log can be decoded, and which takes prepared transactions."""
    cluster = Cluster(server_directory / "logical", binaries, server_account())
    cluster.create(durable=False)
    settings = {
        "wal_level": "logical",
        "max_prepared_transactions": "20",
        "synchronous_commit": "on",
    }
    cluster.start({**THROW_AWAY, **settings})
    url = cluster.url("postgres").set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as live:
        live.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1GB'")
        live.execute("SELECT pg_reload_conf()")
    yield cluster
    cluster.stop(immediate=True)


@pytest.fixture
def logical_database(logical: Cluster) -> Iterator[str]:
    """The URL of an empty database on that server; its slots are dropped at the end."""
    name = f"logical_{os.getpid()}_{next(_numbers)}"
    administer(logical, "CREATE DATABASE {}", name)
    url = logical.url(name)
    yield url.render_as_string(hide_password=False)
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as live:
        live.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
            " WHERE database = current_database()"
        )
    administer(logical, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def make_database(server: Cluster) -> Iterator[Callable[[], str]]:
    """A function that creates an empty database and returns its URL; all are dropped at the end."""
    names: list[str] = []

    def make() -> str:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        administer(server, "CREATE DATABASE {}", name)
        names.append(name)
        return server.url(name).render_as_string(hide_password=False)

    yield make
    for name in names:
        administer(server, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def database(make_database: Callable[[], str]) -> str:
    """The URL of an empty database (`postgresql+psycopg://...`) that lives for one test."""
    return make_database()


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """An engine on `database` that keeps no connection open."""
    engine = create_engine(database, poolclass=NullPool)
    yield engine
    engine.dispose()


@pytest.fixture
def conn(engine: Engine) -> Iterator[Connection]:
    """A connection to `database`; what is not committed is rolled back."""
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and working directory, and none of the user's pgflow settings.

    Returns:
        The working directory; the home directory is `home` beside it.
    """
    directory = tmp_path / "home"
    work = tmp_path / "work"
    for path in (directory, work):
        path.mkdir()
    for name in list(os.environ):
        if name.startswith(("PGFLOW_", "XDG_")) and name != "PGFLOW_TEST_PG_BIN":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(directory))
    for name, folder in (
        ("XDG_DATA_HOME", ".local/share"),
        ("XDG_CONFIG_HOME", ".config"),
        ("XDG_CACHE_HOME", ".cache"),
    ):
        monkeypatch.setenv(name, str(directory / folder))
    monkeypatch.chdir(work)
    return work


def administer(server: Cluster, statement: str, name: str) -> None:
    """Run a statement on the server's own database, with one identifier put in."""
    url = server.url()
    with psycopg.connect(
        host=str(url.query["host"]),
        port=str(url.query["port"]),
        user=url.username,
        dbname=url.database,
        autocommit=True,
    ) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


@pytest.fixture(autouse=True)
def no_handlers_left() -> Iterator[None]:
    """Take away what an `env.py` has set up to log to: the stream of a test that is over."""
    root = logging.getLogger()
    before = set(root.handlers)
    yield
    for handler in set(root.handlers) - before:
        if type(handler) is logging.StreamHandler:
            root.removeHandler(handler)


@pytest.fixture
def data_directory(
    home: Path, binaries: Binaries, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """An empty directory for embedded servers, which are all stopped at the end."""
    path = Path(tempfile.mkdtemp(prefix="pgflow-"))
    path.chmod(0o711)
    monkeypatch.setenv("PGFLOW_DATA_DIR", str(path))
    monkeypatch.setenv("PGFLOW_PG_BIN", str(binaries.directory))
    yield path
    for lock in path.glob("*/lock"):
        EmbeddedServer(lock.parent.name).stop()
    shutil.rmtree(path)
