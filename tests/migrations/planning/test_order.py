"""The order of steps, on worlds made by hand: no database is asked."""

from __future__ import annotations

import pytest

from pgflow.alembic.entity import Entity, Fact, Mark
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.planning import migration
from pgflow.alembic.snapshot import Snapshot
from pgflow.errors import MigrationCycle
from tests.migrations.world_loop import titles

APP = EntityIdentifier("app", kind="schema")
COLUMN: dict[str, Fact] = {
    "type": "integer",
    "collation": None,
    "not_null": False,
    "identity": None,
    "identity_options": (),
    "generation": None,
    "generated": None,
    "storage": None,
    "compression": None,
    "statistics": None,
    "options": (),
}
TABLE: dict[str, Fact] = {
    "persistence": "permanent",
    "partition_by": None,
    "partition_of": None,
    "bound": None,
    "inherits": (),
    "of_type": None,
    "options": (),
    "tablespace": None,
    "access_method": "heap",
    "row_security": False,
    "forced_row_security": False,
    "replica_identity": "DEFAULT",
}


def view(name: str) -> Entity:
    facts: dict[str, Fact] = {
        "query": " SELECT 1 AS a",
        "columns": (("a", "integer"),),
        "column_comments": (),
        "options": (),
    }
    return marked(EntityIdentifier("app", name, kind="view"), facts)


def function(name: str, language: str = "sql") -> Entity:
    facts: dict[str, Fact] = {
        "definition": "()\n RETURNS integer\n LANGUAGE sql\nRETURN 1\n",
        "parameters": (),
        "returns": "integer",
        "result_type": "integer",
        "returns_set": False,
        "window": False,
    }
    identifier = EntityIdentifier("app", name, kind="function", arguments="")
    return Entity(identifier, facts, mark=Mark(), notes={"language": language})


def marked(identifier: EntityIdentifier, facts: dict[str, Fact]) -> Entity:
    return Entity(identifier, facts, mark=Mark())


def table(name: str) -> Entity:
    return marked(EntityIdentifier("app", name, kind="table"), TABLE)


def column(name: str, of: str, **facts: Fact) -> Entity:
    identifier = EntityIdentifier("app", name, kind="column", table=of)
    return Entity(identifier, {**COLUMN, **facts})


def world(*entities: Entity, needs: dict[str, str] | None = None, soft: bool = False) -> Snapshot:
    """Make a world of objects; `needs` tells by names what needs what."""
    schema = marked(APP, {})
    by_name = {entity.id.name: entity.id for entity in entities}
    edges = {
        by_name[one]: frozenset(by_name[other] for other in others.split())
        for one, others in (needs or {}).items()
    }
    return Snapshot(
        180000,
        {entity.id: entity for entity in (schema, *entities)},
        depends={} if soft else edges,
        mentions=edges if soft else {},
    )


EMPTY = Snapshot(180000, {})


def test_what_needs_nothing_of_each_other_goes_by_rank_and_name() -> None:
    """The same order in every run, whatever the order of reading."""
    one = migration(EMPTY, world(view("b"), view("a"), function("f")))
    two = migration(EMPTY, world(function("f"), view("a"), view("b")))
    assert titles(one.upgrade) == titles(two.upgrade)
    assert titles(one.upgrade) == [
        "Create schema app",
        "Create function app.f()",
        "Create view app.a",
        "Create view app.b",
    ]
    assert titles(one.downgrade) == [
        "Drop view app.a",
        "Drop view app.b",
        "Drop function app.f()",
        "Drop schema app",
    ]


def test_what_is_needed_comes_first_and_goes_last_against_rank_and_name() -> None:
    """A function that needs a view, a view that needs a later one."""
    declared = world(view("a"), view("z"), function("f"), needs={"a": "z", "f": "a"})
    planned = migration(EMPTY, declared)
    assert titles(planned.upgrade)[1:] == [
        "Create view app.z",
        "Create view app.a",
        "Create function app.f()",
    ]
    assert titles(planned.downgrade)[:3] == [
        "Drop function app.f()",
        "Drop view app.a",
        "Drop view app.z",
    ]


def test_bodies_that_name_each_other_are_not_checked_when_they_are_made() -> None:
    """The order that is only better is given up; the server is told not to look."""
    declared = world(function("f"), function("g"), needs={"f": "g", "g": "f"}, soft=True)
    texts = [s.sql for step in migration(EMPTY, declared).upgrade for s in step.statements]
    assert texts.count("SET LOCAL check_function_bodies = off") == 2
    assert texts.count("RESET check_function_bodies") == 2


def test_steps_that_wait_for_each_other_are_refused_with_the_chain() -> None:
    """A generated column cannot be added after the table whose rows its function takes."""
    entities = (
        table("t"),
        column("g", "t", generated="app.f()", generation="STORED"),
        function("f"),
    )
    declared = world(*entities, needs={"g": "f", "f": "t"})
    with pytest.raises(MigrationCycle) as refused:
        migration(EMPTY, declared)
    assert refused.value.chain[0] == refused.value.chain[-1]
    assert set(refused.value.chain) == {"Create table app.t", "Create function app.f()"}


def test_a_default_that_ties_a_knot_is_set_afterwards() -> None:
    """The table first, without it; then the function; then the default."""
    default = Entity(
        EntityIdentifier("app", "c", kind="default", table="t"), {"expression": "app.f()"}
    )
    entities = (table("t"), column("c", "t"), function("f"))
    made = world(*entities, needs={"f": "t"})
    declared = Snapshot(
        180000,
        {**made.entities, default.id: default},
        depends={**made.depends, default.id: frozenset({function("f").id})},
    )
    assert titles(migration(EMPTY, declared).upgrade)[1:] == [
        "Create table app.t",
        "Create function app.f()",
        "Set default of app.t.c",
    ]
