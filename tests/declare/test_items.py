from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import CheckConstraint, Column, Identity, Text

from pgflow.declare.items import (
    Check,
    ForeignKey,
    Index,
    Unique,
    collect_checks,
    collect_foreign_keys,
    collect_indices,
    collect_uniques,
    is_schema_item_not_primary_key,
    split_reference,
    validate_schema_items,
)
from pgflow.errors import InvalidExpression, InvalidItem, PrimaryKeyInItems, TableError

CHECK = Check("{a} > 0", "positive")
INDEX = Index("ix", "{a}", unique=True)
KEY = ForeignKey({"{a}": "t.id"})
UNIQUE = Unique("a", "{b}")
ITEMS = [Column("a", Text), CHECK, INDEX, KEY, UNIQUE, CheckConstraint("a > 0")]


def test_each_kind_is_collected_in_order():
    """The collectors take pgflow's items of their kind out of a mixed list."""
    assert collect_checks([*ITEMS, Check("{b} > 0")]) == [CHECK, Check("{b} > 0")]
    assert collect_indices(ITEMS) == [INDEX]
    assert collect_foreign_keys(ITEMS) == [KEY]
    assert collect_uniques(ITEMS) == [UNIQUE]


def test_items_know_their_columns():
    """Columns are found in markers, in bare names, and in an index's condition."""
    assert Check("{a} > {b} OR {a} IS NULL").columns == ("a", "b")
    assert Index(None, "a", "{b c}", "lower({d})").columns == ("a", "b c", "d")
    assert Index(None, "{a}", postgresql_where="{e} > 0").columns == ("a", "e")
    assert ForeignKey({"{a}": "t.x", "b": "t.y"}).columns == ("a", "b")
    assert ForeignKey({"{a}": "t.x", "b": "t.y"}).targets == ("t.x", "t.y")
    assert Unique("a", "{b}").columns == ("a", "b")


def test_items_are_values():
    """Equal declarations are equal and have equal hashes, so that specs can be compared."""
    pairs: list[Callable[[], Any]] = [
        lambda: Check("{a} > 0", "n"),
        lambda: Index("n", "{a}", unique=True, postgresql_using="gin"),
        lambda: ForeignKey({"{a}": "t.x"}, ondelete="CASCADE"),
        lambda: Unique("a", name="n"),
    ]
    for make in pairs:
        assert make() == make()
        assert hash(make()) == hash(make())
    assert Index("n", "{a}") != Index("n", "{a}", postgresql_using="gin")


def test_a_brace_in_a_name_is_doubled_or_taken_as_it_is():
    """Unique("{{c}}") and Unique.named(["{c}"]) both mean the column called {c}."""
    assert Unique("{{c}}").columns == Unique.named(["{c}"]).columns == ("{c}",)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Check("", "n"), "Check: the expression is SQL text, not ''."),
        (lambda: Check(3, "n"), "Check: the expression is SQL text, not 3."),
        (lambda: Check("{a} > 0", ""), "Check: the name is a string or None, not ''."),
        (lambda: Index("ix"), "Index('ix') has no expression: name the columns after"),
        (lambda: Index("ix", 3), "Index: the expression is SQL text, not 3."),
        (lambda: Unique(), 'Unique() has no column: write Unique("email").'),
        (lambda: Unique("a", "{a}"), "Unique('a', 'a') names a column twice."),
        (lambda: ForeignKey(), "ForeignKey takes exactly one of references="),
        (lambda: ForeignKey(), "neither given."),
        (lambda: ForeignKey({"{a}": "t.x"}, {"{a}": "s.t.x"}), "both given."),
        (lambda: ForeignKey({"lower(a)": "t.x"}), "'lower(a)' is no column: write its name"),
        (lambda: ForeignKey({"{a}": "t"}), "'t' must have the form \"table.column\" or"),
        (lambda: ForeignKey({"{a}": "t."}), "'t.' must have the form"),
        (lambda: ForeignKey({"{a}": "a.b.c.d"}), "'a.b.c.d' must have the form"),
        (
            lambda: ForeignKey(raw_references={"{a}": "t.x"}),
            "'t.x' must have the form \"schema.table.column\";",
        ),
        (
            lambda: ForeignKey({"{a}": "t.x"}, ondelete="EXPLODE"),
            "ondelete='EXPLODE' is unknown: use CASCADE, RESTRICT, NO ACTION, SET NULL or SET",
        ),
        (lambda: ForeignKey({"{a}": "t.x"}, onupdate="x"), "onupdate='x' is unknown"),
        (lambda: ForeignKey({"{a}": "t.x"}, initially="NOW"), "initially='NOW' is unknown"),
    ],
)
def test_incomplete_items_are_refused_where_they_are_written(
    make: Callable[[], object], message: str
):
    """Each item checks itself when it is made."""
    with pytest.raises(InvalidItem) as caught:
        make()
    assert message in str(caught.value)


def test_braces_are_checked_where_the_item_is_written():
    """A check or index with a lone brace is refused before any table is made."""
    with pytest.raises(InvalidExpression):
        Check("{a} = '{'", "n")
    with pytest.raises(InvalidExpression):
        Index("n", "{a} || '{'")


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("t.x", ("t", "x")),
        ("s.t.x", ("s", "t", "x")),
        ("My Schema.t.x y", ("My Schema", "t", "x y")),
        ('"a.b"."c""d".x', ("a.b", 'c"d', "x")),
        ('Ta"b.id', ('Ta"b', "id")),
        ("t." + "x" * 70, ("t", "x" * 63)),
    ],
)
def test_references_are_split_at_their_dots(reference: str, parts: tuple[str, ...]):
    """Names are taken as they stand; double quotes protect dots."""
    assert split_reference(reference, (2, 3)) == parts


def test_primary_key_columns_are_told_from_the_rest():
    """Only a column with primary_key=True is a primary key column."""
    assert not is_schema_item_not_primary_key(Column("id", Text, primary_key=True))
    assert is_schema_item_not_primary_key(Column("id", Text))
    assert is_schema_item_not_primary_key(Check("{a} > 0"))


def test_a_primary_key_column_among_the_items_is_refused_with_both_ways_out():
    """Whoever puts the key among the items reads where it goes instead."""
    with pytest.raises(PrimaryKeyInItems) as caught:
        validate_schema_items([*ITEMS, Column("id", Text, primary_key=True)])
    assert str(caught.value) == (
        "Column 'id' is a primary key column, which does not stand in schema_items. Give it by "
        "plugins=[ColumnPKPlugin(Column(...))], or declare the table with @pgflow.table and pk()."
    )
    assert caught.value.column == "id"


def test_validators_replace_the_usual_one():
    """A factory of the user's own says what it refuses."""

    def no_checks(item: object) -> bool:
        return not isinstance(item, Check)

    validate_schema_items([Column("id", Text, primary_key=True)], validators=[no_checks])
    with pytest.raises(TableError, match=r"Check\('\{a\} > 0'\) is refused by no_checks"):
        validate_schema_items(ITEMS, validators=[no_checks])


@pytest.mark.parametrize("item", ["a", 3, None, Identity])
def test_what_is_no_schema_item_is_refused(item: object):
    """A string among the items is named, with what a table takes."""
    with pytest.raises(InvalidItem, match="is no schema item: a table takes Column, Check, Index"):
        validate_schema_items([item])
