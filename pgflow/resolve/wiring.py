"""Plugins with their origin and their keys worked out: what ordering and checking look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeAlias

from pgflow.errors import NotAPlugin
from pgflow.resolve.declaration import Neighbour, unique
from pgflow.resolve.keys import Key, is_collecting
from pgflow.resolve.plugin import Plugin

#: What plugin lists take: an instance, a class, or a callable that makes an instance.
PluginSource: TypeAlias = "Plugin | type[Plugin] | Callable[[], Plugin]"


@dataclass(frozen=True, eq=False)
class Wires:
    """Everything about a plugin that its place in the order depends on.

    Plugins that say the same of themselves share one.

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
        keys: Every key that it mentions, typed where it is declared so.
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
    keys: tuple[str, ...]
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


@dataclass(eq=False, slots=True)
class Entry:
    """A plugin in a list, and where it came from.

    Attributes:
        plugin: The instance.
        origin: The list and position, such as `extra_plugins[1]`.
    """

    plugin: Plugin
    origin: str
    _wires: Wires | None = field(default=None, init=False, repr=False)

    @property
    def name(self) -> str:
        """The class name, by which messages call the plugin."""
        return type(self.plugin).__name__

    @property
    def wires(self) -> Wires:
        """The plugin's keys, worked out when they are first needed."""
        if self._wires is None:
            self._wires = _wires_of(self.plugin)
        return self._wires


#: What was worked out before: most factories of a project have the same plugins.
_known: dict[object, Wires] = {}
_KNOWN_AT_MOST = 1024


def _identity(key: str) -> object:
    """What tells a key from others: typed ones are equal by their names."""
    return (key, key.type, key.collecting) if isinstance(key, Key) else key


def _wires_of(plugin: Plugin) -> Wires:
    named = (
        plugin.resolved_produces(),
        plugin.resolved_requires(),
        plugin.resolved_optional(),
        plugin.resolved_contributes(),
        plugin.resolved_overrides(),
    )
    declared, group = plugin._declared, plugin.singleton_group
    told = tuple([tuple(map(_identity, keys)) for keys in named])
    signature = (type(plugin), told, declared.before, declared.after, group)
    found = _known.get(signature)
    if found is None:
        keys = tuple(chain.from_iterable(named))
        produces, requires, optional, contributes, overrides = map(unique, named)
        if len(_known) >= _KNOWN_AT_MOST:
            _known.clear()
        found = _known[signature] = Wires(
            type(plugin),
            produces,
            requires,
            optional,
            contributes,
            overrides,
            declared.before,
            declared.after,
            group,
            keys,
            frozenset(str(key) for key in keys if is_collecting(key)),
        )
    return found


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
