"""The embedded server of one process: its DSN, its place, its refusals."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import text

from pgflow.connections import embedded, registry
from pgflow.connections.embedded import EmbeddedServer
from pgflow.errors import EmbeddedServerFailed, InvalidServerName, MalformedDsn

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="about a process that runs as root")


def test_a_dsn_starts_the_server_and_creates_the_database(data_directory: Path) -> None:
    """`embedded://name/database` starts the server on first use and creates what is missing."""
    assert not EmbeddedServer("demo").running
    with registry.connect("embedded://demo/My Data") as connection:
        assert connection.scalar(text("SELECT current_database()")) == "My Data"
    with registry.connect(url="embedded://demo/My Data") as connection:
        connection.execute(text("CREATE TABLE kept (x int)"))
        connection.commit()
    registry.dispose()
    EmbeddedServer("demo").release()
    assert not EmbeddedServer("demo").running
    with registry.connect("embedded://demo/My Data") as connection:
        assert connection.scalar(text("SELECT count(*) FROM kept")) == 0
    registry.dispose()


def test_a_dsn_without_a_database(data_directory: Path) -> None:
    """`embedded://name` is the database that every server has."""
    with registry.connect("embedded://plain") as connection:
        assert connection.scalar(text("SELECT current_database()")) == "postgres"
    registry.dispose()


def test_an_engine_finds_its_server_again(data_directory: Path) -> None:
    """A server that was stopped meanwhile is started again when its engine is asked for."""
    first = registry.engine("embedded://again/x")
    EmbeddedServer("again").stop()
    second = registry.engine("embedded://again/x")
    assert first is second
    with second.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    registry.dispose()


@pytest.mark.parametrize(
    "dsn", ["embedded://", "embedded:///x", "embedded://u@demo/x", "embedded://demo:1/x"]
)
def test_a_dsn_of_another_form_is_refused(data_directory: Path, dsn: str) -> None:
    """An embedded DSN takes a name and a database, and nothing else."""
    with pytest.raises(MalformedDsn, match="is not of the form embedded://name"):
        registry.engine(dsn)
    assert not list(data_directory.iterdir())


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "-x", "a b", "ä", "x" * 64])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    """A name that could lead out of the data directory is refused."""
    with pytest.raises(InvalidServerName, match="cannot name an embedded server") as error:
        EmbeddedServer(name)
    assert error.value.name == name
    assert repr(name) in str(error.value)


def test_the_psql_line_connects(data_directory: Path) -> None:
    """The line that a person may paste runs as it is, also with an odd database name."""
    server = EmbeddedServer("psql")
    server.url("it's data")
    line = server.psql_command("it's data")
    if shutil.which(line.split()[0]) is None:
        pytest.skip("these server programs come without psql, and none is on PATH")
    said = subprocess.run(
        f"{line} -Atc 'SELECT current_database()'", shell=True, capture_output=True, text=True
    )
    assert said.stdout == "it's data\n"
    server.release()
    with pytest.raises(EmbeddedServerFailed, match=r"'psql' is not running\. Start it first"):
        server.psql_command()


def test_each_name_has_data_of_its_own(data_directory: Path) -> None:
    """Two names are two servers, in two directories that others cannot read."""
    one, two = EmbeddedServer("one"), EmbeddedServer("two")
    assert one.url() != two.url()
    for name in ("one", "two"):
        assert stat.S_IMODE((data_directory / name / "server").stat().st_mode) == 0o700
        assert stat.S_IMODE((data_directory / name / "lock").stat().st_mode) == 0o600


def test_the_data_is_the_users(home: Path) -> None:
    """Without PGFLOW_DATA_DIR the data is in the user's data directory."""
    assert EmbeddedServer("x").directory.is_relative_to(Path.home())


@needs_root
def test_roots_home_keeps_its_permissions(
    data_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where root's directory is closed to the server's account, the files live elsewhere."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setenv("PGFLOW_DATA_DIR", str(closed / "pgflow"))
    monkeypatch.setattr(embedded, "SYSTEM_DIRECTORY", data_directory / "system")
    server = EmbeddedServer("root")
    place = Path(str(server.url().query["host"])).parent
    assert place.parent == data_directory / "system"
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    server.release()
    assert Path(str(server.url().query["host"])).parent == place
    server.release()
    assert not server.running


@needs_root
def test_a_strict_umask(data_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's umask does not lock the server's account out of what pgflow creates."""
    monkeypatch.setenv("PGFLOW_DATA_DIR", str(data_directory / "new"))
    (data_directory / "new").mkdir()
    before = os.umask(0o077)
    try:
        server = EmbeddedServer("strict")
        assert Path(str(server.url().query["host"])).is_relative_to(data_directory / "new")
    finally:
        os.umask(before)
    server.release()


@needs_root
def test_nowhere_for_roots_server(
    data_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no directory is left that the server's account may enter, the error says which to make."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setenv("PGFLOW_DATA_DIR", str(closed / "pgflow"))
    (data_directory / "file").write_text("")
    monkeypatch.setattr(embedded, "SYSTEM_DIRECTORY", data_directory / "file" / "system")
    with pytest.raises(EmbeddedServerFailed, match="Set PGFLOW_DATA_DIR to a directory that every"):
        EmbeddedServer("root").start()


UNPRIVILEGED = """
import os, sys
from pgflow.connections.embedded import EmbeddedServer
from sqlalchemy import create_engine, text
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
server = EmbeddedServer("mine")
with create_engine(server.url("db")).connect() as connection:
    print(connection.scalar(text("SELECT current_database()")))
print(os.stat(server.directory / "server").st_uid)
"""


@needs_root
def test_an_ordinary_user_runs_its_own_server(
    data_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who is not root runs the server under the user's own account."""
    directory = Path(tempfile.mkdtemp(dir=data_directory))
    os.chown(directory, 65534, 65534)
    said = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED],
        env={**os.environ, "PGFLOW_DATA_DIR": str(directory), "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout == "db\n65534\n", said.stderr
    monkeypatch.setenv("PGFLOW_DATA_DIR", str(directory))
    assert not EmbeddedServer("mine").running
    # Root joins the user's server as the user: nothing in the directory becomes root's.
    assert EmbeddedServer("mine").url("db").database == "db"
    EmbeddedServer("mine").stop()
    owners = {path.stat().st_uid for path in (directory / "mine").rglob("*")}
    assert owners == {65534}


@needs_root
def test_another_users_server_is_refused(data_directory: Path) -> None:
    """A directory that belongs to somebody else is an error with a way out."""
    EmbeddedServer("theirs").start()
    said = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED.replace("mine", "theirs")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "belongs to another user, so its embedded server cannot be used" in said.stderr
    EmbeddedServer("theirs").release()
