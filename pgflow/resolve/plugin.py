"""The base class of plugins, and the decorators by which they say what they read and write.

Decorators only record. Nothing is checked against other plugins before a factory has its whole
list; then `resolve.order` does it, before the first plugin runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pgflow.errors import PluginError, PostgresTooOld
from pgflow.resolve.declaration import (
    Declaration,
    Dynamic,
    KeyLike,
    MinPGVersion,
    Neighbour,
    OptionalKey,
    Requirement,
    check_declaration,
    dynamic_value,
    init_parameters,
    optional,
    several,
    unique,
)

if TYPE_CHECKING:
    from pgflow.resolve.context import FactoryContext

__all__ = [
    "Dynamic",
    "MinPGVersion",
    "Plugin",
    "after",
    "before",
    "check_pg_version",
    "contributes",
    "min_pg_version",
    "optional",
    "overrides",
    "produces",
    "requires",
    "singleton",
]

C = TypeVar("C", bound="type[Plugin]")


class Plugin:
    """A small step of a factory: reads some keys of the context, writes others.

    Subclass it, say with `@produces`, `@requires` and their siblings what `run` reads and
    writes, and put an instance into a factory's plugin list. An instance may serve many
    factories: what belongs to one of them goes into the context, never into `self`.
    """

    #: Keys whose value this plugin replaces, as a class attribute or by `@overrides`.
    overrides: ClassVar[Any] = ()
    #: Plugin classes or names that run later, as a class attribute or by `@before`.
    before: ClassVar[Any] = ()
    #: Plugin classes or names that run earlier, as a class attribute or by `@after`.
    after: ClassVar[Any] = ()
    #: The group of which one factory takes one plugin only; set by `@singleton`.
    singleton_group: ClassVar[str | None] = None
    #: By required key: what to do where nothing produces it, if that is not to add a plugin.
    remedies: ClassVar[Mapping[str, str]] = {}
    #: The oldest major version of PostgreSQL that it works with; set by `MinPGVersion`.
    min_pg_version: int | None = None

    _declared: ClassVar[Declaration] = Declaration()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Unite what the parent classes declared with the class's own attributes."""
        super().__init_subclass__(**kwargs)
        inherited = Declaration()
        for parent in cls.__bases__:
            inherited |= getattr(parent, "_declared", Declaration())
        _declare(cls, _from_attributes(cls), inherited)

    def run(self, ctx: FactoryContext) -> None:
        """Do the plugin's work: read from the context, and write to it.

        Args:
            ctx: The factory's context. It holds every required key when `run` is called.
        """
        raise PluginError(
            f"{type(self).__name__} (in {ctx.tablename!r}) does nothing: define run(self, ctx).",
            plugin=type(self).__name__,
        )

    def resolved_produces(self) -> list[str]:
        """Name the keys that this instance writes."""
        return self._resolved(self._declared.produces)

    def resolved_requires(self) -> list[str]:
        """Name the keys that this instance cannot do without."""
        return self._resolved(self._declared.requires)

    def resolved_optional(self) -> list[str]:
        """Name the keys that this instance reads if somebody produces them."""
        return self._resolved(self._declared.optional, absent_is_fine=True)

    def resolved_contributes(self) -> list[str]:
        """Name the collecting keys that this instance adds to."""
        return self._resolved(self._declared.contributes)

    def resolved_overrides(self) -> list[str]:
        """Name the keys whose value this instance replaces."""
        return self._resolved(self._declared.overrides)

    def _resolved(self, keys: Iterable[KeyLike], *, absent_is_fine: bool = False) -> list[str]:
        found: list[str] = []
        for key in keys:
            value = dynamic_value(self, key)
            if value is not None:
                found.append(value)
            elif not absent_is_fine:
                raise PluginError(
                    f"{type(self).__name__} needs a key in its attribute "
                    f"{getattr(key, 'attr', key)!r}, which is None. Give one, or declare it as "
                    "requires(optional(Dynamic(...))).",
                    plugin=type(self).__name__,
                )
        return found


def _from_attributes(cls: type[Plugin]) -> Declaration:
    own = cls.__dict__
    return Declaration(
        overrides=several(own.get("overrides", ())),
        before=several(own.get("before", ())),
        after=several(own.get("after", ())),
        min_pg_version=own.get("min_pg_version"),
    )


def _declare(cls: type[Plugin], more: Declaration, known: Declaration | None = None) -> None:
    """Add to what a class has declared; what is new is checked against the class."""
    check_declaration(more, cls)
    cls._declared = (cls._declared if known is None else known) | more
    cls.min_pg_version = cls._declared.min_pg_version


def _recorder(name: str, declaration: Declaration) -> Callable[[C], C]:
    def record(cls: C) -> C:
        if not (isinstance(cls, type) and issubclass(cls, Plugin)):
            raise TypeError(f"@{name} decorates subclasses of Plugin, not {cls!r}")
        _declare(cls, declaration)
        return cls

    return record


def produces(*keys: KeyLike) -> Callable[[C], C]:
    """Declare the keys that `run` writes.

    Args:
        *keys: Keys, plain strings, or `Dynamic` references to attributes that hold them.

    Returns:
        A class decorator that records them beside those of the parent classes.
    """
    return _recorder("produces", Declaration(produces=keys))


def requires(*needs: Requirement) -> Callable[[C], C]:
    """Declare the keys that `run` reads; the plugin runs after whoever writes them.

    Args:
        *needs: Keys, plain strings, `Dynamic` references, `optional(key)` for what may be
            absent, and `MinPGVersion(18)` for a version of the server.

    Returns:
        A class decorator that records them beside those of the parent classes.
    """
    versions = [need.version for need in needs if isinstance(need, MinPGVersion)]
    return _recorder(
        "requires",
        Declaration(
            requires=tuple(n for n in needs if not isinstance(n, MinPGVersion | OptionalKey)),
            optional=tuple(n.key for n in needs if isinstance(n, OptionalKey)),
            min_pg_version=max(versions, default=None),
        ),
    )


def contributes(*keys: KeyLike) -> Callable[[C], C]:
    """Declare the collecting keys that `run` adds to by `ctx.contribute`.

    Whoever requires such a key runs after every plugin that contributes to it.

    Args:
        *keys: Keys made with `collecting=True`, plain strings, or `Dynamic` references.

    Returns:
        A class decorator that records them beside those of the parent classes.
    """
    return _recorder("contributes", Declaration(contributes=keys))


def overrides(*keys: KeyLike) -> Callable[[C], C]:
    """Declare the keys whose value `run` replaces.

    The plugin runs after the key's producer and before everybody else who reads the key. It
    finds the first value in the context and sets its own in its place.

    Args:
        *keys: Keys, plain strings, or `Dynamic` references.

    Returns:
        A class decorator that records them beside those of the parent classes.
    """
    return _recorder("overrides", Declaration(overrides=keys))


def before(*plugins: Neighbour) -> Callable[[C], C]:
    """Declare that the plugin runs before others, where no key says so.

    Args:
        *plugins: Plugin classes, which stand for their subclasses too, or class names. Those
            that a factory does not have are ignored.

    Returns:
        A class decorator that records them beside those of the parent classes.
    """
    return _recorder("before", Declaration(before=plugins))


def after(*plugins: Neighbour) -> Callable[[C], C]:
    """Declare that the plugin runs after others, where no key says so.

    Args:
        *plugins: Plugin classes, which stand for their subclasses too, or class names. Those
            that a factory does not have are ignored.

    Returns:
        A class decorator that records them beside those of the parent classes.
    """
    return _recorder("after", Declaration(after=plugins))


def singleton(group: str) -> Callable[[C], C]:
    """Declare that a factory takes at most one plugin of a group.

    Args:
        group: Any name; pgflow's own are written `"__pk__"`, `"__table__"`.

    Returns:
        A class decorator that records the group; on a subclass it replaces the parent's.
    """
    if not isinstance(group, str) or not group:
        raise TypeError(
            f'@singleton takes the name of a group, as in @singleton("__pk__"), not {group!r}'
        )

    def record(cls: C) -> C:
        if cls.__dict__.get("singleton_group") is not None:
            raise TypeError(f"{cls.__name__} is in group {cls.singleton_group!r} already")
        cls.singleton_group = group
        return cls

    return record


def min_pg_version(plugins: Iterable[Plugin]) -> int | None:
    """Find the oldest major version of PostgreSQL that serves all plugins.

    Args:
        plugins: Any plugins.

    Returns:
        The highest of their minimum versions, or None if none of them minds.
    """
    versions = (plugin.min_pg_version for plugin in plugins)
    return max((version for version in versions if version is not None), default=None)


def check_pg_version(server_version: int | tuple[int, ...], plugins: Iterable[Plugin]) -> None:
    """Refuse a server that is too old for a plugin, before it refuses the SQL.

    Args:
        server_version: The server's major version, SQLAlchemy's
            `dialect.server_version_info`, or the number that libpq gives (180004).
        plugins: The plugins of a factory.

    Raises:
        PostgresTooOld: A plugin needs a newer server; every such plugin is named.
    """
    major = server_version if isinstance(server_version, int) else server_version[0]
    major = major // 10000 if major >= 10000 else major
    wanting = {type(p).__name__: p.min_pg_version for p in plugins if _too_old(major, p)}
    if wanting:
        listed = ", ".join(f"{name} needs {version}" for name, version in wanting.items())
        raise PostgresTooOld(
            f"The server is PostgreSQL {major}, which is too old: {listed}. "
            "Upgrade the server, or use other plugins.",
            required=max(version for version in wanting.values() if version is not None),
            server_version=major,
            plugins=tuple(wanting),
        )


def _too_old(major: int, plugin: Plugin) -> bool:
    return plugin.min_pg_version is not None and plugin.min_pg_version > major


def known_producers(key: str) -> list[str]:
    """Name the plugin classes in this process that would produce a key, pgflow's own first.

    Args:
        key: Name of a context key.

    Returns:
        Class names, without repetition.
    """
    found = [cls for cls in _subclasses(Plugin) if key in _usual_keys(cls)]
    found.sort(key=lambda cls: not cls.__module__.startswith("pgflow."))
    return list(unique(cls.__name__ for cls in found))


def _subclasses(cls: type[Plugin]) -> Iterator[type[Plugin]]:
    for child in cls.__subclasses__():
        yield child
        yield from _subclasses(child)


def _usual_keys(cls: type[Plugin]) -> Iterator[object]:
    """Give the keys that a plugin of this class produces with its default arguments."""
    for key in cls._declared.produces:
        if isinstance(key, Dynamic):
            yield init_parameters(cls)[key.attr].default
        else:
            yield key
