from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from pgflow import idents
from pgflow.errors import InvalidIdentifier

#: Any name that PostgreSQL can store: no NUL, and no lone surrogates, which UTF-8 cannot say.
NAMES = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=90
)
AWKWARD = [
    "plain", "Capitals", "two words", 'quo"te', "order", "user", "100%", "%(x)s", ":name", "a.b",
    "1st", "_ok", "$1", "ünïcode", "日本語", "x" * 63, "x" * 64, "é" * 40, "a;b--c", "tab\tname",
    "back\\slash", "'single'", "{brace}", "select", "interval", "values", " leading",
]  # fmt: skip


@pytest.mark.parametrize("name", AWKWARD)
def test_quoted_names_mean_themselves_to_the_server(conn: Connection, name: str):
    """A quoted name stands in SQL text, and the server stores what `truncate` says."""
    driver = conn.connection.driver_connection
    driver.execute(f"CREATE TEMP TABLE t ({idents.quote(name)} int)")  # a quoted name is SQL
    stored = conn.execute(
        text("SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0")
    ).scalar_one()
    assert stored == idents.truncate(name)


def test_every_keyword_is_quoted_that_needs_it(conn: Connection):
    """All of the server's keywords work as table, column and alias after quoting."""
    driver = conn.connection.driver_connection
    words = [word for (word,) in driver.execute("SELECT word FROM pg_get_keywords()")]
    for word in words:
        quoted = idents.quote(word)
        driver.execute(f"CREATE TEMP TABLE {quoted} ({quoted} int)")
        driver.execute(f"SELECT {quoted}.{quoted}, 1 AS {quoted} FROM {quoted} WHERE {quoted} = 1")
        driver.execute(f"INSERT INTO {quoted} ({quoted}) SELECT 1 ORDER BY 1")
        driver.execute(f"UPDATE {quoted} SET {quoted} = 2")
        driver.execute(f"DROP TABLE {quoted}")
    assert len(words) > 400


@given(NAMES)
def test_a_shortened_name_is_the_beginning_of_the_name(name: str):
    """`truncate` keeps at most 63 bytes, cuts no character, and changes nothing shorter."""
    short = idents.truncate(name)
    assert name.startswith(short)
    assert len(short.encode()) <= 63
    assert short == name or len(name.encode()) > 63 >= len(short.encode()) > 59


@given(NAMES, NAMES)
def test_fitted_names_stay_apart(one: str, other: str):
    """`fit` keeps at most 63 bytes, and two different names never become one."""
    assert len(idents.fit(one).encode()) <= 63
    assert (idents.fit(one) == idents.fit(other)) == (one == other)


def test_long_generated_names_end_in_a_hash_of_the_whole():
    """Two names that differ after 63 bytes keep different ends."""
    one, other = idents.fit("x" * 70 + "a"), idents.fit("x" * 70 + "b")
    assert one != other
    assert one[:54] == other[:54] == "x" * 54
    assert idents.join_fit(["a", "b", "idx"]) == "a_b_idx"


@given(NAMES)
def test_a_quoted_name_is_one_token(name: str):
    """Either the name stands bare and is plain, or every quote inside is doubled."""
    quoted = idents.quote(name)
    if quoted.startswith('"'):
        assert quoted.endswith('"')
        assert quoted[1:-1].replace('""', '"') == idents.truncate(name)
    else:
        assert quoted == name
        assert quoted.isascii()
        assert quoted == quoted.lower()


def test_names_are_qualified_part_by_part():
    """Schema and name are quoted apart, and no schema leaves the name alone."""
    assert idents.qualify("My Schema", "order") == '"My Schema"."order"'
    assert idents.qualify(None, "t") == "t"


@pytest.mark.parametrize("name", ["", "a\0b", None, 3])
def test_what_cannot_be_a_name_is_refused(name: object):
    """Empty names, NUL characters and other types are refused by name."""
    with pytest.raises(InvalidIdentifier) as caught:
        idents.quote(name)
    assert str(caught.value) == (
        f"{name!r} cannot be the name of a PostgreSQL object: a name is a non-empty string "
        "without NUL characters."
    )
