"""Indexes on a table."""

from __future__ import annotations

from pgflow.declare.items import collect_indices
from pgflow.emit.objects import add_index
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.keys import TABLE
from pgflow.resolve.plugin import Dynamic, Plugin, requires


@requires(Dynamic("table_key"))
class TableIndexPlugin(Plugin):
    """Put the `Index` items on the table.

    Args:
        table_key: The context key of the table.
    """

    def __init__(self, table_key: str = TABLE) -> None:
        self.table_key = table_key

    def run(self, ctx: FactoryContext) -> None:
        """Add an index for each item."""
        for index in collect_indices(ctx.schema_items):
            add_index(ctx[self.table_key], index)
