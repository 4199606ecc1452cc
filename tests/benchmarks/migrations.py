"""What autogenerate costs: many tables, each with a view, a function and a trigger."""

from __future__ import annotations

import time
from dataclasses import dataclass

from alembic.autogenerate import produce_migrations
from alembic.migration import MigrationContext
from alembic.operations.ops import MigrationScript
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    Connection,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    func,
    text,
)

import pgflow
from pgflow.alembic import configure, configure_metadata, declare_sql

_BODY = "BEGIN NEW.touched := clock_timestamp(); RETURN NEW; END"


@dataclass(frozen=True)
class Timing:
    """Seconds of one autogenerate, and how many operations came of it."""

    seconds: float
    operations: int


def schema(tables: int) -> MetaData:
    """Declare tables of ten columns in chains of foreign keys, with views on views.

    Args:
        tables: How many tables; each has two indexes, four constraints, a view, a function and
            a trigger.
    """
    metadata = MetaData()
    for number in range(tables):
        _table(metadata, number)
        _programs(metadata, number)
    configure_metadata(metadata)
    return metadata


def autogenerate(url: str, metadata: MetaData) -> Timing:
    """Compare a database with a MetaData, as `alembic revision --autogenerate` does."""
    configure()
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            begun = time.perf_counter()
            script = _script(connection, metadata)
            seconds = time.perf_counter() - begun
    finally:
        engine.dispose()
    operations = script.upgrade_ops.ops if script.upgrade_ops is not None else ()
    return Timing(seconds, len(operations))


def create(url: str, metadata: MetaData) -> None:
    """Create all of it."""
    engine = create_engine(url)
    try:
        pgflow.create_all(metadata, connection=engine)
    finally:
        engine.dispose()


def _script(connection: Connection, metadata: MetaData) -> MigrationScript:
    context = MigrationContext.configure(connection, opts={"target_metadata": metadata})
    return produce_migrations(context, metadata)


def _table(metadata: MetaData, number: int) -> None:
    name = f"table_{number}"
    parent = [ForeignKey(f"bench.table_{number - 1}.id")] if number % 10 else []
    Table(
        name,
        metadata,
        Column("id", BigInteger, primary_key=True),
        Column("parent_id", BigInteger, *parent),
        Column("code", Text, nullable=False),
        Column("amount", Numeric(12, 2), server_default=text("0")),
        Column("quantity", Integer, comment="How many."),
        Column("total", Numeric, Computed("amount * quantity", persisted=True)),
        Column("note", Text),
        Column("status", Text, nullable=False, server_default="new"),
        Column("created", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("touched", DateTime(timezone=True)),
        UniqueConstraint("code", name=f"{name}_code_key"),
        CheckConstraint("quantity >= 0 AND status <> ''", name=f"{name}_quantity_check"),
        Index(f"{name}_status_idx", "status", postgresql_where=text("status <> 'done'")),
        Index(f"{name}_note_idx", text("lower(note)")),
        schema="bench",
    )


def _programs(metadata: MetaData, number: int) -> None:
    name = f"table_{number}"
    below = f"view_{number - 1}" if number % 5 else name
    declare_sql(
        metadata,
        f"CREATE VIEW bench.view_{number} AS SELECT t.id, t.code, b.status "
        f"FROM bench.{name} t JOIN bench.{below} b ON b.id = t.id WHERE t.total > 0",
    )
    declare_sql(
        metadata,
        f"CREATE FUNCTION bench.touch_{number}() RETURNS trigger LANGUAGE plpgsql AS $${_BODY}$$",
    )
    declare_sql(
        metadata,
        f"CREATE TRIGGER touch BEFORE UPDATE ON bench.{name} "
        f"FOR EACH ROW EXECUTE FUNCTION bench.touch_{number}()",
    )
