"""Everything of a MetaData into a database at once, for tests and first steps.

It creates what is missing and never changes what is there: that is what migrations are for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, MetaData, Table, bindparam, text
from sqlalchemy.schema import CreateSchema

from pgflow import bookkeeping, idents
from pgflow.connections.registry import Connectable, engine
from pgflow.emit.references import check_references
from pgflow.errors import TablesOutOfDate
from pgflow.resolve.config import Config

#: Key of the advisory lock under which parallel calls wait for each other: `pgflow` in ASCII.
_LOCK = 0x7067666C6F77

_COLUMNS = text(
    """
    SELECT n.nspname, c.relname, array_agg(a.attname::text)
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE n.nspname IN :schemas AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
     GROUP BY 1, 2
    """
).bindparams(bindparam("schemas", expanding=True))


def create_all(metadata: MetaData, *, connection: Connection | Connectable = "default") -> None:
    """Create what a MetaData declares and the database lacks: schemas, tables, pgflow's own tables.

    Parallel calls wait for each other, and a second call changes nothing.

    Args:
        metadata: The declared tables, such as `pgflow.metadata`.
        connection: A connection name, a URL or an engine, for which the work is committed; or a
            SQLAlchemy connection, in whose transaction it is done.

    Raises:
        UnknownReference: A foreign key points to a table that is not declared.
        ReferenceToHistory: A foreign key points to the merge key of an scd2 table.
        TablesOutOfDate: A table exists without columns that the metadata declares; nothing is
            created then.
    """
    check_references(metadata)
    for schema in bookkeeping.wanted(metadata, Config.of(metadata).utility_schema):
        bookkeeping.register(metadata, schema)
    with _transaction(connection) as conn:
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        tables = list(metadata.tables.values())
        _refuse_outdated(conn, tables)
        for schema in sorted({table.schema for table in tables if table.schema is not None}):
            if not _has_schema(conn, schema):
                conn.execute(CreateSchema(schema))
        metadata.create_all(conn)


@contextmanager
def _transaction(connection: Connection | Connectable) -> Iterator[Connection]:
    if isinstance(connection, Connection):
        yield connection
        return
    with engine(connection).begin() as conn:
        yield conn


def _has_schema(conn: Connection, schema: str) -> bool:
    # CREATE SCHEMA IF NOT EXISTS would ask for the right to create one even if it exists.
    query = text("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = :schema)")
    return bool(conn.scalar(query, {"schema": schema}))


def _refuse_outdated(conn: Connection, tables: list[Table]) -> None:
    default: str = conn.scalar(text("SELECT current_schema()")) or "public"
    present = _present(conn, {table.schema or default for table in tables})
    missing: dict[str, tuple[str, ...]] = {}
    for table in tables:
        columns = present.get((table.schema or default, table.name))
        lacking = [c.name for c in table.columns if columns is not None and c.name not in columns]
        if lacking:
            missing[idents.qualify(table.schema, table.name)] = tuple(lacking)
    if missing:
        listed = "; ".join(f"{table} lacks {', '.join(names)}" for table, names in missing.items())
        raise TablesOutOfDate(
            f"The database has tables that are older than the metadata: {listed}. create_all() "
            "creates tables and never changes one: migrate them with Alembic (alembic revision "
            "--autogenerate, alembic upgrade head), or drop them first.",
            missing=missing,
        )


def _present(conn: Connection, schemas: set[str]) -> dict[tuple[str, str], set[str]]:
    if not schemas:
        return {}
    rows: Any = conn.execute(_COLUMNS, {"schemas": sorted(schemas)})
    return {(schema, name): set(columns) for schema, name, columns in rows}
