"""Fragments: text and values never mix."""

from __future__ import annotations

import pytest

from pgflow.plan.sql import bind, join, name, names, raw, sql


def test_the_same_bound_value_is_sent_once() -> None:
    """A fragment that is used twice is one parameter of the statement."""
    at = bind(7, "at")
    text, values = sql("SELECT {a}, {b}, {a}", a=at, b=bind(8)).render()
    assert text == "SELECT $1, $2, $1"
    assert [v.value for v in values] == [7, 8]


def test_equal_values_of_different_bindings_stay_apart() -> None:
    """Two values that happen to be equal are two parameters, because their types may differ."""
    assert sql("{a} {b}", a=bind(1), b=bind(True)).render()[0] == "$1 $2"


def test_a_hole_refuses_a_string() -> None:
    """A string of the user's cannot become SQL by way of a template."""
    with pytest.raises(TypeError, match=r"\{t\} takes a Sql fragment, not str"):
        sql("SELECT * FROM {t}", t="x; DROP TABLE y")  # type: ignore[arg-type]  # the point


def test_names_are_quoted_where_they_need_it() -> None:
    """Plain names stay readable; everything else stands in double quotes."""
    assert str(name("warehouse", "Order")) == 'warehouse."Order"'
    assert str(name(None, "select")) == '"select"'
    assert str(name('a"; DROP TABLE b; --')) == '"a""; DROP TABLE b; --"'
    assert str(names(["a", "B"], of="t")) == 't.a, t."B"'


def test_join_keeps_bound_values_in_order() -> None:
    """Joined fragments number their values from left to right."""
    text, values = join(" AND ", [sql("a = {v}", v=bind(1)), sql("b = {v}", v=bind(2))]).render()
    assert text == "a = $1 AND b = $2"
    assert [v.value for v in values] == [1, 2]


def test_percent_and_colons_mean_nothing() -> None:
    """Text is sent as it is: no driver placeholder can hide in it."""
    assert raw("SELECT '%s :x' -- %(y)s").render() == ("SELECT '%s :x' -- %(y)s", ())
