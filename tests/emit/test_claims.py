from __future__ import annotations

from itertools import product

import pytest
from sqlalchemy import MetaData, Table

from pgflow.emit.claims import check_claim, claim, claims
from pgflow.errors import ModeConflict

MODES = ("append", "truncate", "merge", "scd1", "scd2")
SHARING = {"append", "merge", "scd1"}


@pytest.mark.parametrize(("one", "other"), list(product(MODES, MODES)))
def test_which_modes_share_a_table(one: str, other: str):
    """append, merge and scd1 go together; scd2 and truncate go with their own kind only."""
    table = Table("t", MetaData(), schema="s")
    claim(table, one, "pipeline 'a'")
    if one == other or {one, other} <= SHARING:
        claim(table, other, "pipeline 'b'")
        assert claims(table) == {"pipeline 'a'": one, "pipeline 'b'": other}
        return
    with pytest.raises(ModeConflict) as caught:
        claim(table, other, "pipeline 'b'")
    assert str(caught.value).startswith(
        f"pipeline 'b' fills s.t in mode {other!r}, and pipeline 'a' in mode {one!r}: "
    )
    assert caught.value.owners == ("pipeline 'b'", "pipeline 'a'")
    assert claims(table) == {"pipeline 'a'": one}


def test_one_owner_has_one_mode():
    """An owner that comes back with another mode is refused; with the same one it is not."""
    table = Table("t", MetaData())
    claim(table, "merge", "pipeline 'a'")
    claim(table, "merge", "pipeline 'a'")
    with pytest.raises(ModeConflict, match="one owner has one mode"):
        check_claim(table, "scd1", "pipeline 'a'")


def test_checking_claims_nothing():
    """check_claim says only whether a claim would be refused."""
    table = Table("t", MetaData())
    check_claim(table, "scd2", "pipeline 'a'")
    assert claims(table) == {}
