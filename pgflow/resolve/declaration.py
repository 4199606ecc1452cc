"""What a plugin class says about itself: the keys it reads and writes, and who comes first."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeAlias, TypeVar

from pgflow.errors import PluginError
from pgflow.resolve.keys import Key, is_collecting

V = TypeVar("V")


@dataclass(frozen=True)
class Dynamic:
    """A key whose name is known when the plugin is constructed.

    Args:
        attr: Name of an `__init__` parameter that the plugin keeps as an attribute; the
            attribute holds the key.
    """

    attr: str


@dataclass(frozen=True)
class MinPGVersion:
    """The oldest PostgreSQL that a plugin works with; stands inside `@requires`.

    Args:
        version: A major version such as 18.
    """

    version: int

    def __post_init__(self) -> None:
        if isinstance(self.version, bool) or not isinstance(self.version, int) or self.version < 1:
            raise TypeError(f"MinPGVersion takes a major version such as 18, not {self.version!r}")


@dataclass(frozen=True)
class OptionalKey:
    """A key that is read if somebody produces it; made by `optional()`."""

    key: str | Dynamic


def optional(key: str | Dynamic) -> OptionalKey:
    """Mark a key inside `@requires` as one that may be absent.

    Where a plugin produces it, the reader runs after that plugin; where none does, the reader
    runs without it, and asks with `ctx.get(key)`.

    Args:
        key: A key, a plain string, or a `Dynamic`.

    Returns:
        The marker.
    """
    check_key(key, "optional()")
    return OptionalKey(key)


#: What `@produces`, `@contributes` and `@overrides` take.
KeyLike: TypeAlias = "str | Dynamic"
#: What `@requires` takes.
Requirement: TypeAlias = "str | Dynamic | OptionalKey | MinPGVersion"
#: What `@before` and `@after` take: a plugin class (and its subclasses), or a class name.
Neighbour: TypeAlias = "type[Any] | str"


@dataclass(frozen=True)
class Declaration:
    """Everything that decorators and class attributes of a plugin class have said.

    Attributes:
        produces: Keys that it writes.
        requires: Keys that it reads.
        optional: Keys that it reads if they are there.
        contributes: Collecting keys that it adds to.
        overrides: Keys that it replaces after their producer.
        before: Plugins that must run later.
        after: Plugins that must run earlier.
        min_pg_version: The oldest major version of PostgreSQL, if it matters.
    """

    produces: tuple[KeyLike, ...] = ()
    requires: tuple[KeyLike, ...] = ()
    optional: tuple[KeyLike, ...] = ()
    contributes: tuple[KeyLike, ...] = ()
    overrides: tuple[KeyLike, ...] = ()
    before: tuple[Neighbour, ...] = ()
    after: tuple[Neighbour, ...] = ()
    min_pg_version: int | None = field(default=None)

    def __or__(self, other: Declaration) -> Declaration:
        """Unite two declarations: keys in order without repetition, the higher version."""
        lists = {
            item.name: unique((*getattr(self, item.name), *getattr(other, item.name)))
            for item in fields(self)
            if item.name != "min_pg_version"
        }
        versions = [v for v in (self.min_pg_version, other.min_pg_version) if v is not None]
        return replace(self, **lists, min_pg_version=max(versions, default=None))

    def mentioned(self) -> Iterator[KeyLike]:
        """Give every key that is mentioned anywhere."""
        for item in ("produces", "requires", "optional", "contributes", "overrides"):
            yield from getattr(self, item)


def unique(items: Iterable[V]) -> tuple[V, ...]:
    """Drop repetitions, keeping the first of each."""
    return tuple(dict.fromkeys(items))


def several(value: object) -> tuple[Any, ...]:
    """Read a class attribute that holds one thing or a sequence of them."""
    return tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)


def check_key(key: object, where: str) -> None:
    """Refuse what is neither a key, a non-empty string nor a `Dynamic`."""
    if not isinstance(key, str | Dynamic) or not key:
        raise TypeError(f"{where} takes keys, non-empty strings and Dynamic(...), not {key!r}")


def check_declaration(declared: Declaration, cls: type[Any]) -> None:
    """Refuse at class creation what could never be resolved.

    Args:
        declared: What was just said about the class.
        cls: The plugin class.

    Raises:
        TypeError: Something is no key, a `Dynamic` names no `__init__` parameter, or a
            collecting key is produced (or the other way round).
    """
    for key in declared.mentioned():
        check_key(key, cls.__name__)
        if isinstance(key, Dynamic):
            _check_dynamic(key, cls)
    for key in (*declared.produces, *declared.overrides):
        if isinstance(key, str) and is_collecting(key):
            raise TypeError(
                f"{cls.__name__} cannot produce {str(key)!r}, which collects from many plugins: "
                "use @contributes"
            )
    for key in declared.contributes:
        if isinstance(key, Key) and not key.collecting:
            raise TypeError(
                f"{cls.__name__} cannot contribute to {str(key)!r}, which holds one value: use "
                "@produces, or declare the Key with collecting=True"
            )
    for neighbour in (*declared.before, *declared.after):
        if not isinstance(neighbour, str | type):
            raise TypeError(
                f"{cls.__name__}: before and after take plugin classes or names of them, "
                f"not {neighbour!r}"
            )


def _check_dynamic(key: Dynamic, cls: type[Any]) -> None:
    known = init_parameters(cls)
    if key.attr not in known:
        names = ", ".join(known) or "none"
        raise TypeError(
            f"Dynamic({key.attr!r}) names no __init__ parameter of {cls.__name__} (it has: "
            f"{names}). Add the parameter and keep it as self.{key.attr}; a @dataclass decorator "
            "stands below the plugin's decorators."
        )


def init_parameters(cls: type[Any]) -> dict[str, inspect.Parameter]:
    """Collect the parameters of a class's `__init__` and of those that it inherits.

    Args:
        cls: Any class.

    Returns:
        Parameters by name, the class's own first.
    """
    found: dict[str, inspect.Parameter] = {}
    for owner in cls.__mro__[:-1]:
        init = owner.__dict__.get("__init__")
        if init is not None:
            for name, parameter in list(inspect.signature(init).parameters.items())[1:]:
                found.setdefault(name, parameter)
    return found


def dynamic_value(plugin: object, key: KeyLike) -> str | None:
    """Turn a declared key into the real one.

    Args:
        plugin: The plugin instance.
        key: A key, or a `Dynamic` that points to it.

    Returns:
        The key, or None where the attribute holds None.

    Raises:
        PluginError: The attribute does not exist or holds no key.
    """
    if not isinstance(key, Dynamic):
        return key
    name = type(plugin).__name__
    value = getattr(plugin, key.attr, "")
    if value is None or (isinstance(value, str) and value):
        return value
    raise PluginError(
        f"{name} declares Dynamic({key.attr!r}), but its attribute {key.attr!r} holds {value!r}. "
        f"Keep the __init__ argument as self.{key.attr}: a Key or a non-empty string.",
        plugin=name,
    )
