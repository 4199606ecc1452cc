"""Tables and files under the names that OpenLineage gives them: by host, port and database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from pgflow.connections.registry import Description, describe, engine
from pgflow.declare.rows import FileSource
from pgflow.errors import InvalidSource
from pgflow.project.reading import Relation

#: What libpq takes where nothing is said.
_PORTS = {"postgres": "5432", "mysql": "3306", "mariadb": "3306"}


@dataclass(frozen=True)
class Dataset:
    """A dataset of OpenLineage.

    Attributes:
        namespace: Where it is, such as `postgres://db.example.com:5432`.
        name: What it is called there, such as `warehouse.sales.orders`.
    """

    namespace: str
    name: str


class Datasets:
    """Names datasets; each connection is looked up once.

    Nothing is connected to, but an embedded server is started, as it has no address before.
    """

    def __init__(self) -> None:
        self._known: list[tuple[Any, Description]] = []

    def table(self, relation: Relation) -> Dataset:
        """Name a table.

        Args:
            relation: Its connection as declared, its schema and its name.

        Raises:
            UnknownConnection: Nothing says what the connection's name stands for.
            InvalidSource: The connection does not say its database.
        """
        where, schema, name = relation
        said = self._described(where)
        if said.dialect != "sqlite" and not said.database:
            raise InvalidSource(
                f"a connection of {schema}.{name} does not say its database ({said}), and "
                "OpenLineage names tables by it. Write the database into the connection."
            )
        return dataset(said, schema, name)

    def files(self, source: FileSource) -> Iterator[Dataset]:
        """Name files by their paths as declared; a pattern counts as one."""
        paths = source.path if isinstance(source.path, (list, tuple)) else [source.path]
        for path in paths:
            yield Dataset("file", Path(str(path)).as_posix())

    def _described(self, where: Any) -> Description:
        for connection, said in self._known:
            if connection is where or connection == where:
                return said
        found: Engine = engine(where)
        self._known.append((where, describe(found)))
        return self._known[-1][1]


def dataset(said: Description, schema: str | None, name: str) -> Dataset:
    """Name a table in a database.

    Args:
        said: The database.
        schema: The table's schema, or None.
        name: Its name.
    """
    if said.dialect == "sqlite":
        return Dataset("file", f"{said.database or ':memory:'}#{schema}.{name}")
    kind = "postgres" if said.dialect == "postgresql" else said.dialect
    path = (schema, name) if kind in ("mysql", "mariadb") else (said.database, schema, name)
    parts = (part for part in path if part)
    return Dataset(f"{kind}://{_host(said, kind)}", ".".join(parts))


def _host(said: Description, kind: str) -> str:
    """Host and port; of several hosts the first. A socket is on this machine."""
    host = (said.host or "").split(",")[0]
    port = (said.port or "").split(",")[0] or _PORTS.get(kind, "")
    if not host or host.startswith(("/", "@")):
        host = "localhost"
    return f"{host}:{port}" if port else host
