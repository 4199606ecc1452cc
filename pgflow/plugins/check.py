"""Checks on a table."""

from __future__ import annotations

from pgflow.declare.items import collect_checks
from pgflow.emit.objects import add_check
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.keys import TABLE
from pgflow.resolve.plugin import Dynamic, Plugin, requires


@requires(Dynamic("table_key"))
class TableCheckPlugin(Plugin):
    """Put the `Check` items on the table.

    Args:
        table_key: The context key of the table.
    """

    def __init__(self, table_key: str = TABLE) -> None:
        self.table_key = table_key

    def run(self, ctx: FactoryContext) -> None:
        """Add a constraint for each check."""
        for check in collect_checks(ctx.schema_items):
            add_check(ctx[self.table_key], check)
