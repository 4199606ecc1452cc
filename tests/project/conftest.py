"""A database with a schema `w`, and pipelines in it that are declared in one line."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, Engine, ForeignKey, MetaData, Text, create_engine
from sqlalchemy.engine import make_url

import pgflow
from pgflow.plugins import ColumnPKPlugin
from pgflow.project.batch import Batch, Chosen
from pgflow.project.crew import run_batch

ROW = "SELECT 1 AS id, '' AS v"


def wait_for(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Ask until something is true; fail if it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.01)


@dataclass
class World:
    """One database, the pipelines that were declared in it, and shortcuts to look at it."""

    url: str
    engine: Engine
    metadata: MetaData = field(default_factory=MetaData)
    pipelines: dict[str, pgflow.Pipeline] = field(default_factory=dict)

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Execute SQL in a transaction of its own."""
        with self.engine.begin() as connection:
            result = connection.exec_driver_sql(statement)
            return [tuple(row) for row in result] if result.returns_rows else []

    def table(self, name: str, parent: str | None = None) -> pgflow.SimpleTable:
        """Declare a table with the key `id` and a text, perhaps with a parent."""
        columns: list[Any] = [Column("v", Text)]
        if parent is not None:
            columns.append(Column("parent", BigInteger, ForeignKey(f"w.{parent}.id")))
        key = ColumnPKPlugin(Column("id", BigInteger))
        return pgflow.SimpleTable(name, "w", self.metadata, columns, plugins=[key])

    def pipe(self, name: str, source: Any = ROW, **options: Any) -> pgflow.Pipeline:
        """Declare a pipeline into a table of its own name, unless another target is given."""
        if callable(source):
            options, source = {"body": source, **options}, None
        options = {"mode": "merge", "connection": self.engine, **options}
        if "targets" not in options:
            options.setdefault("target", None)
            options["target"] = options["target"] or self.table(name)
        made = pgflow.Pipeline(name, source=source, **options)
        self.pipelines[name] = made
        return made

    def create(self) -> None:
        """Create all tables."""
        pgflow.create_all(self.metadata, connection=self.engine)

    def sync(self, *names: str, again: Sequence[Chosen] = (), **options: Any) -> Batch:
        """Create what is missing, and run pipelines: those named, or all."""
        self.create()
        chosen = [Chosen(self.pipelines[name]) for name in names or self.pipelines]
        return run_batch(
            [*chosen, *again],
            lambda each, observer: each.pipeline.sync(observer=observer, **each.values),
            project=self.pipelines.values(),
            **options,
        )

    def history(self) -> list[tuple[Any, ...]]:
        """Pipelines and how their runs ended, in the order in which they began."""
        return self.run("SELECT pipeline, status FROM pgflow.runs ORDER BY started_at")

    def asleep(self) -> int:
        """How many statements sleep in the server."""
        return int(
            self.run(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
                " AND datname = current_database()"
            )[0][0]
        )


@pytest.fixture
def world(database: str) -> Iterator[World]:
    """A database with nothing but the schema `w`."""
    engine = create_engine(make_url(database))
    made = World(database, engine)
    made.run("CREATE SCHEMA w")
    yield made
    engine.dispose()


@pytest.fixture
def paper() -> World:
    """A world that has no database: pipelines can be declared and arranged in it."""
    return World("", create_engine("postgresql+psycopg:///nowhere"))


class Meeting:
    """A body of pipelines that returns only when so many of them are at work at the same time."""

    def __init__(self, count: int) -> None:
        self._barrier = threading.Barrier(count)

    def body(self, sql: str = ROW) -> Callable[[Any], str]:
        """Make a function for a pipeline."""

        def body(conn: Any) -> str:
            self._barrier.wait(20)
            return sql

        return body


class Alone:
    """A body of pipelines that notices if two of them are at work at the same time."""

    def __init__(self) -> None:
        self._inside = threading.Lock()
        self.order: list[str] = []

    def body(self, name: str, sql: str = ROW) -> Callable[[Any], str]:
        """Make a function for a pipeline, which says its name."""

        def body(conn: Any) -> str:
            assert self._inside.acquire(blocking=False), f"{name} is not alone"
            try:
                time.sleep(0.05)  # long enough for another one to come in
                self.order.append(name)
                return sql
            finally:
                self._inside.release()

        return body
