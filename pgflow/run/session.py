"""One database connection as the runner uses it: fragments in, rows and counts out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy.engine import Connection

from pgflow.errors import StatementFailed, WrongDriver
from pgflow.plan.sql import Sql, raw


@dataclass(frozen=True)
class Answer:
    """What a statement gave back.

    Attributes:
        rows: Returned rows by column name.
        count: Rows affected or returned.
    """

    rows: tuple[dict[str, Any], ...]
    count: int


@dataclass(frozen=True)
class Field:
    """A column of a query's result, as the protocol describes it.

    Attributes:
        name: Its name.
        oid: Its type.
        modifier: Its type modifier, or -1.
    """

    name: str
    oid: int
    modifier: int


class Session:
    """A psycopg connection under a SQLAlchemy one.

    Statements go to the server with `$n` placeholders, and are never prepared by name, so that
    transaction poolers work.

    Args:
        connection: A SQLAlchemy connection to PostgreSQL by psycopg 3.
        label: An SQL comment for every statement; it must not hold the user's text unescaped.
        owner: Whose statements these are, for error messages.
    """

    def __init__(self, connection: Connection, label: str = "", *, owner: str = "") -> None:
        self.connection = connection
        self.label = f"/* {label} */ " if label else ""
        self.owner = owner
        self._driver = _psycopg(connection)
        if self._driver.info.encoding != "utf-8":
            # Every name can be spelt; strings are the same for whoever shares the transaction.
            self.run(raw("SET LOCAL client_encoding = 'UTF8'"), "speak UTF-8")

    def run(self, fragment: Sql, purpose: str) -> Answer:
        """Execute one statement.

        Args:
            fragment: The statement.
            purpose: What it is for, for the error message.

        Returns:
            Its rows and its count.

        Raises:
            StatementFailed: The server refused it; the driver's error is the cause.
        """
        text, bound = fragment.render()
        values = tuple(b.value for b in bound)
        with psycopg.RawCursor(self._driver) as cursor:
            try:
                # The text is composed by pgflow.plan.sql; every value in it is bound.
                # Binary results do not depend on the session's DateStyle.
                cursor.execute(self._encode(text), values, prepare=False, binary=True)
            except psycopg.Error as error:
                raise self._failure(error, purpose, text) from error
            return Answer(_rows(cursor), cursor.rowcount)

    def describe(self, query: Sql, purpose: str) -> tuple[Field, ...]:
        """Ask which columns a query delivers, without running it.

        Args:
            query: The query in parentheses, or a table's name.
            purpose: What it is for, for the error message.

        Returns:
            Its columns.
        """
        text, bound = (Sql(("SELECT * FROM ",)) + query + Sql((" AS s LIMIT 0",))).render()
        with psycopg.RawCursor(self._driver) as cursor:
            try:
                cursor.execute(self._encode(text), tuple(b.value for b in bound), prepare=False)
            except psycopg.Error as error:
                raise self._failure(error, purpose, text) from error
            result = cursor.pgresult
            if result is None:
                return ()
            encoding = self._driver.info.encoding
            return tuple(
                Field((result.fname(i) or b"").decode(encoding), result.ftype(i), result.fmod(i))
                for i in range(result.nfields)
            )

    @property
    def autocommit(self) -> bool:
        """Whether each statement is a transaction of its own."""
        return self._driver.autocommit

    def _encode(self, text: str) -> bytes:
        return (self.label + text).encode()

    def _failure(self, error: psycopg.Error, purpose: str, text: str) -> StatementFailed:
        """Describe an error; SQLAlchemy learns that a connection is broken."""
        if self._driver.closed:
            self.connection.invalidate(error)
        return StatementFailed.of(error, purpose, text, self.owner)


def _rows(cursor: psycopg.RawCursor[Any]) -> tuple[dict[str, Any], ...]:
    if cursor.description is None:
        return ()
    names = [column.name for column in cursor.description]
    return tuple(dict(zip(names, row, strict=True)) for row in _all(cursor))


def _all(cursor: psycopg.RawCursor[Any]) -> Sequence[tuple[Any, ...]]:
    return cursor.fetchall()


def _psycopg(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        dialect = connection.dialect
        raise WrongDriver(
            f"pgflow runs on psycopg 3, not on {dialect.name}+{dialect.driver}. Create the engine "
            "from a URL that begins with postgresql+psycopg://, or pass the URL itself."
        )
    return driver
