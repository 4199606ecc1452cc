"""The system columns of append, truncate, merge and scd1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pgflow.declare.resource import TableSpec
from pgflow.emit.history import (
    amend,
    check_amend,
    check_claim,
    claim,
    system_columns,
    system_columns_of,
)
from pgflow.plan.modes import modes
from pgflow.plugins.sync_keys import MERGE_KEYS, MODE, OPTIONS, SYSTEM_COLUMNS, TARGET_SPEC
from pgflow.plugins.table import SPEC
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.keys import TABLE
from pgflow.resolve.plugin import Dynamic, Plugin, after, produces, requires

#: The plugins that give a table its constraints: what a history changes must be there.
_EARLIER = ("TableUniquePlugin", "TableIndexPlugin", "TableCheckPlugin", "TableFKPlugin")


@produces(MODE, OPTIONS, TARGET_SPEC)
@requires(SPEC)
class TableModePlugin(Plugin):
    """Let the mode that stands on a table count as that of a pipeline that fills it."""

    def run(self, ctx: FactoryContext) -> None:
        """Write what the plugins of pipelines read."""
        spec = ctx[SPEC]
        ctx[MODE] = modes.get(spec.mode, f"table {spec.label}")
        ctx[OPTIONS] = spec.options
        ctx[TARGET_SPEC] = spec


@produces(SYSTEM_COLUMNS)
@requires(Dynamic("table_key"), MODE, OPTIONS, MERGE_KEYS, TARGET_SPEC)
@after(*_EARLIER)
class LoadColumnsPlugin(Plugin):
    """Add the columns that say when and by which run a row was written, as the mode needs them.

    The table is changed when every plugin has succeeded, whoever made it; it is refused at once
    if it cannot be.

    Args:
        table_key: The context key of the table.
    """

    remedies: ClassVar[Mapping[str, str]] = {
        MODE: 'Say mode= on the table itself, as in @pgflow.table(mode="scd2"): that adds the '
        "columns, and no plugin need be named."
    }

    def __init__(self, table_key: str = TABLE) -> None:
        self.table_key = table_key

    def run(self, ctx: FactoryContext) -> None:
        """Stage the change, and write the names of the system columns."""
        table, mode, owner = ctx[self.table_key], ctx[MODE].columns, _owner(ctx)
        amendment = system_columns(
            mode,
            ctx[MERGE_KEYS].value,
            ctx[OPTIONS],
            ctx[TARGET_SPEC].system_columns,
            owner=owner,
        )
        check_claim(table, mode, owner)
        check_amend(table, amendment)

        def apply() -> None:
            claim(table, mode, owner)
            amend(table, amendment)

        ctx.stage(apply, tables=[table])
        ctx[SYSTEM_COLUMNS] = system_columns_of(table).with_more(amendment.system)


def _owner(ctx: FactoryContext) -> str:
    if isinstance(ctx.spec, TableSpec):
        return f"table {ctx.spec.label}"
    return f"pipeline {getattr(ctx.spec, 'name', ctx.tablename)!r}"
