"""Pipelines that read slots, for tests: made with their slots, on a server whose log is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import NullPool, create_engine

import pgflow
from pgflow.run.positions.slot_making import creation
from pgflow.run.positions.slots import slot_name
from tests.sync.conftest import World


@contextmanager
def logged(url: str) -> Iterator[World]:
    """A database with a source table `w.s (id, a, big)`."""
    made = World(create_engine(url, poolclass=NullPool))
    made.run("CREATE SCHEMA w")
    made.run("CREATE TABLE w.s (id bigint PRIMARY KEY, a text, big text)")
    made.run("ALTER TABLE w.s ALTER big SET STORAGE EXTERNAL")
    yield made
    made.engine.dispose()


def pipe(world: World, mode: str = "merge", *, source: str = "w.s", **options: Any) -> Any:
    """A pipeline that reads a slot, with the slot made."""
    name = options.pop("name", "p")
    table = world.table(f"t_{name}", sa.Column("a", sa.Text), sa.Column("big", sa.Text))
    given = options.pop("given", pgflow.SourceTable(source))
    pipeline = world.pipe(table, given, name=name, mode=mode, watermark="slot", **options)
    for statement in creation(slot_of(world, name), pgflow.SourceTable(source)):
        world.run(str(statement))
    return pipeline


def slot_of(world: World, name: str = "p") -> str:
    """The slot of a pipeline."""
    (database,) = world.run("SELECT current_database()")[0]
    return slot_name(database, name, f"w.t_{name}")


def rows(world: World, table: str = "t_p") -> list[Any]:
    """The target's rows."""
    return world.run(f"SELECT id, a FROM w.{table} ORDER BY id")
