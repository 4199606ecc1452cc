"""What cannot be a pipeline's count, list, table or connection is refused with what can."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

import pgflow
from pgflow import pk
from pgflow.errors import DeclarationError, DuplicateTable, InvalidBody, NotAConnection
from pgflow.types import BigInt

SELECT = "SELECT id, a, b FROM w.s"


@pytest.mark.parametrize("count", ["many", None, -1, 1.5])
def test_a_count_is_a_number(world: Any, count: Any) -> None:
    """A function that did the work itself returns counts; what it wrote goes with a wrong one."""

    @pgflow.pipeline(target=world.table(), mode="merge", connection=world.engine)
    def feed(conn: Any) -> dict[str, Any]:
        conn.exec_driver_sql("INSERT INTO w.t (id) VALUES (1)")
        return {"inserted": count, "anything": "else"}

    pgflow.create_all(world.metadata, connection=world.engine)
    with pytest.raises(InvalidBody, match="'feed'.*'inserted'.*whole number"):
        feed.sync()
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]


def test_a_pipeline_is_no_function_of_another_one(world: Any) -> None:
    """The decorator twice on one function is refused with what to do instead."""
    declare = pgflow.pipeline(target=world.table(), mode="merge", name="feed")
    with pytest.raises(InvalidBody, match=r"'feed'.* is a pipeline already.*targets=\["):
        declare(declare(lambda: SELECT))  # type: ignore[arg-type]  # what is refused


def test_a_result_is_as_good_as_a_dict(world: Any) -> None:
    """A function that runs another pipeline may return its result."""
    inner = world.pipe(world.table(), SELECT, mode="merge", name="inner")
    outer = world.pipe(
        world.table("u"), None, body=lambda conn: inner.sync(), mode="merge", name="outer"
    )
    world.fill((1, "a", 1))
    assert outer.sync().inserted == 1
    assert world.run("SELECT a FROM w.t") == [("a",)]


def _core(metadata: sa.MetaData) -> sa.Table:
    return sa.Table("core", metadata, sa.Column("id", sa.BigInteger, primary_key=True), schema="w")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"tags": "daily"}, r"'p': tags='daily' must be a list of names: tags=\['daily'\]"),
        ({"tags": ["daily", 3]}, "must be a list of names"),
        ({"target": None, "targets": "w.t"}, "targets= takes a list; a single one is given by"),
        ({"target": None, "targets": 3}, "targets= takes a list; a single one is given by"),
        ({"target": _core(sa.MetaData())}, r"'w\.core' is given as SQLAlchemy's Table"),
    ],
    ids=["tags", "tag", "text", "number", "core"],
)
def test_what_is_no_list_and_no_table_is_refused(given: dict[str, Any], sentence: str) -> None:
    """A text in a list's place would be its letters; a Core table does not know its keys."""
    table = pgflow.SimpleTable("t", "w", sa.MetaData(), [])
    with pytest.raises(DeclarationError, match=sentence):
        pgflow.Pipeline("p", **{"target": table, "source": "SELECT 1", "mode": "merge"} | given)


def test_a_class_is_one_table() -> None:
    """A second decorator would have the class stand for another table than its pipelines fill."""

    @pgflow.table(schema="w", metadata=sa.MetaData())
    class T:
        id: Annotated[BigInt, pk()]

    with pytest.raises(DuplicateTable, match=r"T is the table w\.t already.*`class Other\(T\)"):
        pgflow.table(schema="w", name="u", metadata=sa.MetaData())(T)

    @pgflow.table(schema="w", name="u", metadata=sa.MetaData())
    class Other(T):
        pass

    tables = [pgflow.TableFactory.of(each).table.fullname for each in (T, Other)]
    assert tables == ["w.t", "w.u"]


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        ("open", "Query"),
        ("open", "connection"),
        ("async", "connection"),
        ("async's own", "connection"),
        ("number", "Query"),
    ],
)
def test_what_is_no_connection_is_named(world: Any, kind: str, end: str) -> None:
    """An open connection and an async engine are refused with what to give instead."""
    asynchronous = create_async_engine(world.engine.url)
    with world.engine.connect() as live:
        given = {
            "open": live,
            "async": asynchronous,
            "async's own": asynchronous.sync_engine,
            "number": 3,
        }[kind]
        bound = given if end == "Query" else None
        table = world.table()
        pgflow.create_all(world.metadata, connection=world.engine)
        with pytest.raises(NotAConnection, match=r"is no connection. Give a connection's name"):
            pgflow.Pipeline(
                "p",
                target=table,
                source=pgflow.Query(SELECT, connection=bound),
                mode="merge",
                connection=world.engine if bound is not None else given,
            ).sync()
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]
