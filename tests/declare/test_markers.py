from __future__ import annotations

import pytest

from pgflow.declare.markers import (
    NaturalKeyMarker,
    NullableMarker,
    PrimaryKeyMarker,
    natural_key,
    nullable,
    pk,
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
