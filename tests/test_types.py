from __future__ import annotations

import ast
import enum
import inspect
import typing
import uuid
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _repr_type
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Connection, MetaData, Table, text

from pgflow import types
from pgflow.errors import InvalidTypeParameter, UnsupportedType
from pgflow.types import NullableForm, TypeForm, column_type

FORMS = {name: form for name, form in vars(types).items() if isinstance(form, TypeForm)}


class Colour(enum.Enum):
    RED = "red"
    DARK_BLUE = "dark blue"


class Number(enum.Enum):
    ONE = 1
    TWO = 2


#: What PostgreSQL calls each type.
SPELLED = [
    (types.BigInt, "bigint"),
    (types.Integer, "integer"),
    (types.SmallInt, "smallint"),
    (types.String, "character varying"),
    (types.String[256], "character varying(256)"),
    (types.Text, "text"),
    (types.Char, "character(1)"),
    (types.Char[3], "character(3)"),
    (types.Numeric, "numeric"),
    (types.Numeric[12], "numeric(12,0)"),
    (types.Numeric[12, 2], "numeric(12,2)"),
    (types.Float, "double precision"),
    (types.Double, "double precision"),
    (types.Real, "real"),
    (types.Boolean, "boolean"),
    (types.Date, "date"),
    (types.Time, "time without time zone"),
    (types.Time[3], "time(3) without time zone"),
    (types.TimeTZ, "time with time zone"),
    (types.TimeTZ[0], "time(0) with time zone"),
    (types.Timestamp, "timestamp without time zone"),
    (types.Timestamp[6], "timestamp(6) without time zone"),
    (types.TimestampTZ, "timestamp with time zone"),
    (types.TimestampTZ[3], "timestamp(3) with time zone"),
    (types.Interval, "interval"),
    (types.UUID, "uuid"),
    (types.JSON, "json"),
    (types.JSONB, "jsonb"),
    (types.Bytes, "bytea"),
    (types.Array[types.Text], "text[]"),
    (types.Array[types.Numeric[3, 1]], "numeric(3,1)[]"),
    (types.Array[types.BigInt, 2], "bigint[]"),
    (types.Array[sa.Date], "date[]"),
    (types.Inet, "inet"),
    (types.Cidr, "cidr"),
    (types.MacAddr, "macaddr"),
    (types.MacAddr8, "macaddr8"),
    (types.Money, "money"),
    (types.Bit, "bit(1)"),
    (types.Bit[8], "bit(8)"),
    (types.VarBit, "bit varying"),
    (types.VarBit[8], "bit varying(8)"),
    (types.Int4Range, "int4range"),
    (types.Int8Range, "int8range"),
    (types.NumRange, "numrange"),
    (types.DateRange, "daterange"),
    (types.TsRange, "tsrange"),
    (types.TsTzRange, "tstzrange"),
    (types.TSVector, "tsvector"),
    (types.TSQuery, "tsquery"),
    (types.Oid, "oid"),
    (types.Enum[Colour], "colour"),
    (types.Enum("a", "b", name="letter"), "letter"),
    (types.Raw["point"], "point"),
    (types.Raw["interval day to second(3)"], "interval day to second(3)"),
    (types.Citext, "citext"),
    (types.HStore, "hstore"),
]


def test_each_name_becomes_the_type_that_postgresql_knows_by_it(conn: Connection):
    """Every form of every name creates a column of exactly that type on a real server."""
    conn.execute(text("CREATE EXTENSION citext"))
    conn.execute(text("CREATE EXTENSION hstore"))
    metadata = MetaData()
    columns = [Column(f"c{i}", kind) for i, (kind, _) in enumerate(SPELLED)]
    metadata_table = Table("t", metadata, *columns)
    metadata.create_all(conn)
    rows = conn.execute(
        text(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum"
        )
    )
    assert [spelled for (spelled,) in rows] == [spelled for _, spelled in SPELLED]
    assert len(metadata_table.columns) == len(SPELLED)


def test_no_name_is_left_out_of_the_list_above():
    """The test against the server covers every name of the module."""
    covered = {kind.name for kind, _ in SPELLED if isinstance(kind, TypeForm)}
    assert covered == set(FORMS)


def test_a_type_checker_sees_the_same_names_as_python():
    """The branch for type checkers lists exactly the names that exist at run time."""
    tree = ast.parse(Path(inspect.getfile(types)).read_text())
    branch = next(
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = {
        node.targets[0].id
        for node in ast.walk(ast.Module(branch.body, []))
        if isinstance(node, ast.Assign) and ast.unparse(node.value) == "_Form"
    }
    assert seen == set(FORMS)


@pytest.mark.parametrize("form", [f for f in FORMS.values() if f.name not in ("Enum", "Array")])
def test_columns_carry_plain_sqlalchemy_types(form: TypeForm):
    """Nothing of pgflow is left in the type, except for a type that only its text names."""
    kind = column_type(form["point"] if form.name == "Raw" else form)
    module = "pgflow.types" if form.name == "Raw" else "sqlalchemy."
    assert type(kind).__module__.startswith(module)


def test_alembic_writes_plain_types_into_migrations():
    """A migration says sa.BigInteger() and sa.String(length=256), and Raw["point"] by its name."""
    context = AutogenContext(
        MigrationContext.configure(dialect_name="postgresql"),
        opts={"sqlalchemy_module_prefix": "sa.", "user_module_prefix": None},
    )
    written = [
        _repr_type(column_type(t), context)
        for t in (types.BigInt, types.String[256], types.TimestampTZ, types.Raw["point"])
    ]
    assert written == [
        "sa.BigInteger()",
        "sa.String(length=256)",
        "sa.DateTime(timezone=True)",
        "pgflow.types.Raw['point']",
    ]


def test_a_type_of_its_own_for_each_column():
    """Two columns never share one type object, so that naming an enum of one leaves the other."""
    assert column_type(types.String[3]) is not column_type(types.String[3])


@pytest.mark.parametrize("form", [types.BigInt, types.String[256], types.Numeric[12, 2]])
def test_pipe_none_makes_a_nullable_form(form: TypeForm):
    """`T | None` and `None | T` work for bare names and for those with parameters."""
    for combined in (form | None, None | form):
        assert isinstance(combined, NullableForm)
        assert combined.form is form
    assert str(form | None) == f"{form!r} | None"


def test_typing_takes_the_forms():
    """Optional[...] and Annotated[...] of the standard library accept every form."""
    form = types.String[256]
    assert typing.get_args(typing.Optional[form]) == (form, type(None))  # noqa: UP045
    assert typing.get_args(typing.Annotated[form | None, 3])[1] == 3


def test_two_types_for_one_column_are_refused():
    """`BigInt | Text` says that a column has one type."""
    with pytest.raises(UnsupportedType, match=r"^BigInt \| Text: a column has one type\. Write"):
        types.BigInt | types.Text


@pytest.mark.parametrize(
    ("python_type", "advice"),
    [
        (int, "'int' is a Python type: use BigInt, Integer or SmallInt from pgflow.types."),
        (bool, "'bool' is a Python type: use Boolean from pgflow.types."),
        (float, "'float' is a Python type: use Double or Numeric[p, s] from pgflow.types."),
        (str, "'str' is a Python type: use Text or String[n] from pgflow.types."),
        (bytes, "'bytes' is a Python type: use Bytes from pgflow.types."),
        (Decimal, "'Decimal' is a Python type: use Numeric[p, s] from pgflow.types."),
        (datetime, "'datetime' is a Python type: use TimestampTZ or Timestamp from pgflow.types."),
        (date, "'date' is a Python type: use Date from pgflow.types."),
        (time, "'time' is a Python type: use Time from pgflow.types."),
        (timedelta, "'timedelta' is a Python type: use Interval from pgflow.types."),
        (uuid.UUID, "'UUID' is a Python type: use UUID from pgflow.types."),
        (dict, "'dict' is a Python type: use JSONB from pgflow.types."),
        (list[int], "'list' is a Python type: use Array[...] or JSONB from pgflow.types."),
        (Colour, "Colour is a Python enum: write Enum[Colour]."),
    ],
)
def test_python_types_are_refused_with_the_names_that_fit(python_type: object, advice: str):
    """Whoever writes `int` reads which pgflow types hold whole numbers."""
    with pytest.raises(UnsupportedType) as caught:
        column_type(python_type)
    assert str(caught.value) == advice
    assert caught.value.annotation is python_type


@pytest.mark.parametrize("nonsense", [typing.Any, 3, "bigint", None, object()])
def test_what_is_no_type_is_refused(nonsense: object):
    """Anything else is named, with the three ways to say a type."""
    with pytest.raises(UnsupportedType, match=r"is no column type: use a name of pgflow\.types"):
        column_type(nonsense)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: types.String[0], "the length of String[n] is a whole number from 1 to 10485760"),
        (lambda: types.String["5"], "the length of String[n] is a whole number"),
        (lambda: types.Char[True], "the length of Char[n] is a whole number"),
        (lambda: types.Numeric[0], "the precision of Numeric[p, s] is a whole number from 1"),
        (lambda: types.Numeric[1001], "from 1 to 1000, not 1001."),
        (lambda: types.Numeric[5, 1.5], "the scale of Numeric[p, s] is a whole number"),
        (lambda: types.Numeric[1, 2, 3], "Numeric[1, 2, 3]: Numeric does not take these"),
        (lambda: types.TimestampTZ[7], "the precision of TimestampTZ[p] is a whole number from 0"),
        (lambda: types.BigInt[3], "BigInt[3]: BigInt does not take these parameters"),
        (lambda: types.String[3][4], "String[3] has its parameters already."),
        (lambda: types.Raw[""], 'Raw[...] takes a type\'s SQL text, as in Raw["point"]'),
        (lambda: types.Raw(), "takes a type's SQL text"),
        (lambda: types.Enum(), "Enum[]: give the labels as strings, or one Python enum class."),
        (lambda: types.Enum[1, 2], "Enum[1, 2]: give the labels as strings"),
        (lambda: types.Array[types.Array[types.Text]], "write Array[T, 2] for two dimensions."),
    ],
)
def test_parameters_that_postgresql_does_not_take_are_refused(make: typing.Any, message: str):
    """A wrong length, precision or label is refused where it is written."""
    with pytest.raises(InvalidTypeParameter) as caught:
        make()
    assert message in str(caught.value)


def test_arrays_of_python_types_name_the_fitting_types():
    """`Array[int]` gets the same advice as `int`."""
    with pytest.raises(UnsupportedType, match="use BigInt, Integer or SmallInt"):
        types.Array[int]


def test_a_python_enum_is_stored_by_its_values_if_they_are_text(conn: Connection):
    """Labels are the members' values if all are strings, else the members' names."""
    metadata = MetaData()
    table = Table("t", metadata, Column("a", types.Enum[Colour]), Column("b", types.Enum[Number]))
    metadata.create_all(conn)
    conn.execute(table.insert().values(a=Colour.DARK_BLUE, b=Number.TWO))
    assert conn.execute(text("SELECT a::text, b::text FROM t")).one() == ("dark blue", "TWO")
    assert conn.execute(sa.select(table.c.a)).scalar_one() is Colour.DARK_BLUE


def test_raw_types_can_be_written_and_read(conn: Connection):
    """A column of a type that pgflow knows by text only works in SQLAlchemy statements."""
    metadata = MetaData()
    table = Table("t", metadata, Column("place", types.Raw["point"]), Column("n", types.BigInt))
    metadata.create_all(conn)
    conn.execute(table.insert().values(place=text("point(1, 2)"), n=1))
    assert conn.execute(sa.select(table.c.place).where(table.c.n == 1)).scalar_one() == "(1,2)"
    assert repr(table.c.place.type) == "Raw['point']"


def test_literals_are_taken_for_their_values():
    """`Raw[Literal["point"]]` pleases linters, which take a bare string for a type's name."""
    assert repr(types.Raw[typing.Literal["point"]]()) == "Raw['point']"
    assert types.Enum[typing.Literal["a", "b"]]().enums == ["a", "b"]


def test_names_work_in_a_value_s_place():
    """`String(256)` and `cast(x, BigInt)` take the names as SQLAlchemy's own."""
    assert isinstance(types.String(256), sa.String)
    assert types.String(256).length == 256
    assert isinstance(sa.cast(sa.literal("1"), types.BigInt).type, sa.BigInteger)
