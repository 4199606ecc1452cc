"""Names into safe identifiers: quoting, qualifying, and the 63 bytes that PostgreSQL keeps.

Names that a user gives are shortened exactly as the server does it (`truncate`), so that the
user's own SQL, which may spell the whole name, still finds them. Names that pgflow makes up
(`fit`) end in a hash instead, so that two long ones never meet.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache

from pgflow.errors import InvalidIdentifier

#: Bytes of a name that PostgreSQL keeps (NAMEDATALEN - 1).
MAX_BYTES = 63

#: The keywords that `quote_ident()` of PostgreSQL 15 to 18 puts into quotes: all but the
#: unreserved ones of `pg_get_keywords()`.
_KEYWORDS = (
    "all analyse analyze and any array as asc asymmetric authorization between bigint binary bit "
    "boolean both case cast char character check coalesce collate collation column concurrently "
    "constraint create cross current_catalog current_date current_role current_schema "
    "current_time current_timestamp current_user dec decimal default deferrable desc distinct do "
    "else end except exists extract false fetch float for foreign freeze from full grant greatest "
    "group grouping having ilike in initially inner inout int integer intersect interval into is "
    "isnull join json json_array json_arrayagg json_exists json_object json_objectagg json_query "
    "json_scalar json_serialize json_table json_value lateral leading least left like limit "
    "localtime localtimestamp merge_action national natural nchar none normalize not notnull null "
    "nullif numeric offset on only or order out outer overlaps overlay placing position precision "
    "primary real references returning right row select session_user setof similar smallint some "
    "substring symmetric system_user table tablesample then time timestamp to trailing treat trim "
    "true union unique user using values varchar variadic verbose when where window with "
    "xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot "
    "xmlserialize xmltable "
)
_RESERVED = frozenset(_KEYWORDS.split())
_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*\Z")


def check(name: str) -> str:
    """Return the name unchanged if PostgreSQL can store it.

    Args:
        name: The identifier as the user wrote it.

    Returns:
        The same string.

    Raises:
        InvalidIdentifier: The name is empty or holds a NUL character.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise InvalidIdentifier(
            f"{name!r} cannot be the name of a PostgreSQL object: a name is a non-empty string "
            "without NUL characters."
        )
    return name


def truncate(name: str) -> str:
    """Shorten a user's name to 63 bytes at a character boundary, as the server itself does.

    Args:
        name: A table, column or schema name of any length.

    Returns:
        The name that PostgreSQL will store.

    Raises:
        InvalidIdentifier: The name is empty or holds a NUL character.
    """
    if len(check(name)) <= MAX_BYTES and name.isascii():
        return name
    encoded = name.encode()
    if len(encoded) <= MAX_BYTES:
        return name
    return encoded[:MAX_BYTES].decode(errors="ignore")


def fit(name: str) -> str:
    """Shorten a generated name to 63 bytes, keeping it unique by a hash of the whole.

    Args:
        name: The name that would be used if there were no limit.

    Returns:
        The name itself, or its beginning followed by `_` and eight hexadecimal digits.
    """
    encoded = check(name).encode()
    if len(encoded) <= MAX_BYTES:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return encoded[: MAX_BYTES - 9].decode(errors="ignore") + "_" + digest


def join_fit(parts: Iterable[str]) -> str:
    """Join the parts of a generated name with `_` and fit the result into 63 bytes."""
    return fit("_".join(parts))


def quote(name: str) -> str:
    """Quote one identifier where it needs it, so that it can stand in SQL text.

    Args:
        name: A table, column or schema name.

    Returns:
        The bare name if it is plain lower case and no keyword, else the name in double quotes.
    """
    return _quoted(truncate(name))


@lru_cache(maxsize=4096)
def _quoted(name: str) -> str:
    if _PLAIN.match(name) and name not in _RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def qualify(schema: str | None, name: str) -> str:
    """Quote a name and its schema.

    Args:
        schema: The schema, or None for a name that is found by the search path.
        name: The object's name.

    Returns:
        `schema.name`, each part quoted where it needs it.
    """
    return quote(name) if schema is None else f"{quote(schema)}.{quote(name)}"
