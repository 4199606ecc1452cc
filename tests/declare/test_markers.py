from __future__ import annotations

import pytest

from pgflow.declare.markers import (
    BackfillMarker,
    NaturalKeyMarker,
    NullableMarker,
    PrimaryKeyMarker,
    RenamedFromMarker,
    backfill,
    natural_key,
    nullable,
    pk,
    renamed_from,
)
from pgflow.errors import InvalidColumn


def test_markers_are_values():
    """Two calls with the same arguments are equal, so that they can be compared and cached."""
    assert pk() == PrimaryKeyMarker(autoincrement=False)
    assert pk(autoincrement=True) != pk()
    assert natural_key() == NaturalKeyMarker("default")
    assert natural_key("legacy").group == "legacy"
    assert nullable() == NullableMarker()


@pytest.mark.parametrize("group", ["", 3, None])
def test_a_natural_key_s_group_is_a_name(group: object):
    """natural_key(3) says what a group is."""
    with pytest.raises(InvalidColumn, match="the group is a name, such as 'default'"):
        natural_key(group)


def test_a_former_name_and_a_backfill_are_values():
    """Both markers keep what they were given; blanks around an expression mean nothing."""
    assert renamed_from("mail") == RenamedFromMarker("mail")
    assert backfill(" now() ") == BackfillMarker("now()")


@pytest.mark.parametrize("name", ["", 3, None, "a\0b"])
def test_a_former_name_is_a_name(name: object):
    """renamed_from('') says what is wanted."""
    with pytest.raises(InvalidColumn, match="give the column's former name, such as 'mail'"):
        renamed_from(name)


@pytest.mark.parametrize("expression", ["", "  ", None, 0])
def test_a_backfill_is_sql_text(expression: object):
    """backfill(0) is refused, because it could be a value or an expression."""
    with pytest.raises(InvalidColumn, match="give an SQL expression as text"):
        backfill(expression)
