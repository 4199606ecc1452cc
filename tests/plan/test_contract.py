"""Which types would silently change a value, and which take more than others."""

from __future__ import annotations

import pytest

from pgflow.plan.contract import is_wider, loss
from pgflow.plan.spec import SourceColumn, TargetColumn


@pytest.mark.parametrize(
    ("found", "wanted", "loses"),
    [
        ("numeric", "integer", True),
        ("numeric(5,0)", "integer", False),
        ("double precision", "bigint", True),
        ("bigint", "integer", False),
        ("timestamp with time zone", "date", True),
        ("timestamp(3) without time zone", "date", True),
        ("timestamp with time zone", "timestamp without time zone", True),
        ("timestamp without time zone", "timestamp with time zone", False),
        ("date", "timestamp with time zone", False),
        ("numeric(12,4)", "numeric(10,2)", True),
        ("numeric(8,2)", "numeric(12,2)", False),
        ("numeric", "numeric(10,2)", False),
        ("double precision", "real", True),
        ("timestamp(6) with time zone", "timestamp(0) with time zone", True),
        ("timestamp(3) without time zone", "timestamp(6) with time zone", False),
        ("timestamp without time zone", "timestamp(0) without time zone", False),
        ("time(6) without time zone", "time(3) without time zone", True),
        ("interval(6)", "interval(0)", True),
        ("interval", "interval year", True),
        ("interval year to month", "interval month", False),
        ("interval day", "interval day to second", False),
        ("interval", "interval", False),
        ("interval", "time without time zone", True),
        ("money", "numeric(10,0)", True),
        ("money", "numeric(10,2)", False),
        ("numeric(12,4)", "money", True),
        ("numeric(12,0)", "money", False),
        ("inet", "cidr", True),
        ("cidr", "inet", False),
        ("character varying", "name", True),
        ("name", "text", False),
        ("text", '"char"', True),
        ('"char"', "text", False),
        ("double precision[]", "integer[]", True),
        ("timestamp with time zone[]", "date[]", True),
        ("numeric(6,3)[]", "numeric(6,1)[]", True),
        ("numeric(6,1)[]", "numeric(6,3)[]", False),
        ("integer[]", "bigint[]", False),
        ("text", "integer", False),
        ("warehouse.mood", "text", False),
        ('"Odd, type"(3)', "integer", False),
    ],
)
def test_losses(found: str, wanted: str, loses: bool) -> None:
    """Values that the server would change without a word are told; those it refuses are not."""
    assert (loss(SourceColumn("c", found), TargetColumn("c", wanted)) is not None) is loses


@pytest.mark.parametrize(
    ("found", "wanted", "wider"),
    [
        ("bigint", "integer", True),
        ("integer", "bigint", False),
        ("integer", "integer", False),
        ("numeric", "bigint", True),
        ("numeric(12,2)", "numeric(10,2)", True),
        ("numeric(12,4)", "numeric(12,2)", False),
        ("numeric", "numeric(10,2)", True),
        ("numeric(10,2)", "numeric", False),
        ("text", "character varying", True),
        ("timestamp without time zone", "date", True),
        ("uuid", "text", False),
    ],
)
def test_widths(found: str, wanted: str, wider: bool) -> None:
    """A type is wider if it takes every value of the other one, and more."""
    assert is_wider(SourceColumn("c", found), TargetColumn("c", wanted)) is wider


@pytest.mark.parametrize(
    ("found", "wanted", "wider"),
    [(20, 10, True), (10, 20, False), (None, 10, True), (10, None, False), (10, 10, False)],
)
def test_lengths(found: int | None, wanted: int | None, wider: bool) -> None:
    """Of two varchar the longer one, or one without a limit, is wider."""
    source = SourceColumn("c", "character varying", found)
    assert is_wider(source, TargetColumn("c", "character varying", length=wanted)) is wider
