"""A class into columns: its annotations, its `Column` attributes and those of its bases."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import FetchedValue, SchemaItem

from pgflow import idents
from pgflow.declare.items import Check, Item
from pgflow.declare.markers import (
    MARKER_FUNCTIONS,
    BackfillMarker,
    CommentMarker,
    NaturalKeyMarker,
    NullableMarker,
    PrimaryKeyMarker,
    RenamedFromMarker,
    ServerDefaultMarker,
)
from pgflow.errors import (
    DuplicateColumn,
    InvalidColumn,
    MissingColumns,
    UncalledMarker,
    UnresolvedAnnotation,
    UnsupportedType,
)
from pgflow.types import NullableForm, TypeForm, column_type


@dataclass(frozen=True)
class DeclaredColumn:
    """A column as a class declares it.

    Attributes:
        attribute: The class attribute's name.
        column: A column that belongs to no table yet.
        natural_keys: Groups of unique constraints that it is part of.
        checks: Checks that stand beside its type.
    """

    attribute: str
    column: sa.Column[Any]
    natural_keys: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()


def declared_columns(cls: type, local_names: Mapping[str, object]) -> tuple[DeclaredColumn, ...]:
    """Read the columns of a class, those of its base classes first.

    A column that a subclass declares again stays in its place. In one class, annotated columns
    come before `Column` attributes.

    Args:
        cls: The class.
        local_names: Names of the function in which the class stands, for its annotations.

    Returns:
        The columns in the order of the table; nothing is shared with another table.

    Raises:
        MissingColumns: There is none.
        DuplicateColumn: Two have one name.
        TableError: One of them is declared in a way that cannot work.
    """
    found: dict[str, DeclaredColumn] = {}
    for level in reversed(cls.__mro__[:-1]):
        names = local_names if level.__module__ == cls.__module__ else {}
        found |= {declared.attribute: declared for declared in _own_columns(level, names)}
    if not found:
        raise MissingColumns(
            f"{cls.__qualname__} declares no column. Annotate its attributes with types, as in "
            "`email: String[256]`, or assign SQLAlchemy columns, as in `email = Column(Text)`.",
            table=cls.__qualname__,
        )
    columns = tuple(found.values())
    check_distinct(cls.__qualname__, [declared.column for declared in columns])
    return columns


def check_distinct(table: str, columns: typing.Iterable[sa.Column[Any]]) -> None:
    """Shorten column names to what the server keeps, and refuse two that become equal.

    Args:
        table: Whose columns they are, for the message.
        columns: Columns that belong to no table yet.

    Raises:
        DuplicateColumn: Two columns have one name.
    """
    seen: dict[str, str] = {}
    for column in columns:
        whole = column.name
        name = idents.truncate(whole)
        if name in seen:
            cut = "" if whole == seen[name] == name else f"; PostgreSQL keeps {name!r} of both"
            raise DuplicateColumn(
                f"{table} has two columns {whole!r}{cut}. Rename one of them."
                if whole == seen[name]
                else f"{table}: columns {seen[name]!r} and {whole!r} have one name{cut}. "
                "Rename one of them.",
                table=table,
                column=whole,
            )
        seen[name] = whole
        if name != whole:
            column.name = column.key = name


def copy_item(item: Any) -> Any:
    """Copy a SQLAlchemy schema item, so that two tables can have it.

    SQLAlchemy keeps this method to itself and to Alembic; there is no public one.
    """
    return item._copy()


def _own_columns(level: type, local_names: Mapping[str, object]) -> Iterator[DeclaredColumn]:
    attributes = vars(level)
    for name, annotation in inspect.get_annotations(level).items():
        if _is_dunder(name) or _is_class_variable(annotation):
            continue
        if name in attributes and not isinstance(attributes[name], types.MemberDescriptorType):
            raise InvalidColumn(
                f"{level.__qualname__}.{name} has an annotation and a value. Give a default for "
                "the server inside the annotation, as in Annotated[Text, DefaultClause('new')], "
                "or leave the annotation out and assign a whole Column(...).",
                table=level.__qualname__,
                column=name,
            )
        hint = _evaluate(level, name, annotation, local_names)
        if typing.get_origin(hint) is not typing.ClassVar and hint is not typing.ClassVar:
            yield _annotated(level.__qualname__, name, hint)
    for name, value in attributes.items():
        if isinstance(value, sa.Column):
            yield _assigned(name, value)


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _is_class_variable(annotation: object) -> bool:
    return isinstance(annotation, str) and annotation.split("[")[0].endswith("ClassVar")


def _evaluate(level: type, name: str, annotation: Any, local_names: Mapping[str, object]) -> object:
    if isinstance(annotation, (TypeForm, NullableForm)):
        return annotation
    module = inspect.getmodule(level)
    holder = types.SimpleNamespace(__annotations__={name: annotation})
    try:
        hints = typing.get_type_hints(
            holder,
            vars(module) if module is not None else {},
            {**local_names, **vars(level)},
            include_extras=True,
        )
    except (NameError, AttributeError, TypeError, SyntaxError, IndexError) as error:
        raise UnresolvedAnnotation(
            f"{level.__qualname__}.{name}: the annotation {annotation!r} cannot be evaluated: "
            f"{error}. {_remedy(error)}",
            table=level.__qualname__,
            column=name,
        ) from error
    return hints[name]


def _remedy(error: Exception) -> str:
    if isinstance(error, TypeError):
        return "A SQLAlchemy type instance takes Optional[...] in place of `| None`."
    return "Import the name in this module, and not under `if TYPE_CHECKING:`."


def _assigned(name: str, column: sa.Column[Any]) -> DeclaredColumn:
    own: sa.Column[Any] = copy_item(column)
    if typing.cast("str | None", own.name) is None:
        own.name = own.key = name
    return DeclaredColumn(name, own)


def _annotated(owner: str, name: str, hint: object) -> DeclaredColumn:
    inner, nullable, extras = _peel(hint)
    if len(inner) != 1:
        raise UnsupportedType(
            f"{owner}.{name}: {hint!r} is a choice of types, and a column has one. Only "
            "`T | None` is understood, for a column that takes NULL.",
            annotation=hint,
            table=owner,
            column=name,
        )
    try:
        column_kind = column_type(inner[0])
    except UnsupportedType as error:
        raise UnsupportedType(
            f"{owner}.{name}: {error}", annotation=inner[0], table=owner, column=name
        ) from None
    said = _sort_extras(owner, name, extras)
    return _build(owner, name, column_kind, said, nullable or said.nullable)


def _peel(hint: Any) -> tuple[tuple[Any, ...], bool, tuple[Any, ...]]:
    """Take `| None` and `Annotated` off: the types that remain, nullable, what was annotated."""
    if isinstance(hint, NullableForm):
        return (hint.form,), True, ()
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        inner, nullable, extras = _peel(hint.__origin__)
        return inner, nullable, extras + hint.__metadata__
    if origin is typing.Union or origin is types.UnionType:
        parts = typing.get_args(hint)
        rest = [part for part in parts if part is not type(None)]
        if len(rest) == 1:
            inner, _, extras = _peel(rest[0])
            return inner, True, extras
        return tuple(rest), False, ()
    return (hint,), False, ()


@dataclass
class _Said:
    """What stands beside the type in `Annotated`."""

    primary_key: PrimaryKeyMarker | None
    natural_keys: tuple[str, ...]
    nullable: bool
    items: list[SchemaItem | FetchedValue]
    info: dict[str, str]
    checks: tuple[Check, ...] = ()
    comment: str | None = None


def _sort_extras(owner: str, name: str, extras: tuple[Any, ...]) -> _Said:
    said = _Said(None, (), False, [], {})
    for extra in extras:
        _refuse_uncalled(owner, name, extra)
        if isinstance(extra, PrimaryKeyMarker):
            said.primary_key = extra
        elif isinstance(extra, NaturalKeyMarker):
            said.natural_keys += (extra.group,)
        elif isinstance(extra, NullableMarker):
            said.nullable = True
        elif isinstance(extra, RenamedFromMarker):
            said.info["renamed_from"] = extra.name
        elif isinstance(extra, BackfillMarker):
            said.info["backfill"] = extra.expression
        elif isinstance(extra, CommentMarker):
            said.comment = extra.text
        elif isinstance(extra, Check):
            said.checks += (extra,)
        elif isinstance(extra, ServerDefaultMarker):
            # Not text(): a colon in a literal is no parameter.
            said.items.append(sa.DefaultClause(sa.literal_column(extra.expression)))
        elif isinstance(extra, SchemaItem | FetchedValue):
            _refuse_table_item(owner, name, extra)
            said.items.append(copy_item(extra))
        else:
            _refuse_table_item(owner, name, extra)
        # Anything else belongs to another library: PEP 593 asks to pass over it.
    return said


def _refuse_table_item(owner: str, name: str, extra: Any) -> None:
    """Refuse what stands beside the columns, and would be lost here."""
    if isinstance(extra, sa.Column):
        raise InvalidColumn(
            f"{owner}.{name}: a Column cannot stand in Annotated. Assign it, as in "
            f"`{name} = Column(...)`, or annotate its parts.",
            table=owner,
            column=name,
        )
    if isinstance(extra, Item):
        raise InvalidColumn(
            f"{owner}.{name}: {extra} stands beside the columns, in __table_items__ = [...], and "
            "not in Annotated.",
            table=owner,
            column=name,
        )


def _refuse_two_values(owner: str, name: str, said: _Said) -> None:
    """Refuse two ways to fill a column, of which SQLAlchemy would silently take the last."""
    filling = [item for item in said.items if isinstance(item, FetchedValue)]
    if len(filling) > 1:
        raise InvalidColumn(
            f"{owner}.{name} has {len(filling)} defaults of the server "
            f"({', '.join(type(item).__name__ for item in filling)}), and a column has one.",
            table=owner,
            column=name,
        )


def _refuse_uncalled(owner: str, name: str, extra: Any) -> None:
    spelling = None
    if inspect.isfunction(extra):
        spelling = MARKER_FUNCTIONS.get(extra)
    elif isinstance(extra, type) and issubclass(extra, SchemaItem | FetchedValue | Item):
        spelling = f"{extra.__name__}(...)"
    if spelling is not None:
        raise UncalledMarker(
            f"{owner}.{name}: a marker is called: write {spelling} in Annotated, not "
            f"{extra.__name__}.",
            table=owner,
            column=name,
        )


def _build(owner: str, name: str, kind: Any, said: _Said, nullable: bool) -> DeclaredColumn:
    key = said.primary_key
    if key is not None and nullable:
        raise InvalidColumn(
            f"{owner}.{name} is part of the primary key and takes NULL, which PostgreSQL does not "
            "allow. Drop `| None`, or use natural_key(), which allows it.",
            table=owner,
            column=name,
        )
    counted = any(isinstance(item, sa.Identity) for item in said.items)
    if key is not None and key.autoincrement and not counted:
        if not isinstance(kind, sa.Integer):
            raise InvalidColumn(
                f"{owner}.{name}: pk(autoincrement=True) counts whole numbers, and the column is "
                f"{kind!r}. Use BigInt, Integer or SmallInt.",
                table=owner,
                column=name,
            )
        said.items.append(sa.Identity())
        counted = True
    _refuse_two_values(owner, name, said)
    column: sa.Column[Any] = sa.Column(
        name,
        kind,
        *said.items,
        primary_key=key is not None,
        nullable=nullable,
        info=said.info or None,
        comment=said.comment,
        # Without this SQLAlchemy would make every whole-number key a BIGSERIAL.
        autoincrement="auto" if counted else False,
    )
    return DeclaredColumn(name, column, said.natural_keys, said.checks)
