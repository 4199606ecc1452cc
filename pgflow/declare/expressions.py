"""SQL text with `{column}` markers, as in `Check("{price} > 0")`.

A marker becomes the column's quoted name wherever it stands. `{{` and `}}` stand for braces, as
in `'{{"a": 1}}'::jsonb`, and `{}` stands for itself; any other brace is refused, so that no
literal is changed by accident.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from difflib import get_close_matches
from functools import lru_cache

from pgflow import idents
from pgflow.errors import InvalidExpression, UnknownColumn

#: Matches a `{column_name}` marker; its group is the name.
COLUMN_MARKER_RE = re.compile(r"\{([^{}]+)\}")

_TOKEN = re.compile(r"\{\{|\}\}|\{\}|\{([^{}]+)\}|([{}])")
_LITERALS = {"{{": "{", "}}": "}", "{}": "{}"}


@lru_cache(maxsize=4096)
def _parse(expression: str) -> tuple[tuple[str, bool], ...]:
    """Split into (text, is it a marker's column)."""
    out: list[tuple[str, bool]] = []
    end = 0
    for match in _TOKEN.finditer(expression):
        out.append((expression[end : match.start()], False))
        end = match.end()
        if match[2]:
            raise InvalidExpression(
                f"{expression!r}: the brace at position {match.start()} opens or closes no "
                "{column} marker. Write {{ or }} for a brace of the SQL itself."
            )
        name = match[1]
        out.append((_LITERALS[match[0]], False) if name is None else (name, True))
    out.append((expression[end:], False))
    return tuple(piece for piece in out if piece[0])


def marked_columns(expression: str) -> tuple[str, ...]:
    """Return the columns that an expression marks, each once, in order.

    Args:
        expression: SQL text with `{column}` markers.

    Returns:
        The names as they stand in the markers.

    Raises:
        InvalidExpression: A brace is neither part of a marker nor doubled.
    """
    return tuple(dict.fromkeys(text for text, marker in _parse(expression) if marker))


def resolve_markers(expression: str, spell: Callable[[str], str] = idents.quote) -> str:
    """Replace every marker, and undouble the other braces.

    Args:
        expression: SQL text with `{column}` markers.
        spell: Says what stands in a marker's place; by default the column's quoted name.

    Returns:
        The SQL text.

    Raises:
        InvalidExpression: A brace is neither part of a marker nor doubled.
    """
    return "".join(spell(text) if marker else text for text, marker in _parse(expression))


def column_reference(text: str) -> str | None:
    """Return the column that a text names, with or without braces; None for an expression.

    Args:
        text: `email`, `{email}`, or an expression such as `lower({email})`.

    Returns:
        The name, or None if the text is anything else than one name.
    """
    match = COLUMN_MARKER_RE.fullmatch(text)
    if match:
        return match[1]
    return text if re.fullmatch(r"[^\W\d]\w*", text) else None


def validate_column_references(
    label: str, columns: Collection[str], known_columns: Collection[str]
) -> None:
    """Refuse names that are no column of the table.

    Args:
        label: What names them, such as `Check 'positive' of 'shop.orders'`.
        columns: The names; longer ones than 63 bytes are found by what the server keeps of them.
        known_columns: The table's columns.

    Raises:
        UnknownColumn: A name is unknown; the message offers the nearest one.
    """
    for column in columns:
        if idents.truncate(column) in known_columns:
            continue
        close = get_close_matches(column, list(known_columns), n=1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        raise UnknownColumn(
            f"{label} names column {column!r}, which the table does not have.{meant} It has: "
            f"{', '.join(known_columns)}. For a brace of the SQL itself write {{{{ or }}}}."
        )
