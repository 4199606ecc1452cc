"""The airlines' own system, played by the files: what it knows, and what arrives day by day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection, text

from pgflow.cli.demo.data import EVENTS, LISTS, Data, File

SCHEMA = "ops"

#: The first week day by day, then the rest of the year at once.
DAYS = (*(date(2013, 1, day) for day in range(1, 8)), date(2013, 12, 31))

#: Lines of a file that are sent at once: about 100 kB.
_BLOCK = 1000

_LAST_DAY = text("SELECT max(make_date(year, month, day)) FROM ops.flights")


def create(connection: Connection, data: Data) -> None:
    """Create the system's tables, and fill those that are complete from the start.

    Args:
        connection: In a transaction, which the caller commits.
        data: The files.

    Raises:
        MissingDemoData: A file does not hold what it should.
    """
    script = files("pgflow.cli.demo").joinpath("operations.sql").read_text(encoding="utf-8")
    connection.exec_driver_sql(script)
    for name in LISTS:
        file = data.read(name)
        _copy(connection, file, file.lines)


def days_to_come(connection: Connection) -> tuple[date, ...]:
    """Return the days on which the warehouse is to be brought up to date.

    Returns:
        All of `DAYS` for a system in which nothing has happened yet; else those from the last
        one that it has seen, which may have been interrupted.
    """
    last = connection.execute(_LAST_DAY).scalar()
    return tuple(day for day in DAYS if last is None or day >= last)


def arrive(connection: Connection, events: Sequence[File], day: date) -> dict[str, int]:
    """Let happen what happens until a day.

    Args:
        connection: In a transaction, which the caller commits.
        events: The files of `EVENTS`.
        day: The last day.

    Returns:
        The rows that are new, by table.
    """
    last = connection.execute(_LAST_DAY).scalar()
    return {file.name: _copy(connection, file, file.between(last, day)) for file in events}


def read_events(data: Data) -> tuple[File, ...]:
    """Read the files of what happens day by day.

    Raises:
        MissingDemoData: A file does not hold what it should.
    """
    return tuple(data.read(name) for name in EVENTS)


def _copy(connection: Connection, file: File, lines: Sequence[bytes]) -> int:
    if not lines:
        return 0
    command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, NULL 'NA')").format(
        sql.Identifier(SCHEMA, file.name), sql.SQL(", ").join(map(sql.Identifier, file.columns))
    )
    driver: Any = connection.connection.driver_connection
    cursor: psycopg.Cursor[Any]
    with driver.cursor() as cursor, cursor.copy(command) as copy:
        for start in range(0, len(lines), _BLOCK):
            copy.write(b"".join(lines[start : start + _BLOCK]))
    return len(lines)
