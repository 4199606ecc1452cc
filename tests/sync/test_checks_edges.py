"""Checks at their edges: what the server says to a check, types, and what went before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow import checks
from pgflow.errors import ChecksFailed, InvalidCheck, InvalidSource, StatementFailed
from pgflow.run.erasing.quarantine import read_quarantine
from pgflow.types import Raw

REFUSED = [
    (checks.SQLCheck("ratio", "1 / (b - b) > 0"), "'ratio'.*division by zero"),
    (checks.SQLCheck("typo", "bb > 0"), "'typo'.*column \"bb\" does not exist"),
    (checks.SQLCheck("number", "b"), "'number'.*must be type boolean, not type numeric"),
    (checks.QueryCheck("two", "SELECT true, false", returns="boolean"), "'two'.*one column"),
    (checks.QueryCheck("one", "SELECT 1", returns="boolean"), "'one'.*must be type boolean"),
    (checks.AcceptedValues("id", ["x"]), "'id accepted values'.*syntax for type bigint"),
    (checks.SQLCheck("writes", "w.writes()"), "'writes'.*DELETE in a read-only transaction"),
    (checks.QueryCheck("locks", "SELECT * FROM w.s FOR UPDATE"), "'locks'.*FOR UPDATE in a"),
]


def test_a_check_that_the_server_refuses_is_named(world: Any) -> None:
    """Of several checks the one that cannot be evaluated is named, and no check can write."""
    world.run(
        "CREATE FUNCTION w.writes() RETURNS boolean LANGUAGE sql AS 'DELETE FROM w.s; SELECT true'"
    )
    world.fill((1, "x", 5))
    table = world.table()
    for check, said in REFUSED:
        given = [checks.NotNull("id"), check, checks.SQLCheck("other", "b > 0")]
        with pytest.raises(StatementFailed, match=rf"(?s)could not evaluate the check {said}"):
            world.pipe(table, mode="merge", checks=given).sync()
    assert world.run("SELECT (SELECT count(*) FROM w.s), (SELECT count(*) FROM w.t)") == [(1, 0)]
    assert world.pipe(table, mode="merge", checks=[checks.SQLCheck("ok", "b > 0")]).sync().inserted


def test_sql_that_cannot_be_read_is_refused_at_declaration(world: Any) -> None:
    """Neither a torn condition nor a second statement waits for the first run."""
    table = world.table()
    for check in (
        checks.SQLCheck("torn", "b >"), checks.SQLCheck("more", "true) OR (true"),
        checks.QueryCheck("two", "SELECT 1; SELECT 2"),
        checks.QueryCheck("write", "DELETE FROM w.s"),
    ):  # fmt: skip
        with pytest.raises(InvalidSource, match=rf"pipeline 'p': check '{check.name}'"):
            world.pipe(table, mode="merge", checks=[check])


def test_a_warning_puts_aside_what_is_more_than_its_limit(world: Any) -> None:
    """With severity warning a limit never stops the run; the outcome says what became of rows."""
    world.fill((1, "x", -1), (2, "x", -1))
    check = checks.SQLCheck("b", "b > 0", quarantine=True, severity="warning", max_failures=1)
    result = world.pipe(world.table(), mode="merge", checks=[check], on_empty_source="allow").sync()
    assert result.rejected == 2
    assert result.targets[0].details["checks"][0]["outcome"] == "quarantined"


def test_a_function_that_does_the_work_itself_cannot_be_checked(world: Any) -> None:
    """Its rows were seen by nobody: the run fails, and what it wrote is rolled back."""

    def body(conn: Any) -> dict[str, int]:
        conn.exec_driver_sql("INSERT INTO w.t (id, a) VALUES (1, NULL)")
        return {"inserted": 1}

    pipeline = world.pipe(
        world.table(), None, mode="merge", body=body, checks=[checks.NotNull("a")]
    )
    with pytest.raises(InvalidCheck, match="did the work itself, so its rows passed no check"):
        pipeline.sync()
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]


TYPES = [
    ("numeric(4,1)", "1.3", checks.AcceptedValues("v", ["1.25"]), True),
    ("numeric(4,1)", "1.3", checks.AcceptedValues("v", [Decimal("1.30")]), False),
    ("char(3)", "'ab'", checks.AcceptedValues("v", ["ab"]), False),
    ("bytea", r"'\x00ff'", checks.AcceptedValues("v", [b"\x00\xff"]), False),
    ("boolean", "true", checks.AcceptedValues("v", [False]), True),
    ("interval", "'1 day 2 hours'", checks.AcceptedValues("v", [timedelta(hours=26)]), False),
    ("interval", "'-1 day +5 sec'", checks.AcceptedValues("v", [-timedelta(seconds=86395)]), False),
    ("w.pair", "ROW(NULL, NULL)", checks.NotNull("v"), False),
    ("w.pair", "ROW(1, NULL)", checks.NotNull("v"), False),
    ("w.pair", "NULL", checks.NotNull("v"), True),
]


def test_types(world: Any) -> None:
    """Values are compared as they are, and NotNull means what NOT NULL means."""
    world.run("CREATE TYPE w.pair AS (x int, y int)")
    database = world.engine.url.database
    world.run(f"ALTER DATABASE {database} SET IntervalStyle = sql_standard")
    world.engine.dispose()
    for number, (kind, value, check, fails) in enumerate(TYPES):
        table = world.table(f"t{number}", sa.Column("v", Raw(kind)))
        source = f"SELECT 1::bigint AS id, {value}::{kind} AS v"
        pipeline = world.pipe(table, source, mode="merge", checks=[check])
        if fails:
            with pytest.raises(ChecksFailed):
                pipeline.sync()
        else:
            assert pipeline.sync().inserted == 1, (kind, value)


def test_a_batch_is_compared_with_that_before(world: Any) -> None:
    """RowCount knows what the last successful run has read; the first run has nothing to fear."""
    table = world.table()

    def sync(rows: int, **limits: float) -> int:
        world.run("TRUNCATE w.s")
        world.run("INSERT INTO w.s SELECT i, 'x', 1 FROM generate_series(1, %s) AS i", rows)
        check = checks.RowCount(**limits)  # type: ignore[arg-type]  # numbers of either kind
        return int(world.pipe(table, mode="merge", checks=[check]).sync().counts["read"])

    assert sync(10, max_decrease=0.2, max_increase=0.5) == 10
    assert sync(8, max_decrease=0.2) == 8
    with pytest.raises(ChecksFailed, match="7 rows, wanted at most 10 % fewer than the 8 of the"):
        sync(7, max_decrease=0.1)
    with pytest.raises(ChecksFailed, match="17 rows, wanted at most 100 % more than the 8 of the"):
        sync(17, max_increase=1)
    assert sync(16, max_increase=1) == 16
    assert sync(0, max_decrease=1) == 0
    assert sync(5, max_increase=0) == 5
    found = "SELECT details->'checks'->0->>'found' FROM pgflow.runs ORDER BY started_at"
    assert world.run(found) == [(v,) for v in (None, "10", "8", "8", "8", "16", "0")]


def test_freshness_in_the_zone_of_the_values(world: Any) -> None:
    """Values without a time zone are read in the zone that is given."""
    source = "SELECT 1::bigint AS id, (now() AT TIME ZONE 'Asia/Tokyo') - interval '30 min' AS u"
    for zone, passes in (("Asia/Tokyo", True), ("Asia/Vladivostok", True), ("Asia/Kamchatka", 0)):
        pipeline = world.pipe(
            world.table(f"t_{zone[5:].lower()}", sa.Column("u", sa.DateTime)),
            source,
            name=zone,
            mode="merge",
            checks=[checks.Freshness("u", within=timedelta(hours=2), timezone=zone)],
        )
        if passes:
            assert pipeline.sync().inserted == 1
        else:
            with pytest.raises(ChecksFailed, match="the newest value is"):
                pipeline.sync()


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({"mode": "merge"}, True),
        ({"mode": "merge", "handle_deletes": "hard"}, False),
        ({"mode": "truncate"}, False),
        ({"mode": "merge", "handle_deletes": "hard", "scope": "id > 1"}, True),
    ],
)
def test_a_row_that_this_run_deletes_is_no_counterpart(
    world: Any, options: dict[str, Any], passes: bool
) -> None:
    """Of a table that refers to itself, what the batch leaves is what counts."""
    tree = world.table("tree", sa.Column("parent", sa.BigInteger))
    world.pipe(tree, "SELECT 1::bigint AS id, NULL::bigint AS parent", mode="merge").sync()
    if options["mode"] == "truncate":
        tree = world.table("leaf", sa.Column("parent", sa.BigInteger))
        world.pipe(tree, "SELECT 1::bigint AS id, NULL::bigint AS parent", mode="truncate").sync()
    child = "SELECT 2::bigint AS id, 1::bigint AS parent"
    check = checks.Relationship("parent", to=tree)
    pipeline = world.pipe(tree, child, name="q", checks=[check], **options)
    if passes:
        assert pipeline.sync().inserted == 1
    else:
        with pytest.raises(ChecksFailed, match="'parent relationship': 1 of 1 rows"):
            pipeline.sync()


def test_a_soft_deleted_row_is_no_counterpart(world: Any) -> None:
    """As a closed version of a history is none."""
    parents = world.table("parents")
    facts = world.table("facts", sa.Column("ref", sa.BigInteger))
    check = checks.Relationship("ref", to=parents, quarantine=True)
    refer = "SELECT i::bigint AS id, i::bigint AS ref FROM generate_series(1, 2) AS i"
    pipeline = pgflow.Pipeline(
        "f", target=facts, source=refer, connection=world.engine, mode="merge", checks=[check]
    )
    fill = world.pipe(parents, mode="merge", handle_deletes="soft")
    world.fill((1, "x", 1), (2, "x", 1))
    fill.sync()
    world.fill((1, "x", 1))
    fill.sync()
    assert (pipeline.sync().rejected, world.run("SELECT id FROM w.facts")) == (1, [(1,)])


def test_quarantine_loses_nothing(world: Any) -> None:
    """Numbers, instants and bytes are in quarantine as they were, whatever a column is called."""
    kinds = {
        "r": ("numeric", "12345678901234567890.1234567890"), "q": ("numeric", "'NaN'"),
        "s": ("float8", "0.1::float8 + 0.2"), "by": ("bytea", r"'\x00ff'"),
        "ts": ("timestamptz", "'infinity'"), "new": ("int4range", "'[1,3)'"),
        "j": ("json", r"""'{"b":1,  "b":"\u0000"}'"""), "v": ("text", "NULL"),
    }  # fmt: skip
    table = world.table("t", *(sa.Column(n, Raw(kind)) for n, (kind, _) in kinds.items()))
    columns = ", ".join(f"({v})::{kind} AS {n}" for n, (kind, v) in kinds.items())
    check = checks.SQLCheck("none", "id <> 1", quarantine=True)
    failing = checks.QueryCheck("q", "SELECT id, r, q FROM batch", severity="warning")
    pipeline = world.pipe(
        table, f"SELECT 1::bigint AS id, {columns}", mode="merge", checks=[check, failing]
    )
    pipeline.sync()
    with world.engine.connect() as connection:
        (kept,) = read_quarantine(connection)
    assert kept.row == {
        "id": 1, "r": Decimal("12345678901234567890.1234567890"), "q": "NaN",
        "s": Decimal("0.30000000000000004"), "by": r"\x00ff", "ts": "infinity", "new": "[1,3)",
        "j": r'{"b":1,  "b":"\u0000"}', "v": None,
    }  # fmt: skip
    plain = kept.to_dict()["row"]
    assert plain["r"] == "12345678901234567890.1234567890"
    assert plain["s"] == "0.30000000000000004"


def test_a_key_of_any_length_can_be_put_aside(world: Any) -> None:
    """Ten thousand characters of rubbish in a key do not stop the run, and are cut in messages."""
    table = world.table("t", sa.Column("b", sa.Numeric), key=(sa.Column("k", sa.Text),))
    source = (
        "SELECT (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 400) i) AS k, -1 b"
    )
    check = checks.SQLCheck("positive", "b > 0", quarantine=True)
    result = world.pipe(table, source, mode="merge", checks=[check]).sync()
    assert result.rejected == 1
    (told,) = result.targets[0].warnings
    assert len(told) < 400
    assert pgflow.forget(
        table, world.run("SELECT key->>'k' FROM pgflow.quarantine")[0][0], connection=world.engine
    ).quarantined == 1  # fmt: skip


def test_events_that_are_rejected_are_missing_from_the_history(world: Any) -> None:
    """With event time each event is looked at, late ones too, and a rejected key is not closed."""
    table = world.table(
        "t", sa.Column("a", sa.Text), sa.Column("b", sa.Numeric),
        sa.Column("u", sa.DateTime(timezone=True)), mode="scd2",
    )  # fmt: skip
    pipeline = world.pipe(
        table, "SELECT * FROM w.s", mode="scd2", event_timestamp_column="u",
        handle_deletes="soft", checks=[checks.SQLCheck("positive", "b > 0", quarantine=True)],
    )  # fmt: skip
    batches = (
        "(1, 'a', 1, '2024-01-01Z'), (2, 'a', 1, '2024-01-01Z')",
        "(1, 'b', -1, '2024-01-03Z'), (2, 'b', 1, '2024-01-03Z')",
        "(1, 'c', 1, '2024-01-05Z'), (1, 'late', -1, '2024-01-02Z'), (2, 'd', -1, '2024-01-09Z')",
    )
    for rows in batches:
        world.run("TRUNCATE w.s")
        world.run(f"INSERT INTO w.s VALUES {rows}")
        pipeline.sync()
    history = "SELECT id, a, extract(day FROM valid_from)::int, is_current FROM w.t ORDER BY 1, 3"
    assert world.run(history) == [
        (1, "a", 1, False), (1, "c", 5, True), (2, "a", 1, False), (2, "b", 3, True),
    ]  # fmt: skip
    assert world.run("SELECT count(*) FROM pgflow.quarantine") == [(3,)]


@pytest.mark.parametrize("mode", ["merge", "append"])
def test_rows_from_elsewhere_are_checked(world: Any, far: Any, mode: str) -> None:
    """Another database's rows and those of an iterable pass the same checks."""
    given: dict[str, Any] = {
        "mode": mode,
        "checks": [
            checks.NotNull("a", quarantine=True),
            checks.SQLCheck("positive", "b > 0", quarantine=True),
            checks.RowCount(min=3),
        ],
    }
    far.fill((1, "x", 1), (2, None, 1), (3, "x", -1))
    rows = [{"id": i, "a": a, "b": b} for i, a, b in ((1, "x", 1), (2, None, 1), (3, "x", -1))]
    away = pgflow.Pipeline(
        "away", target=world.table("away"), source="SELECT id, a, b FROM w.s",
        source_connection=far.engine, target_connection=world.engine, **given,
    )  # fmt: skip
    here = world.pipe(world.table("here"), None, name="here", body=lambda conn: rows, **given)
    for pipeline in (away, here):
        result = pipeline.sync()
        assert (result.inserted, result.rejected, result.read) == (1, 2, 3)


def test_a_fact_without_its_dimension_can_be_put_aside(world: Any) -> None:
    """Checks see what lookups have filled in."""
    dimension = world.table(
        "d", sa.Column("a", sa.Text), key=(sa.Column("code", sa.Text),), mode="scd2",
        system_columns={"version_id": "version"},
    )  # fmt: skip
    world.pipe(dimension, "SELECT 'x' AS code, 'a' AS a", name="d", mode="scd2").sync(
        effective_at=datetime(2024, 1, 1, tzinfo=UTC)
    )
    fact = world.table(
        "f", sa.Column("version", sa.BigInteger), sa.Column("code", sa.Text),
        sa.Column("at", sa.DateTime(timezone=True)),
    )  # fmt: skip
    rows = "(VALUES (1::bigint, 'x', timestamptz '2024-02-01Z'), (2, 'none', '2024-02-01Z'))"
    pipeline = world.pipe(
        fact,
        f"SELECT * FROM {rows} AS v (id, code, at)",
        mode="merge",
        lookups=[pgflow.Lookup(dimension, into="version", at="at", on="code", missing="null")],
        checks=[checks.NotNull("version", quarantine=True)],
    )
    assert (pipeline.sync().rejected, world.run("SELECT id FROM w.f")) == (1, [(1,)])


@pytest.mark.parametrize(("kind", "column"), [("snapshot", "xid"), ("horizon", "xmin")])
def test_rejected_rows_do_not_hold_up_a_position(world: Any, kind: str, column: str) -> None:
    """What was rejected is read once, and the column that tells transactions is no data."""
    world.run(
        "CREATE TABLE w.tracked (id bigint PRIMARY KEY, a text, b numeric,"
        " xid xid8 NOT NULL DEFAULT pg_current_xact_id())"
    )
    pipeline = world.pipe(
        world.table(), f"SELECT id, a, b, {column} FROM w.tracked", mode="merge", watermark=kind,
        incremental_column=column, checks=[checks.SQLCheck("positive", "b > 0", quarantine=True)],
    )  # fmt: skip
    world.run("INSERT INTO w.tracked VALUES (1, 'x', 1), (2, 'x', -1)")
    assert pipeline.sync().rejected == 1
    world.run("INSERT INTO w.tracked VALUES (3, 'x', 1)")
    assert world.run("SELECT row FROM pgflow.quarantine") == [({"id": 2, "a": "x", "b": -1},)]
    pipeline.sync()
    assert pipeline.sync().inserted == 0
    assert world.run("SELECT id FROM w.t ORDER BY id") == [(1,), (3,)]


def test_a_rejected_row_does_not_win_over_a_good_one(world: Any) -> None:
    """Rows are put aside before on_duplicate= chooses among those of a key."""
    world.run("INSERT INTO w.s VALUES (1, 'old', 1, '2024-01-01Z'), (1, 'new', -1, '2024-01-02Z')")
    table = world.table("t", *(sa.Column(n, Raw(k)) for n, k in (("a", "text"), ("b", "int"))))
    pipeline = world.pipe(
        table, "SELECT id, a, b::int AS b, u FROM w.s", mode="merge", schema_mode="ignore_extra",
        on_duplicate="last", order_by="u",
        checks=[checks.SQLCheck("positive", "b > 0", quarantine=True)],
    )  # fmt: skip
    pipeline.sync()
    assert world.run("SELECT a FROM w.t") == [("old",)]


def test_each_check_is_evaluated_once(world: Any) -> None:
    """However often the statement needs its number."""
    world.run(
        "CREATE FUNCTION w.seen() RETURNS boolean LANGUAGE plpgsql STABLE AS $$ BEGIN PERFORM"
        " set_config('w.times', (coalesce(current_setting('w.times', true), '') || '|'), true);"
        " RETURN true; END $$"
    )
    world.fill((1, "x", 1))
    check = checks.QueryCheck("seen", "SELECT 1 AS id FROM w.s WHERE NOT w.seen()")
    pipeline = world.pipe(world.table(), mode="merge", checks=[check])
    with world.engine.begin() as connection:
        pipeline.sync(connection=connection)
        assert connection.exec_driver_sql("SELECT current_setting('w.times')").scalar() == "|"
