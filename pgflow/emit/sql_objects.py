"""Objects that plugins say in SQL: functions, extensions, and what SQLAlchemy has no word for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sqlalchemy import MetaData

_INFO_KEY = "pgflow_emitted_sql"


def emit_sql(metadata: MetaData, sql: str, origin: str) -> None:
    """Put an object on a MetaData as the SQL that makes it; the same text counts once.

    Migrations and `create_all` make, change and drop it like a table. Plugins call it in an
    operation that they stage, because a factory may still fail after them.

    Args:
        metadata: The MetaData that migrations read.
        sql: One statement; every name in it has its schema.
        origin: Who says so, for messages: a plugin and its table.
    """
    texts: dict[str, str] = metadata.info.setdefault(_INFO_KEY, {})
    texts.setdefault(sql, origin)


def emitted_sql(metadata: MetaData) -> Mapping[str, str]:
    """Return what plugins have put on a MetaData, each text with who said it."""
    return MappingProxyType(metadata.info.get(_INFO_KEY, {}))
