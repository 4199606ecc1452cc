"""Pipelines' functions: what they take, what they return, and what they may not do."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import InvalidBody, UnsuitableTransaction
from tests.sync.declared import declare


@pytest.mark.parametrize(
    "make",
    [
        lambda: "SELECT id, a, b FROM w.s WHERE u::date = :day",
        lambda: pgflow.Query(
            "SELECT id, a, b FROM w.s WHERE u::date = :d", {"d": date(2024, 1, 2)}
        ),
        lambda: sa.text("SELECT id, a, b FROM w.s WHERE u::date = :d").bindparams(
            d=date(2024, 1, 2)
        ),
        lambda: (
            sa.select(sa.column("id"), sa.column("a"), sa.column("b"))
            .select_from(sa.text("w.s"))
            .where(sa.cast(sa.column("u"), sa.Date) == date(2024, 1, 2))
        ),
    ],
    ids=["text", "query", "sqlalchemy-text", "select"],
)
def test_a_body_returns_its_source_in_any_form(world: Any, counts: Any, make: Any) -> None:
    """SQL text with run parameters, a Query, and SQLAlchemy's own constructs are all sources."""

    @pgflow.pipeline(target=declare(world.metadata), mode="merge", connection=world.engine)
    def feed(conn: Any, *, day: date) -> Any:
        return make()

    pgflow.create_all(world.metadata, connection=world.engine)
    world.run("INSERT INTO w.s VALUES (1, 'no', 1, '2024-01-01'), (2, 'yes', 1, '2024-01-02')")
    assert counts(feed.sync(day=date(2024, 1, 2))) == {"inserted": 1, "read": 1}
    assert world.run("SELECT a FROM w.t") == [("yes",)]


def test_bodies_take_no_one_or_two_connections(world: Any, counts: Any) -> None:
    """A body may need no connection, one, or one for each end."""
    table = declare(world.metadata)

    @pgflow.pipeline(target=table, mode="merge", connection=world.engine)
    def none() -> str:
        return "SELECT 1::bigint AS id, 'none' AS a"

    @pgflow.pipeline(target=table, mode="merge", connection=world.engine)
    def one(conn: Any) -> str:
        (value,) = conn.execute(sa.text("SELECT 'from the body'")).one()
        return f"SELECT 1::bigint AS id, '{value}' AS a"

    @pgflow.pipeline(target=table, mode="merge", connection=world.engine)
    async def two(src_conn: Any, tgt_conn: Any) -> str:
        await asyncio.sleep(0)
        (known,) = tgt_conn.execute(sa.text("SELECT count(*) FROM w.t")).one()
        return f"SELECT 1::bigint AS id, 'two, after {known}' AS a"

    pgflow.create_all(world.metadata, connection=world.engine)
    seen = []
    for pipeline in (none, one, two):
        pipeline.sync()
        seen += world.run("SELECT a FROM w.t")
    assert seen == [("none",), ("from the body",), ("two, after 1",)]


def test_an_async_body_works_inside_a_running_loop(world: Any) -> None:
    """sync() may be called where an event loop is running already."""

    @pgflow.pipeline(target=declare(world.metadata), mode="merge", connection=world.engine)
    async def feed(conn: Any) -> str:
        await asyncio.sleep(0)
        return "SELECT 1::bigint AS id, 'a' AS a"

    pgflow.create_all(world.metadata, connection=world.engine)

    async def main() -> int:
        return feed.sync().inserted

    assert asyncio.run(main()) == 1


def test_a_body_that_did_the_work_returns_a_dict(world: Any) -> None:
    """What the function wrote is committed by the run, and its counts are the run's."""

    @pgflow.pipeline(target=declare(world.metadata), mode="merge", connection=world.engine)
    def feed(conn: Any) -> dict[str, int]:
        done = conn.execute(sa.text("INSERT INTO w.t (id, a) VALUES (1, 'by hand')"))
        return {"inserted": done.rowcount}

    pgflow.create_all(world.metadata, connection=world.engine)
    assert feed.dry_run().inserted == 1
    assert world.run("SELECT a FROM w.t") == []
    result = feed.sync()
    assert (result.inserted, result.returned) == (1, {"inserted": 1})
    assert world.run("SELECT a FROM w.t") == [("by hand",)]
    assert world.run("SELECT status, inserted FROM pgflow.runs") == [("success", 1)]


@pytest.mark.parametrize("call", ["commit", "rollback", "close", "begin"])
def test_a_body_cannot_end_the_transaction(world: Any, call: str) -> None:
    """The run commits, all or nothing; the body's connection refuses to."""

    @pgflow.pipeline(target=declare(world.metadata), mode="merge", connection=world.engine)
    def feed(conn: Any) -> str:
        getattr(conn, call)()
        return "SELECT 1 AS id"

    pgflow.create_all(world.metadata, connection=world.engine)
    with pytest.raises(UnsuitableTransaction, match=rf"must not call {call}\(\)"):
        feed.sync()


@pytest.mark.parametrize(
    "ending",
    [
        "COMMIT",
        "-- done\nEND",
        "INSERT INTO w.kept VALUES (1); COMMIT; BEGIN",
        "INSERT INTO w.kept VALUES (1); commit and chain",
        "INSERT INTO w.kept VALUES (1); /* ; */ PREPARE TRANSACTION 'x'",
        "ROLLBACK",
    ],
)
def test_sql_of_a_body_that_would_end_the_run_is_not_sent(world: Any, ending: str) -> None:
    """No statement of a body ends the run's transaction, alone or among others; savepoints may."""

    @pgflow.pipeline(target=declare(world.metadata), mode="merge", connection=world.engine)
    def feed(conn: Any) -> str:
        conn.exec_driver_sql("SAVEPOINT s; SELECT CASE WHEN true THEN 1 END; ROLLBACK TO s")
        conn.exec_driver_sql("DO $$ BEGIN PERFORM 1; END $$; RELEASE s")
        conn.exec_driver_sql(ending)
        return "SELECT 1 AS id"

    pgflow.create_all(world.metadata, connection=world.engine)
    world.run("CREATE TABLE w.kept (id int)")
    assert "must not end the run's transaction" in feed.preview().targets[0].problem
    for run in (feed.dry_run, feed.sync):
        with pytest.raises(UnsuitableTransaction, match="must not end the run's transaction"):
            run()
    assert world.run("SELECT status FROM pgflow.runs") == [("failed",)]
    assert world.run("SELECT 1 FROM w.t UNION ALL SELECT 1 FROM w.kept") == []


@pytest.mark.parametrize("ending", ["COMMIT", "COMMIT; BEGIN", "COMMIT AND CHAIN"])
def test_a_body_that_commits_by_the_drivers_cursor_is_found_out(world: Any, ending: str) -> None:
    """What goes past SQLAlchemy to end the run's transaction stops it before the target."""

    @pgflow.pipeline(target=declare(world.metadata), mode="merge", connection=world.engine)
    def feed(conn: Any) -> str:
        conn.connection.cursor().execute(ending)
        return "SELECT 1 AS id"

    pgflow.create_all(world.metadata, connection=world.engine)
    with pytest.raises(UnsuitableTransaction, match="has ended the run's transaction"):
        feed.sync()
    assert world.run("SELECT status FROM pgflow.runs") == [("failed",)]
    assert world.run("SELECT * FROM w.t") == []


def test_a_generator_that_commits_by_the_drivers_cursor_is_found_out(world: Any) -> None:
    """Before its first row too, which is made while the columns are looked at."""

    @pgflow.pipeline(target=declare(world.metadata), mode="merge", connection=world.engine)
    def feed(conn: Any) -> Any:
        conn.connection.cursor().execute("COMMIT; BEGIN")
        yield {"id": 1}

    pgflow.create_all(world.metadata, connection=world.engine)
    assert "has ended the run's transaction" in feed.preview().targets[0].problem
    for run in (feed.dry_run, feed.sync):
        with pytest.raises(UnsuitableTransaction, match="has ended the run's transaction"):
            run()
    assert world.run("SELECT * FROM w.t") == []


@pytest.mark.parametrize("asks", ["exec_driver_sql", "connection", "late"])
def test_a_generator_does_not_wait_for_the_copy_of_its_own_rows(world: Any, asks: str) -> None:
    """Between two rows the target's connection can answer nothing: that is said, at once."""

    @pgflow.pipeline(target=declare(world.metadata), mode="merge", connection=world.engine)
    def feed(conn: Any) -> Any:
        if asks != "late":
            assert conn.exec_driver_sql("SELECT 1").scalar() == 1
        yield {"id": 1}
        conn.connection.cursor() if asks == "connection" else conn.exec_driver_sql("SELECT 1")
        yield {"id": 2}

    pgflow.create_all(world.metadata, connection=world.engine)
    with pytest.raises(UnsuitableTransaction, match="between two rows, while the rows are copied"):
        feed.sync()
    assert world.run("SELECT status FROM pgflow.runs") == [("failed",)]
    assert world.run("SELECT * FROM w.t") == []


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [(None, "has no source declaration"), (7, "returned int, which is no source")],
)
def test_a_body_must_return_a_source(world: Any, returned: Any, sentence: str) -> None:
    """A body that returns nothing, where nothing else names a source, is told so."""

    @pgflow.pipeline(target=declare(world.metadata), mode="merge", connection=world.engine)
    def feed(conn: Any) -> Any:
        return returned

    pgflow.create_all(world.metadata, connection=world.engine)
    with pytest.raises(InvalidBody, match=f"pipeline 'feed'.*{sentence}"):
        feed.sync()


def test_a_returned_source_wins_over_source_table(world: Any) -> None:
    """The body is the escape hatch: what it returns is read, source_table is not."""
    world.run("CREATE TABLE w.other (id bigint, a text, b numeric)")
    world.run("INSERT INTO w.other VALUES (1, 'from the table', 1)")

    @pgflow.pipeline(
        target=declare(world.metadata),
        mode="merge",
        connection=world.engine,
        source_table="w.other",
    )
    def feed(conn: Any, *, by_hand: bool) -> str | None:
        return "SELECT 1 AS id, 'from the body' AS a" if by_hand else None

    pgflow.create_all(world.metadata, connection=world.engine)
    feed.sync(by_hand=False)
    assert world.run("SELECT a FROM w.t") == [("from the table",)]
    feed.sync(by_hand=True)
    assert world.run("SELECT a FROM w.t") == [("from the body",)]
