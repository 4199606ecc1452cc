"""Expressions stay as they are printed once the server has read its own print of them."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from pgflow.alembic.printing import settled
from pgflow.alembic.reader import Reader

SETUP = """
    SET LOCAL search_path = '';
    SET LOCAL client_min_messages = error;
    CREATE SCHEMA app;
    CREATE TYPE app."My mood" AS ENUM ('x', 'y');
    CREATE DOMAIN app.short AS varchar(10);
    CREATE TABLE app.t (
        i integer, big bigint, v varchar(20), c text, ch char(3), num numeric(10, 2), fl float8,
        ts timestamp, tz timestamptz, e app."My mood", dom app.short, b boolean, js jsonb,
        varr varchar(5)[], net cidr, vb varbit
    );
    CREATE FUNCTION app.fn(a integer, b integer DEFAULT 1) RETURNS integer LANGUAGE sql
        AS 'SELECT 1';
    CREATE FUNCTION app.va(VARIADIC a text[]) RETURNS integer LANGUAGE sql AS 'SELECT 1'
"""

#: Those that the server prints in another way when it has read what it printed.
UNSETTLED = [
    "v IN ('a', 'b')",
    "v NOT IN ('a', NULL)",
    "v IN ('it''s', '],([', E'a\\\\b\\n', 'ARRAY[')",
    "dom IN ('a', 'b')",
    "net IN ('10.0.0.0/8', '11.0.0.0/8')",
    "num = ANY (ARRAY[1, i])",
    "fl = ANY (ARRAY[1, -2])",
    "v = ANY (ARRAY['a', 'b']::varchar(3)[])",
    "v = ANY (ARRAY[v || 'x', lower(v || ', ')]::varchar[])",
    "v COLLATE \"C\" IN ('a', 'b')",
    "coalesce(varr, ARRAY['a'])",
    "array_cat(varr, ARRAY['a', upper('b')])",
    "CASE WHEN v IN ('a', 'b') THEN v ELSE 'z' END",
    "v IN ('a', 'b') AND (c IN ('a', 'b') OR NOT e IN ('x', 'y') OR dom IN ('q', 'r'))",
    "v = ANY (ARRAY[['a', 'b'], ['c', 'd']]::varchar[])",
    "tz IN (ts, now())",
]
IN_QUERIES = [
    "v IN (SELECT 'a')",
    "(i, v) IN (SELECT 1, 'a' UNION SELECT -2, 'ü AS text' FROM app.t)",
    "EXISTS (SELECT NULL FROM app.t AS x WHERE x.v IN ('a', 'b'))",
    "v = (SELECT '( VALUES ')",
    "i IN (SELECT x.a FROM (SELECT -1 AS a, 'b' AS text) AS x)",
    "i IN (WITH w AS (SELECT 'b' AS text) SELECT length(w.text) FROM w)",
]
SETTLED = [
    "c IN ('a', 'b')",
    "e IN ('x', 'y')",
    "big IN (1, 2)",
    "num IN (1, 2)",
    "ch IN ('a', 'b')",
    "i BETWEEN -1 AND - 3",
    "(i, v) < (1, 'a')",
    "ts + '1 day' > tz AT TIME ZONE 'UTC'",
    "vb IN (B'01', B'1')",
    "js -> 'a' ->> 'b'",
    "v SIMILAR TO '%a' OR v LIKE 'b_' ESCAPE '!'",
    "substring(v from 1 for 2) || overlay(v placing 'a' from 1)",
    "app.fn(i, b => 2) + app.fn(a => i) + app.va('a', v)",
    "sum(i) OVER (ORDER BY i RANGE BETWEEN 1 PRECEDING AND CURRENT ROW)",
    "NOT (b IS TRUE AND (NOT b OR b)) OR b = true",
]
QUERIES = [
    "VALUES (1, 'a'), (2, '( VALUES ')",
    "SELECT * FROM (VALUES (1, 'a')) AS x (a, b)",
    "WITH w AS (VALUES (1), (2)) SELECT * FROM w",
    "SELECT v IN ('a', 'b') AS k, count(*) FROM app.t GROUP BY 1 ORDER BY 1",
    "SELECT 'a' AS text, (SELECT 'b'), 'c' AS k",
    "SELECT x.text FROM (SELECT 'b' AS text) AS x",
    "SELECT 'a' UNION SELECT 'b'",
]


@pytest.fixture
def reader(conn: Connection) -> Reader:
    """A reader of a database with a table of many types."""
    found = Reader(conn)
    found.run(SETUP)
    return found


def _printed(reader: Reader, query: str) -> str:
    reader.run(f"CREATE VIEW app.v AS {query}")
    found: str = reader.scalar("SELECT pg_get_viewdef('app.v'::regclass)")
    reader.run("DROP VIEW app.v")
    return found.removesuffix(";")


@pytest.mark.parametrize("case", [*UNSETTLED, *IN_QUERIES, *SETTLED])
def test_an_expression_is_the_same_after_a_round(reader: Reader, case: str) -> None:
    """What the server prints first, what it makes of that, and what pgflow runs are one."""
    first = _printed(reader, f"SELECT {case} AS a FROM app.t")
    ours = settled(first, "")
    assert settled(_printed(reader, first), "") == ours
    assert settled(_printed(reader, ours), "") == ours


@pytest.mark.parametrize("case", QUERIES)
def test_a_query_is_the_same_after_a_round(reader: Reader, case: str) -> None:
    """Lists of values, groups and names that matter come out as they went in."""
    first = _printed(reader, case)
    ours = settled(first, "")
    assert settled(_printed(reader, first), "") == ours
    assert settled(_printed(reader, ours), "") == ours


@pytest.mark.parametrize("case", UNSETTLED)
def test_the_settled_form_is_the_servers_second(reader: Reader, case: str) -> None:
    """Where the server changes its mind, pgflow writes what it comes to, to the byte."""
    first = _printed(reader, f"SELECT {case} AS a FROM app.t")
    assert settled(first) == _printed(reader, first)


@pytest.mark.parametrize("case", UNSETTLED[:-1])
def test_a_constraint_is_the_same_after_a_round(reader: Reader, case: str) -> None:
    """The definition of a check constraint settles as a query does."""

    def printed(definition: str) -> str:
        reader.run(f"ALTER TABLE app.t ADD CONSTRAINT k {definition}")
        found: str = reader.scalar(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'k'"
        )
        reader.run("ALTER TABLE app.t DROP CONSTRAINT k")
        return found

    first = printed(f"CHECK (({case}) IS NOT NULL)")
    assert printed(first) == settled(first) == printed(settled(first))


def test_rows_are_those_of_the_text_as_it_was_written(reader: Reader) -> None:
    """The settled form means the same: each expression has the same value on rows of all sorts."""
    reader.run(
        "INSERT INTO app.t (i, v, c, num, fl, dom, net, varr) VALUES "
        "(1, 'a', 'a', 1, 1, 'a', '10.0.0.0/8', '{a}'), "
        "(-2, 'it''s', NULL, 2, -2, 'q', NULL, NULL), "
        "(NULL, '],([', 'b', 7, 3, 'b', '11.0.0.0/8', '{}'), "
        "(4, NULL, 'b', NULL, NULL, NULL, NULL, '{x,y}')"
    )
    for case in (*UNSETTLED, *IN_QUERIES):
        written = f"SELECT {case} AS a FROM app.t"
        values = [
            [row[0] for row in reader.rows(query.replace(":", r"\:"))]
            for query in (written, settled(_printed(reader, written), ""))
        ]
        assert values[0] == values[1], case


STRANGE = [
    "'(ARRAY[1])::text[]'",
    '"(ARRAY[1])::text[]"',
    "E'\\'(ARRAY[1])::text[]'",
    "$a$(ARRAY[1])::text[] ( VALUES $a$",
    "f(ARRAY[1])",
    "(ARRAY[1, 2])",
    "(ARRAY[1, 2])::app.list",
    "(ARRAY[1",
    "(ARRAY[1])::text[",
    "( VALUES",
    "x( SELECT 'a'::text AS text",
]


@pytest.mark.parametrize("text", STRANGE)
def test_what_is_no_cast_is_left_alone(text: str) -> None:
    """Quoted texts, other parentheses and unfinished ones are not touched."""
    assert settled(text, "SELECT ") in (text, text.replace("( VALUES", "(VALUES"))
    assert settled(text).count("(") == text.count("(")


def test_types_of_every_spelling_are_pushed_down(reader: Reader) -> None:
    """Type names of several words, with quotes or with a length, follow each element."""
    for type_ in (
        "double precision",
        "timestamp(3) with time zone",
        'app."My, [type]"',
        "numeric(12,2)",
        "character varying",
    ):
        text = f"x = ANY ((ARRAY[a, 'b,'::text, f(c, d)])::{type_}[])"
        assert settled(text) == (
            f"x = ANY (ARRAY[(a)::{type_}, ('b,'::text)::{type_}, (f(c, d))::{type_}])"
        )
