"""Sources in databases of other kinds than PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy.engine import Connection, Engine

from pgflow.errors import MissingFile
from pgflow.run.recovery.cancellation import Cancellation
from pgflow.run.sources.database import Database
from pgflow.run.sources.delivery import Delivery
from pgflow.run.sources.origin import Origin
from pgflow.run.sources.row_origin import RowOrigin


def foreign_origin(
    engine: Engine,
    connect: Callable[[], Connection],
    delivery: Delivery,
    cancellation: Cancellation,
) -> Origin:
    """Make the origin of a query or table in a database that is not PostgreSQL.

    Args:
        engine: The source's engine.
        connect: Gives the connection that the pipeline's function has; somebody else closes it.
        delivery: The source as it was given.
        cancellation: Whether the run is to end.

    Returns:
        The origin; nothing has been asked yet.
    """
    return RowOrigin(Database(engine, connect, delivery, cancellation), "rows")


def require_file(engine: Engine) -> None:
    """Refuse a SQLite file that is not there: connecting would make an empty database.

    Args:
        engine: The source's engine.

    Raises:
        MissingFile: There is no such file.
    """
    path = engine.url.database
    if engine.dialect.name != "sqlite" or not path or path == ":memory:":
        return
    if path.startswith("file:") or Path(path).exists():
        return
    raise MissingFile(
        f"There is no SQLite file {path} (looked for in {Path.cwd()}). Correct the path in "
        "source_connection=; reading never makes a database.",
        path=path,
    )
