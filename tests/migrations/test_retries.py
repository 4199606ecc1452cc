"""Migrations that wait for locks give up soon, try again, and never do anything twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, text

from pgflow.alembic import lock_waits
from pgflow.alembic.execution import execute
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.statement import Statement
from pgflow.alembic.step import Step
from pgflow.errors import LockNotGranted, OutsideTransaction
from tests.migrations.alembic_project import AlembicProject
from tests.migrations.revision_files import use_env, write

ADD = 'op.execute("ALTER TABLE t ADD COLUMN {}_a int")'
FILL = "op.execute(\"INSERT INTO log VALUES ('{}')\")"


@pytest.fixture
def tables(engine: Engine) -> None:
    """A table that somebody can hold, and one that tells what was done."""
    with engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE t (id int); CREATE TABLE log (entry text)")


@pytest.fixture
def project(tmp_path: Path, engine: Engine, tables: None) -> AlembicProject:
    """A project that gives up after 50 ms, and tries twice again."""
    found = AlembicProject(tmp_path / "migrations", engine, lock_timeout="50ms", lock_retries=2)
    use_env(found)
    return found


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses that take no time; what they would have been is recorded."""
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


@contextmanager
def held(engine: Engine) -> Iterator[Connection]:
    """Hold a lock on the table that even readers hold."""
    with engine.connect() as conn, conn.begin():
        conn.exec_driver_sql("SET LOCAL application_name = 'a long report'")
        conn.exec_driver_sql("SELECT * FROM t")
        yield conn


def release_after(engine: Engine, tries: int) -> Callable[[object], None]:
    """Hold the lock until the migration has failed a number of times."""
    holding = held(engine)
    holding.__enter__()
    failures: list[float] = []

    def pause(seconds: float) -> None:
        failures.append(seconds)
        if len(failures) == tries:
            holding.__exit__(None, None, None)

    return pause  # type: ignore[return-value]


def heads(engine: Engine) -> tuple[str, ...]:
    with engine.connect() as conn:
        return MigrationContext.configure(conn).get_current_heads()


def entries(engine: Engine) -> list[str]:
    with engine.connect() as conn:
        return list(conn.scalars(text("SELECT entry FROM log ORDER BY entry")))


def test_a_migration_that_waited_too_long_is_tried_again(
    project: AlembicProject, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The try after the lock is free does the whole migration once."""
    write(project, "one", None, FILL.format("one") + "\n" + ADD.format("one"))
    write(project, "two", "one", FILL.format("two"))
    monkeypatch.setattr("time.sleep", release_after(engine, 2))
    project.upgrade()
    assert (heads(engine), entries(engine)) == (("two",), ["one", "two"])


def test_the_last_failure_names_who_was_in_the_way(
    project: AlembicProject, engine: Engine, short_pauses: list[float]
) -> None:
    """After the last try nothing is kept, and the error tells process, role and query."""
    write(project, "one", None, FILL.format("one") + "\n" + ADD.format("one"))
    with held(engine) as holder:
        pid = holder.connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
        with pytest.raises(LockNotGranted) as caught:
            project.upgrade()
    assert (heads(engine), entries(engine), len(short_pauses)) == ((), [], 2)
    message = str(caught.value)
    assert f"Process {pid} of postgres (a long report), idle in transaction" in message
    assert "SELECT * FROM t" in message
    assert "tried 3 times" in message
    assert len(caught.value.blockers) == 1


def test_a_transaction_for_each_migration_continues_where_it_stands(
    project: AlembicProject, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier migration committed is not done again."""
    project.config.attributes["context"] = {"transaction_per_migration": True}
    write(project, "one", None, FILL.format("one"))
    write(project, "two", "one", FILL.format("two") + "\n" + ADD.format("two"))
    monkeypatch.setattr("time.sleep", release_after(engine, 1))
    project.upgrade()
    assert (heads(engine), entries(engine)) == (("two",), ["one", "two"])


def test_what_was_committed_in_the_middle_is_not_done_twice(
    project: AlembicProject, engine: Engine, short_pauses: list[float]
) -> None:
    """A file that commits itself halfway begins only once, and the error says what is kept."""
    block = """
    op.execute("INSERT INTO log VALUES ('one')")
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = '50ms'")
        op.execute("ALTER TABLE t ADD COLUMN a int")
    """
    write(project, "one", None, block)
    with held(engine), pytest.raises(LockNotGranted, match="cannot be done twice") as caught:
        project.upgrade()
    assert "INSERT INTO log" in str(caught.value)
    assert (heads(engine), entries(engine), len(short_pauses)) == ((), ["one"], 2)


def test_what_can_be_repeated_is(
    project: AlembicProject, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of statements that do no harm a second time is tried again from its beginning."""
    with engine.begin() as conn:
        conn.exec_driver_sql("CREATE TYPE mood AS ENUM ('a')")
    block = """
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = '50ms'")
        op.execute("ALTER TYPE mood ADD VALUE IF NOT EXISTS 'b'")
        op.execute("CREATE INDEX IF NOT EXISTS t_id_idx ON t (id)")
        op.execute("ALTER TABLE t ADD COLUMN a int")
    """
    write(project, "one", None, block)
    monkeypatch.setattr("time.sleep", release_after(engine, 1))
    project.upgrade()
    assert heads(engine) == ("one",)


def test_each_transaction_limits_its_waits(project: AlembicProject, engine: Engine) -> None:
    """After an autocommit block the new transaction has the same lock_timeout as the first."""
    record = "op.execute(\"INSERT INTO log VALUES (current_setting('lock_timeout'))\")"
    block = f"""
    {record}
    with op.get_context().autocommit_block():
        {record}
    {record}
    """
    write(project, "one", None, block)
    project.upgrade()
    assert entries(engine) == ["0", "50ms", "50ms"]


def test_other_failures_are_not_retried(
    project: AlembicProject, engine: Engine, short_pauses: list[float]
) -> None:
    """An error of the SQL itself comes out at once, and rolls everything back."""
    write(project, "one", None, FILL.format("one") + '\nop.execute("SELECT 1/0")')
    with pytest.raises(Exception, match="division by zero"):
        project.upgrade()
    assert (heads(engine), entries(engine), short_pauses) == ((), [], [])


def test_pauses_grow_and_stay_bearable() -> None:
    """Pauses double from half a second on, and end at half a minute."""
    found = list(lock_waits.pauses(10))
    assert found[0] < 1
    assert max(found) <= 36
    assert found[:5] == sorted(found[:5])


# --- the same for steps that run without files ------------------------------------------


def step(*statements: str, autocommit: bool = False) -> Step:
    made = tuple(Statement(each, autocommit=autocommit) for each in statements)
    return Step(EntityIdentifier("public", "t", kind="table"), "alter", "Change t", made)


def test_steps_run_in_one_transaction_and_are_tried_again(
    engine: Engine, tables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What belongs to one transaction is done once, as soon as the lock is free."""
    monkeypatch.setattr("time.sleep", release_after(engine, 1))
    steps = [step("INSERT INTO log VALUES ('50% :x')"), step("ALTER TABLE t ADD COLUMN a int")]
    execute(engine, steps, lock_timeout="50ms", retries=2)
    assert entries(engine) == ["50% :x"]


def test_steps_that_never_get_their_lock_leave_nothing(engine: Engine, tables: None) -> None:
    """After the last try the error names the holder, and the transaction is gone."""
    steps = [step("INSERT INTO log VALUES ('x')"), step("ALTER TABLE t ADD COLUMN a int")]
    with held(engine), pytest.raises(LockNotGranted, match="a long report"):
        execute(engine, steps, lock_timeout="50ms", retries=1)
    assert entries(engine) == []


def test_steps_outside_a_transaction_leave_their_settings_nowhere(
    engine: Engine, tables: None
) -> None:
    """They run with timeouts of their own, which are gone afterwards."""
    record = "INSERT INTO log VALUES (current_setting('lock_timeout'))"
    execute(engine, [step(record, autocommit=True), step(record)], lock_timeout="0")
    assert entries(engine) == ["0", "10min"]


def test_a_given_connection_keeps_its_transaction(conn: Connection, tables: None) -> None:
    """Steps join the transaction of a connection; what cannot is refused by name."""
    execute(conn, [step("INSERT INTO log VALUES ('x')")])
    assert conn.scalar(text("SELECT count(*) FROM log")) == 1
    with pytest.raises(OutsideTransaction, match="CONCURRENTLY"):
        execute(conn, [step("CREATE INDEX CONCURRENTLY i ON t (id)", autocommit=True)])
    conn.rollback()
    assert conn.scalar(text("SELECT count(*) FROM log")) == 0
