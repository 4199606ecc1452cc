"""Runs inside the caller's transaction: they stand or fall with it, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import NullKeys, StatementFailed, TargetLocked, UnsuitableTransaction
from pgflow.run.events import RunStarted, Silence

SETTINGS = (
    "application_name",
    "row_security",
    "jit",
    "client_min_messages",
    "lock_timeout",
    "random_page_cost",
)


@pytest.fixture
def target(world: Any) -> Any:
    """A source of two rows, and an empty scd2 target with its pipeline."""
    world.pipeline = world.pipe(world.table(), mode="scd2", handle_deletes="soft")
    world.fill((1, "a", 1), (2, "b", 2))
    return world


@pytest.fixture
def live(target: Any) -> Iterator[sa.Connection]:
    """A connection in a READ COMMITTED transaction; what is not committed is rolled back."""
    with target.engine.connect() as connection, connection.begin():
        yield connection


def scalar(connection: sa.Connection, query: str) -> Any:
    """The one value of a query."""
    return connection.exec_driver_sql(query).scalar()


def settings(connection: sa.Connection) -> dict[str, str]:
    """What a run changes for its own statements."""
    return {name: scalar(connection, f"SHOW {name}") for name in SETTINGS}


def temporary(connection: sa.Connection) -> int:
    """How many temporary tables there are."""
    return int(scalar(connection, "SELECT count(*) FROM pg_class WHERE relpersistence = 't'"))


def test_a_joined_run_is_committed_by_the_caller(target: Any, counts: Any) -> None:
    """Nobody else sees a joined run before the caller commits; then all of it is there."""
    with target.engine.begin() as connection:
        assert counts(target.pipeline.sync(connection=connection)) == {"inserted": 2, "read": 2}
        assert scalar(connection, "SELECT count(*) FROM w.t") == 2
        assert target.run("SELECT count(*) FROM w.t") == [(0,)]
        assert target.run("SELECT count(*) FROM pgflow.runs") == [(0,)]
    assert target.run("SELECT count(*) FROM w.t") == [(2,)]
    assert target.run("SELECT status, inserted FROM pgflow.runs") == [("success", 2)]


def test_the_callers_rollback_takes_everything_away(target: Any) -> None:
    """Data, history and watermark go with the caller's transaction."""
    other = target.pipe(
        target.table("u"),
        "SELECT id, a, b, u FROM w.s",
        name="other",
        mode="merge",
        incremental_column="u",
    )
    with target.engine.connect() as connection:
        transaction = connection.begin()
        target.pipeline.sync(connection=connection)
        other.sync(connection=connection)
        transaction.rollback()
    for table in ("w.t", "w.u", "pgflow.runs", "pgflow.watermarks"):
        assert target.run(f"SELECT count(*) FROM {table}") == [(0,)]


def test_a_joined_run_sees_what_the_caller_has_written(
    target: Any, live: sa.Connection, counts: Any
) -> None:
    """Source rows that are not yet committed are read; two runs follow each other."""
    target.pipeline.sync(connection=live)
    live.exec_driver_sql("UPDATE w.s SET a = 'A' WHERE id = 1")
    live.exec_driver_sql("INSERT INTO w.s VALUES (3, 'c', 3)")
    second = target.pipeline.sync(connection=live)
    assert counts(second) == {"inserted": 2, "closed": 1, "unchanged": 1, "read": 3}
    third = target.pipeline.sync(connection=live)
    assert counts(third) == {"unchanged": 3, "read": 3}
    assert scalar(live, "SELECT count(*) FROM pgflow.runs WHERE status = 'success'") == 3


def test_a_failing_run_leaves_the_transaction_usable(target: Any, live: sa.Connection) -> None:
    """After a failure the caller goes on; the failure stands in the history, if it commits."""
    live.exec_driver_sql("INSERT INTO w.s VALUES (NULL, 'n', 0)")
    with pytest.raises(NullKeys):
        target.pipeline.sync(connection=live)
    assert scalar(live, "SELECT count(*) FROM w.t") == 0
    live.exec_driver_sql("DELETE FROM w.s WHERE id IS NULL")
    assert target.pipeline.sync(connection=live).inserted == 2
    live.get_transaction().commit()
    assert target.run("SELECT status, error_type FROM pgflow.runs ORDER BY started_at") == [
        ("failed", "NullKeys"),
        ("success", None),
    ]


def test_a_run_joins_behind_the_callers_savepoint(target: Any, live: sa.Connection) -> None:
    """A run joins a savepoint of the caller, and goes with it."""
    with live.begin_nested() as savepoint:
        target.pipeline.sync(connection=live)
        savepoint.rollback()
    assert scalar(live, "SELECT count(*) FROM w.t") == 0
    assert scalar(live, "SELECT count(*) FROM pgflow.runs") == 0
    assert target.pipeline.sync(connection=live).inserted == 2


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE", "AUTOCOMMIT"])
def test_other_isolation_is_refused(target: Any, level: str) -> None:
    """A run joins neither a stricter transaction nor autocommit, and says why."""
    with target.engine.connect().execution_options(isolation_level=level) as connection:
        for run in (target.pipeline.sync, target.pipeline.dry_run):
            with connection.begin(), pytest.raises(UnsuitableTransaction) as caught:
                run(connection=connection)
            assert str(caught.value).startswith(f"connection= is in {level}; a run joins only a")
    assert target.run("SELECT count(*) FROM pgflow.runs") == [(0,)]


def test_a_connection_without_a_transaction_is_refused(target: Any) -> None:
    """The caller says where its transaction begins."""
    with (
        target.engine.connect() as connection,
        pytest.raises(UnsuitableTransaction, match="connection= is in no transaction"),
    ):
        target.pipeline.sync(connection=connection)


@pytest.mark.parametrize("local", ["", "LOCAL "])
@pytest.mark.parametrize("fails", [False, True])
def test_the_callers_settings_are_its_own_again(target: Any, local: str, fails: bool) -> None:
    """What a run sets for itself is the caller's again: after it, after a failure, and later."""
    with target.engine.connect() as connection:
        with connection.begin():
            for name, value in (
                ("application_name", "'mine'"),
                ("jit", "off"),
                ("row_security", "on"),
                ("client_min_messages", "error"),
                ("lock_timeout", "'7s'"),
            ):
                connection.exec_driver_sql(f"SET {local}{name} = {value}")
            before = settings(connection)
            if fails:
                connection.exec_driver_sql("INSERT INTO w.s VALUES (NULL, 'n', 0)")
                with pytest.raises(NullKeys):
                    target.pipeline.sync(connection=connection)
            else:
                target.pipeline.sync(connection=connection)
            assert settings(connection) == before
        with connection.begin():
            assert (settings(connection) == before) == (not local)
            assert scalar(connection, "SHOW row_security") == "on"


@pytest.mark.parametrize("kind", ["sync", "dry_run"])
def test_no_temporary_table_is_left(target: Any, live: sa.Connection, kind: str) -> None:
    """The tables that a run works with are gone when it ends, not only when the caller does."""
    again = target.pipe(
        target.table("u"),
        "SELECT id, a, b FROM w.u UNION SELECT id, a, b FROM w.s",
        name="again",
        mode="truncate",
    )
    for pipeline in (target.pipeline, again):
        for _ in range(2):
            assert getattr(pipeline, kind)(connection=live).read == 2
            assert temporary(live) == 0


def test_a_joined_dry_run_leaves_the_transaction_as_it_was(
    target: Any, live: sa.Connection, counts: Any
) -> None:
    """A dry run in the caller's transaction counts, and undoes itself alone."""
    live.exec_driver_sql("INSERT INTO w.s VALUES (3, 'c', 3)")
    before = settings(live)
    assert counts(target.pipeline.dry_run(connection=live)) == {"inserted": 3, "read": 3}
    assert scalar(live, "SELECT count(*) FROM w.t") == 0
    assert scalar(live, "SELECT count(*) FROM w.s") == 3
    assert scalar(live, "SELECT count(*) FROM pgflow.runs") == 0
    assert settings(live) == before
    assert scalar(live, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


def test_the_target_is_held_until_the_caller_ends(target: Any, live: sa.Connection) -> None:
    """While the caller's transaction is open, other runs wait for the target."""
    target.pipeline.sync(connection=live)
    pid = live.exec_driver_sql("SELECT pg_backend_pid()").scalar()
    impatient = target.pipe(
        pgflow.Target(target.pipeline.sync_target.table),
        name="impatient",
        mode="scd2",
        lock_timeout=timedelta(milliseconds=20),
    )
    with pytest.raises(TargetLocked, match=f"held by server process {pid}, longer than"):
        impatient.sync()
    live.get_transaction().rollback()
    assert impatient.sync().inserted == 2


def test_a_body_gets_the_callers_connection(target: Any, live: sa.Connection) -> None:
    """The function of a joined pipeline works in the same transaction."""

    def body(conn: Any) -> str:
        seen.append(conn.exec_driver_sql("SELECT pg_backend_pid()").scalar())
        return "SELECT id, a, b FROM w.s"

    seen: list[int] = []
    pipeline = target.pipe(target.table("u"), None, body=body, name="u", mode="merge")
    pipeline.sync(connection=live)
    assert seen == [scalar(live, "SELECT pg_backend_pid()")]


def test_a_lost_connection_is_told_and_the_caller_can_go_on(target: Any) -> None:
    """A joined run whose server process ends says so; the connection works again afterwards."""

    class Terminator(Silence):
        def executing(self, run: RunStarted, statement: Any) -> None:
            target.run("SELECT pg_terminate_backend(%s, 10000)", pid)

    with target.engine.connect() as connection:
        transaction = connection.begin()
        pid = scalar(connection, "SELECT pg_backend_pid()")
        with pytest.raises(StatementFailed, match="terminating connection") as caught:
            target.pipeline.sync(connection=connection, observer=Terminator())
        assert "could not be recorded in the history" in caught.value.__notes__[0]
        transaction.rollback()
        with connection.begin():
            assert target.pipeline.sync(connection=connection).inserted == 2
    assert target.run("SELECT status FROM pgflow.runs") == [("success",)]
