"""The planner: everything that the other plugins decided, drawn together into a draft."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import FetchedValue
from sqlalchemy.types import JSON, TypeEngine

from pgflow.declare.system_columns import SystemColumns
from pgflow.errors import DeclarationError
from pgflow.plan.delta import RESERVED
from pgflow.plan.spec import SourceShape, SyncSpec, TargetColumn, TargetShape, Watermark
from pgflow.plan.sql import Sql
from pgflow.plugins.sync_keys import (
    COMPARE_COLUMNS,
    LINKS,
    MERGE_KEYS,
    MODE,
    OPTIONS,
    PLANNER,
    STATEMENTS,
    SYSTEM_COLUMNS,
    TARGET,
    WATERMARK,
    Planner,
)
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.plugin import Plugin, produces, requires

#: Spells types; making one costs as much as declaring a column.
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # untyped upstream
_LENGTH = re.compile(r"\A(VARCHAR|CHARACTER VARYING|CHAR|CHARACTER|BIT VARYING|BIT)\(\d+\)", re.I)
_WITHOUT_LENGTH = {
    "VARCHAR": "character varying",
    "CHARACTER VARYING": "character varying",
    "CHAR": "bpchar",
    "CHARACTER": "bpchar",
    "BIT": '"bit"',
    "BIT VARYING": "bit varying",
}


@produces(PLANNER)
@requires(TARGET, OPTIONS, MODE, MERGE_KEYS, COMPARE_COLUMNS, SYSTEM_COLUMNS, WATERMARK)
@requires(LINKS, STATEMENTS)
class SQLPlannerPlugin(Plugin):
    """Draw up what is planned, so that facts alone are missing for a plan.

    Args:
        owner: The pipeline's name.
    """

    def __init__(self, owner: str = "") -> None:
        self.owner = owner

    def run(self, ctx: FactoryContext) -> None:
        """Write the planner."""
        watermark = ctx[WATERMARK].value
        draft = SyncSpec(
            owner=self.owner,
            target=shape_of(ctx[TARGET], ctx[SYSTEM_COLUMNS]),
            source=SourceShape(Sql()),
            options=ctx[OPTIONS],
            keys=ctx[MERGE_KEYS],
            compare=ctx[COMPARE_COLUMNS],
            watermark=watermark if isinstance(watermark, Watermark) else None,
            links=ctx[LINKS],
        )
        ctx[PLANNER] = Planner(draft, ctx[MODE], ctx[WATERMARK], ctx[STATEMENTS])


def shape_of(table: Table, system: SystemColumns) -> TargetShape:
    """Describe a Core table as plans see it, from its declaration alone.

    Args:
        table: The table.
        system: pgflow's own columns among its columns.

    Returns:
        The target's shape; a run replaces its columns by what the database really has.

    Raises:
        DeclarationError: A column has a name that pgflow's statements use themselves.
    """
    own = set(system.names)
    clash = sorted(RESERVED.intersection(table.columns.keys()))
    if clash:
        raise DeclarationError(
            f"{table.fullname} has a column {clash[0]!r}, a name that pgflow's own statements use. "
            "Rename the column."
        )
    columns = tuple(_column(c) for c in table.columns if c.name not in own)
    key = tuple(column.name for column in table.primary_key.columns)
    return TargetShape(table.schema, table.name, columns, system, key)


def _column(column: Column[Any]) -> TargetColumn:
    generated = column.computed is not None
    return TargetColumn(
        name=column.name,
        type=cast_type(column.type),
        nullable=bool(column.nullable),
        has_default=_fills_itself(column),
        generated=generated,
        always_identity=column.identity is not None and bool(column.identity.always),
        comparable=not isinstance(column.type, JSON) or isinstance(column.type, postgresql.JSONB),
    )


def _fills_itself(column: Column[Any]) -> bool:
    if column.identity is not None or isinstance(column.server_default, FetchedValue):
        return True
    table = column.table
    return column is getattr(table, "_autoincrement_column", None)


def cast_type(kind: TypeEngine[Any]) -> str:
    """Return the SQL type to cast to, without a length that a cast would silently apply."""
    text = kind.compile(dialect=_DIALECT)
    found = _LENGTH.match(text)
    if found is None:
        return text.lower() if text.isupper() else text
    return _WITHOUT_LENGTH[found.group(1).upper()] + text[found.end() :]
