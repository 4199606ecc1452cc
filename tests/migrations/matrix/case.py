"""One change of a declaration, and the operations that its migration must have, no more."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    func,
)
from sqlalchemy.schema import SchemaItem

from pgflow.alembic import declare_sql

#: A role that declarations grant rights to; roles belong to the whole server.
READER = f"matrix_reader_{os.getpid()}"

Declaration = Callable[[MetaData], object]


@dataclass(frozen=True)
class Case:
    """One change.

    Attributes:
        name: What changes, as the test's id.
        before: Declares the state that the database is in.
        after: Declares the state that it shall reach.
        upgrade: The expected steps, each as "action identity", in any order.
        server: The first major version that knows the feature.
        keeps_rows: The rows of `app.items` are the same after the upgrade.
        returns: The downgrade leads back to the state before, byte for byte in the catalogue.
    """

    name: str
    before: Declaration
    after: Declaration
    upgrade: Sequence[str]
    server: int = 15
    keeps_rows: bool = True
    returns: bool = True


def items(
    metadata: MetaData,
    *extra: SchemaItem,
    without: Sequence[str] = (),
    replace: Sequence[Column[object]] = (),
    **options: object,
) -> Table:
    """Declare `app.items`, with columns left out, replaced or added."""
    columns: list[Column[object]] = [
        Column("id", BigInteger, primary_key=True, autoincrement=False),
        Column("label", Text, nullable=False),
        Column("quantity", Integer),
        Column("price", Numeric(10, 2)),
        Column("status", String(20)),
        Column("created", DateTime(timezone=True), server_default=func.now()),
    ]
    replaced = {column.name: column for column in replace}
    kept = [replaced.get(c.name, c) for c in columns if c.name not in without]
    return Table(options.pop("name", "items"), metadata, *kept, *extra, schema="app", **options)


def orders(metadata: MetaData, *extra: SchemaItem, **foreign_key: object) -> Table:
    """Declare `app.orders`; with options, `item_id` is a foreign key."""
    constraint = [ForeignKey("app.items.id", **foreign_key)] if foreign_key else []
    return Table(
        "orders",
        metadata,
        Column("order_id", BigInteger, primary_key=True, autoincrement=False),
        Column("item_id", BigInteger, *constraint),
        *extra,
        schema="app",
    )


def declares(*texts: str) -> Declaration:
    """Declare `app.items`, and SQL texts beside it."""

    def declare(metadata: MetaData) -> None:
        items(metadata)
        for text in texts:
            declare_sql(metadata, text.replace("{reader}", READER))

    return declare


def plain(metadata: MetaData) -> None:
    """Declare `app.items` alone."""
    items(metadata)


def both(*declarations: Declaration) -> Declaration:
    """Declare several things on one MetaData."""

    def declare(metadata: MetaData) -> None:
        for declaration in declarations:
            declaration(metadata)

    return declare
