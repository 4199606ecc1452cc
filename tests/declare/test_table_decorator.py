from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Annotated, ClassVar

import attrs
import pytest
import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text
from sqlalchemy.schema import CreateSchema

from pgflow import decorators
from pgflow.declare.items import Check, ForeignKey
from pgflow.declare.markers import pk
from pgflow.decorators import table
from pgflow.emit.history import system_columns_of
from pgflow.errors import (
    DeclarationError,
    DuplicateTable,
    ForeignDecorator,
    InvalidOption,
    MissingSchema,
    UnknownColumn,
)
from pgflow.factories.simple import TableFactory
from pgflow.plugins import CreatedAtPlugin, UUIDV4PKPlugin
from pgflow.types import BigInt, Integer, String, TimestampTZ


@pytest.fixture
def metadata() -> MetaData:
    return MetaData()


@pytest.fixture
def default_metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[MetaData]:
    fresh = MetaData()
    monkeypatch.setattr(decorators, "metadata", fresh)
    return fresh


def create(conn: Connection, metadata: MetaData) -> None:
    conn.execute(CreateSchema("s"))
    metadata.create_all(conn)


def test_the_class_stays_a_class_with_a_table(metadata: MetaData):
    """A decorated class is itself, and has SQLAlchemy's table and the factory."""

    @table(schema="s", metadata=metadata)
    class CustomerDim:
        """Customers."""

        kind: ClassVar[str] = "person"
        customer_id: Annotated[BigInt, pk()]
        email: String[256]

        def greet(self) -> str:
            return f"Hello {self.email}"

    customer = CustomerDim()
    customer.email = "a@b.c"
    assert customer.greet() == "Hello a@b.c"
    assert CustomerDim.__name__ == "CustomerDim"
    factory = TableFactory.of(CustomerDim)
    assert factory.table is metadata.tables["s.customer_dim"]
    assert vars(CustomerDim)["__table__"] is factory.table
    assert vars(CustomerDim)["__factory__"] is factory


def test_no_key_is_added(metadata: MetaData):
    """Without pk() the table has no primary key; plugins can give one."""

    @table(schema="s", metadata=metadata)
    class Log:
        line: String[10]

    @table(
        schema="s", metadata=metadata, plugins=[UUIDV4PKPlugin()], extra_plugins=[CreatedAtPlugin()]
    )
    class Entry:
        line: String[10]

    assert TableFactory.of(Log).table.columns.keys() == ["line"]
    assert TableFactory.of(Entry).table.columns.keys() == ["id", "line", "created_at"]


def test_key_columns_stay_where_they_are_declared(metadata: MetaData):
    """pk() does not move a column to the front."""

    @table(schema="s", metadata=metadata)
    class T:
        a: Integer
        b: Annotated[Integer, pk()]
        c: Integer
        d: Annotated[Integer, pk()]

    made = TableFactory.of(T).table
    assert made.columns.keys() == ["a", "b", "c", "d"]
    assert made.primary_key.columns.keys() == ["b", "d"]


def test_tables_join_pgflow_s_own_metadata(default_metadata: MetaData):
    """Without metadata= a table is found by env.py in pgflow.metadata."""

    @table(schema="s")
    class T:
        a: Integer

    assert list(default_metadata.tables) == ["s.t"]


def test_parentheses_may_be_left_out_where_the_class_says_the_schema(default_metadata: MetaData):
    """`@table` alone serves a class with __schema__; without one it says what is missing."""

    @table
    class T:
        __schema__ = "s"
        __tablename__ = "things"
        id = Column(BigInteger, primary_key=True)
        name = Column(Text)

    assert list(default_metadata.tables) == ["s.things"]
    assert T.__table__.columns.keys() == ["id", "name"]
    assert T.__table__.autoincrement_column is None
    with pytest.raises(MissingSchema, match=r"@pgflow\.table\(schema='warehouse'\)"):

        @table
        class U:
            a: Integer


def test_classes_in_functions_see_the_names_around_them(metadata: MetaData):
    """Postponed annotations find types that are known only inside the function."""
    Code = String[3]

    @table(schema="s", metadata=metadata)
    class T:
        a: Code | None

    assert str(TableFactory.of(T).table.c.a.type) == "VARCHAR(3)"


def test_bases_and_mixins_give_their_columns(conn: Connection, metadata: MetaData):
    """A family of classes makes a table each, with columns and items of their bases."""

    class Stamped:
        __table_items__ = [Check("{n} > 0")]
        n: Integer

    @table(schema="s", metadata=metadata)
    class A(Stamped):
        a: Annotated[BigInt, pk()]

    @table(schema="s", metadata=metadata)
    class B(A):
        b: Integer
        __table_items__ = [*Stamped.__table_items__, ForeignKey({"{b}": "a.a"})]

    create(conn, metadata)
    assert TableFactory.of(A).table.columns.keys() == ["n", "a"]
    assert TableFactory.of(B).table.columns.keys() == ["n", "a", "b"]
    assert TableFactory.of(B).table is not TableFactory.of(A).table


def test_a_subclass_without_the_decorator_is_no_table(metadata: MetaData):
    """Only the class itself stands for its table."""

    @table(schema="s", metadata=metadata)
    class A:
        a: Integer

    class B(A):
        pass

    with pytest.raises(DeclarationError, match="is no table"):
        TableFactory.of(B)


def test_options_become_defaults_of_the_table_s_pipelines(metadata: MetaData):
    """Everything that a sync takes can stand on the table."""

    @table(
        schema="s",
        metadata=metadata,
        mode="scd2",
        handle_deletes="soft",
        event_timestamp_column="seen",
        compare_columns=("email",),
    )
    class T:
        id: Annotated[BigInt, pk()]
        email: String[9]
        seen: TimestampTZ

    assert TableFactory.of(T).spec.options.given() == {
        "mode": "scd2",
        "handle_deletes": "soft",
        "event_timestamp_column": "seen",
        "compare_columns": ("email",),
    }


def test_an_unknown_option_is_refused_with_the_nearest(metadata: MetaData):
    """A misspelt keyword is no silent default."""
    with pytest.raises(InvalidOption) as caught:

        @table(schema="s", metadata=metadata, handle_delets="soft")
        class T:
            a: Integer

    assert "handle_delets= is no option of a table or of a sync. Did you mean 'handle_" in str(
        caught.value
    )
    assert not metadata.tables


def test_a_refused_class_leaves_no_trace(metadata: MetaData):
    """After an error the MetaData is as it was, and the corrected class goes in."""
    with pytest.raises(UnknownColumn):

        @table(schema="s", metadata=metadata)
        class T:
            a: Integer
            __table_items__ = [Check("{b} > 0")]

    assert not metadata.tables
    assert not any(metadata.info.get("pgflow_names", {}).values())

    class T:
        a: Integer

    table(schema="s", metadata=metadata)(T)
    with pytest.raises(DuplicateTable):
        table(schema="s", metadata=metadata)(T)


def test_dataclasses_are_refused_in_both_orders(metadata: MetaData):
    """Below the decorator a dataclass is refused at once; above it, when the table is used."""
    with pytest.raises(ForeignDecorator, match="is a class of @dataclass as well"):

        @table(schema="s", metadata=metadata)
        @dataclasses.dataclass
        class Below:
            a: Integer

    @dataclasses.dataclass
    @table(schema="s", metadata=metadata)
    class Above:
        a: Integer

    @attrs.define
    @table(schema="s", metadata=metadata)
    class Defined:
        b: Integer

    for cls in (Above, Defined):
        with pytest.raises(ForeignDecorator, match="in the imperative form"):
            TableFactory.of(cls)


def test_decorated_tables_are_sqlalchemy_tables(conn: Connection, metadata: MetaData):
    """The table serves SQLAlchemy statements like any other."""

    @table(schema="s", metadata=metadata)
    class T:
        __table__: ClassVar[Table]
        a: Annotated[Integer, pk()]

    create(conn, metadata)
    conn.execute(T.__table__.insert().values(a=3))
    assert conn.execute(sa.select(T.__table__.c.a)).scalar_one() == 3
    assert system_columns_of(T.__table__).names == ()
