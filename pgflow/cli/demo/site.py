"""The database of the demo: which one, what is in it, and how to begin again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, bindparam, text

from pgflow import idents
from pgflow.alembic.apply import create_all
from pgflow.cli.demo import operations
from pgflow.cli.demo.data import Data
from pgflow.connections import registry
from pgflow.connections.embedded import EmbeddedServer
from pgflow.decorators import metadata
from pgflow.errors import SchemaTaken, WrongDriver

#: The embedded server's name, so that `embedded://demo` leads to it.
SERVER = "demo"

WAREHOUSE = "warehouse"

#: Key of the advisory lock by which two demos on one database come one after the other.
_LOCK = 0x70676664656D6F

#: What the comments on the demo's schemas begin with.
_MARK = "pgflow demo"

_SCHEMAS = text(
    "SELECT nspname, coalesce(obj_description(oid, 'pg_namespace'), '') AS comment"
    " FROM pg_namespace WHERE nspname IN ('ops', 'warehouse')"
)
_FORGET = (
    text("DELETE FROM pgflow.runs WHERE target IN :targets"),
    text("DELETE FROM pgflow.watermarks WHERE target IN :targets"),
)


@dataclass(frozen=True)
class Site:
    """Where the demo takes place.

    Attributes:
        engine: The database.
        server: The embedded server, or None for a database of the user's own.
    """

    engine: Engine
    server: EmbeddedServer | None = None

    @classmethod
    def embedded(cls) -> Site:
        """Start the demo's server, which goes on running when this process ends."""
        server = EmbeddedServer(SERVER)
        server.start(keep=True)
        return cls(registry.engine(server.url()), server)

    @classmethod
    def own(cls, connection: str) -> Site:
        """Use a database of the user's own.

        Args:
            connection: A connection's name or a URL.

        Raises:
            WrongDriver: It is not PostgreSQL by psycopg 3.
        """
        engine = registry.engine(connection)
        if (engine.dialect.name, engine.dialect.driver) != ("postgresql", "psycopg"):
            raise WrongDriver(
                f"the demo needs PostgreSQL by psycopg 3, and {connection!r} is "
                f"{engine.dialect.name}+{engine.dialect.driver}."
            )
        return cls(engine)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait for another demo on this database, and be the `default` connection meanwhile."""
        registry.register("default", self.engine)
        try:
            with self.engine.connect() as connection:
                guard = connection.execution_options(isolation_level="AUTOCOMMIT")
                guard.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
                try:
                    yield
                finally:
                    guard.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
        finally:
            registry.unregister("default")

    def prepare(self, data: Data) -> bool:
        """Create what the demo needs, all or nothing, unless it is there.

        Args:
            data: The files.

        Returns:
            Whether it was created now.

        Raises:
            SchemaTaken: A schema of that name is there, and not the demo's.
            MissingDemoData: A file does not hold what it should.
        """
        with self.engine.begin() as connection:
            present = _present(connection)
            if operations.SCHEMA not in present:
                operations.create(connection, data)
            create_all(metadata, connection=connection)
            if WAREHOUSE not in present:
                connection.execute(
                    text("COMMENT ON SCHEMA warehouse IS 'pgflow demo: the warehouse'")
                )
        return not present

    def reset(self) -> None:
        """Drop the demo's schemas, and forget the runs on its tables.

        Raises:
            SchemaTaken: A schema of that name is not the demo's.
        """
        with self.engine.begin() as connection:
            for schema in _present(connection):
                connection.exec_driver_sql(f"DROP SCHEMA {idents.quote(schema)} CASCADE")
            if connection.execute(text("SELECT to_regclass('pgflow.runs')")).scalar() is None:
                return
            targets = [
                idents.qualify(table.schema, table.name)
                for table in metadata.tables.values()
                if table.schema == WAREHOUSE
            ]
            for statement in _FORGET:
                expanding = statement.bindparams(bindparam("targets", expanding=True))
                connection.execute(expanding, {"targets": targets})


def _present(connection: Connection) -> tuple[str, ...]:
    """Return the demo's schemas that exist."""
    found = connection.execute(_SCHEMAS).all()
    for schema, comment in found:
        if not comment.startswith(_MARK):
            raise SchemaTaken(
                f"the database has a schema {schema!r} that is not the demo's. Give the demo a "
                "database of its own by --connection, or leave --connection out.",
                schema=schema,
            )
    return tuple(schema for schema, _ in found)
