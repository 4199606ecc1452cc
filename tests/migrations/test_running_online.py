"""Migrations of big tables in use: nobody stands in a queue behind them, nothing is read twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from sqlalchemy import (
    Column,
    Engine,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    event,
    text,
)
from sqlalchemy.exc import DBAPIError

from pgflow.alembic import queues
from pgflow.alembic.execution import execute
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.settings import MigrationSettings
from pgflow.alembic.statement import Statement
from pgflow.alembic.step import Step
from pgflow.errors import LockNotGranted
from tests.migrations.alembic_project import AlembicProject
from tests.migrations.revision_files import use_env, write


def declared(*, required: bool = False, indexed: bool = False) -> MetaData:
    metadata = MetaData()
    columns: list[Column[Any]] = [
        Column("id", Integer, primary_key=True),
        Column("a", Text, nullable=not required),
    ]
    table = Table("t", metadata, *columns, schema="app")
    if indexed:
        Index("t_a_idx", table.c.a)
    return metadata


@pytest.fixture
def project(tmp_path: Path, engine: Engine) -> AlembicProject:
    """A project for which every table is big, with one table that has rows."""
    options: dict[str, Any] = {"lock_timeout": "50ms", "lock_retries": 2, "big_table_bytes": 0}
    found = AlembicProject(tmp_path / "migrations", engine, **options)
    use_env(found)
    found.revision(declared())
    found.upgrade()
    with engine.begin() as conn:
        conn.exec_driver_sql("INSERT INTO app.t SELECT n, n::text FROM generate_series(1, 9) n")
    return found


@pytest.fixture
def sent(engine: Engine) -> Iterator[list[str]]:
    """Each statement that was sent to the server and succeeded."""
    found: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        found.append(" ".join(statement.split()))

    event.listen(engine, "after_cursor_execute", note)
    yield found
    event.remove(engine, "after_cursor_execute", note)


@pytest.fixture
def report(engine: Engine) -> Iterator[Callable[[str], ExitStack]]:
    """A function that lets a long report begin as soon as a certain statement is done."""
    stack = ExitStack()
    awaited: list[str] = []

    def begin_after(words: str) -> ExitStack:
        awaited.append(words)
        return stack

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if awaited and awaited[0] in statement:
            awaited.clear()
            reading = stack.enter_context(engine.connect())
            reading.exec_driver_sql("SELECT count(*) FROM app.t")

    event.listen(engine, "after_cursor_execute", note)
    with stack:
        yield begin_after
    event.remove(engine, "after_cursor_execute", note)


@pytest.mark.parametrize(
    ("sql", "stops"),
    [
        ("ALTER TABLE t ALTER COLUMN a SET NOT NULL", True),
        ("ALTER TABLE t ADD CONSTRAINT k UNIQUE USING INDEX k", True),
        ("ALTER TABLE t ADD CHECK (a > 0) NOT VALID", True),
        ("DROP INDEX i", True),
        ("CREATE INDEX i ON t (a)", True),
        ("DO $$ BEGIN DROP INDEX i; END $$", True),
        ("ALTER TABLE t VALIDATE CONSTRAINT k", False),
        ("CREATE INDEX CONCURRENTLY i ON t (a)", False),
        ("DROP INDEX CONCURRENTLY i", False),
        ("ALTER TYPE e ADD VALUE 'x'", False),
        ("UPDATE t SET a = 1", False),
        ("DO $$ BEGIN COMMIT; END $$", False),
        ("CALL p()", False),
        ("VACUUM t", False),
        ("not SQL at all", False),
    ],
)
def test_it_is_known_what_stops_others_while_it_waits(sql: str, stops: bool) -> None:
    """Only what would stop readers or writers, and is done as a whole, gives up soon."""
    assert queues.stops_others(sql) is stops


def test_a_file_says_for_each_statement_how_long_it_waits(project: AlembicProject) -> None:
    """Statements that lock nobody out wait long, and those that do a moment."""
    (written,) = project.revision(declared(required=True))
    assert "SET lock_timeout = '10min'" in written.upgrade
    before, last = written.upgrade.split("VALIDATE CONSTRAINT")
    assert before.rindex("'10min'") > before.rindex("'50ms'")
    assert last.index("SET lock_timeout = '50ms'") < last.index("SET NOT NULL")


def test_only_the_statement_is_tried_again_that_got_no_lock(
    project: AlembicProject,
    sent: list[str],
    report: Callable[[str], ExitStack],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A big table is validated once, though a report began before NOT NULL could be set."""
    project.revision(declared(required=True))
    stack = report("VALIDATE CONSTRAINT")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        stack.close()

    monkeypatch.setattr("time.sleep", pause)
    project.upgrade()
    assert len(pauses) == 1
    assert sum("VALIDATE CONSTRAINT" in statement for statement in sent) == 1
    command.check(project.config)


def test_readers_wait_no_longer_than_the_lock_timeout(
    project: AlembicProject,
    engine: Engine,
    report: Callable[[str], ExitStack],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between two tries nobody stands in the queue, so that readers get through."""
    project.revision(declared(required=True))
    report("VALIDATE CONSTRAINT")
    read: list[int | None] = []

    def pause(_seconds: float) -> None:
        with engine.begin() as conn:
            conn.exec_driver_sql("SET LOCAL lock_timeout = '1ms'")
            read.append(conn.exec_driver_sql("SELECT count(*) FROM app.t").scalar())

    monkeypatch.setattr("time.sleep", pause)
    with pytest.raises(LockNotGranted, match=r"(?s)tried 3 times.*can be done twice"):
        project.upgrade()
    assert read == [9, 9]


def test_the_next_upgrade_finishes_what_got_no_lock(
    project: AlembicProject, report: Callable[[str], ExitStack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the report the same file is run once more, from its beginning."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    project.revision(declared(required=True))
    stack = report("VALIDATE CONSTRAINT")
    with pytest.raises(LockNotGranted):
        project.upgrade()
    stack.close()
    project.upgrade()
    command.check(project.config)


def test_a_failure_leaves_no_settings_in_the_session(tmp_path: Path, database: str) -> None:
    """What a block without a transaction has set is gone, even if the block fails."""
    block = """
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = '7min'")
        op.execute("SET statement_timeout = '8min'")
        op.execute("SELECT 1/0")
    """
    pooled = create_engine(database)
    project = AlembicProject(tmp_path / "migrations", pooled)
    use_env(project)
    write(project, "bad", None, block)
    with pytest.raises(DBAPIError, match="division"):
        project.upgrade()
    query = "SELECT current_setting('lock_timeout'), current_setting('statement_timeout')"
    with pooled.connect() as one, pooled.connect() as other:
        found = [tuple(conn.exec_driver_sql(query).one()) for conn in (one, other)]
    pooled.dispose()
    assert found == [("0", "0"), ("0", "0")]


def test_an_index_of_others_is_not_taken_for_ours(project: AlembicProject, engine: Engine) -> None:
    """Where the name belongs to an index of another table, the migration stops and says so."""
    project.revision(declared(indexed=True))
    with engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE app.theirs (a int)")
        conn.exec_driver_sql("CREATE INDEX t_a_idx ON app.theirs (a)")
    with pytest.raises(DBAPIError, match="app.t_a_idx is something else than an index of app.t"):
        project.upgrade()
    with engine.begin() as conn:
        comment = "SELECT obj_description('app.t_a_idx'::regclass)"
        assert conn.exec_driver_sql(comment).scalar() is None
        conn.exec_driver_sql("ALTER INDEX app.t_a_idx RENAME TO theirs_idx")
    project.upgrade()
    command.check(project.config)


def test_a_valid_index_is_never_built_or_dropped_twice(
    project: AlembicProject, engine: Engine
) -> None:
    """What an interrupted migration has finished stays as it is."""
    project.revision(declared(indexed=True))
    with engine.begin() as conn:
        conn.exec_driver_sql("CREATE INDEX t_a_idx ON app.t (a)")
        before = conn.exec_driver_sql("SELECT 'app.t_a_idx'::regclass::oid").scalar()
    project.upgrade()
    with engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT 'app.t_a_idx'::regclass::oid").scalar() == before
    command.check(project.config)


def test_an_index_built_without_files_begins_anew_with_each_try(
    engine: Engine, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A try that did not get its lock leaves an invalid index, with which nobody is content."""
    with engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    clear = "DO $$ BEGIN IF EXISTS (SELECT FROM pg_index WHERE NOT indisvalid) THEN DROP INDEX i; END IF; END $$"  # noqa: E501
    statements = (
        Statement(clear, autocommit=True),
        Statement("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)", autocommit=True),
    )
    step = Step(EntityIdentifier("public", "i", kind="index", table="t"), "create", "i", statements)
    plain = database.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(plain) as writer:
        writer.execute("UPDATE t SET a = 2")
        monkeypatch.setattr("time.sleep", lambda _: writer.rollback())
        settings = MigrationSettings(online_lock_timeout="50ms", lock_timeout="5s")
        execute(engine, [step], settings)
    with engine.connect() as conn:
        assert conn.scalar(text("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass"))
