"""A table to turn into a history, and what the server says of it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Connection, MetaData, Table, Text, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateIndex, CreateSchema, CreateTable

from pgflow.emit.objects import create_table


def make(*columns: Column[Any], metadata: MetaData | None = None, items: Any = ()) -> Table:
    given = columns or (
        Column("code", Text, primary_key=True),
        Column("email", Text),
    )
    return create_table("t", "s", metadata or MetaData(), given, items)


def ddl(table: Table) -> list[str]:
    """Everything that would be created, as text."""
    statements = [CreateTable(table), *map(CreateIndex, table.indexes)]
    dialect = sa.create_mock_engine("postgresql+psycopg://", print).dialect
    return sorted(str(s.compile(dialect=dialect)).strip() for s in statements)


def create(conn: Connection, table: Table) -> None:
    conn.execute(CreateSchema("s"))
    table.metadata.create_all(conn)


def keys(conn: Connection) -> list[str]:
    """What the server says of the table's keys, without names."""
    rows = conn.execute(
        text(
            "SELECT CASE WHEN i.indisprimary THEN 'PRIMARY ' ELSE '' END || "
            "split_part(pg_get_indexdef(i.indexrelid), ' USING btree ', 2) FROM pg_index i "
            "WHERE i.indrelid = 's.t'::regclass AND i.indisunique ORDER BY 1"
        )
    )
    return list(rows.scalars())


def insert(conn: Connection, table: Table, **values: Any) -> None:
    conn.execute(table.insert().values(**values))


def refused(conn: Connection, table: Table, **values: Any) -> bool:
    try:
        with conn.begin_nested():
            insert(conn, table, **values)
    except IntegrityError:
        return True
    return False
