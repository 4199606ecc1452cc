"""SQL texts to the server exactly as they are, in as few round trips as the driver allows."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

#: Drivers that take several statements in one text.
_JOINING = ("psycopg", "psycopg2")


def send(connection: Connection, sql: str) -> None:
    """Run one statement: `%`, `:name` and backslashes mean nothing in it."""
    connection.exec_driver_sql(sql, execution_options={"no_parameters": True})


def send_all(connection: Connection, statements: Sequence[str]) -> None:
    """Run several statements in order; in one round trip where the driver can."""
    if not joins(connection):
        for statement in statements:
            send(connection, statement)
    elif statements:
        # On lines of their own, since a statement may end in a comment.
        send(connection, "\n;\n".join(statements))


def joins(connection: Connection) -> bool:
    """Tell whether the driver takes several statements in one text.

    A connection that prepares everything at once (`prepare_threshold=0`) does not: the server
    prepares single statements only.
    """
    if connection.dialect.driver not in _JOINING:
        return False
    return getattr(connection.connection.driver_connection, "prepare_threshold", None) != 0


def is_autocommit(connection: Connection) -> bool:
    """Tell whether every statement on a connection is a transaction of its own."""
    return bool(getattr(connection.connection.driver_connection, "autocommit", False))
