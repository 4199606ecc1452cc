"""Foreign keys of a table."""

from __future__ import annotations

from pgflow.declare.items import collect_foreign_keys
from pgflow.emit.references import add_foreign_key, check_reference, remember_short, wait
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.keys import TABLE
from pgflow.resolve.plugin import Dynamic, Plugin, requires


@requires(Dynamic("table_key"))
class TableFKPlugin(Plugin):
    """Put the `ForeignKey` items on the table; those whose target is not declared yet wait for it.

    Args:
        table_key: The context key of the table.
    """

    def __init__(self, table_key: str = TABLE) -> None:
        self.table_key = table_key

    def run(self, ctx: FactoryContext) -> None:
        """Add a constraint for each item, and refuse references into a history."""
        table = ctx[self.table_key]
        for item in collect_foreign_keys(ctx.schema_items):
            if not add_foreign_key(table, item, dimension=ctx.tablename):
                wait(table, item)
            remember_short(table, item)
        for constraint in table.foreign_key_constraints:
            check_reference(constraint)
