"""A data directory of our own: created whole, started anywhere, stopped for certain."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from sqlalchemy import Connection, NullPool, create_engine, text

from pgflow.connections.account import server_account
from pgflow.connections.binaries import Binaries
from pgflow.connections.cluster import Cluster
from pgflow.errors import EmbeddedServerFailed, OtherServerVersion


@pytest.fixture
def make_cluster(data_directory: Path, binaries: Binaries):
    """A function that creates a data directory at a path; its server is stopped at the end."""
    made: list[Cluster] = []

    def make(place: Path) -> Cluster:
        cluster = Cluster(place, binaries, server_account())
        cluster.create(durable=False)
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        cluster.stop(immediate=True)


def test_settings_do_not_depend_on_the_machine(conn: Connection) -> None:
    """Encoding, order, time zone and date style are the same wherever the server runs."""
    names = ("server_encoding", "timezone", "datestyle", "listen_addresses")
    found = {name: conn.scalar(text("SELECT current_setting(:n)"), {"n": name}) for name in names}
    assert found == {
        "server_encoding": "UTF8",
        "timezone": "UTC",
        "datestyle": "ISO, MDY",
        "listen_addresses": "",
    }
    rows = conn.scalars(text("SELECT c FROM unnest(ARRAY['b','B','ä','a','A']) c ORDER BY c"))
    assert list(rows) == ["A", "B", "a", "b", "ä"]
    assert conn.scalar(text("SELECT upper('ä')")) == "Ä"


def test_the_environment_of_the_user_does_not_reach_the_server(
    data_directory: Path, make_cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PGPORT, PGOPTIONS, PGDATA and locale variables change neither the server nor its URL."""
    for name, value in {
        "PGPORT": "6543",
        "PGOPTIONS": "-c timezone=Asia/Tokyo",
        "PGDATA": "/nonexistent",
        "LC_ALL": "de_DE.UTF-8",
    }.items():
        monkeypatch.setenv(name, value)
    cluster = make_cluster(data_directory / "env")
    cluster.start()
    monkeypatch.delenv("PGOPTIONS")
    with create_engine(cluster.url(), poolclass=NullPool).connect() as connection:
        assert connection.scalar(text("SHOW timezone")) == "UTC"
        assert connection.scalar(text("SHOW lc_messages")) == "C"


@pytest.mark.parametrize("name", ["with blank", 'quote\'s "here"', "comma, $x %p", "ünï"])
def test_odd_paths(data_directory: Path, make_cluster, name: str) -> None:
    """A path with blanks, quotes, commas or other letters works like any other."""
    cluster = make_cluster(data_directory / name)
    cluster.start()
    with create_engine(cluster.url(), poolclass=NullPool).connect() as connection:
        directory = connection.scalar(text("SHOW data_directory"))
    assert directory == str(data_directory / name / "data")
    cluster.stop()
    assert cluster.postmaster() is None


def test_a_long_path_has_its_socket_elsewhere(data_directory: Path, make_cluster) -> None:
    """Where the socket's path would be too long, a private short directory takes it."""
    parent = data_directory / ("d" * 90)
    parent.mkdir(mode=0o711)
    cluster = make_cluster(parent / "server")
    cluster.start()
    server = cluster.postmaster()
    assert server is not None
    assert len(str(server.socket_directory)) < 60
    assert stat.S_IMODE(server.socket_directory.stat().st_mode) == 0o700
    with create_engine(cluster.url(), poolclass=NullPool).connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    cluster.stop()
    assert not server.socket_directory.exists()


def test_nobody_else_can_connect(data_directory: Path, make_cluster) -> None:
    """The server trusts whoever reaches its socket, and only its owner does."""
    cluster = make_cluster(data_directory / "private")
    cluster.start()
    server = cluster.postmaster()
    assert server is not None
    assert stat.S_IMODE(cluster.place.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.socket_directory.stat().st_mode) == 0o700
    socket = server.socket_directory / ".s.PGSQL.5432"
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700


def test_a_directory_of_somebody_else_is_refused(data_directory: Path, binaries: Binaries) -> None:
    """A place that is a link or no directory is refused before anything is put there."""
    (data_directory / "elsewhere").mkdir()
    link = data_directory / "link"
    link.symlink_to(data_directory / "elsewhere")
    with pytest.raises(EmbeddedServerFailed, match="is not a directory of the account") as error:
        Cluster(link, binaries, server_account()).create()
    assert str(link) in str(error.value)
    assert not list((data_directory / "elsewhere").iterdir())


def test_an_interrupted_creation_starts_over(data_directory: Path, make_cluster) -> None:
    """What a killed initdb left behind is removed, and never taken for a data directory."""
    place = data_directory / "half"
    server_account().make_directory(place)
    server_account().make_directory(place / "data.new")
    (place / "data.new" / "PG_VERSION").write_text("18\n")
    cluster = make_cluster(place)
    cluster.start()
    assert cluster.exists
    assert not list(place.glob("data.new*"))


def test_a_failing_creation_says_why(data_directory: Path, binaries: Binaries) -> None:
    """The error of initdb reaches the user, and no data directory is left."""
    account = server_account()
    place = data_directory / "bad"
    account.make_directory(place)
    broken = data_directory / "bin"
    broken.mkdir()
    for program, body in {
        "postgres": "echo '(PostgreSQL) 18.6'",
        "initdb": "echo no luck; exit 1",
    }.items():
        (broken / program).write_text(f"#!/bin/sh\n{body}\n")
        (broken / program).chmod(0o755)
    with pytest.raises(EmbeddedServerFailed, match="initdb could not create a server in") as error:
        Cluster(place, Binaries(broken, "test"), account).create()
    assert "no luck" in str(error.value)
    assert not list(place.iterdir())


def test_a_crash_at_start_shows_the_log(data_directory: Path, make_cluster) -> None:
    """When the server does not come up, the error ends with what the server wrote."""
    cluster = make_cluster(data_directory / "crash")
    with (cluster.data / "postgresql.conf").open("a") as file:
        file.write("shared_bufers = 1GB\n")
    with pytest.raises(EmbeddedServerFailed, match="did not start") as error:
        cluster.start()
    assert 'unrecognized configuration parameter "shared_bufers"' in str(error.value)
    assert "shared_bufers" in error.value.log


def test_data_of_another_version_is_refused(data_directory: Path, make_cluster) -> None:
    """Data of another major version is not touched, and the error says how to go on."""
    cluster = make_cluster(data_directory / "old")
    (cluster.data / "PG_VERSION").write_text("9\n")
    with pytest.raises(OtherServerVersion) as error:
        cluster.start()
    assert error.value.data == 9
    assert error.value.programs == cluster.binaries.major
    assert "was written by PostgreSQL 9, but the programs in" in str(error.value)
    assert "install PostgreSQL 9 and name its bin directory in PGFLOW_PG_BIN" in str(error.value)
    assert "move " in str(error.value)


def test_programs_that_fit_the_data_are_named(
    data_directory: Path, make_cluster, binaries: Binaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If programs of the data's own version are installed, the error names their directory."""
    cluster = make_cluster(data_directory / "fits")
    other = data_directory / "bin"
    other.mkdir()
    (other / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 9.6'\n")
    (other / "postgres").chmod(0o755)
    monkeypatch.setenv("PGFLOW_PG_BIN", str(binaries.directory))
    mismatched = Cluster(cluster.place, Binaries(other, "test"), cluster.account)
    with pytest.raises(OtherServerVersion, match="PGFLOW_PG_BIN=") as error:
        mismatched.start()
    assert f"set PGFLOW_PG_BIN={binaries.directory}" in str(error.value)


def test_a_container_with_little_shared_memory(
    data_directory: Path, make_cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where /dev/shm is small, parallel queries get their memory from files instead."""
    usage = shutil.disk_usage("/")._replace(total=64_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    cluster = make_cluster(data_directory / "container")
    cluster.start()
    with create_engine(cluster.url(), poolclass=NullPool).connect() as connection:
        assert connection.scalar(text("SHOW dynamic_shared_memory_type")) == "mmap"


def test_a_long_log_is_begun_anew(data_directory: Path, make_cluster) -> None:
    """The log does not grow for ever: a start after 10 MB begins a new one."""
    cluster = make_cluster(data_directory / "log")
    cluster.log.write_text("x" * 10_000_001)
    cluster.start()
    assert cluster.log.stat().st_size < 10_000
    assert "ready to accept connections" in cluster.log.read_text()


def test_a_url_needs_a_running_server(data_directory: Path, make_cluster) -> None:
    """The URL of a server that does not run is an error, not a URL that leads nowhere."""
    cluster = make_cluster(data_directory / "asleep")
    with pytest.raises(EmbeddedServerFailed, match="No PostgreSQL server is running in"):
        cluster.url()


@pytest.mark.skipif(os.geteuid() != 0, reason="about a process that runs as root")
def test_roots_server_runs_as_another_account(data_directory: Path, make_cluster) -> None:
    """Root's server runs as an unprivileged account, with no group of root's."""
    cluster = make_cluster(data_directory / "root")
    groups = os.getgroups()
    os.setgroups([0, 4])
    try:
        cluster.start()
    finally:
        os.setgroups(groups)
    server = cluster.postmaster()
    assert server is not None
    status = Path(f"/proc/{server.pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    account = server_account()
    assert fields["Uid"].split() == [str(account.uid)] * 4
    assert fields["Gid"].split() == [str(account.gid)] * 4
    assert fields["Groups"].split() == []
