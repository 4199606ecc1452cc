"""Column types by PostgreSQL's names, for annotations and for `Column(...)`.

Each name is a `TypeForm`: it stands in an annotation bare (`BigInt`), with parameters
(`String[256]`) or with `| None`, and becomes a plain SQLAlchemy type on the column. In a value's
place (`Column("email", String[256])`, `String(256)`) SQLAlchemy takes it as a type of its own.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.types import TypeEngine, UserDefinedType

from pgflow.errors import InvalidTypeParameter, UnsupportedType

_MAX_LENGTH = 10_485_760
_MAX_PRECISION = 1000


class RawType(UserDefinedType[Any]):
    """A type that pgflow knows by its SQL text only.

    Args:
        sql: The type as PostgreSQL spells it, such as `point` or `public.geometry(Point, 4326)`.
    """

    cache_ok = True

    def __init__(self, sql: str) -> None:
        self.sql = sql

    def get_col_spec(self, **_options: object) -> str:
        """Return the type's SQL text."""
        return self.sql

    def __repr__(self) -> str:
        return f"Raw[{self.sql!r}]"


class TypeForm:
    """A type name that can stand in an annotation.

    Calling it makes the SQLAlchemy type, subscribing it gives the name with its parameters.

    Attributes:
        name: The name in `pgflow.types`.
    """

    #: SQLAlchemy looks for this attribute to tell a type from a column's other arguments.
    _sqla_type = True

    def __init__(
        self, name: str, make: Callable[..., TypeEngine[Any]], parameters: tuple[object, ...] = ()
    ) -> None:
        self.name = name
        self._make = make
        self._parameters = parameters

    def __call__(self, *args: object, **options: object) -> TypeEngine[Any]:
        """Return a new SQLAlchemy type; arguments are those that may stand in brackets."""
        return self._make(*(args or self._parameters), **options)

    def __getitem__(self, parameters: object) -> TypeForm:
        if self._parameters:
            raise InvalidTypeParameter(f"{self!r} has its parameters already.")
        given = _plain(parameters if isinstance(parameters, tuple) else (parameters,))
        try:
            self._make(*given)
        except TypeError as error:
            raise InvalidTypeParameter(
                f"{self.name}[{_listed(given)}]: {self.name} does not take these parameters "
                f"({error})."
            ) from error
        return TypeForm(self.name, self._make, given)

    def __or__(self, other: object) -> NullableForm:
        if other is None or other is type(None):
            return NullableForm(self)
        raise UnsupportedType(
            f"{self!r} | {other!r}: a column has one type. Write {self!r} | None for a column "
            "that takes NULL.",
            annotation=other,
        )

    __ror__ = __or__

    def __repr__(self) -> str:
        return f"{self.name}[{_listed(self._parameters)}]" if self._parameters else self.name


class NullableForm:
    """What `String[256] | None` gives: a type whose column takes NULL.

    Attributes:
        form: The type.
    """

    def __init__(self, form: TypeForm) -> None:
        self.form = form

    def __repr__(self) -> str:
        return f"{self.form!r} | None"


def column_type(annotation: object) -> TypeEngine[Any]:
    """Turn what stands in an annotation into a SQLAlchemy type.

    Args:
        annotation: A name of this module, or a SQLAlchemy type, as class or instance.

    Returns:
        A SQLAlchemy type for one column; a name of this module gives a new one each time.

    Raises:
        UnsupportedType: It is no column type; for Python's types the message offers those that fit.
    """
    if isinstance(annotation, TypeForm):
        return annotation()
    if isinstance(annotation, TypeEngine):
        return annotation
    if isinstance(annotation, type) and issubclass(annotation, TypeEngine):
        return annotation()
    raise UnsupportedType(_refusal(annotation), annotation=annotation)


#: The names that fit Python's types, most common first.
_FITTING: dict[Any, str] = {
    bool: "Boolean",
    int: "BigInt, Integer or SmallInt",
    float: "Double or Numeric[p, s]",
    decimal.Decimal: "Numeric[p, s]",
    str: "Text or String[n]",
    bytes: "Bytes",
    dt.datetime: "TimestampTZ or Timestamp",
    dt.date: "Date",
    dt.time: "Time",
    dt.timedelta: "Interval",
    uuid.UUID: "UUID",
    dict: "JSONB",
    list: "Array[...] or JSONB",
    tuple: "Array[...]",
    set: "Array[...]",
}


def _refusal(annotation: object) -> str:
    origin = getattr(annotation, "__origin__", annotation)
    if isinstance(origin, type):
        if issubclass(origin, enum.Enum):
            return f"{origin.__name__} is a Python enum: write Enum[{origin.__name__}]."
        fitting = next((names for t, names in _FITTING.items() if issubclass(origin, t)), None)
        if fitting:
            return f"{origin.__name__!r} is a Python type: use {fitting} from pgflow.types."
    return (
        f"{annotation!r} is no column type: use a name of pgflow.types, a SQLAlchemy type, or "
        'Raw["..."] for a type by its SQL text.'
    )


def _plain(parameters: tuple[object, ...]) -> tuple[object, ...]:
    """Take `Literal["point"]` for "point": linters read a bare string as the name of a type."""
    plain: list[object] = []
    for parameter in parameters:
        literal = get_origin(parameter) is Literal
        plain.extend(get_args(parameter) if literal else [parameter])
    return tuple(plain)


def _listed(parameters: tuple[object, ...]) -> str:
    return ", ".join(p.__name__ if isinstance(p, type) else repr(p) for p in parameters)


def _whole(what: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidTypeParameter(f"{what} is a whole number from {low} to {high}, not {value!r}.")
    return value


def _sized(name: str, kind: Callable[..., TypeEngine[Any]]) -> TypeForm:
    def make(length: int | None = None, **options: object) -> TypeEngine[Any]:
        if length is None:
            return kind(**options)
        return kind(_whole(f"the length of {name}[n]", length, 1, _MAX_LENGTH), **options)

    return TypeForm(name, make)


def _timed(name: str, plain: Callable[[], TypeEngine[Any]], exact: Any, zone: bool) -> TypeForm:
    def make(precision: int | None = None) -> TypeEngine[Any]:
        if precision is None:
            return plain()
        digits = _whole(f"the precision of {name}[p]", precision, 0, 6)
        made: TypeEngine[Any] = exact(timezone=zone, precision=digits)
        return made

    return TypeForm(name, make)


def _numeric(precision: int | None = None, scale: int | None = None) -> TypeEngine[Any]:
    if precision is None:
        return sa.Numeric()
    _whole("the precision of Numeric[p, s]", precision, 1, _MAX_PRECISION)
    if scale is not None:
        _whole("the scale of Numeric[p, s]", scale, -_MAX_PRECISION, _MAX_PRECISION)
    return sa.Numeric(precision, scale)


def _array(item: Any, dimensions: int | None = None) -> TypeEngine[Any]:
    inner = column_type(item)
    if isinstance(inner, sa.ARRAY):
        raise InvalidTypeParameter(
            f"Array[{item!r}]: PostgreSQL has no arrays of arrays; write Array[T, 2] for two "
            "dimensions."
        )
    return pg.ARRAY(inner, dimensions=dimensions)


def _enum(*labels: Any, **options: Any) -> TypeEngine[Any]:
    if len(labels) == 1 and isinstance(labels[0], type) and issubclass(labels[0], enum.Enum):
        members = list(labels[0])
        if all(isinstance(member.value, str) for member in members):
            options.setdefault("values_callable", lambda kind: [m.value for m in kind])
        return sa.Enum(labels[0], **options)
    if not labels or not all(isinstance(label, str) and label for label in labels):
        raise InvalidTypeParameter(
            f"Enum[{_listed(labels)}]: give the labels as strings, or one Python enum class."
        )
    options.setdefault("name", None)
    return sa.Enum(*labels, **options)


def _bit(length: int = 1) -> TypeEngine[Any]:
    return pg.BIT(_whole("the length of Bit[n]", length, 1, _MAX_LENGTH))


def _varbit(length: int | None = None) -> TypeEngine[Any]:
    if length is not None:
        _whole("the length of VarBit[n]", length, 1, _MAX_LENGTH)
    return pg.BIT(length, varying=True)


def _raw(sql: object = None) -> TypeEngine[Any]:
    if not isinstance(sql, str) or not sql.strip() or "\0" in sql:
        raise InvalidTypeParameter(
            f'Raw[...] takes a type\'s SQL text, as in Raw["point"], not {sql!r}.'
        )
    return RawType(sql.strip())


if TYPE_CHECKING:
    # mypy takes a subscript like String[256] only of Any, which `__getattr__` makes of every name.
    # pyright does not know that MYPY is true for mypy alone, and finds the classes.
    MYPY = False
    if MYPY:

        def __getattr__(name: str) -> Any: ...

    else:

        class _Form(TypeEngine[Any]):
            def __new__(cls, *args: Any, **options: Any) -> Any: ...
            def __class_getitem__(cls, parameters: Any) -> Any: ...
            def __get__(self, instance: Any, owner: Any) -> Any: ...
            def __set__(self, instance: Any, value: Any) -> None: ...

        Array = _Form
        BigInt = _Form
        Bit = _Form
        Boolean = _Form
        Bytes = _Form
        Char = _Form
        Cidr = _Form
        Citext = _Form
        Date = _Form
        DateRange = _Form
        Double = _Form
        Enum = _Form
        Float = _Form
        HStore = _Form
        Inet = _Form
        Int4Range = _Form
        Int8Range = _Form
        Integer = _Form
        Interval = _Form
        JSON = _Form
        JSONB = _Form
        MacAddr = _Form
        MacAddr8 = _Form
        Money = _Form
        NumRange = _Form
        Numeric = _Form
        Oid = _Form
        Raw = _Form
        Real = _Form
        SmallInt = _Form
        String = _Form
        TSQuery = _Form
        TSVector = _Form
        Text = _Form
        Time = _Form
        TimeTZ = _Form
        Timestamp = _Form
        TimestampTZ = _Form
        TsRange = _Form
        TsTzRange = _Form
        UUID = _Form
        VarBit = _Form
else:
    Array = TypeForm("Array", _array)
    BigInt = TypeForm("BigInt", sa.BigInteger)
    Bit = TypeForm("Bit", _bit)
    Boolean = TypeForm("Boolean", sa.Boolean)
    Bytes = TypeForm("Bytes", sa.LargeBinary)
    Char = _sized("Char", sa.CHAR)
    Cidr = TypeForm("Cidr", pg.CIDR)
    Citext = TypeForm("Citext", pg.CITEXT)
    Date = TypeForm("Date", sa.Date)
    DateRange = TypeForm("DateRange", pg.DATERANGE)
    Double = TypeForm("Double", sa.Double)
    Enum = TypeForm("Enum", _enum)
    Float = TypeForm("Float", sa.Double)
    HStore = TypeForm("HStore", pg.HSTORE)
    Inet = TypeForm("Inet", pg.INET)
    Int4Range = TypeForm("Int4Range", pg.INT4RANGE)
    Int8Range = TypeForm("Int8Range", pg.INT8RANGE)
    Integer = TypeForm("Integer", sa.Integer)
    Interval = TypeForm("Interval", sa.Interval)
    JSON = TypeForm("JSON", sa.JSON)
    JSONB = TypeForm("JSONB", pg.JSONB)
    MacAddr = TypeForm("MacAddr", pg.MACADDR)
    MacAddr8 = TypeForm("MacAddr8", pg.MACADDR8)
    Money = TypeForm("Money", pg.MONEY)
    NumRange = TypeForm("NumRange", pg.NUMRANGE)
    Numeric = TypeForm("Numeric", _numeric)
    Oid = TypeForm("Oid", pg.OID)
    Raw = TypeForm("Raw", _raw)
    Real = TypeForm("Real", sa.REAL)
    SmallInt = TypeForm("SmallInt", sa.SmallInteger)
    String = _sized("String", sa.String)
    TSQuery = TypeForm("TSQuery", pg.TSQUERY)
    TSVector = TypeForm("TSVector", pg.TSVECTOR)
    Text = TypeForm("Text", sa.Text)
    Time = _timed("Time", sa.Time, pg.TIME, zone=False)
    TimeTZ = _timed("TimeTZ", lambda: sa.Time(timezone=True), pg.TIME, zone=True)
    Timestamp = _timed("Timestamp", sa.DateTime, pg.TIMESTAMP, zone=False)
    TimestampTZ = _timed("TimestampTZ", lambda: sa.DateTime(timezone=True), pg.TIMESTAMP, zone=True)
    TsRange = TypeForm("TsRange", pg.TSRANGE)
    TsTzRange = TypeForm("TsTzRange", pg.TSTZRANGE)
    UUID = TypeForm("UUID", sa.Uuid)
    VarBit = TypeForm("VarBit", _varbit)
