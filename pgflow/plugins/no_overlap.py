"""The server as the guard of a history: no two versions of a key are valid at one instant."""

from __future__ import annotations

from typing import get_args

from sqlalchemy import Table

from pgflow import idents
from pgflow.emit.names import label
from pgflow.emit.overlaps import EXTENSION, Form, forbid_overlaps, is_partitioned
from pgflow.emit.sql_objects import emit_sql
from pgflow.emit.versions import versions_of
from pgflow.errors import InvalidOption
from pgflow.plugins.sync_keys import SYSTEM_COLUMNS, where_a_history_stands
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.keys import TABLE
from pgflow.resolve.plugin import Dynamic, Plugin, requires

#: Who says that the extension is to be there, for the error of a role that may not make it.
_ORIGIN = "NoOverlapPlugin (it is enough that somebody who may has created the extension)"


@requires(Dynamic("table_key"), SYSTEM_COLUMNS)
class NoOverlapPlugin(Plugin):
    """Have the server refuse versions of one key that are valid at one instant.

    pgflow's own runs never write any; this holds whoever writes the table. It takes an index
    more, see what it costs in the explanation of histories.

    Args:
        table_key: The context key of the table; `"target"` on a pipeline.
        form: `exclude` is a constraint on the instants as they are. `without_overlaps` is a
            temporal unique key, to which temporal foreign keys can refer; it needs PostgreSQL 18
            and a stored range.
        range_column: The name of that range's column.
        extension: Whether migrations make the extension btree_gist; False if it is there.

    Raises:
        InvalidOption: There is no such form.
    """

    remedies = where_a_history_stands("NoOverlapPlugin", on_pipelines=True)

    def __init__(
        self,
        table_key: str = TABLE,
        *,
        form: Form = "exclude",
        range_column: str = "valid_during",
        extension: bool = True,
    ) -> None:
        if form not in get_args(Form):
            raise InvalidOption(
                f"NoOverlapPlugin: form={form!r} is unknown. Use 'exclude' or 'without_overlaps'."
            )
        self.table_key = table_key
        self.form = form
        self.range_column = idents.truncate(range_column)
        self.extension = extension
        if form == "without_overlaps":
            self.min_pg_version = 18

    def run(self, ctx: FactoryContext) -> None:
        """Stage the constraint: it stands on columns that the mode's plugin has staged."""
        table: Table = ctx[self.table_key]
        owner = f"NoOverlapPlugin of {label(table)}"
        if is_partitioned(table):
            # Before, the server had no exclusion constraints on partitioned tables.
            self.min_pg_version = max(17, self.min_pg_version or 0)

        def forbid() -> None:
            if self.extension:
                emit_sql(table.metadata, EXTENSION, _ORIGIN)
            forbid_overlaps(versions_of(table, owner), self.form, self.range_column, owner)

        ctx.stage(forbid, tables=[table])
