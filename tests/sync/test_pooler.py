"""Through PgBouncer in transaction mode, and through pools of one connection."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import QueuePool, create_engine

import pgflow
from pgflow.connections.account import server_account
from pgflow.connections.cluster import Cluster
from pgflow.connections.registry import dispose, driver_arguments, engine
from pgflow.errors import PoolerBetween
from pgflow.observe.history import read_history
from pgflow.schedule.installation import install
from pgflow.schedule.queue import Queue
from pgflow.testing import assert_scd2
from tests.sync.sync_children import Gate, nursery, session, until, waiting_for_target

_PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_PORT = 6432

#: What a run sets, as it is on a server that nobody has told anything.
_DEFAULTS = (
    ("row_security", "on"),
    ("lock_timeout", "0"),
    ("client_connection_check_interval", "0"),
)

needs_pgbouncer = pytest.mark.skipif(
    _PGBOUNCER is None, reason="pgbouncer is not installed (Debian: apt install pgbouncer)"
)

MODES: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "append": ({}, {"inserted": 1, "unchanged": 1, "skipped": 1, "read": 3}),
    "truncate": ({}, {"inserted": 3, "deleted": 3, "read": 3}),
    "merge": (
        {"handle_deletes": "hard"},
        {"inserted": 1, "updated": 1, "deleted": 1, "unchanged": 1, "read": 3},
    ),
    "scd1": (
        {"handle_deletes": "soft"},
        {"inserted": 1, "updated": 1, "deleted": 1, "unchanged": 1, "read": 3},
    ),
    "scd2": (
        {"handle_deletes": "soft"},
        {"inserted": 2, "closed": 2, "deleted": 1, "unchanged": 1, "read": 3},
    ),
}


@dataclass
class Pooler:
    """A PgBouncer that hands out a server connection for one transaction at a time."""

    place: Path
    size: int

    def url(self, direct: str) -> str:
        """The URL of a database through the pooler."""
        url = sa.make_url(direct)
        pooled = url.update_query_dict({"host": str(self.place), "port": str(_PORT)})
        return pooled.render_as_string(hide_password=False)


@pytest.fixture(scope="module", params=[1, 2], ids=lambda n: f"pool_of_{n}")
def pooler(
    server: Cluster, server_directory: Path, request: pytest.FixtureRequest
) -> Iterator[Pooler]:
    """A pooler of so many server connections to the test server."""
    account, size = server_account(), request.param
    place = server_directory / f"pooler{size}"
    account.make_directory(place)
    url = server.url()
    settings = place / "pgbouncer.ini"
    settings.write_text(
        "[databases]\n"
        f"* = host={url.query['host']} port={url.query['port']}\n"
        "[pgbouncer]\n"
        f"unix_socket_dir = {place}\nlisten_addr =\nlisten_port = {_PORT}\n"
        f"pool_mode = transaction\ndefault_pool_size = {size}\n"
        f"auth_type = trust\nauth_file = {place}/users.txt\n"
        f"stats_users = {url.username}\nlogfile = {place}/pooler.log\n"
    )
    (place / "users.txt").write_text(f'"{url.username}" ""\n')
    other = not account.is_current
    process = subprocess.Popen(
        [str(_PGBOUNCER), str(settings)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        user=account.uid if other else None,
        group=account.gid if other else None,
        extra_groups=[] if other else None,
    )
    try:
        until((place / f".s.PGSQL.{_PORT}").exists, "PgBouncer to listen")
        yield Pooler(place, size)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def pooled(world: Any, pooler: Pooler, database: str) -> Iterator[Any]:
    """The world, seen through the pooler by an engine of pgflow's own."""
    world.engine = pgflow.engine(pooler.url(database))
    yield world
    dispose()


def check_clean(direct: str, pooled: str) -> None:
    """Nothing of a run is left on the server connections that the next client gets."""
    with session(pooled) as client:
        for setting, value in _DEFAULTS:
            assert client.execute(f"SHOW {setting}").fetchone() == (value,)
        name = client.execute("SHOW application_name").fetchone()
        assert name is not None
        assert "pgflow p" not in name[0]
        assert client.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
    with session(direct) as client:
        for question in (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
            "SELECT count(*) FROM pg_class WHERE relname LIKE 'pgflow~_%%' ESCAPE '~'",
        ):
            assert client.execute(question).fetchone() == (0,)


@needs_pgbouncer
def test_several_targets_keep_nothing_behind_a_pooler(
    pooled: Any, pooler: Pooler, database: str
) -> None:
    """A temporary table would stay on a server connection that others get: each target reads."""
    pooled.run("INSERT INTO w.s VALUES (1, 'a', 1), (2, 'b', 2)")
    pipeline = pooled.pipe(
        None,
        "SELECT id, max(a) AS a, max(b) AS b FROM w.s GROUP BY id",
        targets=[pooled.table("t1"), pooled.table("t2")],
        mode="merge",
    )
    rehearsed = [each.details["reading"] for each in pipeline.dry_run().targets]
    assert rehearsed == ["read once for 2 targets"] * 2, "a dry run is one transaction"
    check_clean(database, pooler.url(database))
    told = [each.details["reading"] for each in pipeline.sync().targets]
    why = "a pooler gives each transaction another server process, so that nothing can be kept"
    assert told == [f"read for this target only: {why}", f"read again: {why}"]
    assert pooled.run("SELECT * FROM w.t1") != []
    check_clean(database, pooler.url(database))


@needs_pgbouncer
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_runs_through_a_transaction_pooler(
    pooled: Any, pooler: Pooler, database: str, counts: Any, mode: str
) -> None:
    """Sync, dry run, preview and history work where every transaction may get another server."""
    options, expected = MODES[mode]
    pipeline = pooled.pipe(pooled.table(), mode=mode, **options)
    pooled.fill((1, "a", 1), (2, "b", 2), (3, "c", 3))
    assert counts(pipeline.sync()) == {"inserted": 3, "read": 3}
    pooled.fill((1, "a", 1), (2, "B", 2), (4, "d", 4))
    assert [t.problem for t in pipeline.preview().targets] == [""]
    assert counts(pipeline.dry_run()) == expected
    assert counts(pipeline.sync()) == expected
    with pooled.engine.connect() as connection:
        assert [e.status for e in read_history(connection)] == ["success", "success"]
    pooled.engine.dispose()
    check_clean(database, pooler.url(database))


@needs_pgbouncer
def test_incremental_runs_through_a_transaction_pooler(pooled: Any, counts: Any) -> None:
    """A watermark is kept through a pooler too."""
    pipeline = pooled.pipe(
        pooled.table(), "SELECT id, a, b, u FROM w.s", mode="merge", incremental_column="u"
    )
    pooled.run("INSERT INTO w.s VALUES (1, 'a', 1, '2024-01-01'), (2, 'b', 2, '2024-01-02')")
    assert counts(pipeline.sync()) == {"inserted": 2, "read": 2}
    pooled.run("INSERT INTO w.s VALUES (3, 'c', 3, '2024-01-03')")
    assert counts(pipeline.sync()) == {"inserted": 1, "unchanged": 1, "read": 2}


@needs_pgbouncer
def test_two_runs_at_once_through_a_transaction_pooler(
    world: Any, pooler: Pooler, database: str
) -> None:
    """Of two processes behind a pooler one waits, for the target or for a connection."""
    factory = world.table()
    world.pipe(factory, mode="scd2")
    world.run("INSERT INTO w.s SELECT i, 'a' || i, i FROM generate_series(1, 50) AS i")
    pooled = pooler.url(database)
    with Gate(database) as gate, nursery(pooled) as start:
        first = start(hold="body", gate_url=database)
        gate.await_waiters()
        second = start(source="SELECT id, a || '!' AS a, b FROM w.s WHERE id <= 30")
        if pooler.size > 1:
            until(lambda: waiting_for_target(database), "the second run to wait for the target")
        else:
            until(lambda: waiting_clients(pooler), "the second run to wait for a connection")
        gate.open()
        assert first.answer()["inserted"] == 50
        two = second.answer()
    assert (two["inserted"], two["closed"]) == (30, 30)
    with world.engine.connect() as connection:
        assert_scd2(connection, factory)
    check_clean(database, pooled)


def waiting_clients(pooler: Pooler) -> int:
    """How many clients wait for a server connection."""
    with psycopg.connect(
        host=str(pooler.place), port=_PORT, user="postgres", dbname="pgbouncer", autocommit=True
    ) as console:
        # The console knows the simple protocol only.
        found = psycopg.ClientCursor(console).execute("SHOW POOLS")
        names = [column.name for column in found.description or ()]
        return sum(int(dict(zip(names, row, strict=True))["cl_waiting"]) for row in found)


# -- without a pooler -----------------------------------------------------------------


def test_own_engines_prepare_nothing(database: str) -> None:
    """pgflow's engines leave server-side prepared statements off, as poolers need it."""
    with pgflow.connect(database) as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        assert driver.prepare_threshold is None
        for _ in range(8):
            connection.exec_driver_sql("SELECT 1")
        found = connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements")
        assert found.scalar() == 0
    dispose()


def test_runs_prepare_nothing_on_foreign_engines(world: Any, database: str) -> None:
    """Also on an engine that prepares what it repeats, a run's own statements are not prepared."""
    world.engine = create_engine(
        database, poolclass=QueuePool, connect_args={"prepare_threshold": 0}
    )
    pipeline = world.pipe(world.table(), mode="scd2")
    world.fill((1, "a", 1))
    for _ in range(3):
        pipeline.sync()
    found = world.run("SELECT statement FROM pg_prepared_statements")
    assert [text for (text,) in found if "pgflow pipeline=" in text] == []
    assert len(found) > 0
    world.engine.dispose()


@pytest.fixture
def narrow(world: Any, database: str) -> Iterator[Any]:
    """The world, on an engine that never has more than one connection."""
    world.engine = create_engine(
        database, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=1
    )
    yield world
    world.engine.dispose()


@pytest.mark.parametrize("mode", MODES)
def test_a_pool_of_one_connection_is_enough(narrow: Any, counts: Any, mode: str) -> None:
    """A run, a dry run and a preview never need a second connection, nor keep the first."""
    options, expected = MODES[mode]

    def body(conn: Any) -> str:
        assert conn.exec_driver_sql("SELECT count(*) FROM w.s").scalar() == 3
        return "SELECT id, a, b FROM w.s"

    pipeline = narrow.pipe(narrow.table(), None, body=body, mode=mode, **options)
    narrow.fill((1, "a", 1), (2, "b", 2), (3, "c", 3))
    assert counts(pipeline.sync()) == {"inserted": 3, "read": 3}
    narrow.fill((1, "a", 1), (2, "B", 2), (4, "d", 4))
    assert [t.problem for t in pipeline.preview().targets] == [""]
    assert counts(pipeline.dry_run()) == expected
    assert counts(pipeline.sync()) == expected
    assert narrow.engine.pool.checkedout() == 0


@needs_pgbouncer
def test_a_worker_refuses_a_queue_behind_a_transaction_pooler(
    pooled: Any, pooler: Pooler, database: str
) -> None:
    """The queue's sessions have to be the worker's own; the server's address is asked for."""
    addresses = [driver_arguments(engine(url)) for url in (pooler.url(database), database)]
    with psycopg.connect(**addresses[0]) as live:
        assert install(live) == "created"
    behind, direct = (Queue(lambda given=given: given) for given in addresses)
    with pytest.raises(PoolerBetween, match="`pgflow worker --direct-dsn NAME`"):
        behind.check()
    direct.check()
