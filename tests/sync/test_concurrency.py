"""Runs that meet on one target: one waits, both end well, and nobody writes twice."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from pgflow.errors import TargetLocked
from pgflow.resolve.config import Config
from pgflow.run.locks import run_lock
from pgflow.testing import assert_scd2
from tests.sync.conftest import World
from tests.sync.sync_children import Gate, nursery, until, waiting_for_target

#: What a second run delivers while the first one has not ended: thirty of fifty rows, changed.
CHANGED = "SELECT id, a || '!' AS a, b FROM w.s WHERE id <= 30"


@pytest.fixture
def target(world: Any, request: pytest.FixtureRequest) -> Any:
    """A source of fifty rows, and an empty target `w.t` for the mode of the test (scd2)."""
    world.factory = world.table()
    world.pipeline = world.pipe(world.factory, mode=getattr(request, "param", "scd2"))
    world.run("INSERT INTO w.s SELECT i, 'a' || i, i FROM generate_series(1, 50) AS i")
    return world


def statuses(world: Any) -> list[str]:
    """The statuses of all runs, in the order in which they began."""
    return [s for (s,) in world.run("SELECT status FROM pgflow.runs ORDER BY started_at")]


def check_history(world: Any) -> None:
    """No key has two current versions, and no two versions overlap."""
    with world.engine.connect() as connection:
        assert_scd2(connection, world.factory)


def test_second_scd2_run_waits_and_its_versions_begin_later(target: Any, database: str) -> None:
    """Of two scd2 runs at once one waits, and what it writes begins where the first one's ends."""
    with Gate(database) as gate, nursery(database) as start:
        first = start(hold="body")
        gate.await_waiters()
        # More milliseconds than the server counts: as long as it can.
        second = start(source=CHANGED, options={"lock_timeout": 40 * 86_400})
        until(lambda: waiting_for_target(database), "the second run to wait for the target")
        gate.open()
        one, two = first.answer(), second.answer()
    assert (one["inserted"], one["closed"]) == (50, 0)
    assert (two["inserted"], two["closed"], two["unchanged"]) == (30, 30, 0)
    assert two["targets"][0]["effective_at"] > one["targets"][0]["effective_at"]
    check_history(target)
    assert target.run(
        "SELECT count(*), count(*) FILTER (WHERE n.valid_from = o.valid_to) FROM w.t AS n"
        " JOIN w.t AS o USING (id) WHERE n.is_current AND NOT o.is_current"
    ) == [(30, 30)]
    assert statuses(target) == ["success", "success"]


def test_scd2_run_that_waited_past_the_first_runs_statements_sees_them(
    target: Any, database: str
) -> None:
    """A run that began while another one was about to commit finds all that it committed."""
    with Gate(database) as gate, nursery(database) as start:
        first = start(hold="commit")
        gate.await_waiters()
        second = start()
        until(lambda: waiting_for_target(database), "the second run to wait for the target")
        assert target.run("SELECT count(*) FROM w.t") == [(0,)]
        gate.open()
        assert first.answer()["inserted"] == 50
        two = second.answer()
    assert (two["inserted"], two["closed"], two["unchanged"]) == (0, 0, 50)
    check_history(target)


@pytest.mark.parametrize(
    ("target", "second_does"),
    [
        ("merge", {"updated": 30, "skipped": 0}),
        ("scd1", {"updated": 30, "skipped": 0}),
        ("append", {"updated": 0, "skipped": 30}),
    ],
    indirect=["target"],
)
def test_second_run_waits_in_every_keyed_mode(
    target: Any, second_does: dict[str, int], database: str, request: pytest.FixtureRequest
) -> None:
    """Two runs at once never insert a key twice; the second one finds what the first has done."""
    mode = request.node.callspec.params["target"]
    with Gate(database) as gate, nursery(database) as start:
        first = start(mode, hold="body")
        gate.await_waiters()
        second = start(mode, source=CHANGED)
        until(lambda: waiting_for_target(database), "the second run to wait for the target")
        gate.open()
        one, two = first.answer(), second.answer()
    assert (one["inserted"], two["inserted"]) == (50, 0)
    assert {name: two[name] for name in second_does} == second_does
    assert target.run("SELECT count(*), count(DISTINCT id) FROM w.t") == [(50, 50)]


def test_ten_first_runs_at_once(target: Any, database: str) -> None:
    """Ten processes that make the first run of a target at once all succeed; one inserts."""
    with Gate(database) as gate, nursery(database) as start:
        children = [start(hold="started") for _ in range(10)]
        gate.await_waiters(10)
        gate.open()
        answers = [child.answer() for child in children]
    assert sorted(a["inserted"] for a in answers) == [0] * 9 + [50]
    assert sorted(a["unchanged"] for a in answers) == [0] + [50] * 9
    assert statuses(target) == ["success"] * 10
    check_history(target)


def test_ten_first_runs_at_once_that_create_everything_first(engine: Any, database: str) -> None:
    """Ten processes that create schema, target and bookkeeping and then sync all succeed."""
    empty = World(engine)
    empty.run("CREATE SCHEMA s")
    empty.run(
        "CREATE TABLE s.s AS SELECT i::bigint AS id, 'a' || i AS a, i::numeric AS b"
        " FROM generate_series(1, 50) AS i"
    )
    with Gate(database) as gate, nursery(database) as start:
        order = {"create": True, "hold": "create", "source": "SELECT id, a, b FROM s.s"}
        children = [start(**order) for _ in range(10)]
        gate.await_waiters(10)
        gate.open()
        answers = [child.answer() for child in children]
    assert sorted(a["inserted"] for a in answers) == [0] * 9 + [50]
    assert statuses(empty) == ["success"] * 10
    assert empty.run("SELECT count(*), count(DISTINCT id) FROM w.t") == [(50, 50)]


# -- waiting --------------------------------------------------------------------------


def test_lock_timeout_names_the_holder(target: Any, database: str) -> None:
    """A run that waits longer than lock_timeout says which run and process holds the target.

    Nor does a statement_timeout end the wait, which is about work and would name nobody.
    """
    with Gate(database) as gate, nursery(database) as start:
        first = start(hold="body")
        gate.await_waiters()
        target.run(f"ALTER DATABASE {target.engine.url.database} SET statement_timeout = '200ms'")
        (holder,) = target.run("SELECT run_id FROM pgflow.runs")[0]
        (pid,) = target.run(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND (classid::bigint << 32) | objid::bigint = %s",
            run_lock(uuid.UUID(str(holder))),
        )[0]
        second = target.pipe(
            target.factory, mode="scd2", name="other", lock_timeout=timedelta(milliseconds=400)
        )
        with pytest.raises(TargetLocked) as caught:
            second.sync()
        assert f"other: w.t is held by run {holder} of 'p' (server process {pid}" in str(
            caught.value
        )
        assert "longer than lock_timeout allows" in str(caught.value)
        assert caught.value.target == "w.t"
        assert len(caught.value.holders) == 1
        assert statuses(target) == ["running", "failed"]
        gate.open()
        assert first.answer()["inserted"] == 50
    assert target.run("SELECT status, error_type FROM pgflow.runs ORDER BY started_at") == [
        ("success", None),
        ("failed", "TargetLocked"),
    ]


def test_dry_run_that_holds_the_target_is_named_by_its_process(target: Any, database: str) -> None:
    """A dry run has no record in the history, so the error names its server process alone.

    A timeout of zero means not to wait at all.
    """
    with Gate(database) as gate, nursery(database) as start:
        rehearsal = start(hold="body", dry_run=True)
        gate.await_waiters()
        second = target.pipe(target.factory, mode="scd2", name="other", lock_timeout=timedelta(0))
        with pytest.raises(TargetLocked, match=r"held by server process \d+, longer than"):
            second.sync()
        gate.open()
        assert rehearsal.answer()["inserted"] == 50
    assert target.run("SELECT count(*) FROM w.t") == [(0,)]


@pytest.mark.parametrize("whole_first", [True, False])
def test_lock_timeout_names_holders_across_scopes(
    target: Any, database: str, whole_first: bool
) -> None:
    """A run names the holder too if one of them has a scope and the other has none."""
    whole: dict[str, Any] = {"options": {"handle_deletes": "soft"}}
    orders = [whole, scoped(1, 20)] if whole_first else [scoped(1, 20), whole]
    orders[1] = {**orders[1], "options": {**orders[1]["options"], "lock_timeout": 0.1}}
    with Gate(database) as gate, nursery(database) as start:
        first = start(hold="body", **orders[0])
        gate.await_waiters()
        ((holder,),) = target.run("SELECT run_id::text FROM pgflow.runs")
        said = start(**orders[1]).answer()
        assert said["error"] == "TargetLocked"
        assert f"w.t is held by run {holder} of 'p' (server process" in said["message"]
        gate.open()
        first.answer()


def test_a_holder_with_another_history_is_named_by_its_process(target: Any, database: str) -> None:
    """A run that keeps its history in another schema excludes others, and is named by its pid."""
    config = Config(utility_schema="elsewhere")
    other = target.pipe(
        target.factory, mode="scd2", name="other", config=config, lock_timeout=timedelta(0)
    )
    with Gate(database) as gate, nursery(database) as start:
        first = start(hold="body")
        gate.await_waiters()
        with pytest.raises(TargetLocked, match=r"w.t is held by server process \d+, longer"):
            other.sync()
        gate.open()
        assert first.answer()["inserted"] == 50


# -- scopes ---------------------------------------------------------------------------


def scoped(low: int, high: int) -> dict[str, Any]:
    """An order for the rows from `low` to `high`."""
    condition = f"id BETWEEN {low} AND {high}"
    return {
        "options": {"scope": condition, "handle_deletes": "soft"},
        "source": f"SELECT id, a, b FROM w.s WHERE {condition}",
    }


def test_runs_in_different_scopes_do_not_wait_for_each_other(target: Any, database: str) -> None:
    """While a run in one scope is busy, another one in another scope runs to its end."""
    with Gate(database) as gate, nursery(database) as start:
        first = start(hold="body", **scoped(1, 20))
        gate.await_waiters()
        second = start(**scoped(21, 50))
        assert second.answer()["inserted"] == 30
        assert first.alive
        gate.open()
        assert first.answer()["inserted"] == 20
    check_history(target)
    assert target.run("SELECT count(*) FROM w.t") == [(50,)]


def test_runs_in_one_scope_wait_for_each_other(target: Any, database: str) -> None:
    """Two runs in the same scope do not run side by side."""
    with Gate(database) as gate, nursery(database) as start:
        first = start(hold="body", **scoped(1, 20))
        gate.await_waiters()
        second = start(**scoped(1, 20))
        until(lambda: waiting_for_target(database), "the second run to wait for the scope")
        gate.open()
        assert (first.answer()["inserted"], second.answer()["unchanged"]) == (20, 20)


@pytest.mark.parametrize("whole_first", [True, False])
def test_a_run_without_scope_excludes_scoped_ones(
    target: Any, database: str, whole_first: bool
) -> None:
    """A run of the whole target and one of its scopes wait for each other, whoever comes first."""
    whole: dict[str, Any] = {"options": {"handle_deletes": "soft"}}
    orders = [whole, scoped(1, 20)] if whole_first else [scoped(1, 20), whole]
    with Gate(database) as gate, nursery(database) as start:
        first = start(hold="body", **orders[0])
        gate.await_waiters()
        second = start(**orders[1])
        until(lambda: waiting_for_target(database), "the second run to wait for the first")
        assert target.run("SELECT count(*) FROM w.t") == [(0,)]
        gate.open()
        one, two = first.answer(), second.answer()
    assert one["inserted"] + two["inserted"] == 50
    assert two["unchanged"] == 20
    check_history(target)
