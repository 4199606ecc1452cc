"""Changes of tables, columns and defaults."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Computed,
    Identity,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    func,
    text,
)

from pgflow.alembic import declare_sql
from tests.migrations.matrix.case import Case, Declaration, declares, items, orders, plain


def other(name: str = "other", **options: object) -> Declaration:
    """Declare `app.items` and a second table."""

    def declare(metadata: MetaData) -> None:
        items(metadata)
        Table(name, metadata, Column("a", Integer), Column("b", Text), schema="app", **options)

    return declare


def column(*extra: Column[object], **changes: object) -> Declaration:
    """Declare `app.items` with other columns."""
    return lambda metadata: items(metadata, *(one._copy() for one in extra), **copied(changes))


def copied(changes: dict[str, object]) -> dict[str, object]:
    """Copy the columns among the changes, for a column belongs to one table only."""
    replace = changes.get("replace", ())
    return {**changes, "replace": [one._copy() for one in replace]}  # type: ignore[attr-defined]


def partitioned(*children: str) -> Declaration:
    """Declare a partitioned table and children of it."""

    def declare(metadata: MetaData) -> None:
        items(metadata)
        Table(
            "events",
            metadata,
            Column("at", Integer, nullable=False),
            Column("what", Text),
            schema="app",
            postgresql_partition_by="RANGE (at)",
        )
        for number, name in enumerate(children):
            declare_sql(
                metadata,
                f"CREATE TABLE app.{name} PARTITION OF app.events "
                f"FOR VALUES FROM ({number * 10}) TO ({number * 10 + 10})",
            )

    return declare


CASES = [
    Case("table added", plain, other(), ["create table app.other"]),
    Case("table removed", other(), plain, ["drop table app.other"]),
    Case(
        "table renamed",
        other(),
        other("renamed", info={"renamed_from": "other"}),
        ["rename table app.other"],
    ),
    Case(
        "table and its comment changed",
        other(comment="Before."),
        other(comment="After: it's 100 % :good."),
        ["alter table app.other"],
    ),
    Case("table comment removed", other(comment="Before."), other(), ["alter table app.other"]),
    Case(
        "table unlogged",
        other(),
        other(prefixes=["UNLOGGED"]),
        ["alter table app.other"],
    ),
    Case(
        "storage option added",
        plain,
        declares("ALTER TABLE app.items SET (fillfactor = 70)"),
        ["alter table app.items"],
    ),
    Case(
        "storage option changed",
        declares("ALTER TABLE app.items SET (fillfactor = 70)"),
        declares("ALTER TABLE app.items SET (fillfactor = 80, autovacuum_enabled = off)"),
        ["alter table app.items"],
    ),
    Case(
        "storage option removed",
        declares("ALTER TABLE app.items SET (fillfactor = 70)"),
        plain,
        ["alter table app.items"],
    ),
    Case(
        "row security enabled",
        plain,
        declares("ALTER TABLE app.items ENABLE ROW LEVEL SECURITY"),
        ["alter table app.items"],
    ),
    Case(
        "row security forced",
        declares("ALTER TABLE app.items ENABLE ROW LEVEL SECURITY"),
        declares(
            "ALTER TABLE app.items ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE app.items FORCE ROW LEVEL SECURITY",
        ),
        ["alter table app.items"],
    ),
    Case("partitioned table added", plain, partitioned(), ["create table app.events"]),
    Case(
        "partition added",
        partitioned("events_0"),
        partitioned("events_0", "events_1"),
        ["create table app.events_1"],
    ),
    Case(
        "partition removed",
        partitioned("events_0", "events_1"),
        partitioned("events_0"),
        ["drop table app.events_1"],
    ),
    Case(
        "column added",
        plain,
        column(Column("note", Text)),
        ["create column app.items.note"],
    ),
    Case(
        "column added with a default",
        plain,
        column(Column("active", Boolean, nullable=False, server_default=text("true"))),
        ["create column app.items.active"],
    ),
    Case(
        "column added with a backfill",
        plain,
        column(Column("total", Numeric, nullable=False, info={"backfill": "quantity * price"})),
        ["create column app.items.total"],
    ),
    Case(
        "array column added",
        plain,
        column(Column("tags", ARRAY(Text), server_default=text("'{}'"))),
        ["create column app.items.tags"],
    ),
    Case(
        "column removed",
        plain,
        column(without=["status"]),
        ["drop column app.items.status"],
        keeps_rows=False,
    ),
    Case(
        "column renamed",
        plain,
        column(Column("state", String(20), info={"renamed_from": "status"}), without=["status"]),
        ["rename column app.items.status"],
        keeps_rows=False,
    ),
    Case(
        "column renamed and widened",
        plain,
        column(Column("state", String(30), info={"renamed_from": "status"}), without=["status"]),
        ["rename column app.items.status", "alter column app.items.state"],
        keeps_rows=False,
    ),
    Case(
        "type widened",
        plain,
        column(replace=[Column("status", String(40))]),
        ["alter column app.items.status"],
    ),
    Case(
        "numeric without limits",
        plain,
        column(replace=[Column("price", Numeric)]),
        ["alter column app.items.price"],
    ),
    Case(
        "type changed",
        plain,
        column(replace=[Column("quantity", BigInteger)]),
        ["alter column app.items.quantity"],
    ),
    Case(
        "type changed to text",
        plain,
        column(replace=[Column("quantity", Text)]),
        ["alter column app.items.quantity"],
        keeps_rows=False,
    ),
    Case(
        "collation changed",
        plain,
        column(replace=[Column("label", Text(collation="C"), nullable=False)]),
        ["alter column app.items.label"],
    ),
    Case(
        "collation removed",
        column(replace=[Column("label", Text(collation="C"), nullable=False)]),
        plain,
        ["alter column app.items.label"],
    ),
    Case(
        "column made not null",
        plain,
        column(replace=[Column("quantity", Integer, nullable=False)]),
        ["alter column app.items.quantity"],
    ),
    Case(
        "column made nullable",
        plain,
        column(replace=[Column("label", Text)]),
        ["alter column app.items.label"],
    ),
    Case(
        "column comment added",
        plain,
        column(replace=[Column("label", Text, nullable=False, comment="Shown to buyers.")]),
        ["alter column app.items.label"],
    ),
    Case(
        "default added",
        plain,
        column(replace=[Column("quantity", Integer, server_default=text("1 + 1"))]),
        ["create default app.items.quantity"],
    ),
    Case(
        "default changed",
        column(replace=[Column("status", String(20), server_default=":x")]),
        column(replace=[Column("status", String(20), server_default="50 %s ' \\")]),
        ["alter default app.items.status"],
    ),
    Case(
        "default removed",
        column(replace=[Column("quantity", Integer, server_default=text("7"))]),
        plain,
        ["drop default app.items.quantity"],
    ),
    Case(
        "identity added",
        column(replace=[Column("quantity", Integer, nullable=False)]),
        column(replace=[Column("quantity", Integer, Identity(start=100), nullable=False)]),
        ["alter column app.items.quantity"],
    ),
    Case(
        "identity changed",
        column(replace=[Column("quantity", Integer, Identity(start=100), nullable=False)]),
        column(
            replace=[
                Column(
                    "quantity",
                    Integer,
                    Identity(always=True, start=100, increment=5),
                    nullable=False,
                )
            ]
        ),
        ["alter column app.items.quantity"],
    ),
    Case(
        "generated column added",
        plain,
        column(Column("total", Numeric, Computed("quantity * price", persisted=True))),
        ["create column app.items.total"],
    ),
    Case(
        "generated expression changed",
        column(Column("total", Numeric, Computed("quantity * price", persisted=True))),
        column(Column("total", Numeric, Computed("quantity + price", persisted=True))),
        ["alter column app.items.total"],
        server=17,
        keeps_rows=False,
    ),
    Case(
        "virtual column added",
        plain,
        column(Column("total", Numeric, Computed("quantity * price", persisted=False))),
        ["create column app.items.total"],
        server=18,
    ),
    Case(
        "generated column removed",
        column(Column("total", Numeric, Computed("quantity * price", persisted=True))),
        plain,
        ["drop column app.items.total"],
        keeps_rows=False,
    ),
    Case(
        "column storage changed",
        plain,
        declares("ALTER TABLE app.items ALTER COLUMN label SET STORAGE EXTERNAL"),
        ["alter column app.items.label"],
    ),
    Case(
        "serial table added",
        plain,
        lambda metadata: (
            items(metadata),
            Table("counted", metadata, Column("id", Integer, primary_key=True), schema="app"),
        ),
        ["create sequence app.counted_id_seq", "create table app.counted"],
    ),
    Case(
        "table of an awkward name added",
        plain,
        lambda metadata: (
            items(metadata),
            Table(
                'Odd "Table" 100%',
                metadata,
                Column("select", Integer, primary_key=True, autoincrement=False),
                Column("größe :cm", Text, server_default=func.upper("a:b")),
                schema="app",
            ),
        ),
        ['create table app."Odd ""Table"" 100%"'],
    ),
    Case(
        "two tables added that need each other's keys",
        plain,
        lambda metadata: (items(metadata), orders(metadata, ondelete="CASCADE")),
        ["create table app.orders", "create constraint app.orders.orders_item_id_fkey"],
    ),
]
