"""Quarantine: rejected rows are kept with their reason, and the target loses nothing by them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from pgflow import checks
from pgflow.errors import ChecksFailed, EmptySource, InvalidCheck, MissingTable
from pgflow.run.erasing.quarantine import purge_quarantine, read_quarantine

POSITIVE = checks.SQLCheck("positive", "b > 0", quarantine=True)


def test_a_rejected_row_is_kept_with_its_reason(world: Any) -> None:
    """The row as the source delivered it, its key, the first check that it fails, and the run."""
    world.fill((1, "x", 1), (2, None, -1), (3, None, 5))
    pipeline = world.pipe(
        world.table(), mode="merge", checks=[POSITIVE, checks.NotNull("a", quarantine=True)]
    )
    result = pipeline.sync()
    assert (result.inserted, result.rejected, result.read) == (1, 2, 3)
    with world.engine.connect() as connection:
        kept = read_quarantine(connection, "p")
        assert read_quarantine(connection, "another") == []
    assert {r.check_name: (r.key, r.row) for r in kept} == {
        "a not null": ({"id": "3"}, {"id": 3, "a": None, "b": 5}),
        "positive": ({"id": "2"}, {"id": 2, "a": None, "b": -1}),
    }
    assert {r.run_id for r in kept} == {result.run_id}
    assert {r.target for r in kept} == {"w.t"}


def test_numbers_with_a_fraction_are_shown_as_texts(world: Any) -> None:
    """As plain data they keep every digit, and are of one type whatever a float could hold."""
    digits = ("-0.50", "-0.1234567890123456789", "-0.00000001")
    world.fill(*((number, "x", value) for number, value in enumerate(digits)))
    world.pipe(world.table(), mode="merge", checks=[POSITIVE]).sync()
    with world.engine.connect() as connection:
        shown = [row.to_dict() for row in reversed(read_quarantine(connection))]
    assert sorted((each["row"]["id"], each["row"]["b"]) for each in shown) == [*enumerate(digits)]
    assert all("T" in each["rejected_at"] for each in shown)


def test_the_same_row_is_kept_once(world: Any) -> None:
    """A row that every run rejects anew is there once; as it changes it is another row."""
    world.fill((1, "x", -1))
    pipeline = world.pipe(world.table(), mode="merge", checks=[POSITIVE])
    assert [pipeline.sync().rejected, pipeline.sync().rejected] == [1, 1]
    assert world.run("SELECT count(*) FROM pgflow.quarantine") == [(1,)]
    world.fill((1, "x", -2))
    pipeline.sync()
    assert world.run("SELECT count(*) FROM pgflow.quarantine") == [(2,)]


@pytest.mark.parametrize(
    ("mode", "deletes"), [("merge", "hard"), ("merge", "soft"), ("scd1", "hard"), ("scd2", "soft")]
)
def test_a_rejected_row_is_not_taken_for_a_deleted_one(world: Any, mode: str, deletes: str) -> None:
    """The target keeps what it has of a rejected key, and still loses keys that are gone."""
    world.fill((1, "x", 1), (2, "x", 2), (3, "x", 3))
    pipeline = world.pipe(world.table(), mode=mode, handle_deletes=deletes, checks=[POSITIVE])
    pipeline.sync()
    world.fill((1, "y", 1), (2, "y", -2))
    result = pipeline.sync()
    assert (result.deleted, result.rejected, result.read) == (1, 1, 2)
    live = {"merge": "true", "scd1": "true", "scd2": "is_current"}[mode]
    if deletes == "soft" and mode != "scd2":
        live = "_deleted_at IS NULL"
    assert world.run(f"SELECT id, a FROM w.t WHERE {live} ORDER BY id") == [(1, "y"), (2, "x")]


def test_ttl_does_not_end_a_rejected_key(world: Any) -> None:
    """A version whose row the source delivers does not expire because the row is rejected."""
    world.fill((1, "x", 1), (2, "x", 2))
    pipeline = world.pipe(world.table(), mode="scd2", ttl=timedelta(days=1), checks=[POSITIVE])
    pipeline.sync(effective_at=datetime(2024, 1, 1, tzinfo=UTC))
    world.fill((1, "x", -1), (3, "x", 3))
    assert pipeline.sync(effective_at=datetime(2024, 2, 1, tzinfo=UTC)).rejected == 1
    assert world.run("SELECT id FROM w.t WHERE is_current ORDER BY id") == [(1,), (3,)]


def test_a_good_row_of_the_key_counts(world: Any) -> None:
    """Of two rows with one key the rejected one does not keep the good one from being written."""
    world.fill((1, "x", 1))
    pipeline = world.pipe(world.table(), mode="merge", handle_deletes="hard", checks=[POSITIVE])
    pipeline.sync()
    world.fill((1, "bad", -1), (1, "good", 7))
    assert (pipeline.sync().updated, world.run("SELECT a FROM w.t")) == (1, [("good",)])


def test_null_keys_are_protected_where_null_is_a_value(world: Any) -> None:
    """With on_null_key="match" a rejected row whose key is NULL protects the target's row, too."""
    table = world.table(
        "t", sa.Column("id", sa.BigInteger), sa.Column("a", sa.Text), sa.Column("b", sa.Numeric),
        key=(sa.Column("pk", sa.BigInteger, sa.Identity()),),
    )  # fmt: skip
    world.fill((None, "x", 1), (2, "x", 1))
    pipeline = world.pipe(
        table, mode="merge", keys=("id",), on_null_key="match", handle_deletes="hard",
        checks=[POSITIVE],
    )  # fmt: skip
    pipeline.sync()
    world.fill((None, "y", -1), (3, "x", 1))
    result = pipeline.sync()
    assert (result.rejected, result.deleted) == (1, 1)
    assert world.run("SELECT id, a FROM w.t ORDER BY id") == [(3, "x"), (None, "x")]


def test_a_source_of_which_nothing_is_left_deletes_nothing(world: Any) -> None:
    """If every row is rejected, other keys are not deleted: the source counts as empty."""
    world.fill((1, "x", 1), (2, "x", 2))
    pipeline = world.pipe(world.table(), mode="merge", handle_deletes="hard", checks=[POSITIVE])
    pipeline.sync()
    world.fill((1, "x", -1))
    with pytest.raises(EmptySource):
        pipeline.sync()
    assert world.run("SELECT count(*) FROM w.t") == [(2,)]


def test_other_key_types_are_refused_with_deletes(world: Any) -> None:
    """A key that the source spells otherwise cannot protect the target's row, so it is refused."""
    pipeline = world.pipe(
        world.table(), "SELECT '1'::text AS id, 'x' AS a, 1.0 AS b", mode="merge",
        handle_deletes="hard", checks=[POSITIVE],
    )  # fmt: skip
    with pytest.raises(InvalidCheck, match=r"The source has text, the target bigint.*CAST\(id AS"):
        pipeline.sync()


def test_a_refused_run_puts_nothing_aside(world: Any) -> None:
    """The quarantine is written in the data's transaction."""
    world.fill((1, None, -1), (2, "x", 2))
    pipeline = world.pipe(world.table(), mode="merge", checks=[POSITIVE, checks.NotNull("a")])
    with pytest.raises(ChecksFailed, match="1 of 2 checks fail"):
        pipeline.sync()
    assert world.run("SELECT count(*) FROM pgflow.quarantine") == [(0,)]


def test_every_offending_row_of_several_checks_is_taken_out_once(world: Any) -> None:
    """Ten thousand rows, three checks: what is written and what is rejected make up the source."""
    world.run("INSERT INTO w.s SELECT i, CASE WHEN mod(i, 3) <> 0 THEN 'x' END, mod(i, 5) - 1"
              " FROM generate_series(1, 10000) AS i")  # fmt: skip
    table = world.table()
    pipeline = world.pipe(
        table,
        mode="merge",
        checks=[
            POSITIVE,
            checks.NotNull("a", quarantine=True),
            checks.Relationship("b", to=table, quarantine=True),
        ],
    )
    result = pipeline.sync()
    ((good,),) = world.run("SELECT count(*) FROM w.s WHERE a IS NOT NULL AND b > 0")
    assert (result.inserted, result.rejected, result.read) == (good, 10000 - good, 10000)
    assert world.run("SELECT count(*) FROM pgflow.quarantine") == [(10000 - good,)]


def test_an_incremental_run_goes_on_after_a_rejected_row(world: Any) -> None:
    """A rejected row below the watermark is in quarantine only, and is not read again."""
    world.run("INSERT INTO w.s VALUES (1, 'x', -1, '2024-01-01Z'), (2, 'x', 2, '2024-01-02Z')")
    pipeline = world.pipe(
        world.table("t", sa.Column("a", sa.Text), sa.Column("b", sa.Numeric)),
        "SELECT id, a, b, u FROM w.s",
        mode="merge",
        incremental_column="u",
        checks=[POSITIVE],
    )
    assert pipeline.sync().rejected == 1
    second = pipeline.sync()
    assert (second.rejected, second.read) == (0, 1)


def test_a_joined_run_leaves_no_table_behind(world: Any) -> None:
    """In the caller's transaction two runs follow each other, and its temporary tables are gone."""
    world.fill((1, "x", -1), (2, "x", 2))
    pipeline = world.pipe(world.table(), mode="merge", checks=[POSITIVE])
    with world.engine.begin() as connection:
        assert pipeline.sync(connection=connection).rejected == 1
        assert pipeline.sync(connection=connection).rejected == 1
        left = "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()"
        assert connection.exec_driver_sql(left).scalar() == 0


def test_a_missing_quarantine_stops_the_run(world: Any) -> None:
    """A pipeline that puts rows aside needs the table, and says so before it reads."""
    pipeline = world.pipe(world.table(), mode="merge", checks=[POSITIVE])
    world.run("DROP TABLE pgflow.quarantine")
    with pytest.raises(MissingTable, match=r"no table pgflow\.quarantine"):
        pipeline.sync()


def test_old_rows_are_purged(world: Any) -> None:
    """purge_quarantine deletes by pipeline and age."""
    world.fill((1, "x", -1))
    world.pipe(world.table(), mode="merge", checks=[POSITIVE]).sync()
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    with world.engine.begin() as connection:
        assert purge_quarantine(connection, before=long_ago) == 0
        assert purge_quarantine(connection, "another") == 0
        assert purge_quarantine(connection, "p") == 1
