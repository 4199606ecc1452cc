"""A small world for tests of syncs: a source table, targets, and pipelines between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

import pgflow
from pgflow.plugins import ColumnPKPlugin
from tests.sync.fan_out_world import Fan


@dataclass
class World:
    """One database with a schema `w`, and shortcuts to look at it."""

    engine: Engine
    metadata: sa.MetaData = field(default_factory=sa.MetaData)

    def run(self, sql: str, *params: Any) -> list[Any]:
        """Execute SQL in a transaction of its own and return its rows as tuples."""
        with self.engine.begin() as connection:
            result = connection.exec_driver_sql(sql, params or None)
            return [tuple(row) for row in result] if result.returns_rows else []

    def table(self, name: str = "t", *columns: Any, **options: Any) -> pgflow.SimpleTable:
        """Declare a table with key `id` and create everything that is declared."""
        columns = columns or (sa.Column("a", sa.Text), sa.Column("b", sa.Numeric(10, 2)))
        key = options.pop("key", (sa.Column("id", sa.BigInteger),))
        return pgflow.SimpleTable(
            name, "w", self.metadata, list(columns), plugins=[ColumnPKPlugin(*key)], **options
        )

    def pipe(self, target: Any, source: Any = "SELECT id, a, b FROM w.s", **options: Any) -> Any:
        """Declare a pipeline and create what it needs."""
        name = options.pop("name", "p")
        pipeline = pgflow.Pipeline(
            name, target=target, source=source, connection=self.engine, **options
        )
        pgflow.create_all(self.metadata, connection=self.engine)
        return pipeline

    def fill(self, *rows: tuple[Any, ...]) -> None:
        """Put exactly these rows (id, a, b) into the source table."""
        self.run("TRUNCATE w.s")
        for row in rows:
            self.run("INSERT INTO w.s (id, a, b) VALUES (%s, %s, %s)", *row)


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    """A database with an empty source table `w.s (id, a, b, u)`."""
    made = World(engine)
    made.run("CREATE SCHEMA w")
    made.run("CREATE TABLE w.s (id bigint, a text, b numeric, u timestamptz)")
    yield made
    engine.dispose()


@pytest.fixture
def far(make_database: Callable[[], str]) -> Iterator[World]:
    """Another database of the same server, with an empty source table `w.s` like `world`'s."""
    engine = sa.create_engine(make_database(), poolclass=sa.NullPool)
    made = World(engine)
    made.run("CREATE SCHEMA w")
    made.run("CREATE TABLE w.s (id bigint, a text, b numeric, u timestamptz)")
    yield made
    engine.dispose()


def counts(result: pgflow.SyncResult) -> dict[str, int]:
    """The counts of a result that are not zero."""
    return {name: value for name, value in result.counts.items() if value}


@pytest.fixture(name="counts")
def counts_fixture() -> Callable[[pgflow.SyncResult], dict[str, int]]:
    """See `counts`."""
    return counts


@pytest.fixture
def fan(world: World) -> Iterator[Fan]:
    """A source of two rows, and whatever is made of it; no temporary table stays."""
    world.fill((1, "a", 1), (2, "b", 2))
    made = Fan(world)
    yield made
    assert made.left_behind() == []
