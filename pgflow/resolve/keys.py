"""Typed names of the values that plugins hand to each other, and the standard ones."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, overload

from sqlalchemy import Column, FromClause, Table

from pgflow.errors import WrongKeyType

T = TypeVar("T")
E = TypeVar("E")


class Key(str, Generic[T]):
    """The name of a context value together with its type.

    A key is a string, so `ctx[PK]` and `ctx["pk_columns"]` are the same slot, and two keys are
    equal when their names are. What it adds: the type checker knows what `ctx[PK]` holds, and
    the context refuses a value of another type.

    Args:
        name: The slot's name.
        type: What a value must be an instance of; for generics the class without its parameters.
        collecting: Many plugins add to the value (`@contributes`), which is a tuple of `type`.

    Raises:
        TypeError: `name` is no non-empty string, or `type` is no class.
    """

    __slots__ = ("collecting", "type")

    #: What a value, or each item of a collecting key, must be an instance of.
    type: builtins.type[Any]
    #: Whether the value is a tuple gathered from many plugins.
    collecting: bool

    @overload
    def __new__(
        cls, name: str, type: builtins.type[E], *, collecting: Literal[True]
    ) -> Key[tuple[E, ...]]: ...

    @overload
    def __new__(
        cls, name: str, type: builtins.type[T], *, collecting: Literal[False] = ...
    ) -> Key[T]: ...

    def __new__(
        cls,
        name: str,
        type: builtins.type[Any],  # noqa: A002 - the attribute's name
        *,
        collecting: bool = False,
    ) -> Key[Any]:
        """Check and remember the key's name, type and kind."""
        if not isinstance(name, str) or not name:
            raise TypeError(f"a key's name is a non-empty string, not {name!r}")
        if not isinstance(type, builtins.type):
            raise TypeError(
                f"the type of key {name!r} must be a class, not {type!r}: give the class without "
                "its parameters, and write Key[...] where a type checker shall know them"
            )
        self = super().__new__(cls, name)
        object.__setattr__(self, "type", type)
        object.__setattr__(self, "collecting", collecting)
        return self

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"key {str(self)!r} is frozen: {name!r} cannot be set")

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (str(self), self.type, self.collecting)

    @property
    def name(self) -> str:
        """The slot's name as a plain string."""
        return str(self)


def _restore(name: str, kind: type[Any], collecting: bool) -> Key[Any]:
    """Build a key again from its parts, for `copy` and `pickle`."""
    return Key(name, kind, collecting=True) if collecting else Key(name, kind)


def is_collecting(key: str) -> bool:
    """Tell whether a key gathers its value from many plugins."""
    return isinstance(key, Key) and key.collecting


def check_type(key: str, value: object, writer: str) -> None:
    """Refuse a value that is not of the key's type.

    Args:
        key: A key, or a plain string, which takes anything.
        value: What is written, or one item of what is collected.
        writer: Who writes it, for the message.

    Raises:
        WrongKeyType: The value is not an instance of the key's type.
    """
    if isinstance(key, Key) and not isinstance(value, key.type):
        raise WrongKeyType(
            f"{writer} wrote {value!r} ({type(value).__name__}) to key {str(key)!r}, which holds "
            f"{key.type.__name__}. Write a {key.type.__name__}, or use a key of your own.",
            key=str(key),
        )


@dataclass(frozen=True)
class PrimaryKey:
    """The columns of a table's primary key, in order.

    Attributes:
        columns: The key's columns.
    """

    columns: tuple[Column[Any], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))

    def __iter__(self) -> Iterator[Column[Any]]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def first_key(self) -> str:
        """Name of the first column, which is the whole key of most tables."""
        return self.columns[0].name


#: The primary key's columns, written by one of the primary key plugins.
PK = Key("pk_columns", PrimaryKey)
#: The table that a table factory is about.
TABLE = Key("primary", Table)
#: What readers of a factory select from: its table, or a view over several.
ROOT = Key("__root__", FromClause)
#: Columns that plugins add to the table, after the user's own.
COLUMNS = Key("columns", Column, collecting=True)
#: Name of the column that says when a row was created.
CREATED_AT = Key("created_at_column", str)
