"""Erasure: a key is gone from every version, the quarantine and all that runs have quoted."""

from __future__ import annotations

import enum
import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow import checks
from pgflow.errors import CannotForget, ChecksFailed, DuplicateKeys, MissingTable, TargetLocked
from pgflow.plugins import ColumnPKPlugin


class _Colour(enum.Enum):
    """Names that are not their values."""

    blue_one = "blue"


def everything(world: Any, *tables: str) -> str:
    """All that the tables hold, as one text."""
    texts = [
        world.run(f"SELECT coalesce(string_agg(t::text, ' '), '') FROM {n} AS t") for n in tables
    ]
    return " ".join(rows[0][0] for rows in texts)


def test_every_version_goes_and_only_of_this_key(world: Any) -> None:
    """All versions of the key are deleted, others stay, and the record has numbers only."""
    table = world.table(mode="scd2")
    pipeline = world.pipe(table, mode="scd2")
    for a in ("secret-a", "secret-b", "secret-c"):
        world.fill((77123, a, 1), (2, a, 1))
        pipeline.sync()
    done = pgflow.forget(table, 77123, connection=world.engine)
    assert (done.target, done.versions, done.quarantined, done.samples) == ("w.t", 3, 0, 0)
    assert world.run("SELECT id, count(*) FROM w.t GROUP BY id") == [(2, 3)]
    ((target, versions, by),) = world.run("SELECT target, versions, erased_by FROM pgflow.erasures")
    assert (target, versions) == ("w.t", 3)
    assert by
    assert "77123" not in everything(world, "pgflow.erasures", "pgflow.runs")


def test_the_quarantine_the_samples_and_the_errors_forget(world: Any) -> None:
    """What checks have put aside, sample keys of runs and texts of errors lose the key."""
    table = world.table()
    world.fill((77123, None, 1), (2, None, 1), (3, "x", 3))
    world.pipe(table, mode="merge", checks=[checks.NotNull("a", quarantine=True)]).sync()
    failing = world.pipe(table, mode="merge", name="q", checks=[checks.NotNull("a")])
    with pytest.raises(ChecksFailed):
        failing.sync()
    world.fill((77123, "x", 1), (77123, "y", 1))
    with pytest.raises(DuplicateKeys, match="id=77123"):
        world.pipe(table, mode="merge", name="r").sync()
    assert "77123" in everything(world, "pgflow.runs")
    done = pgflow.forget(table, 77123, connection=world.engine)
    # Two lists of samples and two texts: that of the failed check, and that of the repeated key.
    assert (done.versions, done.quarantined, done.samples) == (0, 1, 4)
    assert "77123" not in everything(world, "pgflow.runs", "pgflow.quarantine", "w.t")
    assert world.run("SELECT key->>'id' FROM pgflow.quarantine") == [("2",)]
    samples = (
        "SELECT details->'checks'->0->'sample_keys' FROM pgflow.runs WHERE details IS NOT NULL"
    )
    assert world.run(samples) == [([{"id": "2"}],), ([{"id": "2"}],)]
    texts = world.run("SELECT error FROM pgflow.runs WHERE error IS NOT NULL")
    assert {t for (t,) in texts} == {"(erased: the text quoted a key that was forgotten)"}


def test_another_key_s_error_stays(world: Any) -> None:
    """An error that quotes another key, or the number elsewhere, keeps its text."""
    table = world.table()
    world.fill((12, "x", 1), (12, "y", 1), (7, "x", 1))
    with pytest.raises(DuplicateKeys):
        world.pipe(table, mode="merge").sync()
    for other in (1, 2, 7, 3):
        assert pgflow.forget(table, other, connection=world.engine).samples == 0
    assert pgflow.forget(table, 12, connection=world.engine).samples == 1


@pytest.mark.parametrize(
    ("kind", "delivered", "given"),
    [
        ("numeric", "'7.10'", "7.1"),
        ("timestamptz", "'2024-01-01 12:00+02'", datetime(2024, 1, 1, 10, tzinfo=UTC)),
        ("date", "'2024-01-01'", date(2024, 1, 1)),
        ("interval", "'-1 day +5 seconds'", timedelta(days=-1, seconds=5)),
        ("text", "'blue'", _Colour.blue_one),
        ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("boolean", "true", True),
        ("bytea", "'\\x00ff'", b"\x00\xff"),
        ("text", "'O''Brien; \"x\" = 1'", 'O\'Brien; "x" = 1'),
        ("double precision", "'NaN'", "nan"),
        ("int4range", "'[1,3]'", "[1,4)"),
    ],
)
def test_values_are_read_by_their_types(world: Any, kind: str, delivered: str, given: Any) -> None:
    """However a key is spelt, in the call or by the source, its rows and copies are found."""
    database = world.engine.url.database
    world.run(f"ALTER DATABASE {database} SET IntervalStyle = sql_standard")
    world.engine.dispose()
    world.run(f"CREATE TABLE w.raw (k {kind}, a text)")
    world.run(f"INSERT INTO w.raw VALUES ({delivered}::{kind}, 'x'), ({delivered}::{kind}, NULL)")
    type_ = pgflow.types.Raw(kind)
    table = pgflow.SimpleTable(
        "keyed", "w", world.metadata, [sa.Column("a", sa.Text)],
        plugins=[ColumnPKPlugin(sa.Column("k", type_))],
    )  # fmt: skip
    pipeline = world.pipe(
        table, "SELECT k, a FROM w.raw", mode="merge", checks=[checks.NotNull("a", quarantine=True)]
    )
    pipeline.sync()
    done = pgflow.forget(table, {"k": given}, connection=world.engine)
    assert (done.versions, done.quarantined, done.samples) == (1, 1, 1)


def test_a_key_that_the_source_spells_otherwise_is_found_in_quarantine(world: Any) -> None:
    """The quarantine holds what the source delivered: '007' is the key 7, and 'abc' is none."""
    table = world.table()
    source = "SELECT * FROM (VALUES ('007', NULL), ('abc', NULL), ('8', NULL)) AS v (id, a)"
    world.pipe(table, source, mode="merge", checks=[checks.NotNull("a", quarantine=True)]).sync()
    assert pgflow.forget(table, 7, connection=world.engine).quarantined == 1
    assert world.run("SELECT key->>'id' FROM pgflow.quarantine ORDER BY 1") == [("8",), ("abc",)]


def test_composite_keys_and_null(world: Any) -> None:
    """Each part of a key is given by name; None means NULL."""
    table = world.table(
        "t", sa.Column("tenant", sa.Text), sa.Column("code", sa.Text),
        key=(sa.Column("pk", sa.BigInteger, sa.Identity()),),
    )  # fmt: skip
    source = "SELECT * FROM (VALUES ('a', NULL), ('a', 'x'), ('b', NULL)) AS v (tenant, code)"
    given = {"mode": "merge", "keys": ("tenant", "code"), "on_null_key": "match"}
    world.pipe(table, source, **given).sync()
    done = pgflow.forget(table, {"tenant": "a", "code": None}, connection=world.engine)
    assert done.versions == 1
    assert world.run("SELECT tenant, code FROM w.t ORDER BY 1") == [("a", "x"), ("b", None)]


def test_a_dry_run_counts_and_keeps(world: Any) -> None:
    """dry_run has the numbers and erases nothing, and is not recorded."""
    table = world.table()
    world.fill((1, "x", 1))
    world.pipe(table, mode="merge").sync()
    done = pgflow.forget(table, 1, connection=world.engine, dry_run=True)
    assert (done.versions, done.erasure_id, done.dry_run) == (1, None, True)
    assert world.run(
        "SELECT (SELECT count(*) FROM w.t), (SELECT count(*) FROM pgflow.erasures)"
    ) == [(1, 0)]


@pytest.mark.parametrize("action", ["NO ACTION", "CASCADE", "SET NULL"])
def test_rows_that_refer_to_the_key_are_named(world: Any, action: str) -> None:
    """Nothing is erased while rows of other tables point at the key, CASCADE or not."""
    table = world.table()
    world.fill((1, "x", 1), (2, "x", 1))
    world.pipe(table, mode="merge").sync()
    world.run(f"CREATE TABLE w.child (t_id bigint REFERENCES w.t ON DELETE {action})")
    world.run("INSERT INTO w.child VALUES (1), (1)")
    with pytest.raises(CannotForget, match=r"2 rows of w\.child \(child_t_id_fkey\)") as refused:
        pgflow.forget(table, 1, connection=world.engine)
    assert refused.value.references == ("2 rows of w.child (child_t_id_fkey)",)
    assert pgflow.forget(table, 2, connection=world.engine).versions == 1
    assert world.run("SELECT (SELECT count(*) FROM w.t), (SELECT count(*) FROM w.child)") == [
        (1, 2)
    ]


def test_a_table_is_found_by_its_name(world: Any) -> None:
    """A name with its schema is enough; unknown names and columns are told."""
    world.fill((1, "x", 1))
    world.pipe(world.table(), mode="merge").sync()
    assert pgflow.forget("w.t", 1, connection=world.engine).versions == 1
    with pytest.raises(MissingTable, match=r"no table w\.u"):
        pgflow.forget("w.u", 1, connection=world.engine)
    with pytest.raises(CannotForget, match=r"no column 'idd'. Did you mean 'id'\?"):
        pgflow.forget("w.t", {"idd": 1}, connection=world.engine)
    with pytest.raises(CannotForget, match="the key is empty"):
        pgflow.forget("w.t", {}, connection=world.engine)
    with pytest.raises(CannotForget, match="is no table"):
        pgflow.forget(7, 1, connection=world.engine)
    with pytest.raises(CannotForget, match="a list is no value of a key"):
        pgflow.forget("w.t", [1], connection=world.engine)


def test_one_value_is_not_enough_for_a_key_of_two_columns(world: Any) -> None:
    """The message names the key's columns."""
    key = (sa.Column("a", sa.Text), sa.Column("b", sa.Text))
    table = world.table("two", sa.Column("v", sa.Text), key=key)
    pgflow.create_all(world.metadata, connection=world.engine)
    with pytest.raises(CannotForget, match=r"Its key is \(a, b\)"):
        pgflow.forget(table, 1, connection=world.engine)


def test_erasing_waits_for_a_run(world: Any) -> None:
    """A run that holds the table is waited for, and named if it takes too long."""
    table = world.table()
    world.fill((1, "x", 1))
    held, go_on = threading.Event(), threading.Event()

    def body(conn: Any) -> str:
        held.set()
        assert go_on.wait(30)
        return "SELECT id, a, b FROM w.s"

    pipeline = world.pipe(table, None, mode="merge", body=body)
    run = threading.Thread(target=pipeline.sync)
    run.start()
    try:
        assert held.wait(30)
        with pytest.raises(TargetLocked, match="w.t is held by run .* of 'p'"):
            pgflow.forget(
                table, 1, connection=world.engine, lock_timeout=timedelta(milliseconds=50)
            )
    finally:
        go_on.set()
        run.join()
    assert pgflow.forget(table, 1, connection=world.engine).versions == 1


def test_an_erasure_can_be_part_of_a_transaction(world: Any) -> None:
    """On a connection of the caller it stands or falls with the caller's transaction."""
    table = world.table()
    world.fill((1, "x", 1))
    world.pipe(table, mode="merge").sync()
    with world.engine.connect() as connection:
        with connection.begin() as transaction:
            assert pgflow.forget(table, 1, connection=connection).versions == 1
            transaction.rollback()
        assert connection.exec_driver_sql("SELECT count(*) FROM w.t").scalar() == 1


def test_the_fewest_privileges_are_enough(world: Any) -> None:
    """A role needs DELETE on the table and the quarantine, and to write history and erasures."""
    table = world.table()
    world.fill((1, None, 1), (2, "x", 2))
    world.pipe(table, mode="merge", checks=[checks.NotNull("a", quarantine=True)]).sync()
    ((role,),) = world.run("SELECT 'eraser_' || current_database()")
    world.run(f"CREATE ROLE {role}")
    try:
        world.run(f"GRANT USAGE ON SCHEMA w, pgflow TO {role}")
        world.run(f"GRANT SELECT, DELETE ON w.t, pgflow.quarantine TO {role}")
        world.run(f"GRANT SELECT, UPDATE ON pgflow.runs TO {role}")
        world.run(f"GRANT INSERT ON pgflow.erasures TO {role}")
        with world.engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
            done = pgflow.forget(table, 1, connection=connection)
        assert (done.quarantined, done.samples) == (1, 1)
    finally:
        world.run(f"DROP OWNED BY {role}")
        world.run(f"DROP ROLE {role}")
