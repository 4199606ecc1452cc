"""Names, URLs and credentials into engines, and nothing secret out of them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL, Engine, NullPool, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from pgflow.connections.account import server_account
from pgflow.connections.binaries import Binaries
from pgflow.connections.cluster import Cluster
from pgflow.connections.registry import (
    connect,
    describe,
    describe_open,
    dispose,
    engine,
    register,
    unregister,
)
from pgflow.errors import BadCredentials, MalformedDsn, NotAConnection, UnknownConnection


@pytest.fixture(autouse=True)
def _fresh(home: Path) -> Iterator[None]:
    """No engine and no registered name outlives its test."""
    yield
    dispose()
    for name in ("default", "warehouse"):
        unregister(name)


@pytest.fixture(scope="module")
def guarded(server_directory: Path, binaries: Binaries) -> Iterator[Cluster]:
    """A server on which the role `loader` needs the password `right`."""
    cluster = Cluster(server_directory / "guarded", binaries, server_account())
    cluster.create(durable=False)
    rules = "local all postgres trust\nlocal all all scram-sha-256\n"
    (cluster.data / "pg_hba.conf").write_text(rules)
    cluster.start()
    with create_engine(cluster.url(), poolclass=NullPool).begin() as connection:
        connection.execute(text("CREATE ROLE loader LOGIN PASSWORD 'right'"))
    yield cluster
    cluster.stop(immediate=True)


def as_loader(cluster: Cluster, password: str | None = None) -> URL:
    """The URL of the guarded server for the role that needs a password."""
    return cluster.url().set(username="loader", password=password)


def test_a_name_an_url_and_an_engine(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name, a connection string, a URL and `url=` lead to one engine; an engine is itself."""
    monkeypatch.setenv("PGFLOW_DSN_WAREHOUSE", database)
    found = engine("warehouse")
    assert engine(database) is found
    assert engine(make_url(database)) is found
    assert engine(url=database) is found
    assert engine("not looked up", url=database) is found
    assert engine(found) is found
    with connect("warehouse") as connection:
        assert connection.scalar(text("SELECT current_database()")) == found.url.database


def test_the_default(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name the connection `default` is meant."""
    with pytest.raises(UnknownConnection, match="No connection is called 'default'"):
        connect()
    monkeypatch.setenv("PGFLOW_DSN", database)
    with connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def test_a_changed_setting_is_seen(make_database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked up each time, so redirecting it needs no new process."""
    monkeypatch.setenv("PGFLOW_DSN", make_database())
    first = engine()
    monkeypatch.setenv("PGFLOW_DSN", make_database())
    assert engine().url != first.url


def test_an_explicit_url_must_be_one() -> None:
    """A name given as `url=` is refused: it would silently be looked up otherwise."""
    with pytest.raises(MalformedDsn, match="from the given url is neither a URL nor key=value"):
        engine(url="warehouse")


def test_what_is_registered_wins(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database registered in code wins over variables, until it is unregistered."""
    monkeypatch.setenv("PGFLOW_DSN", "postgresql://elsewhere/x")
    register("default", database)
    with connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    own = create_engine(database, poolclass=NullPool)
    register("default", own)
    assert engine() is own
    unregister("default")
    assert engine().url.host == "elsewhere"


def test_the_session_names_itself(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server sees `pgflow` as application, unless the DSN or PGAPPNAME says otherwise."""
    query = text("SELECT current_setting('application_name')")
    with connect(database) as connection:
        assert connection.scalar(query) == "pgflow"
    with connect(make_url(database).update_query_dict({"application_name": "mine"})) as connection:
        assert connection.scalar(query) == "mine"
    dispose()
    monkeypatch.setenv("PGAPPNAME", "theirs")
    with connect(database) as connection:
        assert connection.scalar(query) == "theirs"


def test_no_statement_is_prepared(database: str) -> None:
    """However often a statement runs, it is not prepared: transaction poolers lose those."""
    with connect(database) as connection:
        for number in range(10):
            connection.execute(text("SELECT :x"), {"x": number})
        count = "SELECT count(*) FROM pg_prepared_statements"
        assert connection.scalar(text(count)) == 0


def test_a_broken_connection_is_replaced(database: str) -> None:
    """A connection that the server closed while it was idle is not handed out again."""
    with connect(database) as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
    with create_engine(database, poolclass=NullPool).connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    with connect(database) as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) != pid


FORK = """
import os, sys
from sqlalchemy import text
from pgflow.connections.registry import connect, engine

query = text("SELECT pg_backend_pid()")
with connect(sys.argv[1]) as connection:
    parent = connection.scalar(query)
child = os.fork()
if child == 0:
    with connect(sys.argv[1]) as connection:
        os._exit(0 if connection.scalar(query) != parent else 1)
assert os.waitpid(child, 0)[1] == 0
with connect(sys.argv[1]) as connection:
    assert connection.scalar(query) == parent
"""


def test_a_fork_has_connections_of_its_own(database: str) -> None:
    """A forked process does not share its parent's connections, and leaves them intact."""
    said = subprocess.run(
        [sys.executable, "-c", FORK, database], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr


def test_credentials_are_asked_for_each_new_connection(guarded: Cluster) -> None:
    """A callable gives the password of each new connection, so one that expires is no trouble."""
    asked: list[str] = []

    def password() -> str:
        asked.append("password")
        return "right"

    register("warehouse", as_loader(guarded), credentials=password)
    with connect("warehouse") as one, connect("warehouse") as two:
        assert one.scalar(text("SELECT current_user")) == "loader"
        assert two.scalar(text("SELECT current_user")) == "loader"
    with connect("warehouse"):
        pass
    assert len(asked) == 2


def test_credentials_may_be_arguments(guarded: Cluster) -> None:
    """A callable may return any arguments of the driver; they win over the URL's."""
    arguments = {"user": "loader", "password": "right", "application_name": "token"}
    with connect(guarded.url(), credentials=lambda: arguments) as connection:
        found = connection.execute(
            text("SELECT current_user, current_setting('application_name')")
        ).one()
    assert tuple(found) == ("loader", "token")


def test_credentials_for_a_name_that_is_configured(
    guarded: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials registered without a URL are used for wherever the name leads."""
    monkeypatch.setenv("PGFLOW_DSN_WAREHOUSE", str(as_loader(guarded)))
    with pytest.raises(OperationalError, match="no password supplied"):
        connect("warehouse")
    register("warehouse", credentials=lambda: "right")
    with connect("warehouse") as connection:
        assert connection.scalar(text("SELECT current_user")) == "loader"


@pytest.mark.parametrize("given", [None, 7, b"hush"])
def test_credentials_of_another_kind(guarded: Cluster, given: object) -> None:
    """A callable that returns neither text nor a mapping is named; what it returned is not."""
    with pytest.raises(BadCredentials, match=r"returned '\w+'\. Return a password") as error:
        connect(as_loader(guarded), credentials=lambda: given)  # type: ignore[arg-type,return-value]
    assert "<lambda>" in str(error.value)
    assert "hush" not in str(error.value)


def test_credentials_for_an_engine(engine_of_user: Engine) -> None:
    """Credentials beside an engine are refused: they would be ignored."""
    with pytest.raises(BadCredentials, match="together with an engine"):
        engine(engine_of_user, credentials=lambda: "x")
    with pytest.raises(BadCredentials, match="together with an engine"):
        register("warehouse", engine_of_user, credentials=lambda: "x")


@pytest.fixture
def engine_of_user(database: str) -> Engine:
    return create_engine(database, poolclass=NullPool)


def test_a_password_apart(guarded: Cluster, home: Path) -> None:
    """A file's `password` needs no percent-encoding, and belongs to its entry only."""
    with create_engine(guarded.url(), poolclass=NullPool).begin() as connection:
        connection.execute(text("CREATE ROLE odd LOGIN PASSWORD 'a@b/c%d:e'"))
    url = as_loader(guarded).set(username="odd")
    (home / "pgflow.toml").write_text(
        f'[connections.warehouse]\ndsn = "{url}"\npassword = "a@b/c%d:e"\n'
    )
    with connect("warehouse") as connection:
        assert connection.scalar(text("SELECT current_user")) == "odd"


def test_a_service_of_libpq(guarded: Cluster, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`service=` leads where libpq's file says, and an open connection says where that is."""
    host, port = guarded.url().query["host"], guarded.url().query["port"]
    (home / "services").write_text(
        f"[loading]\nhost={host}\nport={port}\ndbname=postgres\nuser=loader\npassword=right\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(home / "services"))
    monkeypatch.setenv("PGFLOW_DSN_WAREHOUSE", "service=loading")
    with connect("warehouse") as connection:
        assert connection.scalar(text("SELECT current_user")) == "loader"
        assert str(describe(engine("warehouse"))) == "postgresql service 'loading'"
        found = describe_open(connection)
    assert (found.host, found.port, found.database, found.user) == (
        host,
        port,
        "postgres",
        "loader",
    )
    assert "right" not in str(found) + repr(found)


@pytest.mark.parametrize("by", ["PGPASSFILE", "passfile", "~/.pgpass"])
def test_a_password_file_of_libpq(
    guarded: Cluster, home: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """The password of a server on a socket comes from where libpq looks for it."""
    host, port = guarded.url().query["host"], guarded.url().query["port"]
    path = home / "passwords" if by.isidentifier() else home.parent / "home" / ".pgpass"
    path.write_text(f"{host}:{port}:*:loader:right\n")
    path.chmod(0o600)
    dsn = f"host={host} port={port} dbname=postgres user=loader"
    if by == "PGPASSFILE":
        monkeypatch.setenv("PGPASSFILE", str(path))
    elif by == "passfile":
        dsn += f" passfile={path}"
    monkeypatch.setenv("PGFLOW_DSN_WAREHOUSE", dsn)
    with connect("warehouse") as connection:
        assert connection.scalar(text("SELECT current_user")) == "loader"
    dispose()
    path.write_text(f"elsewhere:{port}:*:loader:right\n")
    with pytest.raises(OperationalError, match="no password supplied"):
        connect("warehouse")


def test_no_secret_is_shown(guarded: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """A refused password is in no error, representation or log."""
    caplog.set_level(logging.DEBUG)
    url = as_loader(guarded, "hush").render_as_string(hide_password=False)
    found = engine(url + "&sslpassword=hush")
    with pytest.raises(OperationalError, match="password authentication failed") as error:
        found.connect()
    shown = "".join(traceback.format_exception(error.value))
    shown += f"{found!r} {found.url} {found.url!r} {describe(found)} {describe(found)!r}"
    assert "hush" not in shown + caplog.text


@pytest.mark.parametrize(
    "dsn, expected",
    [
        ("postgresql://u:hush@h:5433/d", "postgresql database 'd' at h:5433 as u"),
        ("postgresql:///d?host=/tmp", "postgresql database 'd' at /tmp"),
        ("postgresql://a:1,b:2/d", "postgresql database 'd' at a:1,b:2"),
        ("postgresql://a,b/d", "postgresql database 'd' at a,b"),
        ("service=x", "postgresql service 'x'"),
        ("sqlite:///x.db", "sqlite database 'x.db'"),
    ],
)
def test_descriptions(dsn: str, expected: str) -> None:
    """A description says kind, database, place and user, and nothing secret."""
    assert str(describe(engine(dsn))) == expected


def test_other_databases(home: Path) -> None:
    """A URL of another database gives an ordinary engine of that database."""
    with connect("sqlite:///other.db") as connection:
        assert connection.scalar(text("SELECT 40 + 2")) == 42
    assert engine("sqlite:///other.db").dialect.name == "sqlite"


def test_psycopg_3_is_used(database: str) -> None:
    """Whatever driver a PostgreSQL URL names, the connection is one of psycopg 3."""
    other = database.replace("+psycopg", "+psycopg2")
    with connect(other) as connection:
        assert isinstance(connection.connection.driver_connection, psycopg.Connection)


def test_an_unreachable_server_is_the_drivers_error() -> None:
    """That a server cannot be reached is said by the driver, with the place and no password."""
    with pytest.raises(OperationalError) as error:
        connect(f"postgresql://u:hush@/x?host=/nonexistent-{os.getpid()}")
    assert "/nonexistent" in str(error.value)
    assert "hush" not in str(error.value)


def test_an_unreachable_server_is_noted_with_the_connections_name() -> None:
    """In a script the driver's error bears a note: which connection it was, and no password."""
    register("far", "postgresql://u:hush@127.0.0.1:1/x")
    register("away", "postgresql://u:hush@127.0.0.1:1/x")
    try:
        engine("away")
        with pytest.raises(OperationalError) as error:
            connect("far")
    finally:
        unregister("far")
        unregister("away")
    (note,) = getattr(error.value.orig, "__notes__", [])
    assert note == "connection 'away' or 'far': postgresql database 'x' at 127.0.0.1:1 as u"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: register(3, "sqlite://"), "the first argument is the connection's name"),  # type: ignore[arg-type]
        (lambda: register("postgresql://h/d"), "the first argument is the connection's name"),
        (lambda: register("x", 3), r"register\('x'\): int is no connection"),  # type: ignore[arg-type]
        (lambda: register("x", credentials="hush"), "a function without arguments, not str"),  # type: ignore[arg-type]
        (lambda: engine("sqlite://", credentials=["hush"]), "without arguments, not list"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_registered_is_refused(wrong: Callable[[], object], sentence: str) -> None:
    """At once, in the line that says it, and without what may be a password."""
    with pytest.raises((NotAConnection, BadCredentials), match=sentence) as error:
        wrong()
    assert "hush" not in str(error.value)
