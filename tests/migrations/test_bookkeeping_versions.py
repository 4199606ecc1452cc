"""pgflow's own tables say which version they have, and runs refuse what is too far away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

import pgflow
from pgflow import bookkeeping
from pgflow.checks import SQLCheck
from pgflow.errors import MissingTable, OtherLayout, StatementFailed, TablesOutOfDate
from pgflow.observe.history import read_history
from tests.migrations.alembic_project import AlembicProject


@pytest.fixture
def sync(engine: Engine) -> Callable[[], Any]:
    """A function that runs a pipeline which keeps a watermark."""
    metadata = sa.MetaData()
    table = pgflow.SimpleTable("t", "w", metadata, [sa.Column("n", sa.BigInteger)], keys=["n"])
    pipeline = pgflow.Pipeline(
        "p",
        target=table,
        source="SELECT 1::bigint AS n",
        mode="append",
        incremental_column="n",
        connection=engine,
    )
    pgflow.create_all(metadata, connection=engine)
    return pipeline.sync


def stamp(engine: Engine, table: str, version: int | None) -> None:
    """Give one of pgflow's own tables the comment of another layout."""
    comment = "NULL" if version is None else f"'pgflow bookkeeping, layout {version}: x [pgflow]'"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"COMMENT ON TABLE pgflow.{table} IS {comment}")


def test_a_new_database_has_this_version(engine: Engine, sync: Callable[[], Any]):
    """create_all stamps both tables with the version that this pgflow writes."""
    with engine.connect() as connection:
        comments = connection.exec_driver_sql(
            "SELECT obj_description(c.oid, 'pg_class') FROM pg_class c"
            " WHERE relnamespace = 'pgflow'::regnamespace AND relkind = 'r' ORDER BY relname"
        ).scalars()
        assert [bookkeeping.layout(comment) for comment in comments] == [bookkeeping.VERSION] * 5
    assert sync().inserted == 1


@pytest.mark.parametrize("distance", [-1, 0, 1, None])
@pytest.mark.parametrize("table", ["runs", "watermarks"])
def test_a_version_beside_this_one_is_served(
    engine: Engine, sync: Callable[[], Any], table: str, distance: int | None
):
    """While a version is rolled out, programs and tables may differ by one version."""
    stamp(engine, table, None if distance is None else bookkeeping.VERSION + distance)
    assert sync().inserted == 1


@pytest.mark.parametrize("table", ["runs", "watermarks"])
def test_tables_of_a_later_pgflow_are_refused(engine: Engine, sync: Callable[[], Any], table: str):
    """Two versions ahead nothing is written, and the message says to upgrade pgflow."""
    stamp(engine, table, bookkeeping.VERSION + 2)
    with pytest.raises(OtherLayout, match="pip install --upgrade pgflow") as refused:
        sync()
    assert refused.value.table == f"pgflow.{table}"
    assert (refused.value.found, refused.value.expected) == (
        bookkeeping.VERSION + 2, bookkeeping.VERSION,
    )  # fmt: skip
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM w.t").scalar() == 0
        assert connection.exec_driver_sql("SELECT count(*) FROM pgflow.runs").scalar() == 0


def test_tables_of_an_old_pgflow_are_refused(
    engine: Engine, sync: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
):
    """Two versions behind the message names the commands that migrate."""
    monkeypatch.setattr(bookkeeping, "VERSION", bookkeeping.VERSION + 2)
    with pytest.raises(OtherLayout, match="`alembic upgrade head`, or `pgflow migrate`"):
        sync()


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("pgflow bookkeeping, layout 12: every run [pgflow]", 12),
        ("layout 12", None),
        ("", None),
        (None, None),
        ("pgflow bookkeeping, layout x: y", None),
    ],
)
def test_the_version_is_read_from_the_comment(comment: str | None, expected: int | None):
    """Only pgflow's own wording counts."""
    assert bookkeeping.layout(comment) == expected


def test_moved_tables_know_where_they_were():
    """utility_schema_renamed_from reaches both tables, quoted where it must be."""
    metadata = sa.MetaData()
    config = pgflow.Config(utility_schema="ops", utility_schema_renamed_from="Old")
    table = pgflow.SimpleTable("t", "w", metadata, [sa.Column("n", sa.BigInteger)])
    pgflow.Pipeline("p", target=table, source="SELECT 1 AS n", mode="append", config=config)
    made = bookkeeping.register(metadata, "ops")
    assert made.runs.info == {"renamed_from": '"Old".runs'}
    assert made.watermarks.info == {"renamed_from": '"Old".watermarks'}
    assert bookkeeping.register(metadata, "other").runs.info == {}
    direct = bookkeeping.register(sa.MetaData(), "ops", moved_from="pgflow")
    assert direct.runs.info == {"renamed_from": "pgflow.runs"}


def to_layout_1(engine: Engine) -> None:
    """Make the tables as the layout before had them."""
    with engine.begin() as connection:
        for table in ("backfills", "quarantine", "erasures"):
            connection.exec_driver_sql(f"DROP TABLE pgflow.{table}")
        connection.exec_driver_sql("ALTER TABLE pgflow.runs DROP rejected, DROP details")
        connection.exec_driver_sql("ALTER TABLE pgflow.watermarks DROP details")
    for table in ("runs", "watermarks"):
        stamp(engine, table, 1)


def test_the_layout_before_serves_what_it_could(engine: Engine, sync: Callable[[], Any]):
    """On real tables of layout 1 runs succeed, fail and are read back as they always were."""
    to_layout_1(engine)
    assert sync().inserted == 1
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE w.t ADD CHECK (n > 5) NOT VALID")
        connection.exec_driver_sql("DELETE FROM w.t")
    with pytest.raises(StatementFailed):
        sync()
    with engine.connect() as connection:
        failed, done = read_history(connection)
    assert (failed.status, failed.rejected, failed.details) == ("failed", 0, None)
    assert (done.status, done.inserted, done.rejected, done.details) == ("success", 1, 0, None)


def test_what_the_layout_before_cannot_is_refused(engine: Engine):
    """A pipeline that puts rows aside needs the quarantine, which layout 1 has not."""
    metadata = sa.MetaData()
    table = pgflow.SimpleTable("t", "w", metadata, [sa.Column("n", sa.BigInteger)], keys=["n"])
    pipeline = pgflow.Pipeline(
        "p",
        target=table,
        source="SELECT -1::bigint AS n",
        mode="append",
        checks=[SQLCheck("positive", "n > 0", quarantine=True)],
        connection=engine,
    )
    pgflow.create_all(metadata, connection=engine)
    to_layout_1(engine)
    with pytest.raises(MissingTable, match=r"no table pgflow\.quarantine"):
        pipeline.sync()
    with pytest.raises(MissingTable, match=r"no table pgflow\.quarantine and no table"):
        pgflow.forget(table, {"n": 1}, connection=engine)


def test_create_all_changes_no_older_layout(engine: Engine, sync: Callable[[], Any]):
    """What is there is never altered by create_all: it says what does."""
    to_layout_1(engine)
    metadata = sa.MetaData()
    bookkeeping.register(metadata)
    with pytest.raises(TablesOutOfDate, match=r"(?s)pgflow\.runs.*rejected.*pgflow migrate"):
        pgflow.create_all(metadata, connection=engine)
    assert sync().inserted == 1


def test_a_migration_brings_this_layout(engine: Engine, tmp_path: Path):
    """revision --autogenerate and upgrade make layout 2 of layout 1, and are empty afterwards."""
    metadata = sa.MetaData()
    table = pgflow.SimpleTable("t", "w", metadata, [sa.Column("n", sa.BigInteger)], keys=["n"])
    pipeline = pgflow.Pipeline(
        "p", target=table, source="SELECT 1::bigint AS n", mode="append", connection=engine
    )
    pgflow.create_all(metadata, connection=engine)
    to_layout_1(engine)
    assert pipeline.sync().inserted == 1
    project = AlembicProject(tmp_path, engine)
    project.revision(metadata, "layout 2")
    project.upgrade()
    assert all(revision.is_empty for revision in project.revision(metadata, "nothing"))
    with engine.connect() as connection:
        (entry,) = read_history(connection)
        comments = connection.exec_driver_sql(
            "SELECT obj_description(c.oid, 'pg_class') FROM pg_class c"
            " WHERE relnamespace = 'pgflow'::regnamespace AND relkind = 'r'"
        ).scalars()
        assert [bookkeeping.layout(c) for c in comments] == [bookkeeping.VERSION] * 5
    assert (entry.inserted, entry.rejected, entry.details) == (1, 0, None)
    assert pgflow.forget(table, {"n": 1}, connection=engine).versions == 1
