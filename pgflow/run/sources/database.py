"""Queries and tables in databases of other kinds, streamed by SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, CursorResult, Engine
from sqlalchemy.exc import NoSuchTableError, SQLAlchemyError
from sqlalchemy.sql import ClauseElement

from pgflow.connections.registry import describe
from pgflow.declare.sources import Query, SourceTable
from pgflow.errors import MissingTable, StatementFailed
from pgflow.run.failures import source_failed
from pgflow.run.recovery.cancellation import Cancellation
from pgflow.run.sources import foreign_sql, foreign_types
from pgflow.run.sources.delivery import Delivery
from pgflow.run.sources.position import start
from pgflow.run.sources.reader import Batch, Found, Wanted

#: Rows that SQLAlchemy may hold besides the batch.
_BUFFER = 1000


class Database:
    """Reads a query or a table of a database that is not PostgreSQL.

    Args:
        engine: The database's engine.
        connect: Gives a connection to it, which somebody else closes.
        delivery: The source as it was given.
        cancellation: Whether the run is to end.
    """

    format = None
    documents = False

    def __init__(
        self,
        engine: Engine,
        connect: Callable[[], Connection],
        delivery: Delivery,
        cancellation: Cancellation,
    ) -> None:
        given = delivery.given
        self._connect = connect
        self._delivery = delivery
        self._cancellation = cancellation
        self._dialect = engine.dialect
        self._result: CursorResult[Any] | None = None
        self._ended = True
        self.label = str(describe(engine))
        self.reason = f"the source is a {engine.dialect.name} database: COPY of text"
        self.picks = isinstance(given, SourceTable)
        self.column_map: Mapping[str, str] = (
            given.column_map if isinstance(given, SourceTable) else {}
        )
        told = given if isinstance(given, (Query, SourceTable)) else None
        self.types: Mapping[str, str] = {} if told is None else told.types
        self.time_zone = None if told is None else told.time_zone
        self._query: ClauseElement | None = None
        self._names: list[str] = []

    def query(self, names: Sequence[str]) -> str | None:
        """The query in its own dialect, with its placeholders."""
        chosen = self._chosen(names)
        return None if chosen is None else str(chosen.compile(dialect=self._dialect))

    def describe(self) -> tuple[Found, ...]:
        """Ask the database, without reading a row.

        Raises:
            SourceFailed: It refuses the query.
            MissingTable: It has no such table.
        """
        given = self._delivery.given
        found = self._table(given) if isinstance(given, SourceTable) else self._columns()
        self._names = [f.name for f in found]
        return found

    def batches(self, wanted: Wanted) -> Iterator[Batch]:
        """Begin to read, and bring the rows as the server sends them."""
        return self._batches(self._stream(wanted), wanted)

    def _batches(self, result: CursorResult[Any], wanted: Wanted) -> Iterator[Batch]:
        names = list(wanted.names) if self.picks else self._names
        order = [names.index(n) for n in wanted.names]
        straight = order == list(range(len(names)))
        number = 1
        while rows := self._some(result, wanted.pace.rows):
            columns = list(zip(*rows, strict=True))
            yield Batch(columns if straight else [columns[i] for i in order], number)
            number += len(rows)
        self._ended = True

    def row_of(self, line: int) -> int:
        """Each row is a line."""
        return line

    def place(self, row: int) -> str:  # noqa: ARG002  # the protocol's
        """Rows of a query stand nowhere."""
        return ""

    def close(self) -> None:
        """Give up what is not read to its end, rather than read the rest."""
        result, self._result = self._result, None
        if result is None:
            return
        if not self._ended and self._dialect.supports_server_side_cursors:
            _forget_unread(result.cursor)
            with suppress(SQLAlchemyError):
                result.connection.invalidate()
        with suppress(SQLAlchemyError):
            result.close()

    # -- describing -------------------------------------------------------------------

    def _columns(self) -> tuple[Found, ...]:
        self._query = query = foreign_sql.executable(
            self._delivery.given, self._delivery.values, self._dialect, self._delivery.owner
        )
        none = foreign_sql.part(query, self._dialect, None)
        result = self._execute(self._connect(), none, "describe the source")
        names = list(result.keys())
        cursor: Any = result.cursor
        description = None if cursor is None else cursor.description
        result.close()
        if isinstance(query, sa.TextClause):
            return foreign_types.of_description(names, description, self._dialect)
        selected: Any = query
        kinds = [c.type for c in selected.subquery(foreign_sql.WRAPPED).columns]
        return tuple(
            foreign_types.of_type(n, k, self._dialect, raw=False)
            for n, k in zip(names, kinds, strict=True)
        )

    def _table(self, given: SourceTable) -> tuple[Found, ...]:
        schema, table = given.path
        try:
            found = sa.inspect(self._connect()).get_columns(table, schema=schema)
        except NoSuchTableError:
            found = []
        except SQLAlchemyError as error:
            raise self._failed(error, "describe the source") from error
        if not found:
            raise MissingTable(f"{self._delivery.owner}: {self.label} has no table {given.name}.")
        return tuple(
            foreign_types.of_type(str(c["name"]), c["type"], self._dialect, raw=True) for c in found
        )

    # -- reading ----------------------------------------------------------------------

    def _chosen(self, names: Sequence[str]) -> ClauseElement | None:
        """The query, or the wanted columns of a table as the driver gives their values."""
        given = self._delivery.given
        if not isinstance(given, SourceTable):
            return self._query
        schema, table = given.path
        columns: list[Any] = [sa.column(n) for n in names]
        return sa.select(*columns).select_from(sa.table(table, *columns, schema=schema))

    def _stream(self, wanted: Wanted) -> CursorResult[Any]:
        query = self._chosen(wanted.names)
        if query is None:
            raise RuntimeError("batches() comes after describe()")
        position = start(wanted, self._dialect, self.time_zone)
        if position is not None:
            query = foreign_sql.part(query, self._dialect, position)
        streaming = self._connect().execution_options(stream_results=True, max_row_buffer=_BUFFER)
        self._result = self._execute(streaming, query, "read the source")
        self._ended = False
        return self._result

    def _some(self, result: CursorResult[Any], count: int) -> Sequence[Any]:
        self._cancellation.check()
        try:
            return result.fetchmany(count)
        except (SQLAlchemyError, ValueError, TypeError) as error:
            raise self._failed(error, "read the source") from error

    def _execute(self, connection: Connection, query: Any, purpose: str) -> CursorResult[Any]:
        try:
            return connection.execute(query)
        except SQLAlchemyError as error:
            raise self._failed(error, purpose) from error

    def _failed(self, error: Exception, purpose: str) -> StatementFailed:
        # SQLAlchemy's own text repeats the statement with its values.
        cause = getattr(error, "orig", None) or error
        return source_failed(self.label, cause, purpose, "", self._delivery.owner)


def _forget_unread(cursor: Any) -> None:
    """Keep PyMySQL from reading the rest when its cursor and its result are destroyed."""
    unread: Any = getattr(cursor, "_result", None)
    if getattr(unread, "unbuffered_active", False):
        unread.unbuffered_active = False
