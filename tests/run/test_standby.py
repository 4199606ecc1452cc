"""A standby as the source: its replay may cancel the reader, who then tries again a few times."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import NullPool, create_engine

from pgflow.connections.account import server_account
from pgflow.connections.binaries import Binaries
from pgflow.connections.cluster import Cluster
from pgflow.errors import SourceFailed
from pgflow.run.events import RunStarted, Silence
from tests.sync.conftest import World
from tests.sync.sync_children import until


@pytest.fixture(scope="module")
def pair(server_directory: Path, binaries: Binaries) -> Iterator[tuple[World, World]]:
    """A primary with a source `w.s`, and a standby that lets nobody hold up its replay."""
    account = server_account()
    primary = Cluster(server_directory / "primary", binaries, account)
    standby = Cluster(server_directory / "standby", binaries, account)
    primary.create(durable=False)
    account.make_directory(standby.place)
    shutil.copytree(primary.data, standby.data)
    (standby.data / "standby.signal").touch()
    for path in (standby.data, *standby.data.rglob("*")):
        shutil.chown(path, account.uid, account.gid)
    try:
        primary.start({"fsync": "off", "autovacuum": "off"})
        url = primary.url()
        conninfo = f"host={url.query['host']} port={url.query['port']} user={url.username}"
        standby.start({"primary_conninfo": conninfo, "max_standby_streaming_delay": "0"})
        worlds = [
            World(create_engine(each.url(), poolclass=NullPool)) for each in (primary, standby)
        ]
        worlds[0].run("CREATE SCHEMA w")
        worlds[0].run("CREATE TABLE w.s (id bigint, a text, b numeric, u timestamptz)")
        yield worlds[0], worlds[1]
    finally:
        for cluster in (standby, primary):
            cluster.stop(immediate=True)


class Vacuums(Silence):
    """Has the primary clean up what the reader of the standby may still need."""

    def __init__(self, primary: World, standby: World, times: int) -> None:
        self.primary, self.standby, self.times = primary, standby, times
        self.attempts: list[int] = []

    def executing(self, run: RunStarted, statement: Any) -> None:
        if statement.feed is None or not self.times:
            return
        self.times -= 1
        self.primary.run("UPDATE w.s SET b = b + 1")
        url = self.primary.engine.url
        with psycopg.connect(
            host=str(url.query["host"]),
            port=str(url.query["port"]),
            user=url.username,
            autocommit=True,
        ) as connection:
            connection.execute("VACUUM w.s")
            # A commit has the log written, and so sent; VACUUM has not.
            connection.execute("SELECT pg_logical_emit_message(true, 'pgflow', '')")
            ((reached,),) = connection.execute("SELECT pg_current_wal_lsn()").fetchall()
        replayed = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        until(lambda: self.standby.run(replayed, str(reached)) == [(True,)], "the replay")

    def retrying(self, run: RunStarted, error: Exception, attempt: int, delay: float) -> None:
        assert "conflict with recovery" in str(error)
        self.attempts.append(attempt)


@pytest.mark.parametrize(("times", "attempts"), [(1, [2]), (99, [2, 3])])
def test_a_conflict_with_the_replay_is_tried_again_a_few_times(
    pair: tuple[World, World], engine: Any, times: int, attempts: list[int]
) -> None:
    """A run whose reader the standby has cancelled starts again, three times in all at most."""
    primary, standby = pair
    primary.run("TRUNCATE w.s; INSERT INTO w.s SELECT i, 'a', i FROM generate_series(1, 1000) AS i")
    world = World(engine)
    pipeline = world.pipe(world.table(), mode="merge", source_connection=standby.engine)
    until(lambda: standby.run("SELECT to_regclass('w.s') IS NOT NULL") == [(True,)], "the replay")
    until(lambda: standby.run("SELECT sum(b) FROM w.s") == [(500_500,)], "the rows")
    watch = Vacuums(primary, standby, times)
    if times == 1:
        assert pipeline.sync(observer=watch).inserted == 1000
    else:
        with pytest.raises(SourceFailed, match="conflict with recovery"):
            pipeline.sync(observer=watch)
        assert world.run("SELECT count(*) FROM w.t") == [(0,)]
    assert watch.attempts == attempts
