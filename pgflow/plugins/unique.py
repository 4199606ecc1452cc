"""Unique constraints on a table, natural keys among them."""

from __future__ import annotations

from pgflow.declare.items import collect_uniques
from pgflow.emit.objects import add_unique
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.keys import TABLE
from pgflow.resolve.plugin import Dynamic, Plugin, requires


@requires(Dynamic("table_key"))
class TableUniquePlugin(Plugin):
    """Put the `Unique` items on the table.

    Args:
        table_key: The context key of the table.
    """

    def __init__(self, table_key: str = TABLE) -> None:
        self.table_key = table_key

    def run(self, ctx: FactoryContext) -> None:
        """Add a constraint for each item."""
        for unique in collect_uniques(ctx.schema_items):
            add_unique(ctx[self.table_key], unique)
