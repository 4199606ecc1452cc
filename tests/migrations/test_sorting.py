"""Operations that users put together themselves: their order, and that none is lost."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from alembic.operations import ops
from sqlalchemy import (
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Table,
    Text,
    select,
)
from sqlalchemy_declarative_extensions import (
    Schemas,
    register_function,
    register_trigger,
    register_view,
)
from sqlalchemy_declarative_extensions.dialects.postgresql import Function, Role, Trigger, View
from sqlalchemy_declarative_extensions.function.compare import (
    CreateFunctionOp,
    DropFunctionOp,
    UpdateFunctionOp,
)
from sqlalchemy_declarative_extensions.role.compare import UpdateRoleOp
from sqlalchemy_declarative_extensions.schema.base import Schema
from sqlalchemy_declarative_extensions.schema.compare import CreateSchemaOp, DropSchemaOp
from sqlalchemy_declarative_extensions.trigger.compare import CreateTriggerOp, DropTriggerOp
from sqlalchemy_declarative_extensions.view.compare import (
    CreateViewOp,
    DropViewOp,
    UpdateViewOp,
)

from pgflow.alembic import (
    EntityIdentifier,
    build_fk_graph_from_metadata,
    expand_update_ops,
    register_schemas,
    sort_migration_ops,
)
from pgflow.alembic.operations import StepOp
from pgflow.alembic.settings import MigrationSettings
from pgflow.alembic.statement import Statement
from pgflow.alembic.step import Step
from pgflow.alembic.subjects import subject


def view(name: str, query: Any = "SELECT 1 AS a", schema: str = "app") -> View:
    return View(name, query, schema=schema)


def function(name: str = "f", *parameters: str, body: str = "SELECT 1") -> Function:
    return Function(name, body, schema="app", language="sql", parameters=list(parameters))


def trigger(name: str = "touch", on: str = "app.t", execute: str = "app.f") -> Trigger:
    return Trigger.after("insert", on=on, execute=execute).named(name)


def table_op(name: str, *items: Any, schema: str | None = "app") -> ops.CreateTableOp:
    return ops.CreateTableOp(name, list(items), schema=schema)


def key(target: str) -> ForeignKeyConstraint:
    constraint = ForeignKeyConstraint(["other_id"], [f"{target}.id"])
    Table("any", MetaData(), Column("other_id", Integer), constraint)
    return constraint


def everything() -> list[Any]:
    return [
        CreateSchemaOp(Schema("app")),
        CreateFunctionOp(function()),
        table_op("t", Column("id", Integer)),
        table_op("u", Column("other_id", Integer), key("app.t")),
        ops.CreateIndexOp("ix", "t", ["id"], schema="app"),
        CreateViewOp(view("v", "SELECT id FROM app.t")),
        CreateViewOp(view("a_on_v", "SELECT id FROM app.v")),
        CreateTriggerOp(trigger(on="app.v")),
    ]


def test_what_is_made_comes_after_what_it_needs_in_whatever_order_it_came() -> None:
    """Schema, function, tables by foreign key, index, views by what they show, trigger."""
    operations = everything()
    for seed in range(30):
        mixed = operations[:]
        random.Random(seed).shuffle(mixed)
        order = {id(each): place for place, each in enumerate(sort_migration_ops(mixed))}
        places = [order[id(each)] for each in operations]
        schema, made, t, u, index, v, on_v, fires = places
        assert schema < min(made, t, u, v)
        assert t < u
        assert t < index
        assert t < v < on_v
        assert v < fires
        assert made < fires


def test_what_is_dropped_goes_before_what_it_needs() -> None:
    """A view on a view first, the schema last."""
    operations = [
        DropSchemaOp(Schema("app")),
        ops.DropTableOp("t", schema="app"),
        DropViewOp(view("v", "SELECT id FROM app.t")),
        DropViewOp(view("a_on_v", "SELECT id FROM app.v")),
        DropTriggerOp(trigger(on="app.v")),
        DropFunctionOp(function()),
    ]
    sorted_ops = sort_migration_ops(operations)
    assert sorted_ops == [
        operations[4],
        operations[3],
        operations[2],
        operations[1],
        operations[5],
        operations[0],
    ]


@pytest.mark.parametrize(
    "pair",
    [
        [CreateTriggerOp(trigger(on="app.t")), CreateTriggerOp(trigger(on="app.u"))],
        [CreateFunctionOp(function("f", "a integer")), CreateFunctionOp(function("f", "a text"))],
        [
            ops.ModifyTableOps("t", [ops.AddColumnOp("t", Column("a", Text))]),
            ops.ModifyTableOps("t", [ops.AddColumnOp("t", Column("b", Text))]),
        ],
        [ops.ExecuteSQLOp("SELECT 1"), ops.ExecuteSQLOp("SELECT 1")],
        [
            table_op("a", Column("other_id"), key("app.b")),
            table_op("b", Column("other_id"), key("app.a")),
        ],
        [table_op("a", Column("other_id"), key("app.a")), ops.CreateTableOp("a", [], schema="app")],
        [CreateViewOp(view("v")), DropViewOp(view("v"))],
    ],
)
def test_no_operation_is_lost_where_keys_are_alike_or_wait_for_each_other(pair: list[Any]) -> None:
    """The same trigger on two tables, overloads, twins and cycles all stay."""
    found = sort_migration_ops(pair)
    assert Counter(map(id, found)) == Counter(map(id, pair))


def test_an_object_is_dropped_before_it_is_made_again() -> None:
    """An expanded update keeps its halves in order, and its dependents around them."""
    operations = [
        CreateViewOp(view("v", "SELECT 2 AS b")),
        CreateViewOp(view("w", "SELECT b FROM app.v")),
        DropViewOp(view("w", "SELECT a FROM app.v")),
        DropViewOp(view("v", "SELECT 1 AS a")),
    ]
    assert sort_migration_ops(operations) == [
        operations[2],
        operations[3],
        operations[0],
        operations[1],
    ]


def test_updates_become_a_drop_of_the_old_and_a_create_of_the_new() -> None:
    """Views, functions and triggers are split; roles are not, for they own things."""
    old, new = view("v"), view("v", "SELECT 2 AS b")
    role = UpdateRoleOp(Role("r"), Role("r", login=True))
    index = ops.CreateIndexOp("ix", "t", ["id"])
    expanded = expand_update_ops(
        [
            UpdateViewOp(old, new),
            UpdateFunctionOp(function(), function(body="SELECT 2")),
            role,
            index,
        ]
    )
    assert expanded == [
        DropViewOp(old),
        CreateViewOp(new),
        DropFunctionOp(function()),
        CreateFunctionOp(function(body="SELECT 2")),
        role,
        index,
    ]


def test_a_view_may_be_declared_as_a_select() -> None:
    """What a `select()` shows is found by its SQL."""
    shown = Table("t", MetaData(), Column("id", Integer), schema="app")
    found = subject(CreateViewOp(view("v", select(shown.c.id))))
    assert EntityIdentifier("app", "t", kind="table") in found.needs


def test_identities_are_full() -> None:
    """Schema, name, arguments or table, and the half of the operation."""
    assert subject(CreateTriggerOp(trigger())).id == EntityIdentifier(
        "app", "touch", "create", "trigger", table="t"
    )
    assert subject(DropFunctionOp(function("f", "a integer"))).id == EntityIdentifier(
        "app", "f", "drop", "function", arguments="a integer"
    )
    assert subject(CreateSchemaOp(Schema("app"))).id == EntityIdentifier(
        "app", None, "create", "schema"
    )


def test_foreign_keys_of_the_metadata_order_tables_whose_operations_do_not_show_them() -> None:
    """The graph by its own: the referenced table first, in another schema too."""
    metadata = MetaData()
    Table("b", metadata, Column("id", Integer, primary_key=True), schema="other")
    Table("a", metadata, Column("b_id", ForeignKey("other.b.id")), Column("up", ForeignKey("a.up")))
    graph = build_fk_graph_from_metadata(metadata)
    own = EntityIdentifier("public", "a", kind="table")
    assert graph[own] == {EntityIdentifier("other", "b", kind="table")}
    operations = [table_op("a", schema=None), table_op("b", schema="other")]
    assert sort_migration_ops(operations) == operations
    assert sort_migration_ops(operations, fk_graph=graph) == operations[::-1]


def test_a_foreign_key_that_is_added_later_comes_after_its_table() -> None:
    """CreateForeignKeyOp names its tables in another way than all other operations."""
    later = ops.CreateForeignKeyOp(
        "fk", "a", "b", ["b_id"], ["id"], source_schema="app", referent_schema="app"
    )
    made = [table_op("b", Column("id", Integer)), table_op("a", Column("b_id", Integer))]
    assert sort_migration_ops([later, *made])[-1] is later


def test_planned_steps_keep_their_order_among_other_operations() -> None:
    """pgflow's planner knew more than their names say."""

    def step(name: str) -> StepOp:
        identifier = EntityIdentifier("app", name, kind="view")
        made = Step(identifier, "create", name, (Statement("SELECT 1"),))
        return StepOp(made, MigrationSettings())

    steps = [step("c"), step("a"), step("b")]
    other = CreateSchemaOp(Schema("app"))
    assert sort_migration_ops([*steps, other]) == [other, *steps]


def test_schemas_are_found_at_tables_views_functions_and_triggers() -> None:
    """What is registered already stays as it is, and a second call changes nothing."""
    metadata = MetaData()
    metadata.info["schemas"] = Schemas().are(Schema("kept"))
    Table("t", metadata, Column("id", Integer), schema="of_table")
    register_view(metadata, View("v", "SELECT 1 AS a", schema="of_view"))
    register_view(metadata, View("dotted.v", "SELECT 1 AS a"))
    register_function(metadata, Function("f", "SELECT 1", schema="of_function"))
    register_trigger(metadata, trigger(on="of_trigger.t"))
    register_schemas(metadata)
    found = [schema.name for schema in metadata.info["schemas"]]
    assert found == ["kept", "dotted", "of_function", "of_table", "of_trigger", "of_view"]
    register_schemas(metadata)
    assert [schema.name for schema in metadata.info["schemas"]] == found
