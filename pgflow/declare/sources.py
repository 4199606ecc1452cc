"""Where rows come from, as declared: a query with its bound values, or a table with renames."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from sqlalchemy.sql.selectable import SelectBase

from pgflow import idents
from pgflow.declare.rows import RowSource, check_zone
from pgflow.declare.shapes import mapping
from pgflow.declare.spelling import spelt_class
from pgflow.errors import DeclarationError, InvalidSource

_PART = r'("(?:[^"]|"")+"|[^".]+)'
_QUALIFIED = re.compile(rf"{_PART}\.{_PART}\Z")

#: A name and nothing else, qualified or not.
_NAME = re.compile(r'(?:"(?:[^"]|"")+"|\w+)(?:\.(?:"(?:[^"]|"")+"|\w+)){0,2}\Z')

#: How the paths of files end that have a source of their own.
_FILE = re.compile(r"\.(csv|tsv|jsonl|ndjson|json|parquet)(?:\.(?:gz|bz2|xz))?\Z", re.IGNORECASE)
_READERS = {"csv": "CSV", "tsv": "CSV", "parquet": "Parquet"} | dict.fromkeys(
    ("jsonl", "ndjson", "json"), "JSONLines"
)

_TYPES, _NAMES = "{'updated': 'timestamptz'}", "{'customer_id': 'id'}"

#: Words of which every query has one.
_SQL = re.compile(r"\b(?:select|values|table)\b", re.IGNORECASE)


def _frozen(given: object, option: str, example: str) -> Mapping[str, Any]:
    texts = example in (_TYPES, _NAMES)
    return MappingProxyType(mapping(given, option, example, texts=texts))


@spelt_class
@dataclass(frozen=True)
class Query:
    """A source given as SQL text or as a SQLAlchemy `select()`.

    Attributes:
        sql: One SELECT (or VALUES, or TABLE) statement. It may end in `;` or a comment and may
            contain `%`, `::casts` and `$$bodies$$`; nothing in it is interpolated.
        params: Values for `:name` placeholders in the text. A `:name` that is not listed here,
            or that stands inside quotes or a comment, is left alone.
        connection: The connection that the query belongs to (a name, a URL or an engine), where
            it is not the pipeline's.
        types: For sources that are not PostgreSQL: PostgreSQL types of columns that the target
            lacks but a run needs, such as the incremental column.
        time_zone: For those: what times without a zone are meant in, such as `Europe/Berlin`.
    """

    sql: str | SelectBase
    params: Mapping[str, object] = field(default_factory=dict)
    connection: object | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    time_zone: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.sql, (str, SelectBase)):
            raise DeclarationError(
                f"Query() takes SQL text or a SQLAlchemy select(), not {type(self.sql).__name__}."
            )
        if isinstance(self.sql, str) and not self.sql.strip():
            raise DeclarationError("Query() was given empty SQL; write a SELECT statement.")
        if isinstance(self.sql, str):
            check_text(self.sql)
        object.__setattr__(self, "params", _frozen(self.params, "Query(params=)", "{'day': day}"))
        object.__setattr__(self, "types", _frozen(self.types, "Query(types=)", _TYPES))
        check_zone(self.time_zone)


@spelt_class
@dataclass(frozen=True)
class SourceTable:
    """A source that is a table: the target's columns by name, or renamed by `column_map`.

    Attributes:
        name: `schema.table`; a part that contains a dot stands in double quotes.
        column_map: Target column to source column, for those whose names differ.
        connection: As for `Query`.
        types: As for `Query`.
        time_zone: As for `Query`.

    Raises:
        DeclarationError: The name is not of the form `schema.table` (also a ValueError).
    """

    name: str
    column_map: Mapping[str, str] = field(default_factory=dict)
    connection: object | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    time_zone: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _QUALIFIED.match(self.name):
            raise DeclarationError(
                f"source_table requires schema.table format, not {self.name!r}. Write for "
                "instance 'public.users' ('main.users' in SQLite), and put a name that contains a "
                "dot in double quotes."
            )
        object.__setattr__(self, "column_map", _frozen(self.column_map, "column_map=", _NAMES))
        object.__setattr__(self, "types", _frozen(self.types, "SourceTable(types=)", _TYPES))
        check_zone(self.time_zone)

    @property
    def path(self) -> tuple[str, str]:
        """Schema and table, unquoted."""
        match = _QUALIFIED.match(self.name)
        if match is None:  # checked in __post_init__
            raise DeclarationError(f"source_table requires schema.table format: {self.name!r}")
        schema, table = (_unquote(part) for part in match.groups())
        return schema, table

    def source_column(self, target_column: str) -> str:
        """Return the name under which the source has a target's column."""
        return self.column_map.get(target_column, target_column)


def check_text(given: str, owner: str = "Query()") -> None:
    """Refuse what is a path or a table's name: text is SQL, and none is made of it.

    Args:
        given: A source that is text.
        owner: Whose it is, for the message.

    Raises:
        InvalidSource: It is such a name.
    """
    text = given.strip()
    found = _FILE.search(text)
    if found and not _SQL.search(text):
        kind = _READERS[found[1].lower()]
        raise InvalidSource(
            f"{owner}: {text!r} is a file's path, and a source that is text is SQL. Give "
            f"pgflow.{kind}({text!r}) as the source."
        )
    if _NAME.match(text) and not _SQL.match(text):
        full = text if "." in text else f"public.{text}"
        raise InvalidSource(
            f"{owner}: {text!r} is a table's name, and a source that is text is SQL. Give "
            f"source_table={full!r} instead, or pgflow.SourceTable({full!r}) as the source."
        )


def _unquote(part: str) -> str:
    if part.startswith('"'):
        part = part[1:-1].replace('""', '"')
    return idents.truncate(part)


#: What a pipeline accepts as its source.
Source = Query | SourceTable | RowSource

__all__ = ["Query", "RowSource", "Source", "SourceTable", "check_text"]
