"""A filled table becomes a history by a migration, and its rows become the first versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, Connection, Engine, MetaData, Text
from sqlalchemy.exc import DBAPIError

import pgflow
from pgflow.plugins import ColumnPKPlugin
from pgflow.testing import assert_scd2
from tests.migrations.alembic_project import AlembicProject
from tests.migrations.matrix.workshop import Workshop

SOURCE = "SELECT id, name FROM src"


def declare(engine: Engine, mode: str | None, **options: Any) -> Any:
    """A table with key `id`, and a pipeline that fills it in a mode."""
    metadata = MetaData()
    target = pgflow.SimpleTable(
        "t",
        "app",
        metadata,
        [Column("name", Text)],
        plugins=[ColumnPKPlugin(Column("id", BigInteger))],
        mode=mode,
        **options,
    )
    if mode is not None:
        pgflow.Pipeline("p", target=target, source=SOURCE, connection=engine, mode=mode)
    return metadata, target


def sync(engine: Engine, target: Any, mode: str) -> Any:
    """Fill the table."""
    return pgflow.Pipeline("p", target=target, source=SOURCE, connection=engine, mode=mode).sync()


@pytest.fixture
def project(engine: Engine, tmp_path: Path) -> AlembicProject:
    """A source of three rows, and migrations."""
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE src (id bigint, name text)")
        connection.exec_driver_sql("INSERT INTO src VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    return AlembicProject(tmp_path / "project", engine)


def query(engine: Engine, sql: str) -> list[Any]:
    """Run a statement in a transaction of its own and return its rows."""
    with engine.begin() as connection:
        result = connection.exec_driver_sql(sql)
        return [tuple(row) for row in result] if result.returns_rows else []


@pytest.mark.parametrize("mode", ["scd1", "merge", "append", "truncate"])
def test_a_filled_table_becomes_a_history(
    mode: str, project: AlembicProject, engine: Engine, conn: Connection
) -> None:
    """Rows are versions since they were loaded; syncs go on; back, all is as it was."""
    metadata, target = declare(engine, mode)
    project.revision(metadata)
    project.upgrade()
    sync(engine, target, mode)
    loaded = query(engine, "SELECT id, name, _loaded_at FROM app.t ORDER BY id")
    state = Workshop(engine).state()

    metadata, target = declare(engine, "scd2")
    project.revision(metadata)
    project.upgrade()
    assert project.discards(declare(engine, "scd2")[0]) == ""
    versions = query(engine, "SELECT id, name, valid_from FROM app.t WHERE is_current ORDER BY id")
    assert versions == loaded
    assert_scd2(conn, target)

    query(engine, "UPDATE src SET name = 'z' WHERE id = 1")
    result = sync(engine, target, "scd2")
    assert (result.inserted, result.closed, result.unchanged) == (1, 1, 2)
    assert_scd2(conn, target)

    query(engine, "DELETE FROM app.t WHERE NOT is_current")
    project.downgrade("-1")
    assert Workshop(engine).state() == state
    assert query(engine, "SELECT id, name FROM app.t ORDER BY id") == [(1, "z"), (2, "b"), (3, "c")]


def test_a_table_without_stamps_begins_now(project: AlembicProject, engine: Engine) -> None:
    """Rows of a table that no pipeline has filled are versions since the migration."""
    project.revision(declare(engine, None)[0])
    project.upgrade()
    query(engine, "INSERT INTO app.t SELECT id, name FROM src")
    project.revision(declare(engine, "scd2")[0])
    query(engine, "CREATE TABLE public.earlier AS SELECT clock_timestamp() AS at")
    project.upgrade()
    ((early, late, stamped),) = query(
        engine,
        "SELECT min(valid_from) > (SELECT at FROM earlier), max(valid_from) <= clock_timestamp(),"
        " bool_and(valid_from = _loaded_at) FROM app.t",
    )
    assert (early, late, stamped) == (True, True, True)


@pytest.mark.parametrize("loaded", [None, "zz_loaded"])
def test_names_of_columns_do_not_matter(
    loaded: str | None, project: AlembicProject, engine: Engine, conn: Connection
) -> None:
    """valid_from is filled whatever the columns are called, and when `_loaded_at` is left out."""
    project.revision(declare(engine, None)[0])
    project.upgrade()
    query(engine, "INSERT INTO app.t SELECT id, name FROM src")
    names = {"valid_from": "aa_from", "_loaded_at": loaded, "version_id": "version"}
    metadata, target = declare(engine, "scd2", system_columns=names)
    project.revision(metadata)
    project.upgrade()
    assert query(engine, "SELECT count(aa_from), count(DISTINCT version) FROM app.t") == [(3, 3)]
    assert_scd2(conn, target)
    assert project.discards(declare(engine, "scd2", system_columns=names)[0]) == ""


def test_there_is_no_way_back_over_closed_versions(project: AlembicProject, engine: Engine) -> None:
    """The downgrade of a key with two versions fails as a whole; no version is lost."""
    project.revision(declare(engine, "merge")[0])
    project.upgrade()
    metadata, target = declare(engine, "scd2")
    project.revision(metadata)
    project.upgrade()
    sync(engine, target, "scd2")
    query(engine, "UPDATE src SET name = name || '!'")
    sync(engine, target, "scd2")
    state = Workshop(engine).state()
    with pytest.raises(DBAPIError, match="duplicated"):
        project.downgrade("-1")
    assert Workshop(engine).state() == state
    assert query(engine, "SELECT count(*) FROM app.t") == [(6,)]


@pytest.mark.parametrize("big_table_bytes", [1 << 25, 0])
def test_the_beginning_of_rows_is_never_invented(
    big_table_bytes: int, engine: Engine, tmp_path: Path
) -> None:
    """A column that is there and has NULLs stops the migration at NOT NULL."""
    project = AlembicProject(tmp_path / "project", engine, big_table_bytes=big_table_bytes)
    query(engine, "CREATE SCHEMA app")
    query(engine, "CREATE TABLE app.t (id bigint PRIMARY KEY, name text, begun timestamptz)")
    query(engine, "INSERT INTO app.t VALUES (1, 'a', now()), (2, 'b', NULL)")
    names = {"valid_from": "begun", "_loaded_at": None, "is_current": None}
    written = project.revision(declare(engine, "scd2", system_columns=names)[0])
    assert not any("UPDATE" in each.upgrade for each in written)
    with pytest.raises(DBAPIError, match="begun"):
        project.upgrade()
    assert query(engine, "SELECT begun FROM app.t WHERE id = 2") == [(None,)]


def test_options_arrive_in_filled_tables(project: AlembicProject, engine: Engine) -> None:
    """Stamps, soft deletes and hashes are added to rows that are there, and taken off again."""
    project.revision(declare(engine, None)[0])
    project.upgrade()
    query(engine, "INSERT INTO app.t SELECT id, name FROM src")
    state = Workshop(engine).state()
    options = {"handle_deletes": "soft", "change_detection": "hash"}
    before = query(engine, "SELECT pg_relation_filenode('app.t')")
    metadata, target = declare(engine, "scd1", **options)
    project.revision(metadata)
    project.upgrade()
    assert query(engine, "SELECT pg_relation_filenode('app.t')") == before
    result = sync(engine, target, "scd1")
    assert (result.inserted, result.updated, result.unchanged) == (0, 0, 3)
    project.downgrade("-1")
    assert Workshop(engine).state() == state
