from __future__ import annotations

import pytest

from pgflow.declare.expressions import (
    COLUMN_MARKER_RE,
    column_reference,
    marked_columns,
    resolve_markers,
    validate_column_references,
)
from pgflow.errors import InvalidExpression, UnknownColumn


@pytest.mark.parametrize(
    ("expression", "columns", "sql"),
    [
        ("{price} > 0", ("price",), "price > 0"),
        ("{a} < {b} AND {a} > 0", ("a", "b"), "a < b AND a > 0"),
        ("{Order Date} IS NOT NULL", ("Order Date",), '"Order Date" IS NOT NULL'),
        ('{say "hi"} = 1', ('say "hi"',), '"say ""hi""" = 1'),
        ("{order} > 1", ("order",), '"order" > 1'),
        ("lower({email})", ("email",), "lower(email)"),
        ("{a} = '{}'::jsonb", ("a",), "a = '{}'::jsonb"),
        ("{a} = '{{\"x\": 1}}'::jsonb", ("a",), "a = '{\"x\": 1}'::jsonb"),
        ("{a} = '{{\"x\": {{}}}}'", ("a",), "a = '{\"x\": {}}'"),
        ("{a} <> '100%' AND {a} <> ':x' AND a[1:2] = b", ("a",), None),
        ("now() > '2000-01-01'", (), None),
    ],
)
def test_markers_become_quoted_columns(expression: str, columns: tuple[str, ...], sql: str | None):
    """Markers are found in order, replaced by quoted names, and all other text stays."""
    assert marked_columns(expression) == columns
    expected = expression.replace("{a}", "a") if sql is None else sql
    assert resolve_markers(expression) == expected


@pytest.mark.parametrize("expression", ["{a", "a}", "{a} = '{\"x\": {}}'", "{ {a} }", "{{a}"])
def test_a_brace_that_is_no_marker_is_refused(expression: str):
    """A single brace would change a literal silently; the message says how to write it."""
    with pytest.raises(InvalidExpression) as caught:
        marked_columns(expression)
    assert str(caught.value).startswith(f"{expression!r}: the brace at position ")
    assert str(caught.value).endswith("Write {{ or }} for a brace of the SQL itself.")


def test_markers_can_be_spelled_otherwise():
    """What stands in a marker's place is the caller's choice, as NEW.column in a trigger."""
    assert resolve_markers("{a} > {b}", lambda name: f"NEW.{name}") == "NEW.a > NEW.b"


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("email", "email"),
        ("{email}", "email"),
        ("{two words}", "two words"),
        ("größe", "größe"),
        ("lower({email})", None),
        ("{a} DESC", None),
        ("1", None),
    ],
)
def test_one_name_is_told_from_an_expression(text: str, column: str | None):
    """A bare or braced name is a column; anything else is an expression."""
    assert column_reference(text) == column


def test_an_unknown_column_is_named_with_the_nearest():
    """The message names who asks, the column, what it may mean, and all columns."""
    with pytest.raises(UnknownColumn) as caught:
        validate_column_references("Check 'x' of shop.t", ["price", "prise"], ["id", "price"])
    assert str(caught.value) == (
        "Check 'x' of shop.t names column 'prise', which the table does not have. Did you mean "
        "'price'? It has: id, price. For a brace of the SQL itself write {{ or }}."
    )


def test_a_long_name_finds_the_column_that_the_server_keeps():
    """A marker may spell a name of more than 63 bytes in full."""
    validate_column_references("x", ["c" * 80], ["c" * 63])


def test_the_marker_expression_is_public():
    """Plugins find markers by the same regular expression."""
    assert COLUMN_MARKER_RE.findall("{a} > {b c}") == ["a", "b c"]
