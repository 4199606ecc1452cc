"""The history of another tool is taken over where it lies, while it is read and written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Connection, DateTime, Engine, MetaData, Text, text

import pgflow
from pgflow.errors import InstantTooEarly, SourceMismatch, SystemColumnMismatch
from pgflow.factories.simple import TableFactory
from pgflow.testing import assert_scd2
from tests.migrations.alembic_project import AlembicProject
from tests.migrations.matrix.workshop import Workshop

SOURCE = "SELECT id, name FROM src"

NAMES: dict[str, str | None] = {
    "valid_from": "dbt_valid_from",
    "valid_to": "dbt_valid_to",
    "is_current": None,
    "_loaded_at": None,
    "_batch_id": None,
    "_closed_batch_id": None,
}

#: A snapshot as dbt makes it: no key, no constraint, two versions of each row.
SNAPSHOT = """
CREATE SCHEMA snapshots;
CREATE TABLE snapshots.customers (
    id bigint, name text, dbt_scd_id text, dbt_updated_at timestamp,
    dbt_valid_from {time}, dbt_valid_to {time});
INSERT INTO snapshots.customers
SELECT n, v || ' ' || n, md5(n || '/' || v), '2024-03-31 02:30', make_date(2024, 1 + v, 1),
       CASE WHEN v = 1 THEN make_date(2024, 3, 1) END
  FROM generate_series(1, 500) AS n, generate_series(1, 2) AS v;
CREATE TABLE src AS SELECT id, name FROM snapshots.customers WHERE dbt_valid_to IS NULL;
CREATE VIEW public.report AS SELECT id, name FROM snapshots.customers;
"""


def snapshot(engine: Engine, time: str = "timestamp") -> None:
    """Fill the database as the other tool would have done, in another time zone."""
    zone = f"ALTER DATABASE {engine.url.database} SET TimeZone = 'Asia/Tokyo'"
    with engine.begin() as connection:
        connection.exec_driver_sql(zone)
    with engine.begin() as connection:
        for statement in SNAPSHOT.format(time=time).split(";"):
            connection.exec_driver_sql(statement) if statement.strip() else None


def declare(engine: Engine, names: dict[str, str | None] = NAMES, *more: Column[Any]) -> Any:
    """The snapshot as a target of scd2, and the pipeline that goes on with it."""
    metadata = MetaData()
    scd_id = Column("dbt_scd_id", Text, server_default=text("gen_random_uuid()::text"))
    updated_at = Column("dbt_updated_at", DateTime, server_default=text("now()"))
    target = TableFactory(
        "customers",
        "snapshots",
        metadata,
        [Column("id", BigInteger), Column("name", Text), scd_id, updated_at, *more],
        mode="scd2",
        keys=["id"],
        system_columns=names,
    )
    return metadata, pgflow.Pipeline(
        "p", target=target, source=SOURCE, mode="scd2", connection=engine
    )


def query(engine: Engine, sql: str) -> list[Any]:
    """Run a statement in a transaction of its own and return its rows."""
    with engine.begin() as connection:
        result = connection.exec_driver_sql(sql)
        return [tuple(row) for row in result] if result.returns_rows else []


@contextmanager
def traffic(engine: Engine) -> Iterator[list[str]]:
    """Read and write the snapshot all the time; give what had to wait for more than a second."""
    stop, refused = threading.Event(), []
    statements = (
        "SELECT count(*) FROM snapshots.customers WHERE id = 7",
        "UPDATE snapshots.customers SET name = name WHERE id = 7",
    )

    def work(statement: str) -> None:
        with engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.autocommit = True
            driver.execute("SET lock_timeout = '1s'")
            while not stop.is_set():
                try:
                    driver.execute(statement)
                except psycopg.errors.LockNotAvailable as error:
                    refused.append(str(error))

    threads = [threading.Thread(target=work, args=(statement,)) for statement in statements]
    for thread in threads:
        thread.start()
    try:
        yield refused
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("time", ["timestamp", "timestamptz"])
@pytest.mark.parametrize("big", [True, False])
def test_a_snapshot_is_taken_over_where_it_lies(
    time: str, big: bool, engine: Engine, conn: Connection, tmp_path: Path
) -> None:
    """Same file, same rows, nobody kept out; the pipeline goes on; back, all is as it was."""
    snapshot(engine, time)
    options = {"big_table_bytes": 1} if big else {}
    project = AlembicProject(tmp_path / "project", engine, **options)
    before = query(
        engine,
        "SELECT id, name, dbt_scd_id, dbt_updated_at,"
        f" dbt_valid_from{' AT TIME ZONE $$UTC$$' if time == 'timestamp' else ''},"
        f" dbt_valid_to{' AT TIME ZONE $$UTC$$' if time == 'timestamp' else ''}"
        " FROM snapshots.customers ORDER BY 1, 5",
    )
    state = Workshop(engine).state()
    node = query(engine, "SELECT pg_relation_filenode('snapshots.customers')")

    metadata, pipeline = declare(engine)
    written = project.revision(metadata)
    if big:
        said = "".join(revision.upgrade for revision in written)
        assert "rewrites the table" not in said
        assert not any("reads" in line and "EXCLUSIVE" in line for line in said.splitlines())
    with traffic(engine) as refused:
        project.upgrade()
    assert refused == []
    assert query(engine, "SELECT pg_relation_filenode('snapshots.customers')") == node
    after = "SELECT * FROM snapshots.customers ORDER BY 1, 5"
    assert query(engine, after) == before
    assert project.discards(declare(engine)[0]) == ""

    query(engine, "UPDATE src SET name = 'new' WHERE id <= 3")
    query(engine, "DELETE FROM src WHERE id = 4")
    result = pipeline.sync()
    assert (result.inserted, result.closed, result.unchanged) == (3, 3, 496)
    assert pipeline.sync().inserted == 0
    assert_scd2(conn, pipeline.sync_target.table)
    assert query(engine, "SELECT count(DISTINCT dbt_scd_id) FROM snapshots.customers") == [(1003,)]

    project.downgrade()
    assert query(engine, "SELECT pg_relation_filenode('snapshots.customers')") == node
    mine = [row for row in Workshop(engine).state() if "alembic_version" not in str(row[1:3])]
    assert mine == list(state)


def test_stamps_are_added_without_a_rewrite(engine: Engine, tmp_path: Path) -> None:
    """What pgflow keeps about runs can be added to a snapshot; rows of before have no run."""
    snapshot(engine)
    names = {k: v for k, v in NAMES.items() if v is not None or k == "is_current"}
    project = AlembicProject(tmp_path / "project", engine)
    metadata, pipeline = declare(engine, names)
    node = query(engine, "SELECT pg_relation_filenode('snapshots.customers')")
    project.revision(metadata)
    project.upgrade()
    assert query(engine, "SELECT pg_relation_filenode('snapshots.customers')") == node
    assert pipeline.sync().unchanged == 500
    stamps = "SELECT count(_loaded_at), count(_batch_id) FROM snapshots.customers"
    assert query(engine, stamps) == [(1000, 0)]


def test_two_current_versions_stop_the_migration(engine: Engine, tmp_path: Path) -> None:
    """What cannot be a history is named by PostgreSQL, and the table is as it was."""
    snapshot(engine)
    project = AlembicProject(tmp_path / "project", engine)
    twice = "INSERT INTO snapshots.customers (id, dbt_valid_from) VALUES (7, '2025-01-01')"
    query(engine, twice)
    state = Workshop(engine).state()
    project.revision(declare(engine)[0])
    with pytest.raises(sa.exc.IntegrityError, match=r"\(id\)=\(7\) is duplicated"):
        project.upgrade()
    mine = [row for row in Workshop(engine).state() if "alembic_version" not in str(row[1:3])]
    assert mine == list(state)


def test_an_end_far_away_is_no_open_version(engine: Engine, tmp_path: Path) -> None:
    """A tool that writes 9999-12-31 for `open` is noticed before a second version is opened."""
    snapshot(engine)
    query(
        engine,
        "UPDATE snapshots.customers SET dbt_valid_to = '9999-12-31' WHERE dbt_valid_to IS NULL",
    )
    project = AlembicProject(tmp_path / "project", engine)
    metadata, pipeline = declare(engine)
    project.revision(metadata)
    project.upgrade()
    with pytest.raises(InstantTooEarly, match="one that is open has no end, not one far away"):
        pipeline.sync()


def test_a_required_column_of_the_other_tool_needs_a_default(
    engine: Engine, tmp_path: Path
) -> None:
    """NOT NULL without a default, and not delivered: the run is refused by the column's name."""
    snapshot(engine)
    query(engine, "ALTER TABLE snapshots.customers ADD COLUMN dbt_is_deleted text NOT NULL"
          " DEFAULT 'False'")  # fmt: skip
    project = AlembicProject(tmp_path / "project", engine)
    metadata, pipeline = declare(engine, NAMES, Column("dbt_is_deleted", Text, nullable=False))
    project.revision(metadata)
    project.upgrade()
    with pytest.raises(SourceMismatch, match="'dbt_is_deleted' is NOT NULL without a default"):
        pipeline.sync()


def test_a_validity_column_is_not_declared_without_its_zone(engine: Engine) -> None:
    """A declared `timestamp` cannot hold instants, and the refusal says what is needed."""
    with pytest.raises(SystemColumnMismatch, match="dbt_valid_from.*DateTime"):
        declare(engine, NAMES, Column("dbt_valid_from", DateTime, nullable=False))
