"""A class under `@pgflow.table`, read into a `TableSpec`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pgflow import idents
from pgflow.declare.columns import DeclaredColumn, declared_columns
from pgflow.declare.expressions import validate_column_references
from pgflow.declare.items import Unique, validate_schema_items
from pgflow.declare.options import SyncOptions, check_columns
from pgflow.declare.resource import KeyCandidate, TableSpec
from pgflow.declare.shapes import listed
from pgflow.errors import (
    DuplicateTable,
    ForeignDecorator,
    InvalidItem,
    InvalidOption,
    MissingSchema,
)


def snake_case(name: str) -> str:
    """Turn a class name into a table name: `HTTPServerLog` becomes `http_server_log`."""
    parted = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3_\2\4", name)
    return parted.lower()


@dataclasses.dataclass(frozen=True)
class TableClass:
    """A class that declares a table.

    Attributes:
        cls: The class.
        spec: The table.
        attributes: Names of class attributes whose columns are called otherwise.
    """

    cls: type
    spec: TableSpec
    attributes: Mapping[str, str]


def read_class(
    cls: type,
    *,
    schema: str | None = None,
    name: str | None = None,
    local_names: Mapping[str, object],
    options: SyncOptions | None = None,
    system_columns: Mapping[str, str | None] | None = None,
    renamed_from: str | None = None,
) -> TableClass:
    """Read a class into the declaration of a table.

    Args:
        cls: The class.
        schema: The table's schema; by default `__schema__`, or what `__table_args__` says.
        name: The table's name; by default `__tablename__`, or the class name in snake case.
        local_names: Names of the function in which the class stands, for its annotations.
        options: What the table says to its pipelines.
        system_columns: New names of system columns, and None for those to be left out.
        renamed_from: What the table was called, perhaps with its schema.

    Returns:
        The declaration; nothing is put on a MetaData.

    Raises:
        ForeignDecorator: The class is a dataclass, an attrs class, a pydantic or an ORM model.
        MissingSchema: Nothing says the schema.
        TableError: A column or an item is declared in a way that cannot work.
        UnknownColumn: A key names no column.
    """
    refuse_foreign(cls)
    _refuse_again(cls)
    if not isinstance(system_columns or {}, Mapping):
        raise InvalidOption(
            f"{cls.__qualname__}: system_columns={system_columns!r} must be a dictionary: "
            "system_columns={'valid_from': 'begins'}."
        )
    said = options or SyncOptions()
    items, table_options = _items(cls)
    found = table_options.pop("schema", None)
    schema = schema or getattr(cls, "__schema__", None) or found
    if not schema:
        raise MissingSchema(
            f"{cls.__qualname__}: a table needs its schema: @pgflow.table(schema='warehouse'), or "
            "`__schema__ = 'warehouse'` in the class.",
            table=cls.__qualname__,
        )
    table = idents.truncate(name or cls.__dict__.get("__tablename__") or snake_case(cls.__name__))
    declared = declared_columns(cls, local_names)
    columns = [each.column for each in declared]
    items += [check for each in declared for check in each.checks]
    uniques = (*_natural_keys(declared), *_unique_constraints(cls))
    uniques += tuple(KeyCandidate(i.columns, str(i)) for i in items if isinstance(i, Unique))
    spec = TableSpec(
        name=table,
        schema=idents.truncate(schema),
        items=(*columns, *_as_items(uniques, items), *items),
        primary_key=KeyCandidate(tuple(c.name for c in columns if c.primary_key), "pk()"),
        unique_constraints=uniques,
        merge_keys=_merge_keys(cls),
        mode=said.mode,
        system_columns=dict(system_columns or {}),
        options=said,
        table_options=table_options,
        renamed_from=former_name(renamed_from, table),
    )
    _check_names(spec)
    renamed = {each.attribute: each.column.name for each in declared}
    return TableClass(cls, spec, {a: c for a, c in renamed.items() if a != c})


def former_name(name: str | None, table: str) -> str | None:
    """Check what a table is said to have been called.

    Args:
        name: The former name, `orders` or `sales.orders`, or None.
        table: The table, for the message.

    Returns:
        The same name.

    Raises:
        InvalidOption: This is no name.
    """
    if name is not None and (not isinstance(name, str) or not name or "\0" in name):
        raise InvalidOption(
            f"table {table}: renamed_from={name!r} is no name: give the table's former name, such "
            "as 'orders', or 'sales.orders' if it was in another schema."
        )
    return name


def refuse_foreign(cls: type, *, mapped: bool = False) -> None:
    """Refuse a class whose fields another library has collected as well.

    Args:
        cls: The class.
        mapped: Whether it may be mapped for the ORM.

    Raises:
        ForeignDecorator: It is a dataclass, an attrs class, a pydantic or an ORM model.
    """
    marks = {
        "@dataclass": "__dataclass_fields__",
        "attrs": "__attrs_attrs__",
        "pydantic": "__pydantic_complete__",
        "SQLAlchemy's ORM": "__mapper__",
    }
    for decorator, mark in marks.items():
        if hasattr(cls, mark) and not (mapped and mark == "__mapper__"):
            name = cls.__qualname__
            raise ForeignDecorator(
                f"{name} is a class of {decorator} as well. @pgflow.table collects the fields by "
                f"itself: remove {decorator}, or declare the columns in the imperative form, as "
                f"a plain class with __schema__, __tablename__ and attributes like "
                "`email = Column(Text)`.",
                table=name,
                decorator=decorator,
            )


def _refuse_again(cls: type) -> None:
    """Refuse a class that declares a table already: it would stand for the second one only."""
    table = vars(cls).get("__table__")
    if "__factory__" in vars(cls) and table is not None:
        raise DuplicateTable(
            f"{cls.__qualname__} is the table {table.fullname} already, and a class is one table. "
            "For another table with the same columns write a subclass: "
            f"`class Other({cls.__name__}): pass`.",
            table=cls.__qualname__,
        )


def _items(cls: type) -> tuple[list[Any], dict[str, Any]]:
    """Collect `__table_items__` and `__table_args__`, and the options at the end of the latter."""
    items = [*_listed(cls, "__table_items__", "[Check('{price} > 0')]")]
    arguments = getattr(cls, "__table_args__", ())
    options: dict[str, Any] = {}
    if isinstance(arguments, Mapping):
        arguments = (arguments,)
    arguments = listed(arguments, f"{cls.__qualname__}: __table_args__", "({'comment': 'sales'},)")
    for argument in arguments:
        if isinstance(argument, Mapping):
            options |= argument
        else:
            items.append(argument)
    validate_schema_items(items, validators=())
    return items, options


def _natural_keys(declared: Sequence[DeclaredColumn]) -> tuple[KeyCandidate, ...]:
    groups: dict[str, list[str]] = {}
    for each in declared:
        for group in each.natural_keys:
            groups.setdefault(group, []).append(each.column.name)
    return tuple(
        KeyCandidate(
            tuple(columns), "natural_key()" if group == "default" else f"natural_key({group!r})"
        )
        for group, columns in groups.items()
    )


def _unique_constraints(cls: type) -> tuple[KeyCandidate, ...]:
    given = getattr(cls, "__unique_constraints__", ())
    if not isinstance(given, str):
        given = _listed(cls, "__unique_constraints__", "(('country', 'number'),)")
    if isinstance(given, str) or any(not isinstance(each, (list, tuple)) for each in given):
        raise InvalidItem(
            f"{cls.__qualname__}: __unique_constraints__ holds one sequence of columns for each "
            f"constraint: write (({', '.join(map(repr, _several(given)))},),).",
            table=cls.__qualname__,
        )
    return tuple(
        KeyCandidate(tuple(map(idents.truncate, columns)), f"__unique_constraints__[{position}]")
        for position, columns in enumerate(given)
    )


def _several(given: str | Sequence[str]) -> Sequence[str]:
    return (given,) if isinstance(given, str) else given


def _as_items(uniques: Sequence[KeyCandidate], items: Sequence[Any]) -> list[Unique]:
    """Make an item of each key that is none yet; one key that is said twice is one constraint."""
    present = {item.columns for item in items if isinstance(item, Unique)}
    wanted = dict.fromkeys(unique.columns for unique in uniques)
    return [Unique.named(columns) for columns in wanted if columns not in present]


def _merge_keys(cls: type) -> tuple[str, ...]:
    given = getattr(cls, "__merge_keys__", ())
    if isinstance(given, str):
        raise InvalidItem(
            f"{cls.__qualname__}: __merge_keys__ is a sequence of names: write ({given!r},).",
            table=cls.__qualname__,
        )
    return tuple(map(idents.truncate, _listed(cls, "__merge_keys__", "('id',)")))


def _listed(cls: type, attribute: str, example: str) -> tuple[Any, ...]:
    return listed(getattr(cls, attribute, ()), f"{cls.__qualname__}: {attribute}", example)


def _check_names(spec: TableSpec) -> None:
    names = [column.name for column in spec.columns]
    validate_column_references(f"__merge_keys__ of {spec.label}", spec.merge_keys, names)
    for unique in spec.unique_constraints:
        validate_column_references(f"{unique.origin} of {spec.label}", unique.columns, names)
    check_columns(spec.options, names, f"table {spec.label}")
