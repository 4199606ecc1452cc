"""The table of a simple table factory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import Column, Table, UniqueConstraint

from pgflow.declare.columns import copy_item
from pgflow.declare.options import check_columns
from pgflow.declare.resource import KeyCandidate, TableSpec
from pgflow.emit.objects import create_table
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.keys import COLUMNS, PK, ROOT, TABLE, Key
from pgflow.resolve.plugin import Dynamic, Plugin, optional, produces, requires, singleton

#: What the table is declared to be, with all its keys.
SPEC = Key("table_spec", TableSpec)


@produces(Dynamic("table_key"), ROOT, SPEC)
@requires(optional(PK), COLUMNS)
@singleton("__table__")
class SimpleTablePlugin(Plugin):
    """Create one table: the primary key, the schema items, and what plugins contribute.

    Args:
        table_key: The context key that the table is written to.
    """

    def __init__(self, table_key: str = TABLE) -> None:
        self.table_key = table_key

    def run(self, ctx: FactoryContext) -> None:
        """Create the table, and write what it is declared to be."""
        columns = _columns(ctx)
        items = [item for item in ctx.table_items if not isinstance(item, Column)]
        spec = ctx.spec if isinstance(ctx.spec, TableSpec) else None
        options = spec.all_table_options if spec is not None else {}
        table = create_table(ctx.tablename, ctx.schemaname, ctx.metadata, columns, items, **options)
        ctx[self.table_key] = table
        ctx[ROOT] = table
        ctx[SPEC] = _complete(ctx, spec, table)


def _columns(ctx: FactoryContext) -> list[Column[Any]]:
    """Put the columns in order; a column that another table has already is copied."""
    key = ctx.get(PK)
    placed = {id(item) for item in ctx.schema_items}
    first = [] if key is None else [column for column in key if id(column) not in placed]
    columns = [*first, *ctx.columns, *ctx[COLUMNS]]
    return [column if column.table is None else copy_item(column) for column in columns]


def _complete(ctx: FactoryContext, spec: TableSpec | None, table: Table) -> TableSpec:
    """Say what the declaration has become: all columns, and the keys that are known by now."""
    known = spec or TableSpec(table.name, table.schema or "")
    others = [item for item in ctx.schema_items if not isinstance(item, Column)]
    key = tuple(column.name for column in table.primary_key.columns)
    check_columns(known.options, table.columns.keys(), f"table {known.label}")
    origin = known.primary_key.origin or ("pk()" if key else "")
    return replace(
        known,
        items=(*table.columns, *others),
        primary_key=KeyCandidate(key, origin),
        unique_constraints=(*known.unique_constraints, *_own_uniques(table, others)),
    )


def _own_uniques(table: Table, items: list[Any]) -> Iterator[KeyCandidate]:
    """Find what was made unique by SQLAlchemy's own means."""
    for column in table.columns:
        if column.unique:
            yield KeyCandidate((column.name,), f"Column({column.name!r}, unique=True)")
    for item in items:
        if isinstance(item, UniqueConstraint):
            yield KeyCandidate(tuple(c.name for c in item.columns), "UniqueConstraint")
