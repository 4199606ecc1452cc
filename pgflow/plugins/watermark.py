"""The position of an incremental pipeline, kept by the greatest value that it has seen."""

from __future__ import annotations

from datetime import timedelta

from pgflow.plan.decision import Decision
from pgflow.plan.spec import Watermark
from pgflow.plan.sql import Sql, bind, name, sql
from pgflow.plugins.sync_keys import OPTIONS, WATERMARK
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.plugin import Plugin, produces, requires


@produces(WATERMARK)
@requires(OPTIONS)
class ValueWatermarkPlugin(Plugin):
    """Read from the last seen value of `incremental_column` on.

    The row or rows at that very value are read again and recognised by their key. Rows whose
    value is NULL are read every time. A value watermark misses rows that a slow transaction
    commits with an older value; `lookback=` reads that far back.

    Args:
        schema: The schema of pgflow's own tables.
    """

    def __init__(self, schema: str = "pgflow") -> None:
        self.schema = schema

    def run(self, ctx: FactoryContext) -> None:
        """Describe the watermark, or say that there is none."""
        options = ctx[OPTIONS]
        column = options.incremental_column
        if column is None:
            ctx[WATERMARK] = Decision(None, "the whole source is read")
            return
        lookback = _lookback(options.lookback)
        watermark = Watermark(name(self.schema, "watermarks"), column, lookback=lookback)
        back = f", {options.lookback} further back" if options.lookback else ""
        reason = f"incremental_column={column!r}: rows from the last seen value on{back}; NULLs too"
        ctx[WATERMARK] = Decision(watermark, reason)


def _lookback(value: timedelta | int | None) -> Sql | None:
    if value is None:
        return None
    if isinstance(value, timedelta):
        return sql("{v}::interval", v=bind(value, "lookback"))
    return sql("{v}::bigint", v=bind(value, "lookback"))
