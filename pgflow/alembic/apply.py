"""Everything of a MetaData into a database at once, for tests and first steps.

It creates what is missing and never changes what is there: that is what migrations are for. What
it makes is what a migration would make, and marked like it, so that the next migration is empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, MetaData, Table, bindparam, text

from pgflow import idents
from pgflow.alembic import planning, worlds
from pgflow.alembic.configuration import configure_metadata
from pgflow.alembic.creation import Creation
from pgflow.alembic.declared.statements import declared_texts
from pgflow.alembic.declared.world import declared_world
from pgflow.alembic.entity import Entity
from pgflow.alembic.execution import execute
from pgflow.alembic.sending import is_autocommit
from pgflow.alembic.settings import current_settings
from pgflow.alembic.snapshot import Snapshot
from pgflow.connections.registry import Connectable, engine
from pgflow.emit.references import check_references
from pgflow.errors import DeclarationError, TablesOutOfDate

#: Key of the advisory lock under which parallel calls wait for each other: `pgflow` in ASCII.
_LOCK = 0x7067666C6F77

#: What sqlalchemy-declarative-extensions keeps on a MetaData beside tables and their schemas.
_OTHER_OBJECTS = ("views", "functions", "procedures", "triggers", "roles", "grants", "databases")

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
    """Create what a MetaData declares and the database lacks, pgflow's own tables among it.

    Schemas, types, tables, views, functions, triggers, rights: all that a migration would create,
    as it would. What is there already is left as it is with all that belongs to it, such as the
    indexes of a table. Parallel calls wait for each other, and a second call changes nothing.

    Args:
        metadata: What is declared, such as `pgflow.metadata`.
        connection: A connection name, a URL or an engine, for which the work is committed; or a
            SQLAlchemy connection, in whose transaction it is done.

    Raises:
        DeclarationError: This is no MetaData.
        UnknownReference: A foreign key points to a table that is not declared.
        ReferenceToHistory: A foreign key points to the merge key of an scd2 table.
        TablesOutOfDate: A table exists without columns that the metadata declares, or under the
            name that it had before; nothing is created then.
        DeclarationRefused: The server does not accept what is declared.
    """
    _require_metadata(metadata)
    check_references(metadata)
    configure_metadata(metadata)
    with _transaction(connection) as conn:
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        if _is_there(conn, metadata):
            return
        path = conn.scalar(text("SELECT current_schemas(false)"))
        creation = Creation.plan(conn, declared_world(metadata, conn.dialect, path))
        if creation is None:
            _compare_and_create(conn, metadata)
        else:
            creation.run(conn, current_settings().owner or "")


def _require_metadata(given: object) -> None:
    if not isinstance(given, MetaData):
        raise DeclarationError(
            f"create_all() takes a MetaData, such as pgflow.metadata, not {given!r}. Every table "
            "knows its own: Customer.__table__.metadata."
        )


def _is_there(conn: Connection, metadata: MetaData) -> bool:
    """Whether nothing is left to do; a table that is there has all that belongs to it."""
    tables = list(metadata.tables.values())
    absent = _absent(conn, tables)
    others = [key for key in metadata.info if metadata.info[key] and key in _OTHER_OBJECTS]
    return not absent and not others and not declared_texts(metadata)


def _compare_and_create(conn: Connection, metadata: MetaData) -> None:
    """Create what is missing by the steps of a migration."""
    owner = current_settings().owner or ""
    live, declared = worlds.compare(conn, metadata, owner=owner)
    wanted = {**live.entities, **{each.id: each for each in _missing(live, declared)}}
    new = {one for one in wanted if one not in live}
    depends = {**live.depends, **{one: e for one, e in declared.depends.items() if one in new}}
    mentions = {**live.mentions, **{one: e for one, e in declared.mentions.items() if one in new}}
    world = replace(declared, entities=wanted, depends=depends, mentions=mentions)
    execute(conn, planning.migration(live, world, owner=owner).upgrade)


def _missing(live: Snapshot, declared: Snapshot) -> Iterator[Entity]:
    """Give what is declared and not there, but for parts of what is there."""
    for entity in declared.entities.values():
        relation = live.parent(entity.id)
        if entity.id not in live and relation is None:
            # A rename would change what is there; _refuse_outdated has seen to that.
            notes = {name: note for name, note in entity.notes.items() if name != "renamed_from"}
            yield replace(entity, notes=notes)


@contextmanager
def _transaction(connection: Connection | Connectable) -> Iterator[Connection]:
    if not isinstance(connection, Connection):
        with engine(connection).connect() as conn:
            if is_autocommit(conn):
                conn.execution_options(isolation_level="READ COMMITTED")
            with conn.begin():
                yield conn
    elif not is_autocommit(connection):
        yield connection
    else:
        connection.exec_driver_sql("BEGIN")
        try:
            yield connection
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


def _absent(conn: Connection, tables: list[Table]) -> list[Table]:
    """Return the tables that are not there, and refuse those that are there, but older."""
    default: str = conn.scalar(text("SELECT current_schema()")) or "public"
    present = _present(conn, {table.schema or default for table in tables})
    missing: dict[str, tuple[str, ...]] = {}
    old: list[str] = []
    for table in tables:
        own = idents.qualify(table.schema, table.name)
        columns = present.get((table.schema or default, table.name))
        lacking = [c.name for c in table.columns if columns is not None and c.name not in columns]
        former = str(table.info.get("renamed_from") or "").rpartition(".")[2]
        if lacking:
            missing[own] = tuple(lacking)
            old.append(f"{own} lacks {', '.join(lacking)}")
        elif columns is None and (table.schema or default, former) in present:
            missing[own] = tuple(column.name for column in table.columns)
            old.append(f"{own} is still called {idents.quote(former)}")
    if missing:
        listed = "; ".join(old)
        raise TablesOutOfDate(
            f"The database has tables that are older than the metadata: {listed}. create_all() "
            "creates tables and never changes one: migrate them with Alembic (alembic revision "
            "--autogenerate, alembic upgrade head) or with pgflow migrate, or drop those whose "
            "rows nobody needs.",
            missing=missing,
        )
    return [table for table in tables if (table.schema or default, table.name) not in present]


def _present(conn: Connection, schemas: set[str]) -> dict[tuple[str, str], set[str]]:
    if not schemas:
        return {}
    rows: Any = conn.execute(_COLUMNS, {"schemas": sorted(schemas)})
    return {(schema, name): set(columns) for schema, name, columns in rows}
