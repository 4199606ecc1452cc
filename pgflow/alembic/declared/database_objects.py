"""What sqlalchemy-declarative-extensions registered on a MetaData, as declarations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.engine import Dialect

from pgflow.alembic.declared import access, routines, views
from pgflow.alembic.declared.declaration import Declaration
from pgflow.alembic.declared.statements import parse
from pgflow.alembic.declared.tables import writing_dialect
from pgflow.errors import InvalidDeclaration


def object_declarations(
    metadata: MetaData, dialect: Dialect, default_schema: str
) -> Iterator[Declaration]:
    """Give the statements that make the registered schemas, roles, views, functions and so on.

    Args:
        metadata: The MetaData on which they are registered.
        dialect: The dialect of the connection.
        default_schema: The schema of objects that are declared without one.

    Yields:
        The statements.

    Raises:
        InvalidDeclaration: Something cannot be written as SQL, or is no part of a migration.
    """
    _refuse_data(metadata)
    for origin, sql in _texts(metadata, writing_dialect(dialect)):
        yield from parse(sql, origin, default_schema)


def _texts(metadata: MetaData, writing: Dialect) -> Iterator[tuple[str, str]]:
    for schema in _registered(metadata, "schemas"):
        yield f"Schema {schema.name!r}", access.schema_sql(schema)
    for role in _registered(metadata, "roles"):
        if not role.external:
            yield f"Role {role.name!r}", access.role_sql(role)
    for function in _registered(metadata, "functions"):
        yield _named("Function", function), routines.function_sql(function, writing)
    for procedure in _registered(metadata, "procedures"):
        yield _named("Procedure", procedure), routines.procedure_sql(procedure)
    for view in _registered(metadata, "views"):
        for sql in views.view_sql(view, metadata, writing):
            yield _named("View", view), sql
    for trigger in _registered(metadata, "triggers"):
        yield f"Trigger {trigger.name!r} on {trigger.on!r}", routines.trigger_sql(trigger)
    for grant in _registered(metadata, "grants"):
        sql = access.grant_sql(grant)
        yield f"Grant {sql!r}", sql


def _registered(metadata: MetaData, noun: str) -> tuple[Any, ...]:
    return tuple(metadata.info.get(noun) or ())


def _named(noun: str, found: Any) -> str:
    return f"{noun} {f'{found.schema}.{found.name}' if found.schema else found.name!r}"


def _refuse_data(metadata: MetaData) -> None:
    for noun, way_out in (
        ("rows", "Load data with a pipeline, or with op.bulk_insert() in a migration"),
        ("databases", "Create databases outside of migrations"),
    ):
        found = _registered(metadata, noun)
        if found:
            raise InvalidDeclaration(
                f"The MetaData declares {noun} ({_place(found[0])}), which pgflow's migrations do "
                f"not compare. {way_out}, and leave {noun}= out of declare_database()."
            )


def _place(found: Any) -> str:
    """Name a row by its table, without what is in it, and a database by its name."""
    return repr(found.qualified_name if hasattr(found, "tablename") else found.name)
