"""The name by which foreign keys refer to a table."""

from __future__ import annotations

from pgflow.emit.references import DimensionRef, pending, register_dimension
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.keys import TABLE
from pgflow.resolve.plugin import Dynamic, Plugin, after, requires


@requires(Dynamic("table_key"))
@after("LoadColumnsPlugin", "TableFKPlugin")
class DimensionPlugin(Plugin):
    """Make a table known to foreign keys by the factory's name, and put in those that wait for it.

    It runs last, so that they can refer to system columns such as `version_id` as well.

    Args:
        table_key: The context key of the table.
    """

    def __init__(self, table_key: str = TABLE) -> None:
        self.table_key = table_key

    def run(self, ctx: FactoryContext) -> None:
        """Stage the registration, which changes the tables that wait."""
        table, name = ctx[self.table_key], ctx.tablename
        ref = DimensionRef(table.schema, table.name)
        waiting = {waiter.table for waiter in pending(ctx.metadata).get(name, ())}
        ctx.stage(lambda: register_dimension(ctx.metadata, name, ref), tables=waiting)
