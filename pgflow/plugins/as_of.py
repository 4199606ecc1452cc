"""A function in the database that reads a history at an instant."""

from __future__ import annotations

from sqlalchemy import Table

from pgflow import idents
from pgflow.emit.names import label
from pgflow.emit.sql_objects import emit_sql
from pgflow.emit.versions import versions_of
from pgflow.plan.sql import name, raw, sql
from pgflow.plugins.sync_keys import SYSTEM_COLUMNS, where_a_history_stands
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.keys import TABLE
from pgflow.resolve.plugin import Dynamic, Plugin, requires


@requires(Dynamic("table_key"), SYSTEM_COLUMNS)
class AsOfFunctionPlugin(Plugin):
    """Give a history a function that reads it at an instant: `table_as_of(instant timestamptz)`.

    It returns whole rows of the table, those that were valid then, with the rights of who calls
    it. The planner takes its body into the query around it, so that conditions on it use indexes.

    Args:
        table_key: The context key of the table; `"target"` on a pipeline.
        name: The function's name; by default the table's with `_as_of`.
    """

    remedies = where_a_history_stands("AsOfFunctionPlugin", on_pipelines=True)

    def __init__(self, table_key: str = TABLE, name: str | None = None) -> None:
        self.table_key = table_key
        self.name = None if name is None else idents.truncate(name)

    def run(self, ctx: FactoryContext) -> None:
        """Stage the function: it stands on columns that the mode's plugin has staged."""
        table: Table = ctx[self.table_key]
        owner = f"AsOfFunctionPlugin of {label(table)}"

        def emit() -> None:
            emit_sql(table.metadata, self._function(table, owner), owner)

        ctx.stage(emit, tables=())

    def _function(self, table: Table, owner: str) -> str:
        """Write the function.

        The body stands as text, so that a new column is in it without a migration of the
        function. `$1` and not the argument's name: a column of that name would hide it.
        """
        versions = versions_of(table, owner)
        relation = name(table.schema, table.name)
        body = sql(
            "SELECT * FROM {relation} AS v"
            " WHERE v.{began} <= $1 AND (v.{ended} > $1 OR v.{ended} IS NULL)",
            relation=relation,
            began=name(versions.valid_from),
            ended=name(versions.valid_to),
        )
        return str(
            sql(
                "CREATE FUNCTION {function}(instant timestamptz) RETURNS SETOF {relation}"
                " LANGUAGE sql STABLE PARALLEL SAFE\nAS {body}",
                function=name(table.schema, self.name or idents.join_fit([table.name, "as_of"])),
                relation=relation,
                body=raw("'" + str(body).replace("'", "''") + "'"),
            )
        )
