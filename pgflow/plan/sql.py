"""SQL text under composition: fragments that keep their bound values apart from their text.

A `Sql` holds literal text and `Bound` values. It is put together by `sql()` from templates whose
`{holes}` take only other fragments, so that no string of the user's can become SQL by accident.
`render()` numbers the bound values `$1, $2, ...`, the server's own notation: a `%` or a `:name`
in the text means nothing special.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pgflow import idents


@dataclass(frozen=True, eq=False)
class Bound:
    """A value that travels beside the SQL text; the same object is bound once.

    Attributes:
        value: What psycopg sends.
        name: How previews call it.
    """

    value: object
    name: str = ""


@dataclass(frozen=True)
class Sql:
    """A piece of SQL: literal text and bound values, in order."""

    parts: tuple[str | Bound, ...] = ()

    def __add__(self, other: Sql) -> Sql:
        return Sql(self.parts + other.parts)

    def render(self) -> tuple[str, tuple[Bound, ...]]:
        """Number the bound values.

        Returns:
            The text with `$1, $2, ...` and the values in that order.
        """
        order: dict[int, int] = {}
        values: list[Bound] = []
        text: list[str] = []
        for part in self.parts:
            if isinstance(part, str):
                text.append(part)
                continue
            if id(part) not in order:
                values.append(part)
                order[id(part)] = len(values)
            text.append(f"${order[id(part)]}")
        return "".join(text), tuple(values)

    def __str__(self) -> str:
        return self.render()[0]


def raw(text: str) -> Sql:
    """Take trusted text as SQL: a user's own query, or a literal of this code base."""
    return Sql((text,))


def name(*path: str | None) -> Sql:
    """Turn a name, or a schema and a name, into a quoted identifier."""
    return Sql((".".join(idents.quote(part) for part in path if part is not None),))


def bind(value: object, label: str = "") -> Sql:
    """Bind a value; the fragment may be used many times and is sent once."""
    return Sql((Bound(value, label),))


def join(separator: str, pieces: Iterable[Sql]) -> Sql:
    """Join fragments with literal text between them."""
    out: list[str | Bound] = []
    for index, piece in enumerate(pieces):
        if index:
            out.append(separator)
        out.extend(piece.parts)
    return Sql(tuple(out))


def names(columns: Sequence[str], *, of: str | None = None) -> Sql:
    """List column names, each qualified by the alias `of` if there is one."""
    return join(", ", (name(of, column) for column in columns))


def sql(template: str, **holes: Sql) -> Sql:
    """Fill the `{holes}` of a literal template with fragments.

    Args:
        template: SQL of this code base; `{{` and `}}` stand for braces.
        **holes: One fragment for each hole.

    Returns:
        The composed fragment.

    Raises:
        TypeError: A hole was given something other than a fragment.
    """
    out: list[str | Bound] = []
    for text, field in _taken_apart(template):
        if text:
            out.append(text)
        if field is None:
            continue
        piece = holes[field]
        if not isinstance(piece, Sql):
            raise TypeError(f"{{{field}}} takes a Sql fragment, not {type(piece).__name__}")
        out.extend(piece.parts)
    return Sql(tuple(out))


@lru_cache(maxsize=1024)
def _taken_apart(template: str) -> tuple[tuple[str, str | None], ...]:
    """Literal texts, each with the name of the hole that follows it; a run fills the same ones."""
    return tuple((text, field) for text, field, *_ in string.Formatter().parse(template))
