"""A user's SQL: one statement, its end cut clean, its values bound and never formatted."""

from __future__ import annotations

from datetime import date

import pytest
import sqlalchemy as sa

from pgflow.errors import InvalidSource
from pgflow.plan import query

OWNER = "pipeline 'p'"


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1 AS a;",
        "SELECT 1 AS a ;; ",
        "SELECT 1 AS a -- the end",
        "SELECT 1 AS a; -- the end",
        "SELECT 1 AS a /* the ; end */",
    ],
)
def test_the_end_of_a_query_is_cut_clean(text: str) -> None:
    """Semicolons and comments after the query do not reach the statement around it."""
    assert str(query.from_text(text, {}, OWNER)) == "SELECT 1 AS a"


def test_only_named_placeholders_outside_quotes_are_bound() -> None:
    """`:day` is a value in code, and plain text in literals, casts, comments and dollar quotes."""
    text = "SELECT ':day', a::date, $$ :day $$, :day /* :day */ FROM t WHERE d < :day AND b = '5%'"
    fragment, values = query.from_text(text, {"day": date(2024, 1, 2)}, OWNER).render()
    assert fragment == (
        "SELECT ':day', a::date, $$ :day $$, $1 /* :day */ FROM t WHERE d < $1 AND b = '5%'"
    )
    assert [v.value for v in values] == [date(2024, 1, 2)]


def test_an_unknown_placeholder_is_a_syntax_error_that_says_so() -> None:
    """A `:name` that nobody gives is refused where it is written, not sent to the server."""
    with pytest.raises(InvalidSource, match=r"pipeline 'p': its SQL cannot be parsed.*\":\""):
        query.from_text("SELECT :missing", {}, OWNER)


def test_a_value_without_placeholder_is_refused() -> None:
    """A value that the query does not use is a mistake in one of them."""
    with pytest.raises(InvalidSource, match="no placeholder :day stands in its SQL"):
        query.from_text("SELECT 1", {"day": 1}, OWNER)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT 1; SELECT 2", "SELECT, SELECT"),
        ("DELETE FROM t", "DELETE"),
        ("-- nothing", "empty text"),
        ("DROP TABLE t", "DROP"),
    ],
)
def test_a_source_is_exactly_one_query(text: str, found: str) -> None:
    """Two statements, or one that is no query, are refused by what they are."""
    with pytest.raises(InvalidSource, match=f"exactly one SELECT.*not {found}"):
        query.from_text(text, {}, OWNER)


def test_select_into_is_refused() -> None:
    """A query that creates a table is no source."""
    with pytest.raises(InvalidSource, match="leave INTO out"):
        query.from_text("SELECT 1 AS a INTO t", {}, OWNER)


def test_a_condition_cannot_close_our_parenthesis() -> None:
    """A scope is one expression, however it is written."""
    with pytest.raises(InvalidSource, match="cannot be parsed"):
        query.expression("true) OR (true", {}, OWNER)
    with pytest.raises(InvalidSource, match="cannot be parsed"):
        query.expression("true ORDER BY 1", {}, OWNER)
    assert str(query.expression("a = 1 -- why", {}, OWNER)) == "(\na = 1 -- why\n)"


def test_a_select_is_bound_as_its_types_say() -> None:
    """SQLAlchemy's values stay values, lists are spread, and a percent sign is not doubled."""
    t = sa.table("t", sa.column("a", sa.Integer), sa.column("p%c", sa.Text))
    fragment, values = query.from_clause(
        sa.select(t.c["p%c"]).where(t.c.a.in_([1, 2]), t.c["p%c"] != "50%"), OWNER
    ).render()
    assert '"p%c"' in fragment
    assert "IN ($1::INTEGER, $2::INTEGER)" in fragment
    assert [v.value for v in values] == [1, 2, "50%"]


def test_a_select_without_its_value_is_refused() -> None:
    """A bind parameter that nobody gave is named before anything runs."""
    with pytest.raises(InvalidSource, match="day"):
        query.from_clause(sa.select(sa.bindparam("day", type_=sa.Date)), OWNER)
