from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import attrs
import pydantic
import pytest
from sqlalchemy import CheckConstraint, Column, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from pgflow.declare.items import Check, Index, Unique
from pgflow.declare.markers import natural_key, pk
from pgflow.declare.options import SyncOptions
from pgflow.declare.resource import KeyCandidate, TableSpec
from pgflow.declare.table_class import read_class, snake_case
from pgflow.errors import (
    ForeignDecorator,
    InvalidItem,
    InvalidOption,
    MissingSchema,
    UnknownColumn,
)
from pgflow.types import BigInt, String


def read(cls: type, **options: Any) -> TableSpec:
    return read_class(cls, **{"schema": "s", "local_names": {}, **options}).spec


class Customer:
    id: Annotated[BigInt, pk()]
    email: Annotated[String[256], natural_key()]
    country: Annotated[String[2], natural_key("legacy")]
    number: Annotated[BigInt, natural_key("legacy")]


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("CustomerDim", "customer_dim"),
        ("HTTPServerLog", "http_server_log"),
        ("Sales2024Report", "sales2024_report"),
        ("IDCard", "id_card"),
        ("already_snake", "already_snake"),
        ("A", "a"),
        ("ÜberSicht", "über_sicht"),
    ],
)
def test_class_names_become_table_names(name: str, snake: str):
    """A class name in camel case becomes a table name in snake case."""
    assert snake_case(name) == snake


def test_schema_and_name_come_from_the_first_place_that_says_them():
    """Arguments win over dunders, and dunders over what the class name suggests."""

    class T:
        __schema__ = "from_class"
        __tablename__ = "named"
        a: BigInt

    class U:
        __table_args__ = {"schema": "from_args", "comment": "A note."}
        a: BigInt

    assert read(T, schema=None).label == "from_class.named"
    assert read(T, schema="given", name="other").label == "given.other"
    assert read(U, schema=None).label == "from_args.u"
    assert read(U, schema=None).table_options == {"comment": "A note."}


def test_a_subclass_does_not_inherit_the_table_s_name():
    """Two classes of one family make two tables."""

    class Base:
        __tablename__ = "base"
        a: BigInt

    class Child(Base):
        b: BigInt

    assert read(Child).name == "child"


def test_a_missing_schema_says_both_ways_to_give_it():
    """Nothing is assumed about the schema."""
    with pytest.raises(MissingSchema) as caught:
        read(Customer, schema=None)
    assert str(caught.value) == (
        "Customer: a table needs its schema: @pgflow.table(schema='warehouse'), or "
        "`__schema__ = 'warehouse'` in the class."
    )


def test_natural_keys_become_unique_constraints_by_group():
    """Groups keep the order of declaration, and each says where it came from."""
    spec = read(Customer)
    assert [(u.columns, u.origin) for u in spec.unique_constraints] == [
        (("email",), "natural_key()"),
        (("country", "number"), "natural_key('legacy')"),
    ]
    assert [i for i in spec.items if isinstance(i, Unique)] == [
        Unique("email"),
        Unique("country", "number"),
    ]


def test_merge_keys_are_looked_for_in_the_promised_order():
    """keys= wins over __merge_keys__, that over unique constraints, those over pk()."""

    class T(Customer):
        __merge_keys__ = ("number",)
        __unique_constraints__ = (("number", "id"),)

    candidates = read(T, options=SyncOptions(keys=("country",))).key_candidates()
    assert [(c.columns, c.origin) for c in candidates] == [
        (("country",), "keys="),
        (("number",), "__merge_keys__"),
        (("email",), "natural_key()"),
        (("country", "number"), "natural_key('legacy')"),
        (("number", "id"), "__unique_constraints__[0]"),
        (("id",), "pk()"),
    ]
    assert read(T).key_candidates(("email",))[0] == KeyCandidate(("email",))
    assert read(Customer).key_candidates()[0].columns == ("email",)


def test_items_come_from_both_dunders():
    """`__table_items__` and `__table_args__` hold pgflow's items and SQLAlchemy's."""

    class T(Customer):
        __table_items__ = [Check("{number} > 0"), Unique("number", name="n")]
        __table_args__ = (CheckConstraint("id > 0"), Index(None, "{email}"), {"comment": "x"})

    spec = read(T)
    kinds = [type(item).__name__ for item in spec.items[4:]]
    assert kinds == ["Unique", "Unique", "Check", "Unique", "CheckConstraint", "Index"]
    assert spec.unique_constraints[-1].origin == "Unique('number')"


def test_one_key_said_twice_is_one_constraint():
    """A natural key that is listed again makes no second constraint."""

    class T(Customer):
        __unique_constraints__ = (("email",),)

    assert [i for i in read(T).items if i == Unique("email")] == [Unique("email")]


def test_long_names_are_what_the_server_keeps():
    """Table, schema and key names of more than 63 bytes are cut everywhere alike."""
    long = "c" * 80
    cls = type(
        "T",
        (),
        {
            "__annotations__": {long: Annotated[BigInt, natural_key()]},
            "__merge_keys__": (long,),
            "__module__": __name__,
        },
    )
    spec = read(cls, schema="s" * 70, name="t" * 70)
    assert spec.label == f"{'s' * 63}.{'t' * 63}"
    assert spec.merge_keys == spec.unique_constraints[0].columns == ("c" * 63,)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"__merge_keys__": ("emial",)}, "__merge_keys__ of s.t names column 'emial'"),
        ({"__unique_constraints__": (("x",),)}, "__unique_constraints__[0] of s.t names column"),
    ],
)
def test_keys_that_are_no_columns_are_refused(attributes: dict[str, Any], message: str):
    """A misspelt key is refused at decoration."""
    with pytest.raises(UnknownColumn) as caught:
        read(type("T", (Customer,), attributes))
    assert message in str(caught.value)


@pytest.mark.parametrize("option", ["keys", "compare_columns", "update_columns"])
def test_options_that_name_no_column_are_refused(option: str):
    """Options of the table's pipelines are checked at decoration, too."""
    with pytest.raises(InvalidOption, match="names 'emial', which is no column of the target"):
        read(Customer, options=SyncOptions(**{option: ("emial",)}))


def test_flat_sequences_are_refused_with_the_right_form():
    """A string or a flat tuple in place of a tuple of tuples is the likeliest slip."""
    for given, advice in ((("a", "b"), "(('a', 'b',),)"), ("a", "(('a',),)")):
        with pytest.raises(InvalidItem) as caught:
            read(type("T", (Customer,), {"__unique_constraints__": given}))
        assert str(caught.value).endswith(f"write {advice}.")
    with pytest.raises(InvalidItem, match=r"write \('email',\)\."):
        read(type("T", (Customer,), {"__merge_keys__": "email"}))


class Model(pydantic.BaseModel):
    a: int


@attrs.define
class Defined:
    a: int


@dataclasses.dataclass
class Data:
    a: int


class Base(DeclarativeBase):
    pass


class Orm(Base):
    __tablename__ = "orm"
    id: Mapped[int] = mapped_column(primary_key=True)


class Heir(Data):
    b: BigInt


@pytest.mark.parametrize(
    ("cls", "decorator"),
    [
        (Data, "@dataclass"),
        (Heir, "@dataclass"),
        (Defined, "attrs"),
        (Model, "pydantic"),
        (Orm, "SQLAlchemy's ORM"),
    ],
)
def test_classes_of_other_libraries_are_refused(cls: type, decorator: str):
    """Who collects the fields already is named, and the imperative form is the way out."""
    with pytest.raises(ForeignDecorator) as caught:
        read(cls)
    assert caught.value.decorator == decorator
    assert str(caught.value) == (
        f"{cls.__qualname__} is a class of {decorator} as well. @pgflow.table collects the fields "
        f"by itself: remove {decorator}, or declare the columns in the imperative form, as a plain "
        "class with __schema__, __tablename__ and attributes like `email = Column(Text)`."
    )


def test_specs_are_compared_by_what_they_say():
    """Equal declarations are equal however often they are read; a changed type is not."""

    class Other(Customer):
        email: Annotated[String[255], natural_key()]

    def spec(cls: type) -> TableSpec:
        read_spec = read(cls, name="t")
        from sqlalchemy import MetaData, Table

        Table("t", MetaData(), *read_spec.columns)
        return read_spec

    assert spec(Customer) == spec(Customer)
    assert hash(spec(Customer)) == hash(spec(Customer))
    assert spec(Customer) != spec(Other)
    assert spec(Customer) != "a string"


def test_renamed_attributes_are_remembered():
    """The ORM needs to know which attribute has which column."""

    class T:
        __schema__ = "s"
        id = Column("other", Text)
        name = Column(Text)

    assert read_class(T, local_names={}).attributes == {"id": "other"}
