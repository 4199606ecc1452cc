"""Plugins with their origin and their keys worked out: what ordering and checking look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from pgflow.errors import NotAPlugin
from pgflow.resolve.declaration import Neighbour, unique
from pgflow.resolve.keys import is_collecting
from pgflow.resolve.plugin import Plugin

#: What plugin lists take: an instance, a class, or a callable that makes an instance.
PluginSource: TypeAlias = "Plugin | type[Plugin] | Callable[[], Plugin]"


@dataclass(frozen=True)
class Wires:
    """Everything about a plugin that its place in the order depends on.

    Attributes:
        cls: The plugin's class.
        produces: Keys that it writes.
        requires: Keys that it cannot do without.
        optional: Keys that it reads if they are there.
        contributes: Collecting keys that it adds to.
        overrides: Keys that it replaces.
        before: Plugins that must run later.
        after: Plugins that must run earlier.
        group: Its singleton group, or None.
        collecting: Those of its keys that say themselves that they collect.
    """

    cls: type[Plugin]
    produces: tuple[str, ...]
    requires: tuple[str, ...]
    optional: tuple[str, ...]
    contributes: tuple[str, ...]
    overrides: tuple[str, ...]
    before: tuple[Neighbour, ...]
    after: tuple[Neighbour, ...]
    group: str | None
    collecting: frozenset[str]

    @property
    def reads(self) -> tuple[str, ...]:
        """Every key that the plugin may read, whether it must be there or not."""
        return unique((*self.requires, *self.optional))

    def answers_to(self, neighbour: Neighbour) -> bool:
        """Tell whether `before` or `after` mean this plugin by a class or a name."""
        if isinstance(neighbour, str):
            return any(parent.__name__ == neighbour for parent in self.cls.__mro__)
        return issubclass(self.cls, neighbour)


@dataclass(frozen=True, eq=False)
class Entry:
    """A plugin in a list, and where it came from.

    Attributes:
        plugin: The instance.
        origin: The list and position, such as `extra_plugins[1]`.
    """

    plugin: Plugin
    origin: str

    @property
    def name(self) -> str:
        """The class name, by which messages call the plugin."""
        return type(self.plugin).__name__

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Every key that the plugin mentions, typed where it is declared so."""
        return tuple(key for keys in self._resolved for key in keys)

    @cached_property
    def _resolved(self) -> tuple[list[str], list[str], list[str], list[str], list[str]]:
        plugin = self.plugin
        return (
            plugin.resolved_produces(),
            plugin.resolved_requires(),
            plugin.resolved_optional(),
            plugin.resolved_contributes(),
            plugin.resolved_overrides(),
        )

    @cached_property
    def wires(self) -> Wires:
        """The plugin's keys, worked out when they are first needed."""
        declared, plugin = self.plugin._declared, self.plugin
        produces, requires, optional, contributes, overrides = self._resolved
        return Wires(
            type(plugin),
            unique(produces),
            unique(requires),
            unique(optional),
            unique(contributes),
            unique(overrides),
            declared.before,
            declared.after,
            plugin.singleton_group,
            frozenset(str(key) for key in self.keys if is_collecting(key)),
        )


def enter(sources: Iterable[PluginSource], where: str, *, start: int = 0) -> list[Entry]:
    """Turn a plugin list as users write it into entries.

    Args:
        sources: Instances, classes that need no arguments, or callables that make an instance.
        where: Name of the list, for messages.
        start: Index of the first one in that list.

    Returns:
        One entry for each.

    Raises:
        NotAPlugin: Something in the list is none of these, or is not made without arguments.
    """
    if isinstance(sources, Plugin | type | str) or not isinstance(sources, Iterable):
        raise NotAPlugin(f"{where} is {_single(sources, where)}.", origin=where)
    return [enter_one(source, f"{where}[{index}]") for index, source in enumerate(sources, start)]


def enter_one(source: PluginSource, origin: str) -> Entry:
    """Turn one member of a plugin list into an entry.

    Args:
        source: An instance, a class that needs no arguments, or a callable that makes one.
        origin: Where it comes from, for messages.

    Returns:
        The entry.

    Raises:
        NotAPlugin: It is none of these, or is not made without arguments.
    """
    return Entry(_instance(source, origin), origin)


def _single(source: object, where: str) -> str:
    """What stands in the place of a list, and the list that was meant."""
    if isinstance(source, type) and issubclass(source, Plugin):
        return f"{source.__name__}: give a list of plugins: {where}=[{source.__name__}]"
    if isinstance(source, Plugin):
        kind = type(source).__name__
        return f"a {kind}: give a list of plugins: {where}=[{kind}(...)]"
    return f"{source!r}: give a list of plugins"


def _instance(source: PluginSource, origin: str) -> Plugin:
    plugin: object = source
    if not isinstance(source, Plugin) and callable(source):
        try:
            plugin = source()
        except TypeError as error:
            raise NotAPlugin(
                f"{origin} is {source!r}, which cannot be called without arguments ({error}). "
                "Give an instance.",
                origin=origin,
            ) from error
    if not isinstance(plugin, Plugin):
        made = "" if plugin is source else f", which {source!r} made,"
        raise NotAPlugin(
            f"{origin} is {plugin!r}{made} and no plugin. Give an instance of a subclass of "
            "Plugin, such a class, or a callable without arguments that makes one.",
            origin=origin,
        )
    if type(plugin).run is Plugin.run:
        raise NotAPlugin(
            f"{type(plugin).__name__} ({origin}) has no run method: define run(self, ctx).",
            plugin=type(plugin).__name__,
            origin=origin,
        )
    return plugin
