"""After a run that changed much of its target, the planner knows the target as it is."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

_ROWS = "SELECT g AS id, 'x' AS a, 1 AS b FROM generate_series(1, {n}) AS g"


def known_rows(world: Any) -> float:
    """How many rows the planner thinks the target has; -1 if nobody ever looked."""
    return float(world.run("SELECT reltuples FROM pg_class WHERE oid = 'w.t'::regclass")[0][0])


@pytest.fixture(autouse=True)
def no_autovacuum(world: Any) -> None:
    """Nobody but pgflow looks at the table."""
    table = world.table()
    world.target = table
    world.pipe(table, "SELECT 1 AS id, '' AS a, 0 AS b", mode="merge", name="create")
    world.run("ALTER TABLE w.t SET (autovacuum_enabled = false)")


def test_a_large_load_leaves_fresh_statistics(world: Any) -> None:
    """Ten thousand rows into an empty table: the planner knows them at once."""
    world.pipe(world.target, _ROWS.format(n=10_000), mode="merge").sync()
    assert known_rows(world) == 10_000


def test_the_server_does_not_count_the_run_again(world: Any) -> None:
    """What it had not yet reported when the target was analyzed would pass for later changes."""
    world.pipe(world.target, _ROWS.format(n=10_000), mode="merge").sync()
    # Closed connections have reported everything.
    world.engine.dispose()
    question = "SELECT n_mod_since_analyze FROM pg_stat_user_tables WHERE relid = 'w.t'::regclass"
    assert world.run(question)[0][0] == 0


def test_a_small_change_costs_no_analyze(world: Any) -> None:
    """Neither few rows nor a small share of many are worth it."""
    world.pipe(world.target, _ROWS.format(n=500), mode="merge").sync()
    assert known_rows(world) == -1


def test_a_rehearsal_leaves_the_statistics_alone(world: Any) -> None:
    """What is rolled back is no reason to look."""
    world.pipe(world.target, _ROWS.format(n=10_000), mode="merge").dry_run()
    assert known_rows(world) == -1


def test_a_lock_on_the_target_is_not_waited_for(world: Any) -> None:
    """Somebody who is changing the table keeps nobody from finishing a run."""
    pipeline = world.pipe(world.target, _ROWS.format(n=10_000), mode="merge")
    with world.engine.connect() as other, other.begin():
        other.execute(text("LOCK TABLE w.t IN SHARE UPDATE EXCLUSIVE MODE"))
        assert pipeline.sync().inserted == 10_000
    assert known_rows(world) == -1
