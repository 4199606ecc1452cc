"""Factories of one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Unpack, cast

from sqlalchemy import MetaData, Table

from pgflow import idents
from pgflow.declare.items import Unique, is_schema_item_not_primary_key, validate_schema_items
from pgflow.declare.resource import KeyCandidate, SyncDefaults, TableSpec, sync_defaults
from pgflow.declare.table_class import former_name, refuse_foreign
from pgflow.emit.history import check_overrides
from pgflow.errors import DeclarationError, MissingSchema
from pgflow.factory import ResourceFactory
from pgflow.plan.modes import modes
from pgflow.plugins.check import TableCheckPlugin
from pgflow.plugins.dimension import DimensionPlugin
from pgflow.plugins.foreign_key import TableFKPlugin
from pgflow.plugins.index import TableIndexPlugin
from pgflow.plugins.load import LoadColumnsPlugin, TableModePlugin
from pgflow.plugins.merge_keys import MergeKeysPlugin
from pgflow.plugins.pk import SerialPKPlugin
from pgflow.plugins.scd2 import Scd2ColumnsPlugin
from pgflow.plugins.table import SPEC, SimpleTablePlugin
from pgflow.plugins.unique import TableUniquePlugin
from pgflow.resolve.config import Config
from pgflow.resolve.keys import PK, ROOT
from pgflow.resolve.plugin import Plugin
from pgflow.resolve.wiring import PluginSource


class TableFactory(ResourceFactory):
    """Declare one table.

    Subclass it with `DEFAULT_PLUGINS` for a kind of table of your own. It adds no primary key.

    Args:
        tablename: The table's name.
        schemaname: Its schema.
        metadata: Where it is put.
        schema_items: Columns, `Check`, `Index`, `ForeignKey`, `Unique`, and SQLAlchemy's own.
        config: Configuration in force; by default the one attached to the MetaData.
        plugins: In place of `DEFAULT_PLUGINS`.
        extra_plugins: Beside them.
        mode: How pipelines fill the table; it gets the system columns of that mode at once.
        system_columns: New names of system columns, and None for those to be left out.
        renamed_from: What the table was called, perhaps with its schema; a migration renames it.
        spec: The whole declaration, where a class was read into one.
        **defaults: Options for the table's pipelines, such as `keys` or `handle_deletes`.

    Attributes:
        spec: What the table is declared to be.

    Raises:
        DeclarationError: Something is declared in a way that cannot work; the MetaData is as it
            was.
    """

    _INTERNAL_PLUGINS: ClassVar[Sequence[PluginSource]] = (
        SimpleTablePlugin,
        TableUniquePlugin,
        TableCheckPlugin,
        TableIndexPlugin,
        TableFKPlugin,
        DimensionPlugin,
    )

    spec: TableSpec

    def __init__(
        self,
        tablename: str,
        schemaname: str,
        metadata: MetaData,
        schema_items: Iterable[Any],
        *,
        config: Config | None = None,
        plugins: Sequence[PluginSource] | None = None,
        extra_plugins: Sequence[PluginSource] | None = None,
        mode: str | None = None,
        system_columns: Mapping[str, str | None] | None = None,
        renamed_from: str | None = None,
        spec: TableSpec | None = None,
        **defaults: Unpack[SyncDefaults],
    ) -> None:
        if not schemaname:
            raise MissingSchema(
                f"table {tablename!r}: a table needs its schema; give schemaname, such as 'public'."
            )
        items = list(schema_items)
        label = idents.qualify(schemaname, tablename)
        options = sync_defaults(f"table {label}", mode, cast(Mapping[str, Any], defaults))
        declared = spec or TableSpec(
            name=idents.truncate(tablename),
            schema=idents.truncate(schemaname),
            items=tuple(items),
            unique_constraints=tuple(
                KeyCandidate(item.columns, str(item)) for item in items if isinstance(item, Unique)
            ),
            mode=mode,
            system_columns=dict(system_columns or {}),
            options=options,
            renamed_from=former_name(renamed_from, label),
        )
        super().__init__(
            tablename,
            schemaname,
            metadata,
            items,
            config=config,
            plugins=plugins,
            extra_plugins=extra_plugins,
            spec=declared,
        )
        self.spec = self.ctx.get(SPEC, declared)

    @classmethod
    def of(cls, declared: Any) -> TableFactory:
        """Return the factory behind a class under `@pgflow.table`.

        Args:
            declared: The class, or a factory.

        Returns:
            The factory.

        Raises:
            DeclarationError: It is neither.
            ForeignDecorator: The class has become a dataclass or an attrs class since.
        """
        factory = declared
        if isinstance(declared, type):
            refuse_foreign(declared, mapped=True)
            # Not what a base class has: a subclass without the decorator is no table.
            factory = vars(declared).get("__factory__")
        if not isinstance(factory, cls):
            if isinstance(declared, Table):
                raise DeclarationError(
                    f"{declared.fullname!r} is given as SQLAlchemy's Table, which does not know "
                    "how it was declared. Give the class under @pgflow.table, or the table factory."
                )
            raise DeclarationError(
                f"{declared!r} is no table. Give a class under @pgflow.table, or a table factory."
            )
        return factory

    @property
    def table(self) -> Table:
        """The table on the MetaData."""
        return cast(Table, self.ctx[ROOT])

    def _validate(self) -> None:
        """Refuse items and options that no plugin could use."""
        validate_schema_items(self.schema_items, validators=())
        check_overrides(self.spec.system_columns, f"table {self.spec.label}")
        if self.spec.mode is not None:
            modes.get(self.spec.mode, f"table {self.spec.label}")

    def _complete(self, plugins: list[Plugin]) -> list[Plugin]:
        """Let the mode that stands on the table add its columns."""
        if self.spec.mode is None:
            return plugins
        kind = modes.get(self.spec.mode, f"table {self.spec.label}").columns
        columns = Scd2ColumnsPlugin() if kind == "scd2" else LoadColumnsPlugin()
        made = {key for plugin in plugins for key in plugin.resolved_produces()}
        more = [TableModePlugin(), MergeKeysPlugin(), columns]
        return [*plugins, *(p for p in more if made.isdisjoint(p.resolved_produces()))]


class SimpleTable(TableFactory):
    """Declare one table, which gets an `id` if nothing gives it a primary key.

    Primary key columns do not stand among the schema items: they come by a plugin, such as
    `ColumnPKPlugin`.

    Args:
        tablename: As `TableFactory`, as everything else.
        schemaname: Its schema.
        metadata: Where it is put.
        schema_items: Columns and items, without a primary key.
    """

    def _validate(self) -> None:
        """Refuse primary key columns among the items, too."""
        validate_schema_items(self.schema_items, validators=[is_schema_item_not_primary_key])
        super()._validate()

    def _complete(self, plugins: list[Plugin]) -> list[Plugin]:
        """Put a numbered key in front if nobody makes one."""
        if not any(PK in plugin.resolved_produces() for plugin in plugins):
            plugins = [SerialPKPlugin(), *plugins]
        return super()._complete(plugins)
