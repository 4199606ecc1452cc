"""watermark="snapshot" and "horizon": what came after a run's snapshot, whoever commits when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import InvalidOption, NoPosition, SourceMismatch, StalePosition
from tests.sync.conftest import World

#: How each kind reads a source; `w.tracked` has a column of transaction numbers as well.
QUERIES = {
    "snapshot": "SELECT id, a, xid FROM w.tracked",
    "horizon": "SELECT id, a, xmin FROM w.tracked",
}
KINDS = list(QUERIES)


@pytest.fixture
def source(world: Any) -> Any:
    """A source whose rows know the transaction that wrote them last."""
    return tracked(world)


def tracked(world: Any) -> Any:
    """Make a table whose rows are numbered."""
    world.run(
        "CREATE TABLE w.tracked (id bigint PRIMARY KEY, a text,"
        " xid xid8 NOT NULL DEFAULT pg_current_xact_id())"
    )
    world.run("CREATE INDEX ON w.tracked (xid)")
    world.run(
        "CREATE FUNCTION w.track() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN NEW.xid := pg_current_xact_id(); RETURN NEW; END'"
    )
    world.run(
        "CREATE TRIGGER track BEFORE INSERT OR UPDATE ON w.tracked"
        " FOR EACH ROW EXECUTE FUNCTION w.track()"
    )
    return world


def pipe(world: Any, kind: str, mode: str = "merge", **options: Any) -> Any:
    """A pipeline from the tracked table."""
    table = world.table("t", sa.Column("a", sa.Text))
    return world.pipe(table, QUERIES[kind], mode=mode, watermark=kind, **options)


@contextmanager
def writer(world: Any) -> Iterator[psycopg.Connection[Any]]:
    """A transaction of somebody else's that is still open."""
    url = world.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        yield connection


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["append", "merge", "scd1", "scd2"])
def test_only_what_is_new_is_read(source: Any, counts: Any, kind: str, mode: str) -> None:
    """After the first run, which reads everything, only rows that were written since are read."""
    pipeline = pipe(source, kind, mode)
    source.run("INSERT INTO w.tracked VALUES (1, 'a'), (2, 'b')")
    assert counts(pipeline.sync()) == {"inserted": 2, "read": 2}
    assert counts(pipeline.sync()) == {}
    source.run("INSERT INTO w.tracked VALUES (3, 'c')")
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}
    source.run("UPDATE w.tracked SET a = 'B' WHERE id = 2")
    result = pipeline.sync()
    assert result.read == 1
    assert result.updated + result.closed + result.skipped == 1
    assert counts(pipeline.sync()) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_transaction_that_commits_late_is_read(source: Any, counts: Any, kind: str) -> None:
    """A row that was written before a run and committed after it comes with the next run."""
    pipeline = pipe(source, kind)
    with writer(source) as slow:
        slow.execute("INSERT INTO w.tracked VALUES (1, 'slow')")
        source.run("INSERT INTO w.tracked VALUES (2, 'fast')")
        assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}
        source.run("INSERT INTO w.tracked VALUES (3, 'fast')")
        pipeline.sync()
        slow.commit()
    pipeline.sync()
    assert source.run("SELECT id FROM w.t ORDER BY id") == [(1,), (2,), (3,)]
    assert counts(pipeline.sync()) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_savepoints_are_read(source: Any, kind: str) -> None:
    """Rows written under a savepoint carry another number, and are not lost for it."""
    pipeline = pipe(source, kind)
    source.run("INSERT INTO w.tracked VALUES (1, 'a')")
    pipeline.sync()
    with writer(source) as slow:
        slow.execute("INSERT INTO w.tracked VALUES (2, 'b')")
        with slow.transaction():
            slow.execute("INSERT INTO w.tracked VALUES (3, 'c')")
            with slow.transaction():
                slow.execute("UPDATE w.tracked SET a = 'A' WHERE id = 1")
        pipeline.sync()
        with slow.transaction():
            slow.execute("INSERT INTO w.tracked VALUES (4, 'd')")
        slow.commit()
    pipeline.sync()
    assert source.run("SELECT id, a FROM w.t ORDER BY id") == [
        (1, "A"), (2, "b"), (3, "c"), (4, "d"),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_prepared_transaction_is_read_once_it_is_committed(
    logical_database: str, counts: Any, kind: str
) -> None:
    """It runs, for all that others see, until somebody commits it, whichever connection does."""
    world = World(sa.create_engine(logical_database, poolclass=sa.NullPool))
    world.run("CREATE SCHEMA w")
    pipeline = pipe(tracked(world), kind)
    with writer(world) as first:
        first.autocommit = True
        first.execute("BEGIN")
        first.execute("INSERT INTO w.tracked VALUES (1, 'prepared')")
        first.execute("PREPARE TRANSACTION 'late'")
    world.run("INSERT INTO w.tracked VALUES (2, 'b')")
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}
    world.run("INSERT INTO w.tracked VALUES (3, 'c')")
    assert pipeline.sync().inserted == 1
    with writer(world) as second:
        second.autocommit = True
        second.execute("COMMIT PREPARED 'late'")
    assert pipeline.sync().inserted == 1
    assert counts(pipeline.sync()) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_function_itself_writes_is_not_lost(source: Any, counts: Any, kind: str) -> None:
    """What a pipeline's own function writes to the source is read, and known the next time."""

    def body(conn: Any) -> str:
        conn.exec_driver_sql("INSERT INTO w.tracked SELECT count(*) + 1, 'x' FROM w.tracked")
        return QUERIES[kind]

    table = source.table("t", sa.Column("a", sa.Text))
    pipeline = source.pipe(table, None, body=body, mode="merge", watermark=kind)
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}
    assert counts(pipeline.sync()) == {"inserted": 1, "unchanged": 1, "read": 2}
    assert source.run("SELECT count(*) FROM w.t") == [(2,)]


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_rows_are_not_lost(source: Any, counts: Any, kind: str) -> None:
    """VACUUM FREEZE between two runs hides nothing."""
    pipeline = pipe(source, kind)
    source.run("INSERT INTO w.tracked VALUES (1, 'a')")
    pipeline.sync()
    source.run("INSERT INTO w.tracked VALUES (2, 'b')")
    with source.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM (FREEZE) w.tracked")
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}


def test_the_source_may_be_a_table(source: Any, counts: Any) -> None:
    """With a source table nothing has to be selected: the columns are known."""
    for kind in KINDS:
        table = source.table(f"t_{kind}", sa.Column("a", sa.Text))
        pipeline = source.pipe(
            table, pgflow.SourceTable("w.tracked"), name=kind, mode="merge", watermark=kind
        )
        source.run("INSERT INTO w.tracked SELECT count(*) + 1, 'x' FROM w.tracked")
        assert pipeline.sync().read >= 1
        assert counts(pipeline.sync()) == {}


def test_a_target_keeps_its_own_numbers(source: Any) -> None:
    """A target that is tracked itself never takes over the numbers of its source."""
    table = source.table(
        "t",
        sa.Column("a", sa.Text),
        sa.Column("xid", pgflow.types.Raw["xid8"], server_default=sa.text("'7'::xid8")),
    )
    pipeline = source.pipe(table, QUERIES["snapshot"], mode="merge", watermark="snapshot")
    source.run("INSERT INTO w.tracked VALUES (1, 'a')")
    pipeline.sync()
    source.run("UPDATE w.tracked SET a = 'A'")
    assert pipeline.sync().updated == 1
    assert source.run("SELECT a, xid::text FROM w.t") == [("A", "7")]


def test_an_index_serves_the_condition(source: Any) -> None:
    """Few new rows are found by the index on the column, not by reading the table."""
    pipeline = pipe(source, "snapshot")
    source.run("INSERT INTO w.tracked SELECT i, 'x' FROM generate_series(1, 20000) AS i")
    source.run("ANALYZE w.tracked")
    pipeline.sync()
    source.run("UPDATE w.tracked SET a = 'y' WHERE id = 5")
    fill = pipeline.plan().prepare[0]
    query = fill.text.split(" AS\n", 1)[1]
    with writer(source) as connection:
        plan = psycopg.RawCursor(connection).execute(f"EXPLAIN {query}", fill.parameters).fetchall()
    assert "tracked_xid_idx" in str(plan)
    assert pipeline.sync().read == 1


def change(world: Any, **changes: Any) -> None:
    """Change what the stored position is bound to."""
    world.run("UPDATE pgflow.watermarks SET details = details || %s::jsonb", json.dumps(changes))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"server": "1"}, "taken on server 1, and the source is on server"),
        ({"timeline": "000000FF"}, "timeline 000000FF.*a standby was promoted, or a backup"),
        ({"database": "1"}, "taken on database 1, and the source is on database"),
    ],
)
def test_another_life_of_the_server_stops_the_pipeline(
    source: Any, kind: str, changes: dict[str, str], said: str
) -> None:
    """A position of another server or timeline is refused, with the way out, and nothing moves."""
    pipeline = pipe(source, kind)
    pipeline.sync()
    change(source, **changes)
    source.run("INSERT INTO w.tracked VALUES (1, 'a')")
    with pytest.raises(StalePosition, match=f"(?s){said}.*pgflow watermark reset p"):
        pipeline.sync()
    assert source.run("SELECT count(*) FROM w.t") == [(0,)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_was_set_back_stops_the_pipeline(source: Any, kind: str) -> None:
    """A position from the future of the server is refused: a backup was restored."""
    pipeline = pipe(source, kind)
    pipeline.sync()
    future = {"snapshot": "4000000000:4000000000:", "horizon": "4000000000"}
    source.run("UPDATE pgflow.watermarks SET value = %s", future[kind])
    with pytest.raises(StalePosition, match="at transaction 4000000000, and .* was set back"):
        pipeline.sync()


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_caller_writes_after_the_run_is_not_lost(source: Any, kind: str) -> None:
    """A joined run's own transaction is not over when the source is read: it may write on."""
    pipeline = pipe(source, kind)
    pipeline.sync()
    with source.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO w.tracked VALUES (1, 'before')")
        source.run("INSERT INTO w.tracked VALUES (2, 'of another, begun later and over')")
        pipeline.sync(connection=connection)
        connection.exec_driver_sql("INSERT INTO w.tracked VALUES (3, 'after')")
        connection.exec_driver_sql("UPDATE w.tracked SET a = 'again' WHERE id = 1")
    pipeline.sync()
    assert [row[0] for row in source.run("SELECT a FROM w.t ORDER BY id")] == [
        "again", "of another, begun later and over", "after",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_that_was_made_anew_stops_the_pipeline(source: Any, kind: str) -> None:
    """Rows of a table that was swapped in were written before, so their numbers are old."""
    pipeline = pipe(source, kind)
    source.run("CREATE TABLE w.other (LIKE w.tracked INCLUDING ALL)")
    source.run("INSERT INTO w.other VALUES (1, 'written before the run')")
    pipeline.sync()
    source.run("ALTER TABLE w.tracked RENAME TO former; ALTER TABLE w.other RENAME TO tracked")
    with pytest.raises(StalePosition, match="(?s)made anew.*pgflow watermark reset p"):
        pipeline.sync()
    pipeline.set_watermark(None)
    assert pipeline.sync().inserted == 1


def test_numbers_of_another_server_are_refused(source: Any) -> None:
    """Foreign tables, also behind views, and views that lag have numbers that mean nothing here."""
    source.run("CREATE EXTENSION postgres_fdw")
    where = source.engine.url
    source.run(
        "CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw OPTIONS"
        f" (host '{where.query['host']}', port '{where.query['port']}', dbname '{where.database}')"
    )
    source.run("CREATE USER MAPPING FOR CURRENT_USER SERVER other")
    source.run(
        "CREATE FOREIGN TABLE w.far (id bigint, a text, xid xid8)"
        " SERVER other OPTIONS (schema_name 'w', table_name 'tracked')"
    )
    source.run("CREATE VIEW w.view AS SELECT * FROM w.far")
    source.run("CREATE MATERIALIZED VIEW w.lagging AS SELECT * FROM w.tracked")
    table = source.table("t", sa.Column("a", sa.Text))

    def refused(relation: str, kind: str, said: str) -> None:
        column = {"snapshot": "xid", "horizon": "xmin"}[kind]
        given = f"SELECT id, a, {column} FROM {relation}"
        pipeline = source.pipe(table, given, mode="merge", watermark=kind)
        with pytest.raises(NoPosition, match=said):
            pipeline.sync()

    refused("w.far", "snapshot", "reads a foreign table, whose rows have the numbers of another")
    refused("w.far", "horizon", "reads a foreign table")
    refused("w.view", "snapshot", "reads a foreign table")
    refused("w.lagging", "snapshot", "column of a materialized view")


@pytest.mark.parametrize("expression", ["greatest(t.xid, u.xid)", "coalesce(u.xid, t.xid)"])
def test_numbers_must_be_a_tables_own(source: Any, expression: str) -> None:
    """Of two transactions a snapshot may have seen the later one only, so one number hides one."""
    source.run("CREATE TABLE w.u (LIKE w.tracked INCLUDING ALL)")
    table = source.table("t", sa.Column("a", sa.Text))
    text = f"SELECT t.id, t.a, {expression} AS xid FROM w.tracked AS t JOIN w.u USING (id)"
    pipeline = source.pipe(table, text, mode="merge", watermark="snapshot")
    with pytest.raises(SourceMismatch, match="must be a table's own column: no expression"):
        pipeline.sync()
    with pytest.raises(SourceMismatch, match="'xid'.* source does not deliver it.*pgflow tracking"):
        source.pipe(table, "SELECT id, a FROM w.tracked", mode="merge", watermark="snapshot").sync()
    with pytest.raises(SourceMismatch, match="'xmin'.* source does not deliver it.*Select xmin"):
        source.pipe(table, "SELECT id, a FROM w.tracked", mode="merge", watermark="horizon").sync()
    bare = pgflow.SourceTable("w.s")
    with pytest.raises(SourceMismatch, match=r"w\.s has none.*`pgflow tracking w\.s`"):
        source.pipe(table, bare, mode="merge", watermark="snapshot").sync()
    inner = "SELECT * FROM w.tracked"
    text = f"WITH q AS ({inner}) SELECT q.id, q.a, q.xid FROM q LEFT JOIN w.u USING (id)"
    assert source.pipe(table, text, mode="merge", watermark="snapshot").sync().read == 0


def test_numbers_of_a_former_server_are_read_until_they_are_reached(
    source: Any, counts: Any
) -> None:
    """Rows of a dump keep numbers that are still to come here: they are read again, not lost."""
    pipeline = pipe(source, "snapshot")
    source.run("ALTER TABLE w.tracked DISABLE TRIGGER track")
    source.run("INSERT INTO w.tracked VALUES (1, 'a', '4000000000')")
    source.run("ALTER TABLE w.tracked ENABLE ALWAYS TRIGGER track")
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}
    assert counts(pipeline.sync()) == {"unchanged": 1, "read": 1}
    source.run("UPDATE w.tracked SET xid = DEFAULT")
    assert pipeline.sync().read == 1
    assert counts(pipeline.sync()) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_move_between_partitions_are_read(source: Any, kind: str) -> None:
    """Partitions are one table, and a row that moves is written anew."""
    source.run("ALTER TABLE w.tracked RENAME TO plain")
    source.run(
        "CREATE TABLE w.tracked (id bigint PRIMARY KEY, a text,"
        " xid xid8 NOT NULL DEFAULT pg_current_xact_id()) PARTITION BY RANGE (id)"
    )
    source.run(
        "CREATE TRIGGER track BEFORE INSERT OR UPDATE ON w.tracked"
        " FOR EACH ROW EXECUTE FUNCTION w.track()"
    )
    for number in (1, 2):
        bounds = f"FROM ({number}0) TO ({number + 1}0)"
        source.run(f"CREATE TABLE w.p{number} PARTITION OF w.tracked FOR VALUES {bounds}")
    source.run("INSERT INTO w.tracked VALUES (11, 'a')")
    pipeline = pipe(source, kind)
    pipeline.sync()
    source.run("UPDATE w.tracked SET id = 21")
    assert pipeline.sync().inserted == 1
    source.run("CREATE TABLE w.p3 PARTITION OF w.tracked FOR VALUES FROM (30) TO (40)")
    source.run("INSERT INTO w.tracked VALUES (31, 'b')")
    assert pipeline.sync().read == 1


def test_another_kind_starts_afresh(source: Any, counts: Any) -> None:
    """A position of one kind is never taken for one of another."""
    source.run("INSERT INTO w.tracked VALUES (1, 'a')")
    table = source.table("t", sa.Column("a", sa.Text))
    for kind in ("snapshot", "horizon", "snapshot"):
        pipeline = source.pipe(table, QUERIES[kind], mode="merge", watermark=kind)
        assert pipeline.sync().read == 1
        assert counts(pipeline.sync()) == {}


def test_numbers_of_another_type_are_refused(source: Any) -> None:
    """A column that cannot tell transactions is refused by its type, with the way out."""
    table = source.table("t", sa.Column("a", sa.Text))
    text = "SELECT id, a, id AS xid FROM w.tracked"
    pipeline = source.pipe(table, text, mode="merge", watermark="snapshot")
    with pytest.raises(SourceMismatch, match="needs a column of type xid8, and 'xid' is bigint"):
        pipeline.sync()
    text = "SELECT id, a, xid AS xmin FROM w.tracked"
    pipeline = source.pipe(table, text, mode="merge", watermark="horizon")
    with pytest.raises(SourceMismatch, match="type xid, and 'xmin' is xid8. Deliver the table's"):
        pipeline.sync()


@pytest.mark.parametrize("option", [{"lookback": 5}, {"on_null_watermark": "skip"}])
def test_options_of_values_are_refused(source: Any, option: dict[str, Any]) -> None:
    """lookback= and on_null_watermark= have no meaning where transactions are told."""
    with pytest.raises(InvalidOption, match="is about values of a column"):
        pipe(source, "snapshot", **option)
    assert NoPosition.__doc__
