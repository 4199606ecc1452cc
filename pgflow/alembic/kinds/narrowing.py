"""Which changes of type make other values of what rows hold, without an error."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

_INTEGERS = {"smallint", "integer", "bigint"}
_FLOATS = {"real", "double precision"}
_STAMPS = {"timestamp without time zone", "timestamp with time zone"}
_TIMES = {"time without time zone", "time with time zone"}

#: How many digits a float keeps of any number, and how many a number may have.
_DIGITS = {"smallint": 5, "integer": 10, "bigint": 19, "real": 6, "double precision": 15}

#: How many digits a fraction of a second has where nothing says so.
_SECONDS = 6


def loses(old: str, old_size: Sequence[int], new: str, new_size: Sequence[int]) -> bool:
    """Tell whether values are rounded or cut off where PostgreSQL raises no error.

    Args:
        old: The type, without its size.
        old_size: The numbers in brackets behind it.
        new: The new type, without its size.
        new_size: The numbers in brackets behind that.
    """
    if _is_number(old) and _is_number(new):
        return _rounds(old, old_size, new, new_size)
    if old in _STAMPS and (new == "date" or new in _TIMES):
        return True
    if (old, new) in {("time with time zone", "time without time zone"), ("inet", "cidr")}:
        return True
    if old.startswith("interval") and new.startswith("interval ") and old != new:
        return True
    if _counts_seconds(old) and _counts_seconds(new):
        return _fraction(new_size) < _fraction(old_size)
    return False


def _is_number(name: str) -> bool:
    return name == "numeric" or name in _INTEGERS or name in _FLOATS


def _rounds(old: str, old_size: Sequence[int], new: str, new_size: Sequence[int]) -> bool:
    if old == new and old != "numeric":
        return False
    if new in _INTEGERS:
        return _scale(old, old_size) > 0
    if new in _FLOATS:
        return old == "numeric" or _DIGITS[old] > _DIGITS[new]
    if old in _FLOATS:
        # The server takes over the digits that a float surely has, not those it happens to have.
        return True
    return _scale(new, new_size) < _scale(old, old_size)


def _scale(name: str, size: Sequence[int]) -> float:
    """Return how many digits there may be behind the point."""
    if name in _INTEGERS:
        return 0
    if name in _FLOATS or not size:
        return inf
    return size[1] if len(size) > 1 else 0


def _counts_seconds(name: str) -> bool:
    return name in _STAMPS or name in _TIMES or name.startswith("interval")


def _fraction(size: Sequence[int]) -> int:
    return size[0] if size else _SECONDS
