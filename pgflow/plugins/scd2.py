"""The system columns and keys of scd2."""

from __future__ import annotations

from typing import Any

from sqlalchemy import DateTime, Table

from pgflow.errors import InvalidOption
from pgflow.plugins.load import LoadColumnsPlugin
from pgflow.plugins.sync_keys import MERGE_KEYS, MODE, OPTIONS, TARGET_SPEC
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
        _check_event_column(ctx, ctx[self.table_key])
        super().run(ctx)


def _check_event_column(ctx: FactoryContext, table: Table) -> None:
    """Refuse an event column that names no instants, or that is what it cannot be as well.

    Raises:
        InvalidOption: It is no timestamp with time zone, a merge key, or a system column.
    """
    event = ctx[OPTIONS].event_timestamp_column
    if event is None or event not in table.columns:
        return
    kind: Any = table.columns[event].type
    kind = getattr(kind, "impl_instance", kind)
    said = f"event_timestamp_column={event!r} of {table.fullname}"
    if not isinstance(kind, DateTime) or not kind.timezone:
        raise InvalidOption(
            f"{said} is {kind!r}, which names no instant. Declare it as TimestampTZ "
            "(timestamp with time zone)."
        )
    if event in ctx[MERGE_KEYS].value:
        raise InvalidOption(
            f"{said} is one of the merge keys ({ctx[MERGE_KEYS].reason}), so that every instant "
            "would be a key of its own. Name the other columns by keys=."
        )
    if event in ctx[TARGET_SPEC].system_columns.values():
        raise InvalidOption(
            f"{said} is a system column as well (system_columns=), which pgflow fills itself. "
            "Give the rows' own instants a column of their own."
        )
