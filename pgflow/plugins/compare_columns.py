"""Which columns count as a change."""

from __future__ import annotations

from sqlalchemy import Table

from pgflow.plan.decision import Decision
from pgflow.plugins.sync_keys import (
    COMPARE_COLUMNS,
    MERGE_KEYS,
    MODE,
    OPTIONS,
    SYSTEM_COLUMNS,
    TARGET,
)
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.plugin import Plugin, produces, requires


@produces(COMPARE_COLUMNS)
@requires(TARGET, OPTIONS, MODE, MERGE_KEYS, SYSTEM_COLUMNS)
class CompareColumnsPlugin(Plugin):
    """Choose the compared columns: as given, or all that are no key and not pgflow's own."""

    def run(self, ctx: FactoryContext) -> None:
        """Choose, with the reason."""
        options = ctx[OPTIONS]
        given = options.compare_columns or options.update_columns
        if given is not None:
            which = "compare_columns=" if options.compare_columns else "update_columns="
            ctx[COMPARE_COLUMNS] = Decision(given, which)
            return
        left_out = {*ctx[MERGE_KEYS].value, *ctx[SYSTEM_COLUMNS].names}
        left_out.add(options.event_timestamp_column or "")
        columns = tuple(c for c in _written(ctx[TARGET]) if c not in left_out)
        ctx[COMPARE_COLUMNS] = Decision(columns, "every delivered column that is no key")


def _written(table: Table) -> list[str]:
    return [column.name for column in table.columns if column.computed is None]
