"""How values of one type become another: whether the server asks for a USING, whether it rewrites.

What the server converts by itself is left to it: it refuses values that do not fit, where an
explicit cast would cut them off.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pgflow import idents
from pgflow.alembic.entity import Entity
from pgflow.alembic.kinds.narrowing import loses
from pgflow.alembic.snapshot import Snapshot

_TYPE = re.compile(
    r"(?P<base>[^(\[]+?)(?:\((?P<size>[-0-9,]+)\))?(?P<rest> with(?:out)? time zone)?"
    r"(?P<array>(?:\[\])*)"
)

#: Types between which the server converts by itself when a column changes (assignment casts).
_FAMILIES = (
    {"smallint", "integer", "bigint", "numeric", "real", "double precision"},
    {"date", "timestamp without time zone", "timestamp with time zone"},
    {"time without time zone", "time with time zone"},
    {"bit", "bit varying"},
    {"json", "jsonb"},
    {"inet", "cidr"},
    {"character varying", "character", "text", "name"},
)
_STRINGS = {"character varying", "character", "text"}

#: Types whose values the server compares with each other over one index.
_COMPARED = (
    {"smallint", "integer", "bigint"},
    {"real", "double precision"},
    {"character varying", "text", "name"},
    {"date", "timestamp without time zone", "timestamp with time zone"},
)

#: Types whose values come from others, and become others, by the session's time zone.
_ZONED = {"timestamp with time zone", "time with time zone"}
_UTC_ALIKE = {"timestamp without time zone", "timestamp with time zone"}

#: Types whose values stay as they are when the number in brackets grows or goes.
_GROWING = {
    "character varying",
    "bit varying",
    "timestamp without time zone",
    "timestamp with time zone",
    "time without time zone",
    "time with time zone",
    "interval",
}
#: Types whose values are stored alike.
_ALIKE = {
    ("character varying", "text"),
    ("text", "character varying"),
    ("cidr", "inet"),
}


@dataclass(frozen=True, slots=True)
class Conversion:
    """How a column's values get its new type.

    Attributes:
        using: The expression for USING; None if the server needs none.
        rewrites: Whether the table is written anew.
        zoned: Whether the session's time zone says what the values become.
        loses: Whether values become others without an error, such as rounded ones.
    """

    using: str | None
    rewrites: bool
    zoned: bool = False
    loses: bool = False


@dataclass(frozen=True, slots=True)
class _Shape:
    base: str
    size: tuple[int, ...]
    array: str


def conversion(old: str, new: str, column: str, worlds: tuple[Snapshot, Snapshot]) -> Conversion:
    """Find how values of one type become values of another.

    Args:
        old: The type as the server prints it.
        new: The new type.
        column: The quoted column.
        worlds: The database as it is and as it should be, which know their enums and domains.
    """
    before, after = _shape(_plain(old, worlds[0])), _shape(_plain(new, worlds[1]))
    rewrites = not (_stays(before, after) and not _checked(new, worlds[1]))
    zoned = before.base != after.base and not _ZONED.isdisjoint((before.base, after.base))
    lost = loses(before.base, before.size, after.base, after.size)
    if _assigned(before, after):
        return Conversion(None, rewrites, zoned, lost)
    if _is_enum(before.base, worlds[0]) and _is_enum(after.base, worlds[1]):
        return Conversion(f"{column}::text{after.array}::{new}", rewrites=True)
    return Conversion(f"{column}::{new}", rewrites, zoned, lost)


def are_compared(old: str, new: str, worlds: tuple[Snapshot, Snapshot]) -> bool:
    """Tell whether a foreign key can hold while one of its columns already has its new type.

    Args:
        old: The type as the server prints it.
        new: The new type.
        worlds: The database as it is and as it should be, which know their domains.
    """
    before, after = _shape(_plain(old, worlds[0])), _shape(_plain(new, worlds[1]))
    if before.array != after.array:
        return False
    return before.base == after.base or any(
        before.base in family and after.base in family for family in _COMPARED
    )


def _shape(name: str) -> _Shape:
    found = _TYPE.fullmatch(name)
    if found is None:
        return _Shape(name, (), "")
    size = tuple(int(part) for part in (found["size"] or "").split(",") if part)
    return _Shape(found["base"] + (found["rest"] or ""), size, found["array"])


def _assigned(old: _Shape, new: _Shape) -> bool:
    if old.base == new.base:
        return old.array == new.array
    if new.base in _STRINGS and not new.array:
        return True
    alike = any(old.base in family and new.base in family for family in _FAMILIES)
    return alike and old.array == new.array


def _stays(old: _Shape, new: _Shape) -> bool:
    if old == new:
        return True
    if old.array or new.array:
        return False
    if (old.base, new.base) in _ALIKE:
        return not new.size
    if {old.base, new.base} == _UTC_ALIKE:
        # They are the same bytes where the session's time zone is UTC.
        return not new.size
    if old.base != new.base:
        return False
    if not new.size:
        return old.base in {*_GROWING, "numeric"}
    if not old.size:
        return False
    if old.base == "numeric":
        return new.size[0] >= old.size[0] and new.size[1:] == old.size[1:]
    return old.base in _GROWING and new.size[0] >= old.size[0]


def _plain(name: str, world: Snapshot) -> str:
    """Return the type below a domain; any other type as it is."""
    domain = _named(name, "domain", world)
    return name if domain is None else _plain(str(domain.facts["type"]), world)


def _checked(name: str, world: Snapshot) -> bool:
    return _named(name, "domain", world) is not None


def _is_enum(name: str, world: Snapshot) -> bool:
    return _named(name, "enum", world) is not None


def _named(name: str, kind: str, world: Snapshot) -> Entity | None:
    for entity in world.of_kind(kind):
        if idents.qualify(entity.id.schema, entity.id.name or "") == name:
            return entity
    return None
