"""Sources without a key that are compared in one pass, which counts the rows that it drops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import pgflow
from pgflow.errors import DuplicateKeys, NullKeys, OutOfScope, TooManyDeletes
from pgflow.plan import counted

Counts = Callable[[pgflow.SyncResult], dict[str, int]]


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count also where the rows are too few for it to pay."""
    monkeypatch.setattr(counted, "pays", lambda spec, shape: True)


def counts_first(plan: pgflow.Plan) -> bool:
    """Whether a plan compares in one pass, and has another one to fall back to."""
    return "pgflow_passed" in plan.statements[0].text and plan.fallback is not None


@pytest.mark.parametrize("mode", ["merge", "scd1", "scd2"])
def test_large_tables_without_a_key_are_counted_in_passing(
    world: Any, counts: Counts, mode: str
) -> None:
    """Twenty thousand rows pay for the sequences; fewer, or a proven key, do not."""
    pipeline = world.pipe(world.table(), mode=mode)
    world.run("INSERT INTO w.s SELECT g, 'a', 1 FROM generate_series(1, 20000) AS g")
    world.run("ANALYZE w.s")
    assert counts(pipeline.sync()) == {"inserted": 20_000, "read": 20_000}
    assert counts_first(pipeline.plan())
    world.run("UPDATE w.s SET a = 'b' WHERE id > 19990")
    changed = {"updated": 10} if mode != "scd2" else {"inserted": 10, "closed": 10}
    assert counts(pipeline.sync()) == {**changed, "unchanged": 19_990, "read": 20_000}
    world.run("DELETE FROM w.s WHERE id > 1000")
    world.run("ANALYZE w.s")
    assert not counts_first(pipeline.plan())
    world.run("ALTER TABLE w.s ADD PRIMARY KEY (id)")
    world.run("INSERT INTO w.s SELECT g, 'a', 1 FROM generate_series(2000, 22000) AS g")
    world.run("ANALYZE w.s")
    assert not counts_first(pipeline.plan())


REPEATED: dict[str, tuple[list[tuple[Any, ...]], dict[str, int]]] = {
    "changed": ([(1, "A", 1)] * 2, {"updated": 1}),
    "unchanged": ([(1, "a", 1)] * 3, {"unchanged": 3}),
    "new": ([(1, "a", 1), *[(2, "b", 2)] * 2], {"inserted": 1, "unchanged": 1}),
    "all": ([(1, "A", 1), (2, "b", 2)] * 2, {"inserted": 1, "updated": 1}),
}


@pytest.mark.usefixtures("counting")
@pytest.mark.parametrize("which", REPEATED)
@pytest.mark.parametrize("mode", ["merge", "scd2"])
def test_repeated_rows_give_way_to_the_careful_plan(
    world: Any, counts: Counts, mode: str, which: str
) -> None:
    """A row that only repeats another one counts once, whatever it does to the target."""
    rows, expected = REPEATED[which]
    pipeline = world.pipe(world.table(), mode=mode)
    world.fill((1, "a", 1))
    pipeline.sync()
    world.fill(*rows)
    assert counts_first(pipeline.plan())
    found = counts(pipeline.sync())
    if mode == "scd2":
        closed = found.pop("closed", 0)
        assert closed == expected.get("updated", 0)
        expected = {**expected, "inserted": expected.get("inserted", 0) + closed}
        expected = {k: v for k, v in expected.items() if v and k != "updated"}
    assert found == {**expected, "read": len(rows)}


CONTRADICTING: dict[str, list[tuple[Any, ...]]] = {
    "both changed": [(1, "x", 1), (1, "y", 1)],
    "one as it is": [(1, "x", 1), (1, "a", 1)],
    "new": [(1, "a", 1), (2, "x", 1), (2, "y", 1)],
}


@pytest.mark.usefixtures("counting")
@pytest.mark.parametrize("which", CONTRADICTING)
@pytest.mark.parametrize("deletes", [None, "soft"])
@pytest.mark.parametrize("mode", ["merge", "scd1", "scd2"])
def test_contradicting_rows_are_named(
    world: Any, mode: str, deletes: str | None, which: str
) -> None:
    """Two rows that disagree about a key stop the run, and nothing is written."""
    pipeline = world.pipe(world.table(), mode=mode, handle_deletes=deletes)
    world.fill((1, "a", 1), (3, "c", 3))
    pipeline.sync()
    before = world.run("SELECT * FROM w.t ORDER BY id")
    world.fill(*CONTRADICTING[which], (3, "c", 4))
    with pytest.raises(DuplicateKeys, match=r"different rows share a merge key: id=[12]\."):
        pipeline.sync()
    assert world.run("SELECT * FROM w.t ORDER BY id") == before


@pytest.mark.usefixtures("counting")
def test_what_is_refused_is_told_with_the_same_numbers(world: Any, counts: Counts) -> None:
    """NULL keys, too many deletes and rows outside the scope stop the run as they always do."""
    options = {"mode": "merge", "handle_deletes": "hard"}
    pipeline = world.pipe(world.table(), max_delete_ratio=0.5, scope="a <> 'other'", **options)
    world.run("INSERT INTO w.t (id, a) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'other')")
    world.fill((1, "a", None), (None, "x", 1), (None, "y", 2))
    with pytest.raises(NullKeys, match=r"2 of 3 source rows have NULL in the merge key"):
        pipeline.sync()
    world.fill((1, "a", None))
    with pytest.raises(TooManyDeletes, match="2 of 3 live rows are not in the source"):
        pipeline.sync()
    world.fill((1, "a", None), (2, "b", None), (5, "other", None))
    with pytest.raises(OutOfScope, match="id=5"):
        pipeline.sync()
    world.fill((1, "a", 7), (2, "b", None), (6, "new", None))
    assert counts_first(pipeline.plan())
    expected = {"inserted": 1, "updated": 1, "deleted": 1, "unchanged": 1, "read": 3}
    assert counts(pipeline.sync()) == expected
    assert world.run("SELECT id FROM w.t ORDER BY id") == [(1,), (2,), (4,), (6,)]


@pytest.mark.usefixtures("counting")
def test_nothing_is_left_of_the_counting(world: Any, counts: Counts) -> None:
    """A joined transaction has no table and no sequence more, and a second run counts anew."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    pipeline.sync()
    with world.engine.begin() as connection:
        for value in ("b", "c"):
            connection.exec_driver_sql("UPDATE w.s SET a = %s", (value,))
            assert counts(pipeline.sync(connection=connection)) == {"updated": 1, "read": 1}
        left = connection.exec_driver_sql(
            "SELECT count(*) FROM pg_class WHERE relname ~ '^pgflow' AND relpersistence = 't'"
        )
        assert left.scalar() == 0
