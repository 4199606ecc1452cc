"""The transaction of a run: READ COMMITTED whatever the default is, and nothing of it stays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import StatementFailed

#: What the connection is like before and after a run.
SETTINGS = (
    "transaction_isolation",
    "application_name",
    "row_security",
    "jit",
    "lock_timeout",
    "client_encoding",
)


@pytest.fixture
def pooled(world: Any, database: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The world on an engine that keeps one connection, with the options of the test."""
    world.engine = sa.create_engine(database, pool_size=1, max_overflow=0, **request.param)
    yield world
    world.engine.dispose()


def settings(world: Any) -> list[Any]:
    """What the next user of the connection finds."""
    return [world.run(f"SHOW {name}")[0][0] for name in SETTINGS]


@pytest.mark.parametrize(
    "pooled",
    [
        {},
        {"isolation_level": "SERIALIZABLE"},
        {"isolation_level": "AUTOCOMMIT"},
        {"connect_args": {"options": "-c default_transaction_isolation=serializable"}},
        {"connect_args": {"client_encoding": "latin1", "application_name": "mine"}},
    ],
    indirect=True,
    ids=["default", "serializable", "autocommit", "server's default", "session settings"],
)
def test_a_run_is_read_committed_and_leaves_the_connection_as_it_was(pooled: Any) -> None:
    """Neither the engine's nor the server's default changes a run, nor a run the connection."""

    def body(conn: Any) -> str:
        seen.append(conn.exec_driver_sql("SHOW transaction_isolation").scalar())
        seen.append(conn.exec_driver_sql("SELECT pg_backend_pid()").scalar())
        return "SELECT id, a, b FROM w.s"

    seen: list[Any] = []
    pipeline = pooled.pipe(pooled.table(), None, body=body, mode="scd2")
    pooled.fill((1, "a", 1))
    before = settings(pooled)
    for run in (pipeline.sync, pipeline.dry_run, pipeline.preview):
        run()
        assert settings(pooled) == before
    assert seen[::2] == ["read committed"] * 3
    assert set(seen[1::2]) == {pooled.run("SELECT pg_backend_pid()")[0][0]}


def test_a_constraint_that_is_checked_at_commit_fails_the_run(world: Any) -> None:
    """A deferred constraint of the target is told as the run's failure, and nothing is written."""
    table = world.table()
    pipeline = world.pipe(table, mode="merge")
    world.run("ALTER TABLE w.t ADD UNIQUE (a) DEFERRABLE INITIALLY DEFERRED")
    world.fill((1, "same", 1), (2, "same", 2))
    with pytest.raises(
        StatementFailed, match="^p -> w.t: could not commit: duplicate key value"
    ) as caught:
        pipeline.sync()
    assert caught.value.sqlstate == "23505"
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]
    assert world.run("SELECT status, attempts FROM pgflow.runs") == [("failed", 2)]


def test_a_run_whose_record_is_gone_writes_nothing(world: Any) -> None:
    """Without its row in the history a run cannot say what it did, so it does nothing."""

    def body(conn: Any) -> str:
        conn.exec_driver_sql("DELETE FROM pgflow.runs")
        return "SELECT id, a, b FROM w.s"

    pipeline = world.pipe(world.table(), None, body=body, mode="merge")
    world.fill((1, "a", 1))
    with pytest.raises(pgflow.PgflowError, match="is gone from the history; nothing was written"):
        pipeline.sync()
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]
