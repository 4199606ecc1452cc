"""Questions to a database's catalogue, in its words and without changing the session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

#: Columns in which queries of the catalogue have what the server prints of a whole object. A server
#: prints the present: for what somebody has dropped since the query began there is nothing.
_PRINTED = ("definition", "query", "expression")


class Reader:
    """Reads the catalogue over one SQLAlchemy connection.

    Args:
        connection: An open connection, in a transaction that its owner ends.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        version = self.scalar("SELECT current_setting('server_version_num')::int")
        #: The server's version, as 180006.
        self.version: int = version

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """Run a query with `:name` parameters and return its rows, but for what is just gone."""
        result = self.connection.execute(text(sql), parameters or {})
        printed = [number for number, key in enumerate(result.keys()) if key in _PRINTED]
        rows = result.all()
        if not printed:
            return rows
        return [row for row in rows if all(row[number] is not None for number in printed)]

    def scalar(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """Run a query with `:name` parameters and return the first value of its first row."""
        return self.connection.execute(text(sql), parameters or {}).scalar()

    def run(self, sql: str) -> None:
        """Run a text exactly as it is: `%`, `:name` and backslashes mean nothing here."""
        self.connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
