"""What holds for every factory of a MetaData: shared plugins, extensions, names of pgflow's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import MetaData

from pgflow import idents
from pgflow.declare.hook import check_hook
from pgflow.declare.shapes import listed
from pgflow.declare.spelling import spelt_class
from pgflow.errors import ConfigConflict, InvalidOption, NotAConfig
from pgflow.resolve.extension import Extension, arrange
from pgflow.resolve.plugin import Plugin
from pgflow.resolve.wiring import Entry, PluginSource, enter

_INFO_KEY = "pgflow_config"


@spelt_class
class Config:
    """Plugins and extensions that come before those of every factory.

    Give it to factories as `config=`, or attach it to their MetaData once.

    Args:
        plugins: Plugins for every factory.
        extensions: Extensions in use; each comes after those it depends on.
        utility_schema: Schema of pgflow's own tables and functions.
        utility_schema_renamed_from: The schema in which they were before: the next migration
            moves them with all that they hold.
        sample_keys: Whether errors, results and the history may name keys of rows, unless a
            pipeline says otherwise.
        on_failure: Called with a `pgflow.observe.failure.Failure` for each run that failed, of
            pipelines that name no function themselves.

    Raises:
        ExtensionError: The extensions do not fit together.
        NotAPlugin: `plugins` holds something else.
        InvalidOption: `on_failure` cannot be called, or another option has a wrong shape.
    """

    def __init__(
        self,
        plugins: Iterable[PluginSource] = (),
        extensions: Iterable[Extension] = (),
        utility_schema: str = "pgflow",
        utility_schema_renamed_from: str | None = None,
        sample_keys: bool = True,
        on_failure: Callable[[Any], object] | None = None,
    ) -> None:
        check_hook(on_failure, "Config")
        if not isinstance(sample_keys, bool):
            raise InvalidOption(f"Config(sample_keys={sample_keys!r}) must be True or False.")
        self.on_failure = on_failure
        self.sample_keys = sample_keys
        self.utility_schema = idents.truncate(utility_schema)
        former = utility_schema_renamed_from
        self.utility_schema_renamed_from = None if former is None else idents.truncate(former)
        self._plugins: list[Entry] = []
        self._extensions: list[Extension] = []
        self._extension_plugins: list[Entry] = []
        self.use(*listed(extensions, "Config(extensions=)", "[PostgREST()]"))
        self.register(*listed(plugins, "Config(plugins=)", "[CreatedAtPlugin()]"))

    def __repr__(self) -> str:
        names = [type(plugin).__name__ for plugin in self.plugins]
        used = [extension.name for extension in self.extensions]
        return f"Config(plugins={names}, extensions={used})"

    @property
    def plugins(self) -> list[Plugin]:
        """The plugins that were registered directly."""
        return [entry.plugin for entry in self._plugins]

    @property
    def extensions(self) -> list[Extension]:
        """The extensions in use, in the order of their dependencies."""
        return list(self._extensions)

    @property
    def all_plugins(self) -> list[Plugin]:
        """Plugins of the extensions first, then those that were registered directly."""
        return [entry.plugin for entry in self.entries()]

    def entries(self) -> list[Entry]:
        """Give all plugins together with where they come from."""
        return [*self._extension_plugins, *self._plugins]

    def use(self, *extensions: Extension) -> Config:
        """Take extensions into use.

        Args:
            *extensions: Extensions; those that depend on each other go into one call, or the
                one that is needed goes first.

        Returns:
            The configuration itself, for chaining.

        Raises:
            ExtensionError: They do not fit together; the configuration is unchanged.
        """
        arranged = arrange([*self._extensions, *extensions])
        plugins = [
            entry
            for extension in arranged
            for entry in enter(extension.plugins, f"extension {extension.name!r} plugins")
        ]
        self._extensions, self._extension_plugins = arranged, plugins
        return self

    def discover(self, *names: str) -> Config:
        """Take extensions of installed packages into use, but those that are in use already.

        Args:
            *names: Entry points in the group `pgflow.extensions`; without names all that are
                installed. What they depend on comes along.

        Returns:
            The configuration itself, for chaining.

        Raises:
            ExtensionError: One is not installed or cannot be loaded, or they do not fit together;
                the configuration is unchanged.
        """
        # Looking for entry points takes time, which only those who ask for them pay.
        from pgflow.resolve.discovery import installed_extensions

        found = installed_extensions(names or None)
        used = {extension.name for extension in self._extensions}
        return self.use(*(each for each in found if each.name not in used))

    def register(self, *plugins: PluginSource) -> Config:
        """Add plugins for every factory.

        Args:
            *plugins: Plugin instances, classes, or callables that make one.

        Returns:
            The configuration itself, for chaining.
        """
        self._plugins += enter(plugins, "config.plugins", start=len(self._plugins))
        return self

    def attach(self, metadata: MetaData) -> Config:
        """Make this the configuration of every factory on a MetaData.

        Args:
            metadata: The MetaData; factories on it that are given no `config=` use this one.

        Returns:
            The configuration itself, for chaining.

        Raises:
            ConfigConflict: The MetaData carries another configuration.
        """
        present: object = metadata.info.setdefault(_INFO_KEY, self)
        if present is not self:
            raise ConfigConflict(
                f"The MetaData already carries {present!r}; {self!r} cannot take its place, since "
                "factories may have used it. Change the first one with use() and register()."
            )
        return self

    @classmethod
    def of(cls, metadata: MetaData) -> Config:
        """Find the configuration that is attached to a MetaData.

        Args:
            metadata: Any MetaData.

        Returns:
            Its configuration, or an empty one that is not attached.
        """
        present = metadata.info.get(_INFO_KEY)
        return present if isinstance(present, Config) else cls()

    def configure_metadata(self, metadata: MetaData) -> None:
        """Let every extension put its own objects onto a MetaData, in order.

        Args:
            metadata: The MetaData that Alembic or `create_all` is about to read.
        """
        for extension in self._extensions:
            try:
                extension.configure_metadata(metadata)
            except Exception as error:
                error.add_note(f"raised by configure_metadata of extension {extension.name!r}")
                raise


def check_config(given: object, owner: str) -> None:
    """Refuse what is given as a configuration and is none.

    Args:
        given: What `config=` says, or None.
        owner: Who was given it, for the message.

    Raises:
        NotAConfig: It is no `Config`.
    """
    if given is not None and not isinstance(given, Config):
        raise NotAConfig(
            f"{owner}: config={given!r} is no configuration: give a pgflow.Config(...)."
        )
