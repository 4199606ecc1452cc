"""The queue's tables: created, brought up to date, and checked before anybody works.

They live in a schema of their own, procrastinate's next to one of pgflow's. The schema's comment
says how far procrastinate's migrations were applied.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from psycopg import Connection, sql

from pgflow import idents
from pgflow.errors import MissingQueue, OtherQueue
from pgflow.run.locks import lock_key
from pgflow.schedule.extra import SchemaManager

#: Where the queue lives unless somebody says otherwise.
SCHEMA = "pgflow_queue"

#: Version of what pgflow adds to procrastinate's tables.
VERSION = 1

_OWN = Path(__file__).parent / "sql" / "queue.sql"

_STAMP = re.compile(
    r"pgflow queue, layout ([0-9]{1,6}), procrastinate's migrations up to ([\w.]+)\Z"
)


@dataclass(frozen=True, order=True)
class Stamp:
    """How far a queue has come.

    Attributes:
        migration: The last of procrastinate's migrations that it has.
        version: The version of what pgflow adds.
    """

    migration: str
    version: int = VERSION

    def __str__(self) -> str:
        return (
            f"pgflow queue, layout {self.version}, procrastinate's migrations up to "
            f"{self.migration}"
        )


def install(connection: Connection, schema: str = SCHEMA) -> str:
    """Create the queue, or bring it up to date; each step in one transaction.

    Args:
        connection: A connection to the queue's database, not in a transaction.
        schema: Where the queue is to live.

    Returns:
        What was done: `created`, `migrated` or `up to date`.

    Raises:
        OtherQueue: The queue is newer than what is installed here, or somebody else's.
    """
    if _created(connection, schema):
        return "created"
    count = 0
    while _migrated(connection, schema):
        count += 1
    return "migrated" if count else "up to date"


def check(connection: Connection, schema: str = SCHEMA) -> None:
    """Make sure that the queue is there, and that what is installed here works with it.

    Args:
        connection: A connection to the queue's database.
        schema: Where the queue lives.

    Raises:
        MissingQueue: It is not there.
        OtherQueue: It has another layout.
    """
    found = stamp(connection, schema)
    if found is None:
        raise MissingQueue(
            f"the database has no queue for workers in schema {schema!r}. Create it once, as a "
            "role that may create a schema: `pgflow worker --init`.",
            schema=schema,
        )
    if found != Stamp(migrations()[-1].stem):
        raise _other(schema, found)


def stamp(connection: Connection, schema: str) -> Stamp | None:
    """Return how far the queue has come; None if there is no queue.

    Args:
        connection: A connection to the queue's database.
        schema: Where the queue lives.
    """
    text = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s"
    row = connection.execute(text, [schema]).fetchone()
    found = _STAMP.match((row[0] if row else None) or "")
    return None if found is None else Stamp(found[2], int(found[1]))


def migrations() -> list[Path]:
    """Return procrastinate's migrations in their order."""
    return sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))


def _created(connection: Connection, schema: str) -> bool:
    """Create the queue, if there is none."""
    with connection.transaction():
        _lock(connection, schema)
        if stamp(connection, schema) is not None:
            return False
        _refuse_strangers(connection, schema)
        _create_schema(connection, schema)
        _use(connection, schema)
        connection.execute(SchemaManager.get_schema())
        connection.execute(_OWN.read_bytes())
        _write_stamp(connection, schema, Stamp(migrations()[-1].stem))
    return True


def _migrated(connection: Connection, schema: str) -> bool:
    """Apply the next step that the queue lacks; tell whether there was one."""
    with connection.transaction():
        _lock(connection, schema)
        found, newest = stamp(connection, schema), Stamp(migrations()[-1].stem)
        if found is None or found == newest:
            return False
        if found.migration > newest.migration or found.version > newest.version:
            raise _other(schema, found)
        _use(connection, schema)
        left = [path for path in migrations() if path.stem > found.migration]
        if left:
            # Values that one adds to an enum can be used by the next, not in this transaction.
            connection.execute(left[0].read_bytes())
            _write_stamp(connection, schema, Stamp(left[0].stem, 0))
        else:
            connection.execute(_OWN.read_bytes())
            _write_stamp(connection, schema, newest)
    return True


def _lock(connection: Connection, schema: str) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [lock_key(f"queue {schema}")])


def _refuse_strangers(connection: Connection, schema: str) -> None:
    """Leave alone what somebody else has made with procrastinate, or for other purposes."""
    text = (
        "SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s ORDER BY 1 LIMIT 1"
    )
    row = connection.execute(text, [schema]).fetchone()
    if row is not None:
        raise OtherQueue(
            f"schema {schema!r} holds {row[0]!r}, and no queue that pgflow has made. Give the "
            "queue a schema of its own: `pgflow worker --init --schema NAME`.",
            schema=schema,
            found=None,
            expected=str(Stamp(migrations()[-1].stem)),
        )


def _other(schema: str, found: Stamp) -> OtherQueue:
    wanted = Stamp(migrations()[-1].stem)
    if found.migration > wanted.migration:
        way = "Upgrade procrastinate on this machine: `pip install --upgrade procrastinate`."
    elif found.version > wanted.version:
        way = "Upgrade pgflow on this machine: `pip install --upgrade pgflow`."
    else:
        way = "Bring the queue up to date: `pgflow worker --init`."
    return OtherQueue(
        f"the queue in schema {schema!r} has layout {found.version} and procrastinate's "
        f"migrations up to {found.migration}; what is installed here works with layout "
        f"{wanted.version} and {wanted.migration}. {way}",
        schema=schema,
        found=str(found),
        expected=str(wanted),
    )


def _create_schema(connection: Connection, schema: str) -> None:
    known = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema])
    if known.fetchone() is None:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))


def _use(connection: Connection, schema: str) -> None:
    """Let names without a schema be the queue's, until the transaction ends."""
    connection.execute("SELECT set_config('search_path', %s, true)", [idents.quote(schema)])


def _write_stamp(connection: Connection, schema: str, reached: Stamp) -> None:
    words = sql.Literal(str(reached))
    text = sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(schema), words)
    connection.execute(text)
