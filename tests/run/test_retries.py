"""What is tried again, how often, and what is told when that does not help."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pgflow.errors import DuplicateKeys, NullKeys, StatementFailed
from pgflow.run.events import RunStarted, Silence
from pgflow.run.locks import run_lock
from pgflow.run.recovery.cancellation import Cancellation
from tests.sync.sync_children import session, until


class Watch(Silence):
    """Remembers retries, and does something once, before a statement."""

    def __init__(self, purpose: str = "", action: Any = None) -> None:
        self.purpose, self.action = purpose, action
        self.retries: list[tuple[str | None, int]] = []
        self.resting = threading.Event()

    def executing(self, run: RunStarted, statement: Any) -> None:
        if statement.purpose.startswith(self.purpose) and self.action is not None:
            action, self.action = self.action, None
            action()

    def retrying(self, run: RunStarted, error: Exception, attempt: int, delay: float) -> None:
        self.retries.append((getattr(error, "sqlstate", None), attempt))
        self.resting.set()


def fail_times(world: Any, times: int, sqlstate: str) -> None:
    """Let the first so many writes to the target fail with an error of that kind."""
    world.run("CREATE SEQUENCE w.tries")
    world.run(
        "CREATE FUNCTION w.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF nextval('w.tries') <= {times} THEN"
        f" RAISE EXCEPTION 'not now' USING ERRCODE = '{sqlstate}'; END IF; RETURN NULL; END $$"
    )
    world.run(
        "CREATE TRIGGER fail BEFORE INSERT ON w.t FOR EACH STATEMENT EXECUTE FUNCTION w.fail()"
    )


def history(world: Any) -> list[Any]:
    """Status and attempts of every run."""
    found: list[Any] = world.run("SELECT status, attempts FROM pgflow.runs ORDER BY started_at")
    return found


# -- serialization failures and deadlocks ---------------------------------------------


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_transient_failures_are_tried_again(world: Any, sqlstate: str) -> None:
    """A serialization failure or deadlock starts the run again, and the history counts it."""
    pipeline = world.pipe(world.table(), mode="scd2")
    world.fill((1, "a", 1))
    fail_times(world, 2, sqlstate)
    watch = Watch()
    assert pipeline.sync(observer=watch).inserted == 1
    assert watch.retries == [(sqlstate, 2), (sqlstate, 3)]
    assert history(world) == [("success", 3)]
    assert world.run("SELECT count(*) FROM w.t") == [(1,)]


def test_failures_that_last_are_told_after_five_attempts(world: Any) -> None:
    """After five attempts the run fails with the server's own words."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    fail_times(world, 99, "40001")
    with pytest.raises(StatementFailed, match="could not load the empty target.*: not now") as it:
        pipeline.sync()
    assert it.value.sqlstate == "40001"
    assert history(world) == [("failed", 5)]
    assert world.run("SELECT last_value FROM w.tries") == [(5,)]


def test_other_failures_are_not_tried_again(world: Any) -> None:
    """An error that would come again is told at once."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    fail_times(world, 1, "22012")
    with pytest.raises(StatementFailed, match="not now"):
        pipeline.sync()
    assert history(world) == [("failed", 1)]


def test_failures_of_the_body_are_tried_again(world: Any) -> None:
    """A deadlock in what the pipeline's own function does counts as one of the run."""
    world.run("CREATE SEQUENCE w.tries")
    world.run(
        "CREATE FUNCTION w.flaky() RETURNS void LANGUAGE plpgsql AS $$ BEGIN"
        " IF nextval('w.tries') = 1 THEN RAISE EXCEPTION USING ERRCODE = '40P01'; END IF; END $$"
    )

    def body(conn: Any) -> str:
        conn.exec_driver_sql("SELECT w.flaky()")
        return "SELECT id, a, b FROM w.s"

    pipeline = world.pipe(world.table(), None, body=body, mode="merge")
    world.fill((1, "a", 1))
    assert pipeline.sync().inserted == 1
    assert history(world) == [("success", 2)]


def test_a_real_deadlock_with_a_foreign_session_ends_well(world: Any, database: str) -> None:
    """A run that the server ends to break a deadlock starts again and finds the other's rows."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    pipeline.sync()
    world.fill((1, "A", 1), (100, "new", 1))
    # The run looks for deadlocks at once and the foreign session never, so the run is the victim.
    world.run(f"ALTER DATABASE {world.engine.url.database} SET deadlock_timeout = '10ms'")
    with ThreadPoolExecutor(1) as pool, session(database) as foreign:
        foreign.execute("SET deadlock_timeout = '1min'")
        foreign.execute("BEGIN")
        foreign.execute("INSERT INTO w.t (id, a) VALUES (100, 'foreign')")

        def collide() -> None:
            theirs.append(pool.submit(finish))
            until(
                lambda: world.run(
                    "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'",
                    foreign.info.backend_pid,
                ),
                "the foreign session to wait for the run",
            )

        def finish() -> None:
            foreign.execute("UPDATE w.t SET b = 7 WHERE id = 1")
            foreign.execute("COMMIT")

        theirs: list[Any] = []
        watch = Watch("insert new rows", collide)
        result = pipeline.sync(observer=watch)
        theirs[0].result()
    assert watch.retries == [("40P01", 2)]
    assert (result.inserted, result.updated) == (0, 2)
    assert history(world) == [("success", 1), ("success", 2)]
    assert world.run("SELECT id, a, b FROM w.t ORDER BY id") == [(1, "A", 1), (100, "new", 1)]


def test_a_run_between_two_attempts_is_not_taken_for_dead(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However old a run is, others leave it alone while it rests before its next attempt."""
    pipeline = world.pipe(world.table(), mode="merge")
    other = world.pipe(world.table("u"), mode="merge", name="other")
    world.fill((1, "a", 1))
    fail_times(world, 1, "40001")
    enough = threading.Event()
    monkeypatch.setattr(Cancellation, "pause", lambda *_: enough.wait(60))
    watch = Watch()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(pipeline.sync, observer=watch)
        assert watch.resting.wait(60)
        ((run_id,),) = world.run("SELECT run_id FROM pgflow.runs")
        held = (
            "SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND (classid::bigint << 32) | objid::bigint = %s"
        )
        until(lambda: world.run(held, run_lock(run_id)), "the run to rest")
        world.run("UPDATE pgflow.runs SET started_at = started_at - interval '11 seconds'")
        other.sync()
        assert world.run("SELECT status FROM pgflow.runs WHERE pipeline = 'p'") == [("running",)]
        enough.set()
        assert running.result().inserted == 1


def test_ctrl_c_between_two_attempts_is_recorded(world: Any) -> None:
    """An interrupt that comes while the run rests before its next attempt leaves `failed`."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    fail_times(world, 1, "40001")

    class Impatient(Silence):
        def retrying(self, *_: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.sync(observer=Impatient())
    assert world.run("SELECT status, error_type, error FROM pgflow.runs") == [
        ("failed", "KeyboardInterrupt", "The run was interrupted, as by Ctrl-C.")
    ]


# -- keys that somebody else inserts --------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "purpose", "expected"),
    [
        ("merge", "insert new rows", {"updated": 1, "unchanged": 1, "read": 2}),
        ("scd1", "insert new rows", {"updated": 1, "unchanged": 1, "read": 2}),
        (
            "scd2",
            "open the versions",
            {"inserted": 1, "closed": 1, "unchanged": 1, "read": 2},
        ),
    ],
)
def test_a_key_that_a_foreign_writer_inserts_meanwhile(
    world: Any, counts: Any, mode: str, purpose: str, expected: dict[str, int]
) -> None:
    """A key that appears between the look and the insert is found by a second attempt."""
    pipeline = world.pipe(world.table(), mode=mode)
    world.fill((1, "a", 1))
    pipeline.sync()
    world.fill((1, "a", 1), (2, "b", 2))
    columns, values = (
        ("id, a", "2, 'x'") if mode != "scd2" else ("id, a, valid_from", "2, 'x', now()")
    )
    watch = Watch(purpose, lambda: world.run(f"INSERT INTO w.t ({columns}) VALUES ({values})"))
    assert counts(pipeline.sync(observer=watch)) == expected
    assert watch.retries == [("23505", 2)]
    assert history(world)[-1] == ("success", 2)


def test_append_skips_a_key_that_a_foreign_writer_inserts_meanwhile(
    world: Any, counts: Any
) -> None:
    """append with keys leaves a row alone that somebody else has just inserted."""
    pipeline = world.pipe(world.table(), mode="append")
    world.fill((1, "a", 1))
    pipeline.sync()
    world.fill((1, "a", 1), (2, "b", 2), (3, "c", 3))
    watch = Watch("insert new rows", lambda: world.run("INSERT INTO w.t (id, a) VALUES (2, 'x')"))
    assert counts(pipeline.sync(observer=watch)) == {"inserted": 1, "unchanged": 2, "read": 3}
    assert watch.retries == []
    assert world.run("SELECT a FROM w.t WHERE id = 2") == [("x",)]


def test_a_constraint_that_no_retry_can_satisfy_is_named(world: Any) -> None:
    """A unique constraint other than the key's is told with its name and the value."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.run("CREATE UNIQUE INDEX only_once ON w.t (a)")
    world.fill((1, "a", 1), (2, "b", 2))
    pipeline.sync()
    world.fill((1, "a", 1), (2, "b", 2), (3, "b", 3))
    watch = Watch()
    with pytest.raises(StatementFailed) as caught:
        pipeline.sync(observer=watch)
    assert (
        'could not insert new rows: duplicate key value violates unique constraint "only_once"'
        in str(caught.value)
    )
    assert "Key (a)=(b) already exists." in str(caught.value)
    assert watch.retries == [("23505", 2)]
    assert history(world)[-1] == ("failed", 2)


# -- the fast first load --------------------------------------------------------------

KEYED = ["append", "merge", "scd1", "scd2"]


@pytest.mark.parametrize("mode", KEYED)
def test_first_load_collapses_identical_rows(world: Any, counts: Any, mode: str) -> None:
    """A first load with repeated rows takes each once, and the counts say how many there were."""
    pipeline = world.pipe(world.table(), mode=mode)
    world.fill((1, "a", 1), (1, "a", 1), (1, "a", 1), (2, "b", 2))
    assert counts(pipeline.sync()) == {"inserted": 2, "read": 4}
    assert world.run("SELECT id, a FROM w.t ORDER BY id") == [(1, "a"), (2, "b")]
    assert history(world) == [("success", 1)]
    assert counts(pipeline.sync()) == {"unchanged": 4, "read": 4}


@pytest.mark.parametrize("mode", KEYED)
def test_first_load_names_keys_with_different_rows(world: Any, mode: str) -> None:
    """A first load in which a key has different rows fails and names the key."""
    pipeline = world.pipe(world.table(), mode=mode)
    world.fill((1, "a", 1), (7, "b", 2), (7, "c", 3))
    with pytest.raises(DuplicateKeys, match=r"p -> w.t: different rows share a merge key: id=7\."):
        pipeline.sync()
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]
    assert history(world) == [("failed", 1)]


@pytest.mark.parametrize("mode", KEYED)
def test_first_load_counts_null_keys(world: Any, mode: str) -> None:
    """A first load in which keys are NULL fails and says how many."""
    pipeline = world.pipe(world.table(), mode=mode)
    world.fill((1, "a", 1), (None, "b", 2), (None, "c", 3))
    with pytest.raises(NullKeys, match=r"2 of 3 source rows have NULL in the merge key \(id\)"):
        pipeline.sync()
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]
    assert history(world) == [("failed", 1)]
