"""What an operation is about, whoever made it: Alembic, sqlalchemy-declarative-extensions, pgflow.

These are for users who sort their own operations; pgflow's own migrations come planned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

from alembic.operations import ops
from sqlalchemy import ForeignKeyConstraint
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy_declarative_extensions.function import compare as functions
from sqlalchemy_declarative_extensions.grant import compare as grants
from sqlalchemy_declarative_extensions.procedure import compare as procedures
from sqlalchemy_declarative_extensions.role import compare as roles
from sqlalchemy_declarative_extensions.row import compare as rows
from sqlalchemy_declarative_extensions.schema import compare as schemas
from sqlalchemy_declarative_extensions.trigger import compare as triggers
from sqlalchemy_declarative_extensions.view import compare as views

from pgflow.alembic.bodies import Mentioned, references
from pgflow.alembic.identifiers import EntityIdentifier, Phase
from pgflow.alembic.operations import StepOp

#: The schema of names that tell none.
DEFAULT_SCHEMA = "public"

_DIALECT = PGDialect()  # type: ignore[no-untyped-call]  # dialects are not typed
# SQLAlchemy 2.0 doubles backslashes until it has asked a server, which has no need of it.
_DIALECT._backslash_escapes = False


@dataclass(frozen=True)
class Subject:
    """What an operation is about.

    Attributes:
        id: The object, in full, with the phase: "create" also for what changes it.
        rank: Where the operation comes among those that nothing else orders.
        needs: What has to be there while the operation's object is: a table's schema and the
            tables that it references, what a view shows.
        planned: It is a step of pgflow's planner, which has its place among the others.
    """

    id: EntityIdentifier
    rank: int
    needs: frozenset[EntityIdentifier] = field(default_factory=frozenset)
    planned: bool = False


#: Ranks: what is dropped first, in this order, and then what is made.
_RANKS = (
    "drop trigger",
    "drop view",
    "drop grant",
    "create role",
    "create schema",
    "create function",
    "create table",
    "create part",
    "create row",
    "drop row",
    "drop part",
    "drop table",
    "drop function",
    "create view",
    "create trigger",
    "create grant",
    "drop schema",
    "drop role",
)


def table(schema: str | None, name: str) -> EntityIdentifier:
    """Return the identity of a table."""
    return EntityIdentifier(schema or DEFAULT_SCHEMA, name, kind="table")


@singledispatch
def subject(operation: Any) -> Subject:
    """Tell what an operation is about.

    Args:
        operation: An operation of Alembic, of sqlalchemy-declarative-extensions or of pgflow;
            another one is about itself and comes among the changes of tables.
    """
    name = getattr(operation, "table_name", None) or getattr(operation, "source_table", None)
    if isinstance(name, str):
        return _on_table(operation, name)
    text = repr(operation)
    return Subject(
        EntityIdentifier("", text, "create", type(operation).__name__), _rank("create", "part")
    )


@subject.register
def _(operation: StepOp) -> Subject:
    step = operation.step
    phase: Phase = "drop" if step.action == "drop" else "create"
    return Subject(step.id.at(phase), _rank("create", "part"), planned=True)


@subject.register
def _(operation: ops.CreateTableOp) -> Subject:
    keys = [item for item in operation.columns if isinstance(item, ForeignKeyConstraint)]
    needed = {
        table(
            element.target_fullname.rpartition(".")[0].rpartition(".")[0] or None, _target(element)
        )
        for key in keys
        for element in key.elements
    }
    own = table(operation.schema, operation.table_name)
    return Subject(
        own.at("create"), _rank("create", "table"), frozenset({_schema(own), *needed} - {own})
    )


def _target(element: Any) -> str:
    found: str = element.target_fullname.rpartition(".")[0].rpartition(".")[2]
    return found


@subject.register
def _(operation: ops.DropTableOp) -> Subject:
    own = table(operation.schema, operation.table_name)
    return Subject(own.at("drop"), _rank("drop", "table"), frozenset({_schema(own)}))


@subject.register
def _(operation: ops.ExecuteSQLOp) -> Subject:
    text = str(operation.sqltext)
    return Subject(
        EntityIdentifier("", text, "create", "statement"),
        _rank("create", "part"),
        frozenset(_named(references(text))),
    )


def _on_table(operation: Any, name: str) -> Subject:
    """Tell what an operation on a part of a table is about: a column, an index, a constraint."""
    more = getattr(operation, "kw", {})
    own = table(getattr(operation, "schema", None) or more.get("source_schema"), name)
    part = getattr(operation, "column_name", None) or getattr(operation, "index_name", None)
    part = part or getattr(operation, "constraint_name", None)
    column = getattr(operation, "column", None)
    label = part or getattr(column, "name", None) or type(operation).__name__
    phase: Phase = "drop" if type(operation).__name__.startswith("Drop") else "create"
    target = getattr(operation, "referent_table", None)
    other = table(more.get("referent_schema"), target) if target else None
    return Subject(
        EntityIdentifier(own.schema, str(label), phase, type(operation).__name__, table=own.name),
        _rank(phase, "part"),
        frozenset({own} if other is None else {own, other}),
    )


@subject.register(ops.ModifyTableOps)
def _(operation: ops.ModifyTableOps) -> Subject:
    parts = [subject(each) for each in operation.ops]
    own = table(operation.schema, operation.table_name)
    phases = {part.id.phase for part in parts}
    phase: Phase = "drop" if phases == {"drop"} else "create"
    needed = frozenset(one for part in parts for one in part.needs) | {own}
    label = ", ".join(part.id.name or "" for part in parts)
    return Subject(
        EntityIdentifier(own.schema, label, phase, "modify", table=own.name),
        _rank(phase, "part"),
        needed,
    )


def _declared(
    kind: str, given: Any, phase: Phase, text: str, arguments: str | None = None
) -> Subject:
    own = _identity(kind, given.name, getattr(given, "schema", None), arguments)
    group = "function" if kind == "procedure" else kind
    needed = {_schema(own), *_named(references(text))}
    return Subject(own.at(phase), _rank(phase, group), frozenset(needed - {own}))


def _identity(
    kind: str, name: str, schema: str | None, arguments: str | None = None
) -> EntityIdentifier:
    if schema is None and "." in name:
        schema, name = name.split(".", 1)
    return EntityIdentifier(schema or DEFAULT_SCHEMA, name, kind=kind, arguments=arguments)


def _phase(operation: Any) -> Phase:
    return "drop" if type(operation).__name__.startswith(("Drop", "Revoke", "Delete")) else "create"


@subject.register(views.CreateViewOp)
@subject.register(views.UpdateViewOp)
@subject.register(views.DropViewOp)
def _(operation: Any) -> Subject:
    definition = operation.view.definition
    if not isinstance(definition, str):
        options = {"literal_binds": True}
        definition = definition.compile(dialect=_DIALECT, compile_kwargs=options)
    return _declared("view", operation.view, _phase(operation), str(definition))


@subject.register(functions.CreateFunctionOp)
@subject.register(functions.UpdateFunctionOp)
@subject.register(functions.DropFunctionOp)
def _(operation: Any) -> Subject:
    return _routine("function", operation, operation.function)


@subject.register(procedures.CreateProcedureOp)
@subject.register(procedures.UpdateProcedureOp)
@subject.register(procedures.DropProcedureOp)
def _(operation: Any) -> Subject:
    return _routine("procedure", operation, operation.procedure)


def _routine(kind: str, operation: Any, given: Any) -> Subject:
    parameters = getattr(given, "parameters", None) or ()
    arguments = ", ".join(str(each) for each in parameters)
    text = given.definition if given.language.lower() == "sql" else ""
    return _declared(kind, given, _phase(operation), text, arguments)


@subject.register(triggers.CreateTriggerOp)
@subject.register(triggers.UpdateTriggerOp)
@subject.register(triggers.DropTriggerOp)
def _(operation: Any) -> Subject:
    given = operation.trigger
    relation = _identity("table", given.on, None)
    called = _identity("function", given.execute, None)
    own = EntityIdentifier(
        relation.schema, given.name, _phase(operation), "trigger", table=relation.name
    )
    return Subject(own, _rank(_phase(operation), "trigger"), frozenset({relation, called}))


@subject.register(schemas.CreateSchemaOp)
@subject.register(schemas.DropSchemaOp)
def _(operation: Any) -> Subject:
    own = EntityIdentifier(operation.schema.name, kind="schema")
    return Subject(own.at(_phase(operation)), _rank(_phase(operation), "schema"))


@subject.register(roles.CreateRoleOp)
@subject.register(roles.UpdateRoleOp)
@subject.register(roles.DropRoleOp)
def _(operation: Any) -> Subject:
    own = EntityIdentifier("", operation.role.name, kind="role")
    return Subject(own.at(_phase(operation)), _rank(_phase(operation), "role"))


@subject.register(grants.GrantPrivilegesOp)
@subject.register(grants.RevokePrivilegesOp)
def _(operation: Any) -> Subject:
    text = str(operation.to_sql())
    own = EntityIdentifier("", text, _phase(operation), "grant")
    named = frozenset(_named(references(text)))
    return Subject(own, _rank(_phase(operation), "grant"), named)


@subject.register(rows.InsertRowOp)
@subject.register(rows.UpdateRowOp)
@subject.register(rows.DeleteRowOp)
def _(operation: Any) -> Subject:
    relation = _identity("table", operation.table, None)
    own = EntityIdentifier(
        relation.schema, repr(operation), _phase(operation), "row", table=relation.name
    )
    return Subject(own, _rank(_phase(operation), "row"), frozenset({relation}))


def _rank(phase: str, kind: str) -> int:
    return _RANKS.index(f"{phase} {kind}")


def _schema(own: EntityIdentifier) -> EntityIdentifier:
    return EntityIdentifier(own.schema, kind="schema")


def _named(found: Mentioned) -> Iterator[EntityIdentifier]:
    for schema, name in found.relations | found.types:
        yield table(schema, name)
    for schema, name in found.functions:
        yield EntityIdentifier(schema or DEFAULT_SCHEMA, name, kind="function")
