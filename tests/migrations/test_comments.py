"""A comment and pgflow's mark share one text, and come apart to the byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from pgflow.alembic import comments
from pgflow.alembic.entity import Entity, Mark
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.literals import dollar, literal
from pgflow.alembic.reader import Reader

#: Pieces of which the worst texts are made.
_PIECES = (
    "[pgflow",
    "]",
    " ",
    ":",
    '"',
    '""',
    ",",
    " grants=",
    " defaults=",
    "a",
    "B",
    "[not pgflow]",
    "ü",
    "\n",
)
_texts = st.one_of(st.text("abc \n\\'%:$"), st.lists(st.sampled_from(_PIECES)).map("".join))
_names = st.lists(st.sampled_from([*_PIECES, "public", "Reader"]), min_size=1).map("".join)
#: "" is PUBLIC, which is why no role can be called that.
_roles = st.just("") | _names.filter(lambda name: name != "public")
_marks = st.none() | st.builds(
    Mark,
    st.just("") | _names,
    st.frozensets(_roles, max_size=3),
    defaults=st.frozensets(_roles, max_size=2),
)


@pytest.mark.parametrize(
    ("comment", "mark", "text"),
    [
        (None, None, None),
        ("", None, None),
        ("hello", None, "hello"),
        (None, Mark(), "[pgflow]"),
        ("hello", Mark(), "hello [pgflow]"),
        (None, Mark("shop"), "[pgflow:shop]"),
        ("x", Mark("Shop 1"), 'x [pgflow:"Shop 1"]'),
        (
            None,
            Mark(grantees=frozenset({"writer", "Reader", ""})),
            '[pgflow grants=public,"Reader",writer]',
        ),
        (
            None,
            Mark(grantees=frozenset({"a"}), defaults=frozenset({"", "b"})),
            "[pgflow grants=a defaults=public,b]",
        ),
        (None, Mark(defaults=frozenset({"b"})), "[pgflow defaults=b]"),
        ("x [pgflow]", None, "x [pgflow] [not pgflow]"),
    ],
)
def test_a_mark_follows_the_comment(
    comment: str | None, mark: Mark | None, text: str | None
) -> None:
    """The mark stands after the user's text and one space."""
    assert comments.join(comment, mark) == text


def _all_names(mark: Mark) -> tuple[str, ...]:
    return (mark.owner, *mark.grantees, *mark.defaults)


@given(_texts, _marks)
def test_any_comment_and_mark_come_apart_again(comment: str, mark: Mark | None) -> None:
    """No text and no name makes a comment that is read as something else."""
    # Names of more than 63 bytes are shortened, as the server does.
    if mark is not None and any(len(name.encode()) > 63 for name in _all_names(mark)):
        return
    assert comments.split(comments.join(comment, mark)) == (comment or None, mark)


@pytest.mark.parametrize(
    "text", ["a[pgflow]", "[pgflow] ", "[pgflow:]", "[pgflow grants=]", "[pgflowx]", "[pgflow] b"]
)
def test_what_only_looks_like_a_mark_is_text(text: str) -> None:
    """A mark stands at the very end, after a space, and is complete."""
    assert comments.split(text) == (text, None)


def test_the_statement_sets_both(conn: Connection) -> None:
    """COMMENT ON takes the text as it is, and NULL removes it."""
    reader = Reader(conn)
    table = EntityIdentifier("public", "t", kind="table")
    reader.run("CREATE TABLE public.t ()")
    text = "it's \\ 100% :x $$ \r\n ü"
    marked = Entity(table, comment=text, mark=Mark("s"))
    reader.run(comments.statement("TABLE public.t", marked).sql)
    stored = "SELECT obj_description('public.t'::regclass, 'pg_class')"
    assert comments.split(reader.scalar(stored)) == (text, Mark("s"))
    reader.run(comments.statement("TABLE public.t", Entity(table)).sql)
    assert reader.scalar(stored) is None


@pytest.mark.parametrize(
    "text",
    ["", "x", "it's", "$$", "$", "a $body$ $$ b", "ends in $body", "$$$body$$body2$", "\\%:x"],
)
def test_constants_hold_any_text(conn: Connection, text: str) -> None:
    """Quoted with apostrophes or dollars, a text arrives as it is."""
    for written in (literal(text), dollar(text)):
        row = conn.exec_driver_sql(
            f"SELECT {written}",
            execution_options={"no_parameters": True},
        )
        assert row.scalar() == text


def test_short_dollar_quotes_are_preferred() -> None:
    """A text without dollars stands between two plain ones."""
    assert dollar("BEGIN END") == "$$BEGIN END$$"
    assert dollar("$$") == "$body$$$$body$"
