"""Positions in another database: its own snapshot, its own identity, its own lives."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import NullPool, create_engine

from pgflow.connections.account import server_account
from pgflow.connections.binaries import Binaries
from pgflow.connections.cluster import Cluster
from pgflow.errors import NoPosition, StalePosition
from pgflow.factories.backfill import Backfill
from tests.conftest import THROW_AWAY
from tests.sync.conftest import World

QUERIES = {
    "snapshot": "SELECT id, a, xid FROM w.tracked",
    "horizon": "SELECT id, a, xmin FROM w.tracked",
}
KINDS = list(QUERIES)

SETUP = (
    "CREATE TABLE w.tracked (id bigint PRIMARY KEY, a text,"
    " xid xid8 NOT NULL DEFAULT pg_current_xact_id())",
    "CREATE FUNCTION w.track() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN NEW.xid := pg_current_xact_id(); RETURN NEW; END'",
    "CREATE TRIGGER track BEFORE INSERT OR UPDATE ON w.tracked"
    " FOR EACH ROW EXECUTE FUNCTION w.track()",
)


def pipe(world: World, far: World, kind: str) -> Any:
    """A pipeline from a tracked table in the other database."""
    for statement in SETUP:
        far.run(statement)
    table = world.table("t", sa.Column("a", sa.Text))
    return world.pipe(
        table, QUERIES[kind], mode="merge", watermark=kind, source_connection=far.engine
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_commits_late_elsewhere_is_read(
    world: World, far: World, counts: Any, kind: str
) -> None:
    """The position is the source's own, of the very snapshot that its rows were read in."""
    pipeline = pipe(world, far, kind)
    world.run("SELECT pg_current_xact_id() FROM generate_series(1, 3)")
    url = far.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as slow:
        slow.execute("INSERT INTO w.tracked VALUES (1, 'slow')")
        with slow.transaction():
            slow.execute("INSERT INTO w.tracked VALUES (2, 'slow')")
        far.run("INSERT INTO w.tracked VALUES (3, 'fast')")
        assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}
        slow.commit()
    assert pipeline.sync().inserted == 2
    assert counts(pipeline.sync()) == {}
    far.run("UPDATE w.tracked SET a = 'x' WHERE id = 2")
    assert counts(pipeline.sync()) == {"updated": 1, "read": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_made_anew_elsewhere_stops_the_pipeline(
    world: World, far: World, kind: str
) -> None:
    """The table is known by its number there."""
    pipeline = pipe(world, far, kind)
    far.run("CREATE TABLE w.other (LIKE w.tracked INCLUDING ALL)")
    far.run("INSERT INTO w.other VALUES (1, 'written before the run')")
    pipeline.sync()
    far.run("ALTER TABLE w.tracked RENAME TO former; ALTER TABLE w.other RENAME TO tracked")
    with pytest.raises(StalePosition, match="(?s)made anew.*pgflow watermark reset p"):
        pipeline.sync()


@pytest.fixture
def mortal(server_directory: Path, binaries: Binaries) -> Iterator[tuple[Cluster, World]]:
    """A server of its own, that can be made a standby, with an empty schema `w`."""
    cluster = Cluster(server_directory / "mortal", binaries, server_account())
    cluster.create(durable=False)
    cluster.start(THROW_AWAY)
    made = World(create_engine(cluster.url("postgres"), poolclass=NullPool))
    made.run("CREATE SCHEMA w")
    yield cluster, made
    made.engine.dispose()
    cluster.stop(immediate=True)


def test_standbys_and_promoted_ones_stop_the_pipeline(
    world: World, mortal: tuple[Cluster, World]
) -> None:
    """A standby knows no running transactions, and one that was promoted lives another life."""
    cluster, far = mortal
    pipeline = pipe(world, far, "snapshot")
    far.run("INSERT INTO w.tracked VALUES (1, 'a')")
    assert pipeline.sync().inserted == 1
    cluster.stop()
    signal = cluster.data / "standby.signal"
    signal.touch()
    account = server_account()
    shutil.chown(signal, account.uid, account.gid)
    cluster.start(THROW_AWAY)
    with pytest.raises(NoPosition, match="the source's server is a standby, which does not know"):
        pipeline.sync()
    with far.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as live:
        assert live.exec_driver_sql("SELECT pg_promote()").scalar()
    far.run("INSERT INTO w.tracked VALUES (2, 'b')")
    with pytest.raises(StalePosition, match="timeline 00000001, .* 00000002 now .a standby was"):
        pipeline.sync()
    pipeline.set_watermark(None)
    assert pipeline.sync().inserted == 1


def test_a_backfill_reads_only_its_steps_elsewhere(world: World, far: World) -> None:
    """The bounds of a step reach the other database; months are as long as they are."""
    far.run("CREATE TABLE w.days (id bigint, a text, on_day date)")
    far.run(
        "INSERT INTO w.days SELECT row_number() OVER (), 'x', d FROM"
        " generate_series('2024-01-01'::date, '2024-04-10', '1 day') AS d"
    )
    table = world.table("t", sa.Column("a", sa.Text))
    pipeline = world.pipe(
        table, "SELECT id, a, on_day FROM w.days", mode="merge", source_connection=far.engine
    )
    backfill = Backfill(pipeline, "2024-01-01", "2024-04-01", "1 month", column="on_day")
    reads = [(step.begin, result.read) for step, result in backfill.run()]
    assert reads == [("2024-01-01", 31), ("2024-02-01", 29), ("2024-03-01", 31)]
    assert world.run("SELECT max(id) FROM w.t") == [(91,)]


def test_a_backfill_goes_through_other_databases_too(world: World, tmp_path: Path) -> None:
    """Only the rows of a step arrive, also where another kind of database compares."""
    lite = create_engine(f"sqlite:///{tmp_path / 'source.db'}")
    with lite.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE s (id integer, a text, n integer)")
        connection.exec_driver_sql("INSERT INTO s VALUES (1, 'a', 5), (2, 'b', 10), (3, 'c', 19)")
        connection.exec_driver_sql("INSERT INTO s VALUES (4, 'd', 20), (5, 'e', NULL)")
    table = world.table("t", sa.Column("a", sa.Text), sa.Column("n", sa.Integer))
    pipeline = world.pipe(
        table, "SELECT id, a, n FROM s", mode="merge", source_connection=lite,
        incremental_column="n",
    )  # fmt: skip
    reads = [result.read for _, result in Backfill(pipeline, "0", "20", "10").run()]
    assert reads == [1, 2]
    assert world.run("SELECT id FROM w.t ORDER BY 1") == [(1,), (2,), (3,)]
    lite.dispose()
