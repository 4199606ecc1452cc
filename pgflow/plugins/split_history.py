"""Current and closed versions of a history in partitions of their own."""

from __future__ import annotations

from sqlalchemy import Table

from pgflow import idents
from pgflow.emit.names import label
from pgflow.emit.partitioning import partitioning_of
from pgflow.emit.sql_objects import emit_sql
from pgflow.errors import InvalidOption, NotAmendable
from pgflow.plan.sql import name, raw, sql
from pgflow.plugins.sync_keys import MODE, TARGET_SPEC, where_a_history_stands
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.keys import TABLE
from pgflow.resolve.plugin import Plugin, before, requires, singleton


@requires(TABLE, MODE, TARGET_SPEC)
@before("LoadColumnsPlugin")
@singleton("__partitions__")
class SplitHistoryPlugin(Plugin):
    """Keep current and closed versions apart: in `<table>_current` and `<table>_history`.

    Both are partitions of the table, by LIST (valid_to), so that whoever reads or writes the
    table need not know. A run looks at the current ones alone, which is faster. It stands on a
    table that is declared with `mode="scd2"`.
    """

    remedies = where_a_history_stands("SplitHistoryPlugin", on_pipelines=False)

    def run(self, ctx: FactoryContext) -> None:
        """Say how the table is partitioned, before the mode's plugin makes it a history."""
        table: Table = ctx[TABLE]
        if ctx[MODE].columns != "scd2":
            raise InvalidOption(
                f"SplitHistoryPlugin (in {ctx.tablename!r}) tells current from closed versions, "
                f"and mode {ctx[MODE].name!r} has none. Use it with mode 'scd2'."
            )
        other = partitioning_of(table)
        if other is not None:
            raise NotAmendable(
                f"SplitHistoryPlugin partitions {label(table)}, which is declared to be "
                f"partitioned by {other.text}. Leave one of them out.",
                table=label(table),
            )
        names = ctx[TARGET_SPEC].system_columns
        valid_to = idents.truncate(names.get("valid_to") or "valid_to")
        table.dialect_options["postgresql"]["partition_by"] = f"LIST ({idents.quote(valid_to)})"
        self._emit(table, "current", "FOR VALUES IN (NULL)")
        self._emit(table, "history", "DEFAULT")

    def _emit(self, table: Table, part: str, bound: str) -> None:
        text = sql(
            "CREATE TABLE {part} PARTITION OF {table} {bound}",
            part=name(table.schema, idents.join_fit([table.name, part])),
            table=name(table.schema, table.name),
            bound=raw(bound),
        )
        emit_sql(table.metadata, str(text), f"SplitHistoryPlugin of {label(table)}")
