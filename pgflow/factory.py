"""The conductor: inputs and a plugin list in, a filled context out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from sqlalchemy import MetaData

from pgflow import idents
from pgflow.errors import DeclarationError
from pgflow.resolve.config import Config, check_config
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.explain import Explanation
from pgflow.resolve.plugin import Plugin, check_pg_version, min_pg_version
from pgflow.resolve.requirements import note_requirements
from pgflow.resolve.resolution import resolve
from pgflow.resolve.wiring import Entry, PluginSource, enter, enter_one


class ResourceFactory:
    """Sort plugins by what they read and write, and run them over a shared context.

    Subclass it with `DEFAULT_PLUGINS`, which users replace by `plugins=`. The list that is
    resolved: plugins of the configuration, `plugins=` or the defaults, `extra_plugins=`, and
    the internal ones. It is checked as a whole before the first plugin runs, and if anything
    fails, the MetaData is as it was.

    Args:
        tablename: Name of the resource; cut to 63 bytes as PostgreSQL does.
        schemaname: Its schema, or None for what is found by the search path.
        metadata: Where objects are put.
        schema_items: Columns, constraints and pgflow items, in order.
        config: Configuration in force; by default the one attached to the MetaData.
        plugins: In place of `DEFAULT_PLUGINS`.
        extra_plugins: Beside them.
        spec: For subclasses: an object that plugins find as `ctx.spec`.
        inputs: For subclasses: context keys that have a value before any plugin runs.

    Attributes:
        ctx: The context after every plugin has run.
        plugins: The plugins in the order in which they ran.

    Raises:
        DeclarationError: An argument or the plugin list cannot work.
    """

    #: Plugins that `plugins=` replaces: instances, classes, or callables that make one.
    DEFAULT_PLUGINS: ClassVar[Sequence[PluginSource]] = ()
    #: Plugins that are always present, after all others in the list.
    _INTERNAL_PLUGINS: ClassVar[Sequence[PluginSource]] = ()

    def __init__(
        self,
        tablename: str,
        schemaname: str | None,
        metadata: MetaData,
        schema_items: Iterable[Any] = (),
        *,
        config: Config | None = None,
        plugins: Sequence[PluginSource] | None = None,
        extra_plugins: Sequence[PluginSource] | None = None,
        spec: object | None = None,
        inputs: Mapping[str, object] | None = None,
    ) -> None:
        self.tablename = idents.truncate(tablename)
        self.schemaname = None if schemaname is None else idents.truncate(schemaname)
        self.metadata = _checked(metadata)
        self.schema_items = list(schema_items)
        check_config(config, type(self).__name__)
        self.config = Config.of(metadata) if config is None else config
        self.spec = spec
        self._validate()
        entries = self._completed(self._listed(plugins, extra_plugins))
        given = inputs or {}
        self._resolution = resolve(self.tablename, entries, tuple(given))
        self.plugins: list[Plugin] = self._resolution.plugins
        self.ctx = self._context(given)
        self._resolution.run(self.ctx)
        owner = f"{type(self).__name__} {idents.qualify(self.schemaname, self.tablename)}"
        note_requirements(metadata, owner, self.plugins)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.tablename!r}, {self.schemaname!r})"

    # --- what subclasses may override --------------------------------------------------

    def _validate(self) -> None:
        """Check the inputs before plugins are even looked at; raise to refuse them."""

    def _complete(self, plugins: list[Plugin]) -> list[Plugin]:
        """Add what is missing among the plugins, judging by what the others produce.

        Args:
            plugins: Those of the configuration, the user's or the defaults, and the extra
                ones, in list order. The internal ones are not among them.

        Returns:
            The list to use; new plugins may stand anywhere in it.
        """
        return plugins

    # --- what users ask ----------------------------------------------------------------

    @property
    def min_pg_version(self) -> int | None:
        """The oldest major version of PostgreSQL that serves every plugin, or None."""
        return min_pg_version(self.plugins)

    def check_pg_version(self, server_version: int | tuple[int, ...]) -> None:
        """Refuse a server that is too old for a plugin.

        Args:
            server_version: Its major version, or SQLAlchemy's `server_version_info`.

        Raises:
            PostgresTooOld: A plugin needs a newer one.
        """
        check_pg_version(server_version, self.plugins)

    def explain(self) -> Explanation:
        """Say which plugins ran, where they came from, what each reads and writes, and why there.

        Returns:
            The explanation; print it, or take its `steps`.
        """
        return self._resolution.explain()

    # --- how the list comes about ------------------------------------------------------

    def _listed(
        self,
        plugins: Sequence[PluginSource] | None,
        extra_plugins: Sequence[PluginSource] | None,
    ) -> list[Entry]:
        owner = type(self).__name__
        if plugins is None:
            chosen = enter(self.DEFAULT_PLUGINS, f"{owner}.DEFAULT_PLUGINS")
        else:
            chosen = enter(plugins, "plugins")
        return [*self.config.entries(), *chosen, *enter(extra_plugins or (), "extra_plugins")]

    def _completed(self, listed: list[Entry]) -> list[Entry]:
        """Let the subclass complete the list, keeping the origin of what was there."""
        owner = type(self).__name__
        known = listed.copy()
        completed: list[Entry] = []
        for plugin in self._complete([entry.plugin for entry in listed]):
            entry = next((one for one in known if one.plugin is plugin), None)
            if entry is None:
                entry = enter_one(plugin, f"added by {owner}")
            else:
                known.remove(entry)
            completed.append(entry)
        return completed + enter(self._INTERNAL_PLUGINS, f"{owner}._INTERNAL_PLUGINS")

    def _context(self, given: Mapping[str, object]) -> FactoryContext:
        ctx = FactoryContext(
            self.tablename,
            self.schemaname,
            self.metadata,
            self.schema_items,
            self.plugins,
            spec=self.spec,
            config=self.config,
        )
        for key, value in given.items():
            ctx.set(key, value)
        return ctx


def _checked(metadata: object) -> MetaData:
    if not isinstance(metadata, MetaData):
        raise DeclarationError(
            f"metadata is {metadata!r}: give the SQLAlchemy MetaData that the objects shall be "
            "put on."
        )
    return metadata
