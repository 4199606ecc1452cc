"""Dry runs: the counts of the next run, and no trace of this one."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import DuplicateKeys, EmptySource, SourceMismatch, StatementFailed, TargetsFailed
from pgflow.run.events import RunStarted, Silence
from tests.sync.sync_children import session

CASES: dict[str, dict[str, Any]] = {
    "append": {},
    "truncate": {},
    "truncate scope": {"scope": "id < 100"},
    "truncate delete": {"replace": "delete"},
    "merge": {},
    "merge hard": {"handle_deletes": "hard"},
    "merge incremental": {"incremental_column": "u", "source": "SELECT id, a, b, u FROM w.s"},
    "scd1": {"handle_deletes": "soft"},
    "scd2": {},
    "scd2 soft": {"handle_deletes": "soft"},
    "scd2 incremental": {"incremental_column": "u", "source": "SELECT id, a, b, u FROM w.s"},
}

#: Everything that a run could leave: rows with their place and writer, and every relation.
TRACES = (
    "SELECT ctid::text, xmin::text, t::text FROM w.t AS t ORDER BY ctid",
    "SELECT ctid::text, xmin::text, s::text FROM w.s AS s ORDER BY ctid",
    "SELECT ctid::text, xmin::text, r::text FROM pgflow.runs AS r ORDER BY ctid",
    "SELECT ctid::text, xmin::text, m::text FROM pgflow.watermarks AS m ORDER BY ctid",
    "SELECT oid, relname, relfilenode FROM pg_class ORDER BY oid",
    "SELECT oid, nspname FROM pg_namespace ORDER BY oid",
    "SELECT locktype, objid FROM pg_locks WHERE locktype = 'advisory'",
)


def traces(world: Any) -> list[Any]:
    return [world.run(query) for query in TRACES]


def batch(world: Any, *rows: tuple[int, str, int]) -> None:
    """Put exactly these rows (id, a, day) into the source."""
    world.run("TRUNCATE w.s")
    for key, value, day in rows:
        world.run(
            "INSERT INTO w.s VALUES (%s, %s, 1, timestamptz '2024-01-01' + interval '1 day' * %s)",
            key,
            value,
            day,
        )


@pytest.mark.parametrize("case", CASES)
def test_a_dry_run_counts_as_the_next_run_and_leaves_no_trace(
    world: Any, counts: Any, case: str
) -> None:
    """The counts are those of the sync that follows, and the database is as it was before."""
    pipeline = world.pipe(world.table(), mode=case.split()[0], **CASES[case])
    steps = (
        [(1, "a", 1), (2, "b", 2), (3, "c", 3)],
        [(1, "a", 1), (2, "b", 2), (3, "c", 3)],
        [(1, "a", 1), (2, "B", 4), (4, "d", 5), (4, "d", 5)],
    )
    for rows in steps[: 2 if case.startswith("truncate") else 3]:
        batch(world, *rows)
        before = traces(world)
        rehearsal = pipeline.dry_run()
        assert traces(world) == before
        result = pipeline.sync()
        assert counts(rehearsal) == counts(result)
        assert rehearsal.dry_run
        assert not result.dry_run
        assert traces(world) != before
    assert result.read >= 3


class Reader(Silence):
    """Reads the target from another session before every statement of a run."""

    def __init__(self, url: str) -> None:
        self.url, self.seen = url, []

    def executing(self, run: RunStarted, statement: Any) -> None:
        with session(self.url) as connection:
            connection.execute("SET lock_timeout = '2s'")
            self.seen.append(connection.execute("SELECT count(*) FROM w.t").fetchone())

    finished = executing

    seen: list[Any]


@pytest.mark.parametrize("mode", ["append", "truncate", "merge", "scd1", "scd2"])
def test_a_dry_run_locks_no_reader_out(world: Any, database: str, mode: str) -> None:
    """Whoever reads the target during a dry run gets its rows at once, in truncate mode too."""
    pipeline = world.pipe(world.table(), mode=mode)
    world.fill((1, "a", 1), (2, "b", 2))
    pipeline.sync()
    world.fill((1, "A", 1), (3, "c", 3))
    reader = Reader(database)
    pipeline.dry_run(observer=reader)
    assert len(reader.seen) >= 3
    assert set(reader.seen) == {(2,)}


def test_a_dry_run_needs_no_history_row(world: Any) -> None:
    """A dry run is in no history, whether it succeeds or fails."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    pipeline.dry_run()
    world.fill((1, "a", 1), (1, "b", 1))
    with pytest.raises(DuplicateKeys):
        pipeline.dry_run()
    assert world.run("SELECT count(*) FROM pgflow.runs") == [(0,)]


@pytest.mark.parametrize(
    ("source", "error", "sentence"),
    [
        ("SELECT 1 AS id, 'a' AS a, 1 AS b UNION SELECT 1, 'b', 1", DuplicateKeys, "id=1"),
        ("SELECT id, a, b FROM w.s WHERE false", EmptySource, "the source delivered no rows"),
        ("SELECT 1 AS id, 'a' AS a, 1 AS b, 2 AS c", SourceMismatch, "'c'"),
        ("SELECT id, a, b FROM w.missing", StatementFailed, 'relation "w.missing" does not exist'),
        ("SELECT 1 AS id, 'a' AS a, 1/0 AS b", StatementFailed, "division by zero"),
        ("SELECT 1 AS id, 'a' AS a, 1e9 AS b", StatementFailed, "numeric field overflow"),
    ],
)
def test_a_failing_dry_run_says_what_the_sync_would(
    world: Any, source: str, error: type[Exception], sentence: str
) -> None:
    """A dry run fails as the sync would, in the same words, and leaves the target alone."""
    world.fill((1, "a", 1))
    factory = world.table()
    world.pipe(factory, mode="merge").sync()
    pipeline = world.pipe(factory, source, name="bad", mode="merge", handle_deletes="hard")
    before = traces(world)
    with pytest.raises(error) as rehearsed:
        pipeline.dry_run()
    assert traces(world) == before
    with pytest.raises(error) as failed:
        pipeline.sync()
    assert sentence in str(rehearsed.value)
    assert str(rehearsed.value) == str(failed.value)


def test_what_a_commit_would_check_is_checked(world: Any) -> None:
    """A constraint that waits for the commit fails a dry run in the words of the sync."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.run("CREATE TABLE w.known (a text PRIMARY KEY)")
    world.run("ALTER TABLE w.t ADD FOREIGN KEY (a) REFERENCES w.known INITIALLY DEFERRED")
    world.fill((1, "a", 1))
    with pytest.raises(StatementFailed, match="could not commit: .*violates foreign") as rehearsed:
        pipeline.dry_run()
    with pytest.raises(StatementFailed) as failed:
        pipeline.sync()
    assert str(rehearsed.value) == str(failed.value)


def test_a_dry_run_tries_every_target(world: Any) -> None:
    """With several targets a dry run goes on behind the first that fails."""
    strict = world.table("strict", sa.Column("a", sa.Text), sa.Column("b", sa.Numeric(2, 1)))
    pipeline = world.pipe(
        None, targets=[pgflow.Target(strict), pgflow.Target(world.table())], mode="merge"
    )
    world.fill((1, "a", 100))
    with pytest.raises(TargetsFailed, match="failed on w.strict") as caught:
        pipeline.dry_run()
    result: Any = caught.value.result
    assert [(t.status, t.inserted) for t in result.targets] == [("failed", 0), ("success", 1)]
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]


def test_only_sequences_move(world: Any) -> None:
    """An identity column loses the numbers that a dry run has drawn; that is all."""
    table = world.table(
        "t", sa.Column("a", sa.Text), sa.Column("n", sa.BigInteger, sa.Identity(), unique=True)
    )
    pipeline = world.pipe(table, "SELECT id, a FROM w.s", mode="merge", keys=["id"])
    world.fill((1, "a", 1), (2, "b", 2))
    pipeline.dry_run()
    pipeline.sync()
    assert world.run("SELECT id, n FROM w.t ORDER BY id") == [(1, 3), (2, 4)]
