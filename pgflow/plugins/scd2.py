"""The system columns and keys of scd2."""

from __future__ import annotations

from pgflow.errors import InvalidOption
from pgflow.plugins.load import LoadColumnsPlugin
from pgflow.plugins.sync_keys import MODE
from pgflow.resolve.context import FactoryContext


class Scd2ColumnsPlugin(LoadColumnsPlugin):
    """Make a table one that keeps every version of its rows.

    It gets the validity columns, (merge keys, `valid_from`) as primary key, and one current
    version of a key at most; what was unique is unique among current versions.

    Args:
        table_key: The context key of the table.
    """

    def run(self, ctx: FactoryContext) -> None:
        """Stage the change, and write the names of the system columns."""
        if ctx[MODE].columns != "scd2":
            raise InvalidOption(
                f"Scd2ColumnsPlugin (in {ctx.tablename!r}) makes a history, and mode "
                f"{ctx[MODE].name!r} keeps none. Use LoadColumnsPlugin."
            )
        super().run(ctx)
