"""Sessions for the queue: how to connect, so that names without a schema are the queue's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from pgflow import idents
from pgflow.errors import PoolerBetween
from pgflow.schedule import installation

#: Arguments for psycopg, made anew for each connection, as passwords may change.
Arguments = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Sessions:
    """Makes sessions in which procrastinate finds its tables.

    Attributes:
        arguments: How to connect to the queue's database.
        schema: Where the queue lives.
    """

    arguments: Arguments
    schema: str = installation.SCHEMA

    def given(self) -> dict[str, Any]:
        """Return what psycopg is given for one more session."""
        given = dict(self.arguments())
        path = idents.quote(self.schema).replace("\\", "\\\\").replace(" ", "\\ ")
        given["options"] = f"{given.get('options') or ''} -c search_path={path}".strip()
        given["fallback_application_name"] = "pgflow worker"
        return given

    def check(self) -> None:
        """Make sure that the queue is there, that it fits, and that sessions are the worker's own.

        Raises:
            MissingQueue: The database has no queue.
            OtherQueue: It has another layout.
            PoolerBetween: Settings of a session do not reach the server.
        """
        with psycopg.connect(**self.arguments()) as connection:
            installation.check(connection, self.schema)
        try:
            with psycopg.connect(**self.given()) as connection:
                row = connection.execute("SELECT current_schema()").fetchone()
        except psycopg.OperationalError as error:
            if "startup parameter" not in str(error):  # so PgBouncer refuses `options`
                raise
            raise _pooler() from error
        if row is None or row[0] != self.schema:
            raise _pooler()


def _pooler() -> PoolerBetween:
    return PoolerBetween(
        "the worker's connection to its queue goes through a pooler that keeps no session: its "
        "settings do not reach the server, and nor would LISTEN. Give the worker the server's own "
        "address, `pgflow worker --direct-dsn NAME`; the pipelines keep their connections."
    )
