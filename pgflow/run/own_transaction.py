"""The run's own transactions, which SQL of a pipeline's function must not end.

What would end one is refused before it is sent, also among several statements in one text. What
goes past SQLAlchemy, by the driver's cursor, is found out afterwards: a transaction that followed
another one began later.
"""

from __future__ import annotations

import re
from typing import Any

from psycopg.pq import TransactionStatus
from sqlalchemy import event
from sqlalchemy.engine import Connection

from pgflow.errors import UnsuitableTransaction

#: A statement that may end a transaction: at the beginning, or behind another one.
_ENDING = re.compile(
    r"(?:\A|;)(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:commit|end|rollback|abort|prepare\s+transaction)\b",
    re.IGNORECASE | re.DOTALL,
)

_WAY_OUT = (
    "Leave COMMIT and ROLLBACK to the run, which commits all or nothing. Open a connection of "
    "your own with pgflow.connect() for work that must stand alone."
)


class OwnTransactions:
    """The transactions of one attempt that a pipeline's function can reach.

    Args:
        pipeline: The pipeline's name, for errors.
    """

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self._begun: dict[Connection, object] = {}

    def watch(self, connection: Connection) -> Connection:
        """Look after a connection's transaction from now on.

        Args:
            connection: A connection that the function gets.

        Returns:
            The same connection.

        Raises:
            UnsuitableTransaction: It is copying rows, so that it can answer nothing.
        """
        if connection.dialect.name == "postgresql":
            self._refuse_copying(connection)
        if connection.dialect.name == "postgresql" and connection not in self._begun:
            self._begun[connection] = _begun(connection)
            event.listen(connection, "before_cursor_execute", self._before)
        return connection

    def check(self) -> None:
        """Refuse to go on where a transaction is not the one that it was.

        Raises:
            UnsuitableTransaction: One has ended.
        """
        for connection, begun in self._begun.items():
            status = _status(connection)
            ended = status == TransactionStatus.IDLE
            if ended or (status == TransactionStatus.INTRANS and _begun(connection) != begun):
                raise UnsuitableTransaction(
                    f"the function of pipeline {self._pipeline!r} has ended the run's transaction "
                    f"by SQL of its own. What it did before stands; the target was not touched. "
                    f"{_WAY_OUT}"
                )

    def release(self) -> None:
        """Look after them no longer."""
        for connection in self._begun:
            event.remove(connection, "before_cursor_execute", self._before)
        self._begun.clear()

    def _refuse_copying(self, connection: Connection) -> None:
        """Refuse what would wait for the end of a copy that waits for the function's next row."""
        if _status(connection) == TransactionStatus.ACTIVE:
            raise UnsuitableTransaction(
                f"the function of pipeline {self._pipeline!r} asks the target's connection between "
                "two rows, while the rows are copied by it. Ask before the first row, return a "
                "list instead, or open a connection of your own with pgflow.connect()."
            )

    def _before(self, connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        self._refuse_copying(connection)
        if _ENDING.search(statement) and _ends(statement):
            raise UnsuitableTransaction(
                f"the function of pipeline {self._pipeline!r} must not end the run's transaction; "
                f"its statement was not sent. {_WAY_OUT}"
            )


def _status(connection: Connection) -> TransactionStatus:
    driver: Any = connection.connection.driver_connection
    return TransactionStatus(driver.info.transaction_status)


def _begun(connection: Connection) -> object:
    """When the transaction began; two of one session never begin at the same microsecond."""
    return connection.exec_driver_sql("SELECT now()").scalar()


def _ends(statement: str) -> bool:
    """Whether one of the statements of a text ends a transaction; savepoints may end."""
    from pglast import parse_sql
    from pglast.ast import TransactionStmt
    from pglast.enums import TransactionStmtKind as Kind
    from pglast.parser import ParseError

    try:
        found = [raw.stmt for raw in parse_sql(statement)]
    except ParseError:
        # With placeholders there is one statement only, and the server says what is wrong with it.
        return bool(_ENDING.match(statement))
    ending = (Kind.TRANS_STMT_COMMIT, Kind.TRANS_STMT_ROLLBACK, Kind.TRANS_STMT_PREPARE)
    return any(isinstance(each, TransactionStmt) and each.kind in ending for each in found)
