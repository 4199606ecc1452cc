"""Tables whose class is mapped, and tables of classes by `register_table`."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Connection, MetaData, Text
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.schema import CreateSchema

from pgflow.declare.markers import natural_key, pk
from pgflow.decorators import register_table, table
from pgflow.emit.history import amend, system_columns
from pgflow.errors import InvalidColumn, MappedTable, MissingMetaData, TableError
from pgflow.factories.simple import SimpleTable, TableFactory
from pgflow.plugins import SerialPKPlugin, UUIDV4PKPlugin
from pgflow.types import BigInt, String


@pytest.fixture
def metadata() -> MetaData:
    return MetaData()


def create(conn: Connection, metadata: MetaData) -> None:
    conn.execute(CreateSchema("s"))
    metadata.create_all(conn)


def new_base() -> Any:
    class Base(DeclarativeBase):
        pass

    return Base


def test_a_class_is_mapped_on_request(conn: Connection):
    """base= maps the class, system columns of its mode included; the ORM reads and writes it."""
    base = new_base()

    @table(schema="s", base=base, mode="scd1")
    class Person:
        id: Annotated[BigInt, pk(autoincrement=True)]
        name: String[20]

    create(conn, base.metadata)
    with Session(conn) as session:
        person = Person()
        person.name = "Ada"
        session.add(person)
        session.flush()
        found = session.scalars(sa.select(Person).where(Person.name == "Ada")).one()
        assert found is person
        assert found.id == 1
        assert found._loaded_at is not None
        assert found._changed_at is None


def test_the_imperative_form_is_mapped_by_its_attributes(conn: Connection):
    """A column that is called otherwise is found under the attribute's name."""
    base = new_base()

    @table(schema="s", base=base)
    class Person:
        id = Column("person_id", BigInteger, primary_key=True)
        name = Column(Text)

    create(conn, base.metadata)
    with Session(conn) as session:
        person = Person()
        person.id, person.name = 5, "Ada"
        session.add(person)
        session.flush()
        assert session.scalars(sa.select(Person.id)).all() == [5]
    assert TableFactory.of(Person).table.columns.keys() == ["person_id", "name"]


def test_a_history_can_be_mapped(conn: Connection):
    """With mode="scd2" on the table its versions are objects."""
    base = new_base()

    @table(schema="s", base=base, mode="scd2")
    class Person:
        code: Annotated[String[3], pk()]

    create(conn, base.metadata)
    assert [c.name for c in sa.inspect(Person).primary_key] == ["code", "valid_from"]


def test_a_mapped_table_takes_no_other_mode():
    """A pipeline's mode has to stand on a mapped table."""
    base = new_base()

    @table(schema="s", base=base)
    class Person:
        code: Annotated[String[3], pk()]

    with pytest.raises(MappedTable, match="mapped to class .*Person"):
        amend(TableFactory.of(Person).table, system_columns("append"))


def test_mapping_needs_a_key():
    """Without pk() or a key plugin the ORM could not tell rows apart."""
    base = new_base()
    with pytest.raises(InvalidColumn, match=r"Mark its columns with pk\(\), or give plugins="):

        @table(schema="s", base=base)
        class Person:
            name: String[3]

    assert not base.metadata.tables

    @table(schema="s", base=base, plugins=[SerialPKPlugin()])
    class Numbered:
        name: String[3]

    assert sa.inspect(Numbered).primary_key[0].name == "id"


def test_a_base_has_its_own_metadata(metadata: MetaData):
    """base= and another metadata= contradict each other."""
    with pytest.raises(TableError, match="base= has a MetaData of its own"):

        @table(schema="s", base=new_base(), metadata=metadata)
        class Person:
            code: Annotated[String[3], pk()]


def test_register_table_needs_to_know_where():
    """Neither base= nor metadata= is an error that names both."""
    with pytest.raises(MissingMetaData) as caught:

        @register_table(schema="s")
        class Person:
            name: String[3]

    assert "give base= (a DeclarativeBase) or metadata= (a MetaData)" in str(caught.value)


def test_register_table_adds_an_id_where_there_is_no_key(metadata: MetaData):
    """A class without a key is numbered, one with pk() is not; plugins win over both."""

    @register_table(metadata=metadata)
    class Users:
        __tablename__ = "users"
        __table_args__ = {"schema": "public"}
        name = Column(Text)

    @register_table(metadata=metadata, schema="s")
    class Coded:
        code: Annotated[String[3], pk()]

    @register_table(metadata=metadata, schema="s", plugins=[UUIDV4PKPlugin("key")])
    class Keyed:
        name: Annotated[String[3], natural_key()]

    assert metadata.tables["public.users"].columns.keys() == ["id", "name"]
    assert metadata.tables["s.coded"].columns.keys() == ["code"]
    assert metadata.tables["s.keyed"].columns.keys() == ["key", "name"]
    assert isinstance(TableFactory.of(Users), SimpleTable)


def test_register_table_maps_the_class(conn: Connection):
    """base= of register_table maps the class as @table does."""
    base = new_base()

    @register_table(base=base, schema="s")
    class User:
        name = Column(Text)

    create(conn, base.metadata)
    with Session(conn) as session:
        user = User()
        user.name = "Ada"
        session.add(user)
        session.flush()
        assert session.scalars(sa.select(User)).one() is user
