"""Connections as people may see them: a name, or host and database, and nothing secret."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Engine

from pgflow.connections.dsn import is_dsn, read_dsn
from pgflow.connections.settings import find_entry
from pgflow.errors import MalformedDsn, PgflowError


class Places:
    """Names connections; the same connection always gets the same name."""

    def __init__(self) -> None:
        self._unnamed: list[Any] = []

    def name(self, connection: Any) -> str:
        """Name a connection.

        Args:
            connection: A connection's name, a URL or an engine, as pipelines declare it.

        Returns:
            Its name, or `host:port/database`. What tells neither is numbered, as `elsewhere 1`.
        """
        # A misspelt URL is no name: it may hold a password.
        if isinstance(connection, str) and not is_dsn(connection) and "@" not in connection:
            return connection
        url = _url(connection)
        where = "" if url is None else _where(url)
        return where or self._numbered(connection)

    def _numbered(self, connection: Any) -> str:
        if connection not in self._unnamed:
            self._unnamed.append(connection)
        return f"elsewhere {self._unnamed.index(connection) + 1}"


def is_postgres(connection: Any) -> bool:
    """Say whether a connection surely leads to PostgreSQL; nothing is connected to.

    Args:
        connection: A connection's name, a URL or an engine, as pipelines declare it.
    """
    if isinstance(connection, Engine):
        return connection.dialect.name == "postgresql"
    try:
        if isinstance(connection, str) and not is_dsn(connection):
            connection = find_entry(connection).dsn
        found = read_dsn(connection)
    except PgflowError:
        return False  # whoever runs the pipeline is told
    return found.is_postgres or found.url.drivername == "embedded"


def _url(connection: Any) -> URL | None:
    if isinstance(connection, Engine):
        return connection.url
    if not isinstance(connection, (str, URL)):
        return None
    try:
        return read_dsn(connection).url
    except MalformedDsn:
        return None


def _where(url: URL) -> str:
    given = url.query.get("host", "")
    host = url.host or (given if isinstance(given, str) else ",".join(given))
    port = f":{url.port}" if url.port and url.host else ""
    return f"{host}{port}/{url.database}" if url.database and (host or port) else url.database or ""
