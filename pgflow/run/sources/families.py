"""PostgreSQL's types by what can be written into them."""

from __future__ import annotations

import re

_MODIFIER = re.compile(r"\s*\([^)]*\)")

_NAMES = {
    "smallint": "whole",
    "integer": "whole",
    "int": "whole",
    "bigint": "whole",
    "oid": "whole",
    "numeric": "exact",
    "decimal": "exact",
    "real": "float",
    "double precision": "float",
    "float": "float",
    "boolean": "boolean",
    "text": "text",
    "varchar": "text",
    "character varying": "text",
    "char": "text",
    "character": "text",
    "bpchar": "text",
    "citext": "text",
    "name": "text",
    "uuid": "uuid",
    "date": "date",
    "timestamp": "timestamp",
    "timestamp without time zone": "timestamp",
    "timestamptz": "instant",
    "timestamp with time zone": "instant",
    "time": "time",
    "time without time zone": "time",
    "timetz": "zoned time",
    "time with time zone": "zoned time",
    "interval": "interval",
    "json": "json",
    "jsonb": "json",
    "bytea": "bytes",
}

#: Families whose values have a date or a time in them.
TIMES = frozenset({"date", "timestamp", "instant", "time", "zoned time"})


def family(kind: str) -> str:
    """Sort a type.

    Args:
        kind: Its name, as `format_type` writes it.

    Returns:
        What it is a kind of: `whole`, `exact`, `float`, `boolean`, `text`, `uuid`, `date`,
        `timestamp`, `instant`, `time`, `zoned time`, `interval`, `json`, `bytes`, `array`, or
        `other`, which takes text as PostgreSQL writes it.
    """
    if kind.endswith("[]"):
        return "array"
    plain = _MODIFIER.sub("", kind).strip().lower()
    if plain.startswith("interval"):
        return "interval"
    return _NAMES.get(plain, "other")


def element(kind: str) -> str:
    """Return the type of an array's elements."""
    return kind.removesuffix("[]")
