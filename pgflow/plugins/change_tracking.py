"""Rows that say which transaction wrote them, for readers who must not miss any."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table, text

from pgflow import idents
from pgflow.emit.change_tracking import COLUMN, ChangeTracking
from pgflow.emit.names import label, take_relation_name
from pgflow.emit.sql_objects import emit_sql
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.keys import COLUMNS
from pgflow.resolve.plugin import Plugin, contributes, singleton
from pgflow.types import RawType


@contributes(COLUMNS)
@singleton("__change_tracking__")
class ChangeTrackingPlugin(Plugin):
    """Track the changes of a table, so that pipelines can read it with `watermark="snapshot"`.

    It adds a column that holds the number of the transaction that wrote the row last, an index on
    it, and a trigger that sets it on every insert and update, whatever the writer says and also
    for rows that replication brings. A table that has rows already is not rewritten for it. If
    nobody may wait for the index, run what `pgflow tracking` prints beforehand: the migration then
    finds nothing left to do.

    Args:
        column: The column's name.
    """

    def __init__(self, column: str = COLUMN) -> None:
        self.column = idents.truncate(column)

    def run(self, ctx: FactoryContext) -> None:
        """Contribute the column, and stage what stands on it."""
        number: Column[object] = Column(
            self.column,
            RawType("xid8"),
            nullable=False,
            server_default=text("pg_current_xact_id()"),
        )
        ctx.contribute(COLUMNS, number)
        metadata, name = ctx.metadata, idents.truncate(ctx.tablename)
        schema = None if ctx.schemaname is None else idents.truncate(ctx.schemaname)

        def track() -> None:
            _track(metadata.tables[name if schema is None else f"{schema}.{name}"], self.column)

        ctx.stage(track, tables=())


def _track(table: Table, column: str) -> None:
    tracking = ChangeTracking(table.schema, table.name, column)
    origin = f"ChangeTrackingPlugin of {label(table)}"
    index = take_relation_name(table, None, "ix", [column])
    Index(index, table.columns[column])
    for statement in (tracking.function_sql, tracking.trigger_sql, tracking.always_sql):
        emit_sql(table.metadata, statement, origin)
