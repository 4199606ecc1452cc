"""SQL survives its way into a migration file and from there to the server, to the byte."""

from __future__ import annotations

import ast
import io

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pglast.parser import deparse_protobuf, parse_sql_protobuf
from sqlalchemy import Connection, Engine, text

from pgflow.alembic import offline
from pgflow.alembic.literals import dollar
from pgflow.alembic.rendering import indented
from pgflow.alembic.text import call, escaped, executable, formatted, literal, sent
from pgflow.errors import UnwritableStatement

#: What PostgreSQL can store, with what is special to Python, SQLAlchemy, psycopg or SQL on top.
BODIES = st.lists(
    st.one_of(
        st.sampled_from(
            (
                *('"""', '"', "\\", "\\:", ":", "::", ":name", ":a:", ":$b", ":c$:", "%", "%%"),
                *("%(x)s", "%s", "'", "$$", "$a$", "\n", "\r\n", "\r", "\t", "  ", " \n", "#"),
                *(
                    "{}",
                    "a",
                    "_1",
                    "--",
                    "/*",
                    "é",
                    "\u2028",
                    "\x0b",
                    "\x1f",
                    "\x85",
                    "\ufeff",
                    ";",
                ),
            )
        ),
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
    ),
    max_size=12,
).map("".join)

HARD = (
    'a """ b \\ c % d %% e :name f $$ g \' h \r\n i  \n\ttab \\:x ::y :z: 1:2 "',
    "\\",
    '"',
    '""',
    "\n",
    " \n ",
    "\r",
    ":$a:b :c$: \\\\:d",
    "line\n    indented\n\n\ttab  \n",
    'r"\\',
)


def create(body: str) -> str:
    """Write a statement whose body PL/pgSQL does not look at yet."""
    return f"CREATE FUNCTION probe() RETURNS void LANGUAGE plpgsql AS {dollar(body)}"


def run_file(operations: Operations, statement: str) -> None:
    """Write a migration's function with the statement, and run it."""
    code = indented(call(statement))
    names: dict[str, object] = {}
    exec(f"import sqlalchemy as sa\ndef upgrade(op):\n    {code}\n", names)  # the file itself
    upgrade = names["upgrade"]
    assert callable(upgrade)
    upgrade(operations)


def stored(connection: Connection) -> str:
    """Read the body back."""
    body = connection.scalar(text("SELECT prosrc FROM pg_proc WHERE proname = 'probe'"))
    assert isinstance(body, str)
    return body


def check_body(engine: Engine, body: str, *, as_script: bool) -> None:
    statement = formatted(create(body))
    with engine.connect() as connection:
        connection.exec_driver_sql("SET LOCAL check_function_bodies = off")
        if as_script:
            script = io.StringIO()
            context = MigrationContext.configure(
                dialect_name="postgresql", opts={"as_sql": True, "output_buffer": script}
            )
            run_file(Operations(context), statement)
            connection.exec_driver_sql(script.getvalue(), execution_options={"no_parameters": True})
        else:
            run_file(Operations(MigrationContext.configure(connection)), statement)
        assert stored(connection) == body


@pytest.mark.parametrize("as_script", [False, True], ids=["online", "offline"])
@pytest.mark.parametrize("body", HARD)
def test_a_hard_body_arrives_as_it_is(engine: Engine, body: str, as_script: bool) -> None:
    """Quotes, backslashes, percents, colons, dollars, CR and white space reach the server."""
    offline.install()
    check_body(engine, body, as_script=as_script)


def test_any_body_arrives_as_it_is(engine: Engine) -> None:
    """Whatever text a function has, the file and the script create it with that very text."""
    offline.install()

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(BODIES, st.booleans())
    def check(body: str, as_script: bool) -> None:
        check_body(engine, body, as_script=as_script)

    check()


@settings(max_examples=500, deadline=None)
@given(BODIES)
@example(":$a:b")
@example(":a$:")
@example("\\\\::b \\:c:")
def test_any_text_is_sent_as_it_is(sql: str) -> None:
    """Escaping is the exact inverse of what SQLAlchemy does to text; else DDL() stands."""
    written = escaped(sql)
    if written is not None:
        assert sent(written) == sql
    (argument,) = ast.parse(call(sql)).body
    assert isinstance(argument, ast.Expr)
    assert str(executable(sql).compile()).replace("%%", "%") in (sql, sql.replace("%%", "%"))


@settings(max_examples=500, deadline=None)
@given(BODIES)
def test_any_text_has_a_literal(value: str) -> None:
    """A literal means its text, and no line of it ends in white space that an editor would cut."""
    source = literal(value)
    assert ast.literal_eval(source) == value
    assert all(line == line.rstrip(" \t\x0b\x0c") for line in source.split("\n"))
    assert all(
        character == "\n" or character.isprintable() or character == "\t" for character in source
    )


@settings(max_examples=300, deadline=None)
@given(BODIES)
def test_indenting_code_leaves_literals_alone(value: str) -> None:
    """Alembic's indentation moves lines of code, never lines inside a string."""
    code = f"f(\n    {literal(value)}\n)"
    module = ast.parse(f"if True:\n    {indented(code)}\n")
    (argument,) = module.body[0].body[0].value.args  # type: ignore[attr-defined]
    assert ast.literal_eval(argument) == value


def test_literals_read_well() -> None:
    """One line stays one line, several stand in triple quotes, backslashes are written raw."""
    assert literal("SELECT 1") == '"SELECT 1"'
    assert literal("a\nb") == '"""a\nb"""'
    assert literal(r"'^\d+$'") == "r\"'^\\d+$'\""
    assert literal("a \\d\nb") == 'r"""a \\d\nb"""'
    assert literal('COMMENT "x"') == '"COMMENT \\"x\\""'
    assert literal("a \nb") == '"""a\\x20\nb"""'


def test_a_table_is_laid_out_one_column_a_line() -> None:
    """CREATE TABLE reads as one would write it."""
    sql = (
        "CREATE TABLE app.t (id integer NOT NULL, total numeric(12,2) DEFAULT 0, "
        "CONSTRAINT t_pkey PRIMARY KEY (id))"
    )
    assert formatted(sql).splitlines() == [
        "CREATE TABLE app.t (",
        "    id int NOT NULL,",
        "    total numeric(12, 2) DEFAULT 0,",
        "    CONSTRAINT t_pkey PRIMARY KEY (id)",
        ")",
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE VIEW app.v AS SELECT a, 'two  spaces\nand a line' AS b FROM app.t WHERE ((a > 5))",
        create("\n  BEGIN\n    RAISE 'x';   \n  END\n").replace("$$", "$body$"),
        "CREATE TABLE app.t (a int, c text COLLATE \"C\" DEFAULT E'a\\n' CHECK ((c ~ '^\\d+$')))",
        "ALTER TABLE app.t ADD CONSTRAINT c CHECK ((a > 0) AND (b > 0) AND ((a + b) < 100000000))",
    ],
)
def test_formatting_changes_no_tree(sql: str) -> None:
    """What is laid out is the same statement, string constants included."""
    result = formatted(sql)
    assert result != sql
    assert deparse_protobuf(parse_sql_protobuf(result)) == deparse_protobuf(parse_sql_protobuf(sql))


def test_what_cannot_be_parsed_stays_as_it_is() -> None:
    """Syntax that the parser does not know is written as it was generated."""
    sql = "CREATE TABLE app.t (a int, b tstzrange, PRIMARY KEY (a, b WITHOUT OVERLAPS)) UNKNOWN x"
    assert formatted(sql) == sql


def test_a_body_is_never_moved_to_the_right() -> None:
    """A statement is indented as a whole only if no constant in it spans lines."""
    free = formatted(
        "CREATE TABLE app.some_table (a integer NOT NULL, b integer NOT NULL, c text NOT NULL)"
    )
    assert "\n        CREATE TABLE app.some_table (\n            a int" in call(free)
    assert 'op.execute("""CREATE FUNCTION' in call(create("\nBEGIN\nEND\n"))


def test_what_no_database_can_store_is_refused() -> None:
    """A NUL character is refused with the statement's beginning."""
    with pytest.raises(UnwritableStatement, match="NUL"):
        call("SELECT 'a\0b'")
