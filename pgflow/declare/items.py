"""Checks, indexes, foreign keys and unique constraints that stand beside a table's columns.

SQLAlchemy's own constraints and indexes are accepted everywhere as well. What these add: columns
are named by `{column}` markers, checked when the table is declared, and quoted where they need it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Column
from sqlalchemy.schema import SchemaItem

from pgflow import idents
from pgflow.declare.expressions import (
    COLUMN_MARKER_RE,
    column_reference,
    marked_columns,
    resolve_markers,
    validate_column_references,
)
from pgflow.declare.spelling import nearest, spelt_class
from pgflow.errors import InvalidItem, PrimaryKeyInItems, TableError

__all__ = [
    "COLUMN_MARKER_RE",
    "Check",
    "ForeignKey",
    "Index",
    "Item",
    "Unique",
    "collect_checks",
    "collect_foreign_keys",
    "collect_indices",
    "collect_uniques",
    "column_reference",
    "is_schema_item_not_primary_key",
    "marked_columns",
    "resolve_markers",
    "validate_column_references",
    "validate_schema_items",
]

_ACTION = re.compile(
    r"(CASCADE|RESTRICT|NO ACTION|SET (NULL|DEFAULT)( \([^()]+\))?)\Z", re.IGNORECASE
)

T = TypeVar("T")


class Item:
    """Base class of the schema items that pgflow and plugins add to SQLAlchemy's."""


@spelt_class
@dataclass(frozen=True)
class Check(Item):
    """A condition that every row fulfils.

    Args:
        expression: SQL with `{column}` markers, such as `{price} > 0`.
        name: The constraint's name; without one PostgreSQL's pattern, `orders_price_check`.

    Raises:
        InvalidItem: The expression is no text.
        InvalidExpression: It has a brace that is neither part of a marker nor doubled.
    """

    expression: str
    name: str | None = None

    def __post_init__(self) -> None:
        _text("Check", "expression", self.expression)
        _named("Check", self.name)
        marked_columns(self.expression)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the expression marks."""
        return marked_columns(self.expression)

    def __str__(self) -> str:
        return f"Check({self.expression!r})"


@spelt_class
@dataclass(frozen=True, init=False)
class Index(Item):
    """An index, as `sqlalchemy.Index` with `{column}` markers.

    Args:
        name: The index's name; None for PostgreSQL's pattern, `users_email_idx`.
        *expressions: Columns (`"email"` or `"{email}"`), columns with an order
            (`"{created} DESC NULLS LAST"`), or expressions (`"lower({email})"`).
        unique: Whether no two rows may agree.
        **kw: What `sqlalchemy.Index` takes, such as `postgresql_using="gin"`; markers work in
            `postgresql_where` too.

    Raises:
        InvalidItem: There is no expression, or one is no text.
        InvalidExpression: One has a brace that is neither part of a marker nor doubled.
    """

    name: str | None
    expressions: tuple[str, ...]
    unique: bool = False
    kw: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __init__(
        self, name: str | None, *expressions: str, unique: bool = False, **kw: Any
    ) -> None:
        _named("Index", name)
        if not expressions:
            raise InvalidItem(
                f"Index({name!r}) has no expression: name the columns after the index's name, as "
                'in Index("users_email_idx", "{email}").'
            )
        for expression in expressions:
            _text("Index", "expression", expression)
        for option in kw:
            if option not in ("quote", "info") and "_" not in option:
                raise InvalidItem(
                    f"Index({name!r}) takes no {option}=.{nearest(option, ('unique', 'name'))} "
                    "Others are SQLAlchemy's, such as postgresql_using='gin'."
                )
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "expressions", expressions)
        object.__setattr__(self, "unique", unique)
        object.__setattr__(self, "kw", dict(kw))
        object.__setattr__(self, "_columns", self._marked())

    def _marked(self) -> tuple[str, ...]:
        where = self.kw.get("postgresql_where")
        texts = (*self.expressions, *([where] if isinstance(where, str) else []))
        found: list[str] = []
        for position, text in enumerate(texts):
            alone = column_reference(text) if position < len(self.expressions) else None
            found.extend([alone] if alone is not None else marked_columns(text))
        return tuple(dict.fromkeys(found))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the expressions and the condition name."""
        columns: tuple[str, ...] = getattr(self, "_columns")  # noqa: B009 - no field: not compared
        return columns

    def __str__(self) -> str:
        return f"Index({self.name!r}, {', '.join(map(repr, self.expressions))})"


@spelt_class
@dataclass(frozen=True)
class ForeignKey(Item):
    """A foreign key; a dictionary pairs its columns with what they refer to.

    Args:
        references: `{"{customer_id}": "customers.id"}`: tables that pgflow knows, in any order of
            declaration, and `"schema.table.column"` where two schemas have a table of that name.
        raw_references: `{"{org_id}": "public.orgs.id"}`: any table of the MetaData.
        name: The constraint's name; without one PostgreSQL's pattern, `orders_customer_id_fkey`.
        ondelete: Such as `CASCADE` or `SET NULL`.
        onupdate: The same for changes of the referenced key.
        deferrable: Whether the check may wait for the end of the transaction.
        initially: `DEFERRED` or `IMMEDIATE`.

    Raises:
        InvalidItem: Not exactly one of the two dictionaries is given, or an entry is malformed.
    """

    references: Mapping[str, str] = field(default_factory=dict, hash=False)
    raw_references: Mapping[str, str] = field(default_factory=dict, hash=False)
    name: str = ""
    ondelete: str | None = None
    onupdate: str | None = None
    deferrable: bool | None = None
    initially: str | None = None

    def __post_init__(self) -> None:
        if bool(self.references) == bool(self.raw_references):
            raise InvalidItem(
                "ForeignKey takes exactly one of references= (a table that pgflow knows, as in "
                '{"{customer_id}": "customers.id"}) and raw_references= (any table of the '
                'MetaData, as in {"{org_id}": "public.orgs.id"}); '
                f"{'both' if self.references else 'neither'} given."
            )
        given = self.references or self.raw_references
        if not isinstance(given, Mapping):
            raise InvalidItem(
                f"ForeignKey pairs columns and targets in a dictionary, not {given!r}."
            )
        for local, target in given.items():
            _text("ForeignKey", "column", local)
            _text("ForeignKey", "target", target)
            if column_reference(local) is None:
                raise InvalidItem(
                    f"ForeignKey: {local!r} is no column: write its name, as in {{customer_id}}."
                )
            split_reference(target, (2, 3) if self.references else (3,))
        for option in ("ondelete", "onupdate"):
            action = getattr(self, option)
            if action is not None and not _ACTION.match(str(action)):
                raise InvalidItem(
                    f"ForeignKey: {option}={action!r} is unknown: use CASCADE, RESTRICT, "
                    "NO ACTION, SET NULL or SET DEFAULT."
                )
        if self.initially is not None and self.initially.upper() not in ("DEFERRED", "IMMEDIATE"):
            raise InvalidItem(
                f"ForeignKey: initially={self.initially!r} is unknown: use DEFERRED or IMMEDIATE."
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The referring columns, in order."""
        given = self.references or self.raw_references
        return tuple(column_reference(local) or local for local in given)

    @property
    def targets(self) -> tuple[str, ...]:
        """What the columns refer to, in the same order."""
        return tuple((self.references or self.raw_references).values())

    def __str__(self) -> str:
        pairs = zip(self.columns, self.targets, strict=True)
        return "ForeignKey(" + ", ".join(f"{c} -> {t}" for c, t in pairs) + ")"


@spelt_class
@dataclass(frozen=True, init=False)
class Unique(Item):
    """A unique constraint.

    Args:
        *columns: Names of the columns, with or without braces; a brace in a name is doubled.
        name: The constraint's name; without one PostgreSQL's pattern, `users_email_key`.
        nulls_not_distinct: Whether two NULLs count as equal (PostgreSQL 15 or later).

    Raises:
        InvalidItem: There is no column, or one is no name.
    """

    columns: tuple[str, ...]
    name: str | None = None
    nulls_not_distinct: bool = False

    def __init__(
        self, *columns: str, name: str | None = None, nulls_not_distinct: bool = False
    ) -> None:
        _named("Unique", name)
        if not columns:
            raise InvalidItem('Unique() has no column: write Unique("email").')
        for column in columns:
            _text("Unique", "column", column)
        plain = tuple(idents.truncate(_plain_name(column)) for column in columns)
        if len(set(plain)) < len(plain):
            raise InvalidItem(f"Unique{plain!r} names a column twice.")
        object.__setattr__(self, "columns", plain)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "nulls_not_distinct", nulls_not_distinct)

    @classmethod
    def named(cls, columns: Iterable[str]) -> Unique:
        """Return a unique constraint on columns whose names are taken as they are."""
        return cls(*(column.replace("{", "{{").replace("}", "}}") for column in columns))

    def __str__(self) -> str:
        return f"Unique({', '.join(map(repr, self.columns))})"


_REFERENCE_PART = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^".][^.]*?))\s*(?:\.|\Z)')


def split_reference(reference: str, lengths: tuple[int, ...]) -> tuple[str, ...]:
    """Split `table.column` or `schema.table.column`; parts with dots stand in double quotes.

    Args:
        reference: As the user wrote it; names are taken as they stand, capitals included.
        lengths: How many parts it may have.

    Returns:
        The parts, each as the server stores it.

    Raises:
        InvalidItem: It has another number of parts.
    """
    parts: list[str] = []
    position = 0
    while position < len(reference):
        match = _REFERENCE_PART.match(reference, position)
        if match is None:
            break
        quoted, bare = match.groups()
        parts.append(idents.truncate(quoted.replace('""', '"') if quoted else bare))
        position = match.end()
    if position < len(reference) or len(parts) not in lengths or reference.endswith("."):
        forms = {2: '"table.column"', 3: '"schema.table.column"'}
        raise InvalidItem(
            f"ForeignKey: {reference!r} must have the form "
            f"{' or '.join(forms[n] for n in lengths)}; a part with a dot stands in double quotes."
        )
    return tuple(parts)


def _collect(schema_items: Iterable[Any], kind: type[T]) -> list[T]:
    return [item for item in schema_items if isinstance(item, kind)]


def collect_checks(schema_items: Iterable[Any]) -> list[Check]:
    """Return the `Check` items of a list, in order."""
    return _collect(schema_items, Check)


def collect_indices(schema_items: Iterable[Any]) -> list[Index]:
    """Return the `Index` items of a list, in order; SQLAlchemy's own are not among them."""
    return _collect(schema_items, Index)


def collect_foreign_keys(schema_items: Iterable[Any]) -> list[ForeignKey]:
    """Return the `ForeignKey` items of a list, in order; SQLAlchemy's own are not among them."""
    return _collect(schema_items, ForeignKey)


def collect_uniques(schema_items: Iterable[Any]) -> list[Unique]:
    """Return the `Unique` items of a list, in order."""
    return _collect(schema_items, Unique)


def is_schema_item_not_primary_key(item: SchemaItem | Item) -> bool:
    """Tell whether an item is anything else than a primary key column.

    Args:
        item: A schema item.

    Returns:
        False for a column with `primary_key=True`.
    """
    return not (isinstance(item, Column) and item.primary_key)


def validate_schema_items(
    items: Iterable[Any], *, validators: Iterable[Callable[[Any], bool]] | None = None
) -> None:
    """Refuse schema items that a table factory cannot use.

    Args:
        items: The items.
        validators: Functions that return False for an item they refuse; by default
            `is_schema_item_not_primary_key`.

    Raises:
        PrimaryKeyInItems: A primary key column is among them.
        TableError: Another validator refused one.
        InvalidItem: Something is neither SQLAlchemy's nor pgflow's.
    """
    checks = (is_schema_item_not_primary_key,) if validators is None else tuple(validators)
    for item in items:
        if not isinstance(item, (SchemaItem, Item)):
            raise InvalidItem(
                f"{item!r} is no schema item: a table takes Column, Check, Index, ForeignKey, "
                "Unique, and SQLAlchemy's own constraints and indexes."
            )
        for check in checks:
            if not check(item):
                _refuse(item, check)


def _refuse(item: Any, check: Callable[[Any], bool]) -> None:
    if check is is_schema_item_not_primary_key:
        raise PrimaryKeyInItems(
            f"Column {item.name!r} is a primary key column, which does not stand in schema_items. "
            "Give it by plugins=[ColumnPKPlugin(Column(...))], or declare the table with "
            "@pgflow.table and pk().",
            column=item.name,
        )
    raise TableError(f"{item!s} is refused by {getattr(check, '__name__', check)}.")


def _plain_name(column: str) -> str:
    marker = COLUMN_MARKER_RE.fullmatch(column)
    return marker[1] if marker else column.replace("{{", "{").replace("}}", "}")


def _text(kind: str, what: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InvalidItem(f"{kind}: the {what} is SQL text, not {value!r}.")


def _named(kind: str, name: object) -> None:
    if name is not None and (not isinstance(name, str) or not name):
        raise InvalidItem(f"{kind}: the name is a string or None, not {name!r}.")
