"""Passwords in declarations: refused, and never repeated."""

from __future__ import annotations

import os
import traceback
from typing import Any

import pytest
from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql
from sqlalchemy_declarative_extensions import Row, declare_database
from sqlalchemy_declarative_extensions.dialects.postgresql import Role
from sqlalchemy_declarative_extensions.role.generic import Env

from pgflow.alembic.concealment import concealed, first_line
from pgflow.alembic.declared.statements import declare_sql
from pgflow.alembic.declared.world import declared_world
from pgflow.errors import DeclarationError, InvalidDeclaration, PasswordDeclared

_SECRET = "s3cret"


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE ROLE x PASSWORD 's3cret'",
        "CREATE ROLE x bad PASSWORD 's3cret'",
        "CREATE ROLE x PASSWORD s3cret",
        'CREATE USER x PASSWORD "s3cret"',
        "CREATE ROLE x PASSWORT 's3cret'",
        "CREATE ROLE x LOGIN\n  PASSWORD\n  's3cret' bad",
        "CREATE ROLE x PASSWORD 's3cret",
        'CREATE ROLE "x PASSWORD \'s3cret\'; COMMENT ON ROLE "x" IS 1',
        "ALTER ROLE x WITH ENCRYPTED PASSWORD /* new */ E's3cret\\'x'",
        "ALTER USER x IDENTIFIED BY s3cret",
        "CREATE ROLE x LOGIN s3cret",
        "CREATE /* a */ ROLE x PASSWORD $$s3cret$$",
        "CREATE TABLE t (a int); ALTER ROLE x PASSWORD 's3cret' oops",
        "SELEC 1; CREATE ROLE x PASSWORD 's3cret'",
        "CREATE USER MAPPING FOR x SERVER y OPTIONS (user 'x', password 's3cret')",
        "ALTER USER MAPPING FOR x SERVER y OPTIONS (SET password 's3cret'",
        "CREATE SERVER y FOREIGN DATA WRAPPER w OPTIONS (token 's3cret')",
        "CREATE SUBSCRIPTION x CONNECTION 'host=h password=s3cret' PUBLICATION p",
        "CREATE SUBSCRIPTON x CONNECTION 's3cret' PUBLICATION p",
        "CREATE FOREIGN TABLE t (a int) SERVER y OPTIONS (password 's3cret')",
        "DO $x$ BEGIN EXECUTE 'ALTER ROLE x PASSWORD ''s3cret'''; END $x$",
        "CREATE VIEW v AS SELEC * FROM dblink('host=h password=s3cret', 'SELECT 1') AS t (a int)",
        "CREATE VIEW v AS SELEC * FROM dblink('postgresql://u:s3cret@h/d', 'SELECT 1')",
        "CREATE VIEW v AS SELECT 1 FRM t WHERE password = 's3cret",
    ],
)
def test_no_password_is_repeated(sql: str) -> None:
    """Whatever is wrong with a declaration, no error, attribute or traceback holds its password."""
    with pytest.raises(DeclarationError) as caught:
        declare_sql(MetaData(), sql)

    told = "".join(traceback.format_exception(caught.value))
    assert _SECRET not in told
    assert _SECRET not in str(vars(caught.value))
    assert _SECRET not in repr(caught.value.__context__)


def test_what_is_shown_of_a_broken_role() -> None:
    """The statement, the line and the column are told, and nothing behind the role's name."""
    with pytest.raises(InvalidDeclaration) as caught:
        declare_sql(MetaData(), "CREATE TABLE a (x int);\nCREATE ROLE x bad PASSWORD 's3cret'")

    assert str(caught.value) == (
        "declare_sql('CREATE TABLE a (x int);') is not valid SQL: unrecognized role option, "
        "at line 2, column 18: 'CREATE ROLE x ...'."
    )


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("CREATE ROLE x", "CREATE ROLE x"),
        ('CREATE ROLE IF NOT EXISTS "a b" LOGIN', 'CREATE ROLE IF NOT EXISTS "a b" ...'),
        ("CREATE TABLE app.user (password text)", "CREATE TABLE app.user (password text)"),
        ("COMMENT ON COLUMN u.password IS 'hash'", "COMMENT ON COLUMN u.password IS 'hash'"),
        ("SELECT password, 'x' FROM u", "SELECT password, 'x' FROM u"),
        (
            "SELECT * FROM u WHERE password = 'x' AND a",
            "SELECT * FROM u WHERE password = ... AND a",
        ),
    ],
)
def test_what_is_no_password_is_shown(sql: str, shown: str) -> None:
    """Texts that only speak of passwords stay readable."""
    assert first_line(sql) == shown


def test_a_part_of_a_text() -> None:
    """A part is shown as in the whole: a literal that began before it stays hidden."""
    sql = "SELECT 1 WHERE password = 'a\nb\nc' AND d"

    assert concealed(sql, sql.index("b"), sql.index("b") + 1) == "..."
    assert concealed(sql, sql.index("c")) == "... AND d"
    assert concealed(sql, sql.index("AND")) == "AND d"


@pytest.mark.parametrize("password", ["s3cret", Env("PGFLOW_TEST_SECRET")])
def test_a_registered_role(password: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password of a registered role is refused like one in SQL, not left out silently."""
    monkeypatch.setitem(os.environ, "PGFLOW_TEST_SECRET", "s3cret")
    metadata = MetaData()
    role: Any = Role  # its annotations are not all there
    declare_database(metadata, roles=[role("loader", login=True, password=password)])

    with pytest.raises(PasswordDeclared, match="'loader' is declared with a password") as caught:
        declared_world(metadata, postgresql.dialect(), ["public"])

    assert _SECRET not in str(caught.value)


def test_rows_are_not_repeated() -> None:
    """A declared row is named by its table, not by what is in it."""
    metadata = MetaData()
    row: Any = Row
    declare_database(metadata, rows=[row("app.users", id=1, password="s3cret")])

    with pytest.raises(InvalidDeclaration, match=r"rows \('app.users'\)") as caught:
        declared_world(metadata, postgresql.dialect(), ["public"])

    assert _SECRET not in str(caught.value)
