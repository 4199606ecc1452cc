"""User code that type checkers accept: every documented way to declare a table."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Optional, assert_type

import sqlalchemy as sa
from sqlalchemy import Column, DefaultClause, ForeignKey, Identity, MetaData, Table
from sqlalchemy.orm import DeclarativeBase

import pgflow.types as t
from pgflow.declare import items
from pgflow.declare.markers import natural_key, nullable, pk
from pgflow.decorators import register_table, table
from pgflow.factories.simple import SimpleTable, TableFactory
from pgflow.plugins import ColumnPKPlugin, CreatedAtPlugin, UUIDV4PKPlugin
from pgflow.types import Array, BigInt, Boolean, Enum, Numeric, Raw, String, Text, TimestampTZ


class Base(DeclarativeBase):
    pass


@table(schema="warehouse", mode="scd2", handle_deletes="soft", ttl=timedelta(days=7))
class CustomerDim:
    __table__: ClassVar[Table]
    __table_items__ = [items.Check("{balance} > 0"), items.Unique("email")]

    customer_id: Annotated[BigInt, pk()]
    email: String[256]
    name: Text | None
    legacy: Annotated[String[256], natural_key("legacy")]
    both: Annotated[String[256] | None, natural_key()]
    optional: Optional[Numeric[12, 2]]  # noqa: UP045
    balance: Numeric[12, 2] | None
    place: Raw["point"]  # noqa: F821, UP037 - linters take the string for the name of a type
    period: Raw[Literal["interval day to second(3)"]] | None
    tags: Array[Text]
    rates: Array[Numeric[3, 1], 2] | None
    state: Enum[Literal["new", "old"]]
    module: t.BigInt
    module_sized: t.String[2] | None
    sqlalchemy_type: sa.BigInteger
    maybe: Annotated[Boolean, nullable()]
    made: Annotated[TimestampTZ, DefaultClause(sa.text("now()"))]
    number: Annotated[BigInt, Identity(), ForeignKey("s.t.id")]


@table(schema="warehouse", base=Base, name="other", metadata=None, config=None)
class Mapped:
    id: Annotated[BigInt, pk(autoincrement=True)]


@table
class Imperative:
    __schema__ = "warehouse"
    __tablename__ = "imperative"
    id = Column(sa.BigInteger, primary_key=True)


@register_table(metadata=MetaData(), schema="s", plugins=[UUIDV4PKPlugin()])
class Registered:
    name: Text


customer = CustomerDim()
customer.email = "a@b.c"
assert_type(customer, CustomerDim)
assert_type(TableFactory.of(CustomerDim), TableFactory)
made: Table = TableFactory.of(CustomerDim).table
columns: list[Any] = [CustomerDim.__table__.c.email]
query = sa.select(Mapped.id).where(Mapped.id == 3)

simple = SimpleTable(
    "t",
    "s",
    MetaData(),
    [Column("a", BigInt), Column("b", String[3]), Column("c", String(3)), items.Index(None, "{a}")],
    plugins=[ColumnPKPlugin(Column("id", BigInt))],
    extra_plugins=[CreatedAtPlugin],
    mode="merge",
    system_columns={"_batch_id": None},
    keys=("a",),
)
