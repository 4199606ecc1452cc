"""Python values into the text that PostgreSQL reads for a type, without loss or guessing.

A value that would be cut, rounded to another meaning or read by a session's settings is refused
with the reason; what a type cannot hold the server itself refuses, by row and column.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any
from uuid import UUID

from psycopg.types.range import Range

from pgflow.run.sources import instants
from pgflow.run.sources.documents import document
from pgflow.run.sources.families import element, family

#: More digits than any whole number has here; to write 1e999999999 out would take hours.
_LONGEST = 1000

#: Turns a value into text.
Writer = Callable[[Any], str]


def writers(kind: str, zone: tzinfo | None = None, *, documents: bool = False) -> _Writers:
    """Find out how values are written for a type.

    Args:
        kind: The type's name, as `format_type` writes it.
        zone: What times without a zone are meant in.
        documents: Whether text that comes for a JSON column is a value, not JSON already.

    Returns:
        A mapping from Python types to writers.
    """
    group = family(kind)
    if group == "array":
        inner = writers(element(kind), zone, documents=documents)
        return _Writers(kind, {list: partial(_array, inner), tuple: partial(_array, inner)} | _TEXT)
    table = _TABLES.get(group)
    if table is not None:
        return _Writers(kind, table)
    if group == "json":
        return _Writers(kind, {object: document} if documents else {str: str, object: document})
    return _Writers(kind, _with_zone(group, zone))


class _Writers:
    """How values of each Python type are written for one type of the server."""

    def __init__(self, kind: str, table: dict[type, Writer]) -> None:
        self.kind = kind
        self._table = table
        self._found: dict[type, Writer] = {}

    def find(self, kind: type) -> Writer:
        """Return the writer for a Python type; for one that does not fit it refuses every value."""
        found = self._found.get(kind)
        if found is None:
            found = self._found[kind] = self._search(kind)
        return found

    def write(self, value: object) -> str:
        """Write one value."""
        return self.find(type(value))(value)

    def _search(self, kind: type) -> Writer:
        if issubclass(kind, Enum):
            return lambda value: self.write(value.value)
        if kind.__module__ == "numpy" and hasattr(kind, "item"):
            return lambda value: self.write(value.item())
        if kind is not bool or bool in self._table or object in self._table:
            for ancestor in kind.__mro__:
                if ancestor in self._table:
                    return self._table[ancestor]
        return partial(_refuse, f"is {_indefinite(kind)}, which {self.kind} does not take")


def _refuse(reason: str, _value: object) -> str:
    raise ValueError(reason)


def _indefinite(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


# -- numbers --------------------------------------------------------------------------


def _whole_float(value: float) -> str:
    if not value.is_integer():
        raise ValueError("is no whole number")
    return str(int(value))


def _whole_decimal(value: Decimal) -> str:
    if not value.is_finite() or value != value.to_integral_value():
        raise ValueError("is no whole number")
    if value.adjusted() > _LONGEST:
        raise ValueError("is out of range")
    return str(int(value))


def _exact(value: Decimal) -> str:
    if value.is_snan():
        raise ValueError("is a signalling NaN")
    return str(value)


def _float(value: float) -> str:
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return "NaN" if value != value else repr(float(value))


def _float_of_whole(value: int) -> str:
    try:
        same = int(float(value)) == value
    except OverflowError:
        same = False
    if not same:
        raise ValueError("has more digits than a floating-point number keeps")
    return str(value)


_BOOLEANS: dict[object, str] = {0: "f", 1: "t", b"\0": "f", b"\1": "t"}


def _boolean(value: object) -> str:
    found = _BOOLEANS.get(value)
    if found is None:
        raise ValueError("is neither true nor false, nor 0 or 1")
    return found


def _truth(value: object) -> str:
    return "true" if value else "false"


# -- text, bytes ----------------------------------------------------------------------


def _hex(value: bytes | bytearray | memoryview) -> str:
    return "\\x" + value.hex()


def _hex_text(value: str) -> str:
    if not value.startswith("\\x"):
        raise ValueError("is text, and the column holds bytes: give bytes, or text like \\x00ff")
    return value


def _iso(value: Any) -> str:
    return str(value.isoformat())


# -- arrays and ranges ----------------------------------------------------------------


def _array(inner: _Writers, value: Any) -> str:
    """Write a list as PostgreSQL's array literal; NULLs and lists inside are kept."""
    return "{" + ",".join(_element(inner, item) for item in value) + "}"


def _element(inner: _Writers, item: object) -> str:
    if item is None:
        return "NULL"
    if isinstance(item, (list, tuple)):
        return _array(inner, item)
    return _quoted(inner.write(item))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _range(value: Range[Any]) -> str:
    if value.isempty:
        return "empty"
    bounds = value.bounds
    lower, upper = (
        "" if end is None else _quoted(_OTHER_WRITERS.write(end))
        for end in (value.lower, value.upper)
    )
    return f"{bounds[0]}{lower},{upper}{bounds[1]}"


# -- which writer for which Python type -----------------------------------------------

_TEXT: dict[type, Writer] = {str: str}

_READABLE: dict[type, Writer] = {
    str: str,
    bool: _truth,
    int: int.__repr__,
    float: _float,
    Decimal: str,
    datetime: partial(datetime.isoformat, sep=" "),
    date: _iso,
    time: _iso,
    UUID: str,
}

_OTHER: dict[type, Writer] = {
    **_READABLE,
    timedelta: instants.duration,
    Range: _range,
    ipaddress.IPv4Address: str,
    ipaddress.IPv6Address: str,
    ipaddress.IPv4Interface: str,
    ipaddress.IPv6Interface: str,
    ipaddress.IPv4Network: str,
    ipaddress.IPv6Network: str,
}

_TABLES: dict[str, dict[type, Writer]] = {
    "whole": {int: int.__repr__, float: _whole_float, Decimal: _whole_decimal, str: str},
    # Their types read inf and nan.
    "exact": {int: int.__repr__, float: float.__repr__, Decimal: _exact, str: str},
    "float": {int: _float_of_whole, float: float.__repr__, Decimal: _exact, str: str},
    "boolean": {
        bool: "ft".__getitem__,
        int: _boolean,
        float: _boolean,
        Decimal: _boolean,
        bytes: _boolean,
        str: str,
    },
    "text": {**_READABLE, dict: document, list: document},
    "uuid": {UUID: str, str: str},
    "interval": {timedelta: instants.duration, str: str},
    "bytes": {bytes: _hex, bytearray: _hex, memoryview: _hex, str: _hex_text},
    "other": _OTHER,
}

_OTHER_WRITERS = _Writers("a range's bound", _OTHER)


def _with_zone(group: str, zone: tzinfo | None) -> dict[type, Writer]:
    """Return the writers of a family whose values have a date or a time in them."""
    tables: dict[str, dict[type, Writer]] = {
        "date": {
            datetime: instants.day_of_midnight,
            date: instants.day,
            str: instants.day_text,
        },
        "timestamp": {
            datetime: partial(instants.local, zone=zone),
            date: instants.day,
            str: partial(instants.local_text, zone=zone),
        },
        "instant": {
            datetime: partial(instants.instant, zone=zone),
            date: partial(instants.instant_of_day, zone=zone),
            str: partial(instants.instant_text, zone=zone),
        },
        "time": {
            time: instants.clock,
            timedelta: instants.clock_of_duration,
            str: instants.clock_text,
        },
        "zoned time": {time: instants.zoned_clock, str: instants.zoned_clock_text},
    }
    return tables[group]
