"""A visit to another PostgreSQL database: one transaction that only reads, and sees one instant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from pgflow.errors import StatementFailed
from pgflow.plan.sql import bind, join, raw, sql
from pgflow.run.failures import source_failed
from pgflow.run.recovery.cancellation import Cancellation
from pgflow.run.recovery.interrupts import uncovered
from pgflow.run.session import Session, stop

#: What a source's session gets for its transaction, whatever its role or database is set to:
#: else values would depend on that. Output is ISO and to the last digit, and policies raise
#: instead of hiding rows.
_FIXED = {
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmloption": "content",
    "xmlbinary": "base64",
    "row_security": "off",
    "jit": "off",
}


class SourceSession(Session):
    """A session on the source's side; its errors name the source.

    Args:
        connection: The source's connection.
        label: As for `Session`.
        owner: As for `Session`.
        source: Where the connection leads, for messages.
        guarded: As for `Session`.
    """

    def __init__(
        self, connection: Connection, label: str, *, owner: str, source: str, guarded: bool = False
    ) -> None:
        self.source = source
        super().__init__(connection, label, owner=owner, guarded=guarded)

    def _failure(self, error: psycopg.Error, purpose: str, text: str) -> StatementFailed:
        super()._failure(error, purpose, text)  # SQLAlchemy learns that a connection is broken
        return source_failed(self.source, error, purpose, text, self.owner, guarded=self.guarded)


@contextmanager
def visit(
    engine: Engine,
    target: Session,
    cancellation: Cancellation,
    title: tuple[str, str],
    source: str,
    *,
    apart: bool,
    snapshot: str = "",
) -> Iterator[SourceSession]:
    """Open the source's connection, in a transaction that is rolled back at the end.

    Args:
        engine: The source's engine.
        target: The target's session; conversions of times follow its time zone.
        cancellation: Whether the run is to end.
        title: The application name and the statements' comment.
        source: Where the connection leads, for messages.
        apart: Whether not to use the engine's pool, which may have nothing left to give.
        snapshot: The exported snapshot of another visit, to see the same instant as that one.

    Yields:
        A session in READ ONLY, REPEATABLE READ: describing and copying see the same.

    Raises:
        SourceFailed: The source cannot be reached.
    """
    pool = engine.pool.recreate() if apart else None
    opened = engine if pool is None else Engine(pool, engine.dialect, engine.url)
    try:
        connection = _connect(opened, target.owner, source)
        driver: Any = connection.connection.driver_connection
        try:
            with cancellation.watching(driver):
                session = SourceSession(
                    connection,
                    title[1],
                    owner=target.owner,
                    source=source,
                    guarded=target.guarded,
                )
                if snapshot:
                    _share(session, snapshot)
                _settle(session, target, title[0])
                yield session
        finally:
            _leave(connection)
    finally:
        if pool is not None:
            pool.dispose()


def _connect(engine: Engine, owner: str, source: str) -> Connection:
    try:
        with uncovered():
            connection = engine.connect().execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            connection.begin()
    except (DBAPIError, PoolTimeout) as error:
        said = getattr(error, "orig", None) or error  # without what SQLAlchemy adds
        raise source_failed(source, said, "reach the source", "", owner) from error
    return connection


def _leave(connection: Connection) -> None:
    """Give the connection back sound; one that is busy or broken is thrown away."""
    stop(connection)
    with suppress(DBAPIError, psycopg.Error), uncovered():
        connection.rollback()
    connection.close()


def _share(session: SourceSession, snapshot: str) -> None:
    """See what another connection sees; it must be the first thing that a transaction does."""
    session.run(
        sql("SET TRANSACTION SNAPSHOT {s}", s=raw("'" + snapshot.replace("'", "''") + "'")),
        "see the same instant on another connection (transfer_workers=)",
    )


def _settle(session: SourceSession, target: Session, application: str) -> None:
    """Make the source's session write and read values as the target's does."""
    columns = sql("SELECT current_setting('TimeZone') AS zone, current_setting('DateStyle') AS d")
    mine = target.run(columns, "read the target's time zone").rows[0]
    order = mine["d"].partition(",")[2].strip() or "MDY"
    settings = {
        **_FIXED,
        "application_name": application,
        "TimeZone": mine["zone"],
        "DateStyle": f"ISO, {order}",
    }
    calls = (
        sql("set_config({n}, {v}, true)", n=bind(n, n), v=bind(v, n)) for n, v in settings.items()
    )
    session.run(sql("SELECT {c}", c=join(", ", calls)), "begin to read the source")
