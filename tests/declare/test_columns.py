from __future__ import annotations

import typing
from typing import Annotated, Any, ClassVar, Optional

import pytest
import sqlalchemy as sa
from sqlalchemy import Column, Computed, DefaultClause, ForeignKey, Identity

from pgflow.declare.columns import declared_columns
from pgflow.declare.markers import natural_key, nullable, pk
from pgflow.errors import (
    DuplicateColumn,
    InvalidColumn,
    MissingColumns,
    UncalledMarker,
    UnresolvedAnnotation,
    UnsupportedType,
)
from pgflow.types import BigInt, Date, Integer, Numeric, String, Text, TimestampTZ


def columns(cls: type, **local_names: object) -> dict[str, Column[Any]]:
    return {d.attribute: d.column for d in declared_columns(cls, local_names)}


class Forms:
    """Every way to write a nullable or a required column."""

    required: BigInt
    sized: String[256]
    piped: Text | None
    piped_sized: String[256] | None
    reversed_pipe: Numeric[12, 2] | None
    optional: Optional[String[3]]  # noqa: UP045 - this spelling is what is tested
    annotated: Annotated[Text, "a note of another library"]
    annotated_nullable: Annotated[Text, nullable()]
    pipe_inside: Annotated[Text | None, natural_key()]
    pipe_outside: Annotated[Text, natural_key()] | None
    nested: Annotated[Annotated[Text, nullable()], natural_key("other")]
    sqlalchemy_class: sa.Date
    sqlalchemy_instance: sa.Numeric(5, 1)
    sqlalchemy_optional: Optional[sa.String(3)]  # noqa: UP045 - an instance takes no `|`
    sqlalchemy_piped: sa.Date | None
    quoted: "Date"  # noqa: UP037 - this spelling is what is tested


def test_every_spelling_says_the_type_and_whether_null_is_allowed():
    """Bare, subscripted, annotated and SQLAlchemy types, each with its way to allow NULL."""
    found = {n: (str(c.type), bool(c.nullable)) for n, c in columns(Forms).items()}
    assert found == {
        "required": ("BIGINT", False),
        "sized": ("VARCHAR(256)", False),
        "piped": ("TEXT", True),
        "piped_sized": ("VARCHAR(256)", True),
        "reversed_pipe": ("NUMERIC(12, 2)", True),
        "optional": ("VARCHAR(3)", True),
        "annotated": ("TEXT", False),
        "annotated_nullable": ("TEXT", True),
        "pipe_inside": ("TEXT", True),
        "pipe_outside": ("TEXT", True),
        "nested": ("TEXT", True),
        "sqlalchemy_class": ("DATE", False),
        "sqlalchemy_instance": ("NUMERIC(5, 1)", False),
        "sqlalchemy_optional": ("VARCHAR(3)", True),
        "sqlalchemy_piped": ("DATE", True),
        "quoted": ("DATE", False),
    }


def test_natural_keys_keep_their_groups():
    """Each column knows the groups that its markers name."""
    groups = {d.attribute: d.natural_keys for d in declared_columns(Forms, {}) if d.natural_keys}
    assert groups == {
        "pipe_inside": ("default",), "pipe_outside": ("default",), "nested": ("other",),
    }  # fmt: skip


def test_annotations_of_classes_in_functions_see_the_function_s_names():
    """A type that is known only inside the function works in a postponed annotation."""
    Money = Numeric[19, 4]

    class Account:
        balance: Money
        opened: Annotated[Kind, pk()]

    Kind = Date
    found = columns(Account, Money=Money, Kind=Kind)
    assert str(found["balance"].type) == "NUMERIC(19, 4)"
    assert found["opened"].primary_key


def test_names_of_the_class_body_work_in_annotations():
    """A type that is assigned inside the class can be used there."""

    class Account:
        Money = Numeric[19, 4]
        balance: Money

    assert str(columns(Account)["balance"].type) == "NUMERIC(19, 4)"


def test_evaluated_annotations_work_as_well():
    """Without postponed evaluation the annotations are objects already."""
    source = (
        "from typing import Annotated\n"
        "from pgflow.types import *\n"
        "from pgflow.declare.markers import pk\n"
        "class T:\n"
        "    a: Annotated[BigInt, pk()]\n"
        "    b: String[3] | None\n"
        "    c: 'Text | None'\n"
    )
    module: dict[str, Any] = {"__name__": "somewhere"}
    exec(compile(source, "somewhere", "exec", dont_inherit=True), module)
    found = columns(module["T"], Text=Text)
    assert [(c.name, bool(c.nullable)) for c in found.values()] == [
        ("a", False), ("b", True), ("c", True),
    ]  # fmt: skip


def test_what_is_no_column_is_left_alone():
    """Class variables, dunders, methods and plain attributes make no column."""

    class T:
        """A table."""

        __schema__ = "s"
        __note__: str
        kinds: ClassVar[dict[str, int]] = {}
        other: typing.ClassVar[int]
        LIMIT = 3
        a: Text

        def method(self) -> int:
            return 1

    assert list(columns(T)) == ["a"]


def test_several_primary_keys_stand_in_order_of_declaration():
    """Columns with pk() form one key, and no whole number becomes a serial."""

    class T:
        b: Annotated[Integer, pk()]
        x: Text
        a: Annotated[BigInt, pk()]

    keys = [c for c in columns(T).values() if c.primary_key]
    assert [c.name for c in keys] == ["b", "a"]
    assert all(c.autoincrement is False and c.identity is None for c in keys)


def test_autoincrement_makes_an_identity():
    """pk(autoincrement=True) lets the server number the rows."""

    class T:
        a: Annotated[BigInt, pk(autoincrement=True)]
        b: Annotated[Integer, pk(autoincrement=True), Identity(start=5)]

    found = columns(T)
    assert found["a"].identity is not None
    assert found["b"].identity is not None
    assert found["b"].identity.start == 5


def test_sqlalchemy_items_go_to_the_column():
    """Identity, Computed, ForeignKey and DefaultClause in Annotated belong to the column."""

    class T:
        a: Annotated[BigInt, Identity(always=True)]
        b: Annotated[BigInt, Computed("a * 2")]
        c: Annotated[BigInt, ForeignKey("s.t.id")]
        d: Annotated[TimestampTZ, DefaultClause(sa.text("now()"))]

    found = columns(T)
    assert found["a"].identity is not None
    assert found["a"].identity.always
    assert found["b"].computed is not None
    assert [fk.target_fullname for fk in found["c"].foreign_keys] == ["s.t.id"]
    assert str(found["d"].server_default.arg) == "now()"


class Stamped:
    created: Annotated[TimestampTZ, DefaultClause(sa.text("now()"))]
    owner: Annotated[BigInt, ForeignKey("s.people.id")]


class Named:
    name: Text


def test_base_classes_come_first_and_share_nothing():
    """Columns of bases stand first, the most basic one ahead, and two tables get copies."""

    class A(Named, Stamped):
        a: Text

    class B(Stamped):
        b: Text

    assert list(columns(A)) == ["created", "owner", "name", "a"]
    one, other = columns(A)["owner"], columns(B)["owner"]
    assert one is not other
    sa.Table("a", sa.MetaData(), *columns(A).values())
    sa.Table("b", sa.MetaData(), *columns(B).values())


def test_a_subclass_redefines_a_column_in_its_place():
    """Declaring a column again changes it where it stood."""

    class Base:
        a: Text
        b: Text

    class T(Base):
        c: Text
        a: BigInt | None

    found = columns(T)
    assert list(found) == ["a", "b", "c"]
    assert str(found["a"].type) == "BIGINT"


def test_assigned_columns_are_the_imperative_form():
    """Column attributes take the attribute's name unless they have one; the class keeps its own."""

    class T:
        id = Column(sa.BigInteger, primary_key=True)
        other = Column("elsewhere", sa.Text, unique=True)

    found = columns(T)
    assert [c.name for c in found.values()] == ["id", "elsewhere"]
    assert list(found) == ["id", "other"]
    assert T.id is not found["id"]
    assert T.id.name is None


def test_long_names_are_cut_as_the_server_does():
    """A column of 70 characters gets the 63 that PostgreSQL keeps, as name and as key."""
    cls = type("T", (), {"__annotations__": {"x" * 70: Text}, "__module__": __name__})
    (column,) = columns(cls).values()
    assert column.name == column.key == "x" * 63


def test_two_columns_that_the_server_would_take_for_one_are_refused():
    """Names that differ after 63 bytes only are refused, both named."""
    names = {"x" * 63 + "a": Text, "x" * 63 + "b": Text}
    cls = type("T", (), {"__annotations__": names, "__module__": __name__})
    with pytest.raises(DuplicateColumn) as caught:
        columns(cls)
    assert f"columns {'x' * 63 + 'a'!r} and {'x' * 63 + 'b'!r} have one name" in str(caught.value)
    assert "Rename one of them." in str(caught.value)


def refused(error: type[Exception], **annotations: object) -> str:
    cls = type("T", (), {"__annotations__": annotations, "__module__": __name__})
    with pytest.raises(error) as caught:
        columns(cls)
    return str(caught.value)


@pytest.mark.parametrize("annotation", [pk, natural_key, nullable, Identity, ForeignKey])
def test_a_marker_that_is_not_called_is_refused(annotation: Any):
    """`Annotated[BigInt, pk]` says to write pk()."""
    message = refused(UncalledMarker, a=Annotated[BigInt, annotation])
    name = annotation.__name__
    call = f"{name}(...)" if isinstance(annotation, type) else f"{name}()"
    assert message == f"T.a: a marker is called: write {call} in Annotated, not {name}."


def test_a_python_type_is_refused_by_class_and_attribute():
    """The message says where, what stands there, and what fits."""
    message = refused(UnsupportedType, a="int | None")
    assert message == (
        "T.a: 'int' is a Python type: use BigInt, Integer or SmallInt from pgflow.types."
    )


def test_a_choice_of_types_is_refused():
    """A union of two types is no column type."""
    message = refused(UnsupportedType, a=typing.Union[sa.Date, sa.Time])  # noqa: UP007
    assert "is a choice of types, and a column has one. Only `T | None` is understood" in message


def test_a_nullable_primary_key_is_refused():
    """pk() and `| None` contradict each other."""
    message = refused(InvalidColumn, a=Annotated[BigInt | None, pk()])
    assert message.startswith("T.a is part of the primary key and takes NULL")


def test_counting_text_is_refused():
    """pk(autoincrement=True) needs a whole number."""
    message = refused(InvalidColumn, a=Annotated[Text, pk(autoincrement=True)])
    assert "counts whole numbers, and the column is Text()" in message


def test_a_column_in_annotated_is_refused():
    """A whole Column is assigned, not annotated."""
    message = refused(InvalidColumn, a=Annotated[Text, Column(sa.Text)])
    assert message.startswith("T.a: a Column cannot stand in Annotated.")


def test_a_value_beside_an_annotation_is_refused():
    """`email: Text = "x"` would be lost, so the message says where defaults go."""

    class T:
        email: Text = "x"

    with pytest.raises(InvalidColumn) as caught:
        columns(T)
    assert str(caught.value).endswith(
        "Give a default for the server inside the annotation, as in "
        "Annotated[Text, DefaultClause('new')], or leave the annotation out and assign a whole "
        "Column(...)."
    )


def test_a_name_that_exists_for_type_checkers_only_is_refused():
    """An annotation that cannot be evaluated says which name is missing and where to import it."""
    message = refused(UnresolvedAnnotation, a="Missing | None")
    assert message == (
        "T.a: the annotation 'Missing | None' cannot be evaluated: name 'Missing' is not defined. "
        "Import the name in this module, and not under `if TYPE_CHECKING:`."
    )


def test_a_pipe_on_a_sqlalchemy_instance_says_to_use_optional():
    """`sa.String(3) | None` is Python's own TypeError, with the way out."""
    message = refused(UnresolvedAnnotation, a="sa.String(3) | None")
    assert message.endswith("A SQLAlchemy type instance takes Optional[...] in place of `| None`.")


def test_a_class_without_columns_is_refused():
    """An empty class is named, with both ways to declare columns."""

    class Empty:
        LIMIT = 3

    with pytest.raises(MissingColumns, match=r"Empty declares no column\. Annotate its attributes"):
        columns(Empty)
