"""The plugins and the mode at work, on the database that TEST_DATABASE_URL names."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest
from pgflow_example_plugin import NotifyPlugin, ProvenancePlugin
from sqlalchemy import Column, Engine, Integer, MetaData, Text, text

import pgflow
from pgflow import Pipeline, SimpleTable
from pgflow.errors import NullKeys
from pgflow.plugins import ColumnPKPlugin

SOURCE = "SELECT order_id, line, article FROM plugin_example.lines"


@pytest.fixture
def engine() -> Iterator[Engine]:
    """A database of the embedded server, or the one that is named, with a source in it."""
    engine = pgflow.engine(os.environ.get("TEST_DATABASE_URL", "embedded://plugin_tests"))
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA IF EXISTS plugin_example CASCADE"))
        connection.execute(text("CREATE SCHEMA plugin_example"))
        connection.execute(
            text("CREATE TABLE plugin_example.lines (order_id integer, line integer, article text)")
        )
    yield engine
    engine.dispose()


def deliver(engine: Engine, *lines: tuple[int | None, int, str]) -> None:
    """Let the source have these lines and no others."""
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM plugin_example.lines"))
        insert = text("INSERT INTO plugin_example.lines VALUES (:order_id, :line, :article)")
        for order_id, line, article in lines:
            connection.execute(insert, {"order_id": order_id, "line": line, "article": article})


def declare(engine: Engine) -> Pipeline:
    """Declare a table and a pipeline with all that this package has, and create the tables."""
    metadata = MetaData()
    key = ColumnPKPlugin(Column("order_id", Integer), Column("line", Integer))
    lines = SimpleTable(
        "order_line",
        "plugin_example",
        metadata,
        [Column("article", Text, nullable=False)],
        plugins=[key],
        extra_plugins=[ProvenancePlugin("shop's till")],
    )
    pipeline = Pipeline(
        "order_lines",
        target=lines,
        source=SOURCE,
        mode="replace_keys",
        keys=("order_id",),
        connection=engine,
        extra_plugins=[NotifyPlugin("warehouse_loaded")],
    )
    pgflow.create_all(metadata, connection=engine)
    return pipeline


def rows(engine: Engine, columns: str) -> list[tuple[object, ...]]:
    """Read the target."""
    with engine.connect() as connection:
        query = text(f"SELECT {columns} FROM plugin_example.order_line ORDER BY order_id, line")
        return [tuple(row) for row in connection.execute(query)]


def test_the_columns_are_there_and_fill_themselves(engine: Engine) -> None:
    """A row says where it comes from, although the pipeline delivers nothing about that."""
    pipeline = declare(engine)
    deliver(engine, (1, 1, "tea"))
    pipeline.sync()
    (found,) = rows(engine, "source_system, written_by = CURRENT_USER")
    assert found == ("shop's till", True)


def test_a_delivered_key_is_replaced_as_a_whole(engine: Engine) -> None:
    """Of an order that comes again no old line survives, and other orders stay."""
    pipeline = declare(engine)
    deliver(engine, (1, 1, "tea"), (1, 2, "cup"), (2, 1, "pot"))
    assert pipeline.sync().inserted == 3
    deliver(engine, (1, 1, "coffee"))
    result = pipeline.sync()
    assert (result.read, result.deleted, result.inserted) == (1, 2, 1)
    assert rows(engine, "order_id, line, article") == [(1, 1, "coffee"), (2, 1, "pot")]


def test_null_keys_are_refused(engine: Engine) -> None:
    """A row without a key stops the run, and nothing is written."""
    pipeline = declare(engine)
    deliver(engine, (1, 1, "tea"), (None, 1, "cup"))
    with pytest.raises(NullKeys, match="1 rows have no order_id"):
        pipeline.sync()
    assert rows(engine, "order_id") == []


def test_listeners_hear_of_it_when_the_run_commits(engine: Engine) -> None:
    """A sync is announced with its target's name; a dry run, which is rolled back, is not."""
    pipeline = declare(engine)
    deliver(engine, (1, 1, "tea"))
    with engine.connect() as connection:
        listener = connection.connection.driver_connection
        assert isinstance(listener, psycopg.Connection)
        listener.autocommit = True
        listener.execute("LISTEN warehouse_loaded")
        pipeline.dry_run()
        assert list(listener.notifies(timeout=0.2)) == []
        pipeline.sync()
        (heard,) = listener.notifies(timeout=10, stop_after=1)
        connection.invalidate()
    assert heard.payload == "plugin_example.order_line"


def test_the_preview_shows_the_added_statement(engine: Engine) -> None:
    """What a plugin adds to the plan can be seen before it runs."""
    pipeline = declare(engine)
    assert "tell whoever listens to 'warehouse_loaded'" in str(pipeline.preview())


def test_the_order_of_plugins_names_them(engine: Engine) -> None:
    """`explain()` shows the plugin among pgflow's own, with what it adds."""
    explained = str(declare(engine).explain())
    assert "NotifyPlugin" in explained
    assert "statements" in explained
