"""One database connection as the runner uses it: fragments in, rows and counts out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy.engine import Connection

from pgflow.errors import StatementFailed, WrongDriver
from pgflow.plan.sql import Sql, raw
from pgflow.run.failures import quotes_values, statement_failed

#: Seconds that the request to cancel a statement may take.
_CANCEL_TIMEOUT = 5.0


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
        table: The table whose column it is, or 0 where it is none's or that cannot be told.
    """

    name: str
    oid: int
    modifier: int
    table: int = 0


class Session:
    """A psycopg connection under a SQLAlchemy one.

    Statements go to the server with `$n` placeholders, and are never prepared by name, so that
    transaction poolers work.

    Args:
        connection: A SQLAlchemy connection to PostgreSQL by psycopg 3.
        label: An SQL comment for every statement; it must not hold the user's text unescaped.
        owner: Whose statements these are, for error messages.
        guarded: Whether error messages must not quote values of rows.
    """

    def __init__(
        self, connection: Connection, label: str = "", *, owner: str = "", guarded: bool = False
    ) -> None:
        self.connection = connection
        self.guarded = guarded
        self.label = f"/* {label} */ " if label else ""
        self.owner = owner
        #: Columns of the target that fill themselves where they are not written.
        self.defaulted: frozenset[str] = frozenset()
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
                raise self._failure(error, purpose, text) from self.cause(error)
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
                raise self._failure(error, purpose, text) from self.cause(error)
            result = cursor.pgresult
            if result is None:
                return ()
            encoding = self._driver.info.encoding
            return tuple(
                Field(
                    (result.fname(i) or b"").decode(encoding),
                    result.ftype(i),
                    result.fmod(i),
                    result.ftable(i),
                )
                for i in range(result.nfields)
            )

    @contextmanager
    def copying(self, text: str, purpose: str, shown: str = "") -> Iterator[psycopg.Copy]:
        """Begin a COPY from or to the client.

        Args:
            text: The statement; it takes no parameters.
            purpose: What it is for, for the error message.
            shown: The statement as errors show it, where values stand in `text`.

        Yields:
            psycopg's copy. When the block ends well, so does the COPY; else it is cancelled.

        Raises:
            StatementFailed: The server refused it.
        """
        # A closed cursor would forget how many rows there were.
        cursor = self._driver.cursor()
        with self.failing(purpose, shown or text), cursor.copy(self._encode(text)) as copy:
            yield copy

    @contextmanager
    def failing(self, purpose: str, text: str) -> Iterator[None]:
        """Tell the driver's errors as what pgflow was doing.

        Args:
            purpose: What that is.
            text: The statement.
        """
        try:
            yield
        except psycopg.Error as error:
            raise self._failure(error, purpose, text) from self.cause(error)

    @property
    def driver(self) -> psycopg.Connection[Any]:
        """The driver's own connection."""
        return self._driver

    @property
    def autocommit(self) -> bool:
        """Whether each statement is a transaction of its own."""
        return self._driver.autocommit

    @property
    def server_process(self) -> int:
        """The number of the server's process; behind a pooler it means nothing."""
        return self._driver.info.backend_pid

    def _encode(self, text: str) -> bytes:
        return (self.label + text).encode()

    def _failure(self, error: psycopg.Error, purpose: str, text: str) -> StatementFailed:
        """Describe an error; SQLAlchemy learns that a connection is broken."""
        if self._driver.closed:
            self.connection.invalidate(error)
        return statement_failed(
            error, purpose, text, self.owner, guarded=self.guarded, defaulted=self.defaulted
        )

    def cause(self, error: psycopg.Error) -> psycopg.Error | None:
        """Return what a traceback may show as the cause: not what quotes values of rows.

        Args:
            error: The driver's error.
        """
        return None if self.guarded and quotes_values(error) else error


def stop(connection: Connection) -> None:
    """Give up a connection whose statement was left alone, and cancel that on the server.

    psycopg does so itself when Ctrl-C interrupts it. Whatever else breaks in, a `SystemExit` from a
    signal's handler say, leaves the connection busy and of no use to anybody.

    Args:
        connection: The connection; nothing happens if it is not busy.
    """
    if connection.closed or connection.invalidated:
        return
    driver = _psycopg(connection)
    if driver.info.transaction_status != TransactionStatus.ACTIVE:
        return
    with suppress(psycopg.Error, OSError):
        driver.cancel_safe(timeout=_CANCEL_TIMEOUT)
    connection.invalidate()


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
