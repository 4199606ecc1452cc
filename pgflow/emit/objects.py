"""Tables, and what belongs to one: checks, indexes, unique constraints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, MetaData, Table
from sqlalchemy.exc import ArgumentError
from sqlalchemy.schema import SchemaItem
from sqlalchemy.sql import ColumnElement

from pgflow import idents
from pgflow.declare.columns import check_distinct
from pgflow.declare.expressions import column_reference, resolve_markers, validate_column_references
from pgflow.declare.items import Check, Index, Unique
from pgflow.emit.names import (
    has_convention,
    holder,
    label,
    take_constraint_name,
    take_relation_name,
)
from pgflow.errors import DuplicateTable, InvalidItem

#: The operator class, direction and NULLs that may follow an index expression.
_TAIL = re.compile(
    r"(?P<body>.*?)"
    r"(?:\s+(?P<ops>[\w.]+_ops(?:\s*\([^()]*\))?))?"
    r"(?:\s+(?P<direction>ASC|DESC))?"
    r"(?:\s+NULLS\s+(?P<nulls>FIRST|LAST))?\s*\Z",
    re.IGNORECASE | re.DOTALL,
)


def sql_text(text: str) -> ColumnElement[Any]:
    """Turn SQL text into an expression in which `%` and `:name` mean nothing special."""
    return sa.literal_column(text)


def create_table(
    name: str,
    schema: str | None,
    metadata: MetaData,
    columns: Sequence[Column[Any]],
    items: Iterable[SchemaItem] = (),
    **options: Any,
) -> Table:
    """Put a table on a MetaData, with explicit names for all its constraints.

    Args:
        name: The table's name.
        schema: Its schema, or None for the search path.
        metadata: Where it goes.
        columns: Its columns; names of more than 63 bytes are shortened as the server does it.
        items: SQLAlchemy's constraints and indexes.
        **options: What SQLAlchemy's `Table` takes besides: `comment`, `info`,
            `postgresql_partition_by`, ...

    Returns:
        The table.

    Raises:
        DuplicateTable: The MetaData has a table or an index of that name.
        DuplicateColumn: Two columns have one name.
        InvalidItem: SQLAlchemy does not know an option.
    """
    name = idents.truncate(name)
    schema = None if schema is None else idents.truncate(schema)
    qualified = idents.qualify(schema, name)
    owner = holder(metadata, schema, name)
    if owner is not None:
        raise DuplicateTable(
            f"table {qualified} is declared twice on one MetaData, or its name belongs to an "
            f"index: {owner} has it. Rename one of them, or give them different MetaData objects.",
            table=qualified,
        )
    check_distinct(qualified, columns)
    items = [_unattached(item, qualified) for item in items]
    _place_enums(name, schema, columns)
    table = _table(name, metadata, [*columns, *items], {**options, "schema": schema}, qualified)
    name_constraints(table)
    return table


def _table(
    name: str, metadata: MetaData, parts: list[Any], options: dict[str, Any], label: str
) -> Table:
    try:
        return Table(name, metadata, *parts, **options)
    except (ArgumentError, TypeError) as error:
        given = ", ".join(sorted(set(options) - {"schema"}))
        if not given:
            raise
        raise InvalidItem(
            f"table {label}: SQLAlchemy refuses its options ({given}): {error}", table=label
        ) from error


def _place_enums(table: str, schema: str | None, columns: Iterable[Column[Any]]) -> None:
    """Let enum types live where their table does, and name those that have no name after it."""
    for column in columns:
        kind: Any = column.type.item_type if isinstance(column.type, sa.ARRAY) else column.type
        if isinstance(kind, sa.Enum):
            kind.name = kind.name or idents.join_fit([table, column.name])
            kind.schema = kind.schema or schema


def _unattached(item: Any, table: str) -> Any:
    owner = item.table if isinstance(item, sa.Index) else getattr(item, "parent", None)
    if owner is not None:
        raise InvalidItem(
            f"table {table}: {type(item).__name__} {item.name!r} belongs to table {label(owner)} "
            "already. SQLAlchemy's constraints and indexes serve one table each: make one for "
            "each, or use pgflow's Check, Index, ForeignKey and Unique, which can be shared.",
            table=table,
        )
    return item


def name_constraints(table: Table) -> None:
    """Give PostgreSQL's own names to the constraints of a table that have none."""
    for index in table.indexes:
        take_relation_name(table, str(index.name), "ix", ())
    for constraint in sorted(table.constraints, key=_order):
        if isinstance(constraint.name, str):
            if isinstance(constraint, (sa.PrimaryKeyConstraint, sa.UniqueConstraint)):
                take_relation_name(table, constraint.name, "uq", ())
            continue
        if isinstance(constraint, sa.PrimaryKeyConstraint):
            if len(constraint.columns) and not has_convention(table.metadata, "pk"):
                constraint.name = take_relation_name(table, None, "pk", ())
        elif isinstance(constraint, sa.UniqueConstraint):
            constraint.name = take_relation_name(table, None, "uq", constraint.columns.keys())
        elif isinstance(constraint, sa.ForeignKeyConstraint):
            constraint.name = take_constraint_name(table, None, "fk", constraint.column_keys)
        elif isinstance(constraint, sa.CheckConstraint):
            parts = [c.name for c in constraint.columns] if len(constraint.columns) == 1 else []
            constraint.name = take_constraint_name(table, None, "ck", parts)


def _order(constraint: Any) -> tuple[str, str, str]:
    """Keep numbered names the same from run to run: constraints of a table are an unordered set."""
    columns = ",".join(constraint.columns.keys())
    return type(constraint).__name__, columns, str(getattr(constraint, "sqltext", ""))


def add_check(table: Table, check: Check) -> sa.CheckConstraint:
    """Put a `Check` on a table.

    Args:
        table: The table.
        check: The check.

    Returns:
        SQLAlchemy's constraint.

    Raises:
        UnknownColumn: A marker names no column.
        NameTaken: The table has a constraint of that name.
    """
    validate_column_references(f"{check} of {label(table)}", check.columns, table.columns.keys())
    parts = check.columns if len(check.columns) == 1 else ()
    constraint = sa.CheckConstraint(
        sql_text(resolve_markers(check.expression)),
        name=take_constraint_name(table, check.name, "ck", parts),
    )
    table.append_constraint(constraint)
    return constraint


def add_unique(table: Table, unique: Unique) -> sa.UniqueConstraint:
    """Put a `Unique` on a table.

    Args:
        table: The table.
        unique: The unique constraint.

    Returns:
        SQLAlchemy's constraint.

    Raises:
        UnknownColumn: A name is no column.
        NameTaken: The schema has a relation of that name.
    """
    validate_column_references(f"{unique} of {label(table)}", unique.columns, table.columns.keys())
    names = [idents.truncate(column) for column in unique.columns]
    options: dict[str, Any] = {}
    if unique.nulls_not_distinct:
        options["postgresql_nulls_not_distinct"] = True
    constraint = sa.UniqueConstraint(
        *[table.columns[name] for name in names],
        name=take_relation_name(table, unique.name, "uq", names),
        **options,
    )
    table.append_constraint(constraint)
    return constraint


def add_index(table: Table, index: Index) -> sa.Index:
    """Put an `Index` on a table.

    Args:
        table: The table.
        index: The index.

    Returns:
        SQLAlchemy's index.

    Raises:
        UnknownColumn: A marker or a name is no column.
        InvalidItem: SQLAlchemy does not know one of its options.
        NameTaken: The schema has a relation of that name.
    """
    where = f"{index} of {label(table)}"
    options = _index_options(table, index, where)
    validate_column_references(where, index.columns, table.columns.keys())
    ops: dict[str, str] = dict(options.get("postgresql_ops") or {})
    elements = [_index_element(table, text, ops) for text in index.expressions]
    if ops:
        options["postgresql_ops"] = ops
    name = take_relation_name(table, index.name, "ix", map(_index_part, index.expressions))
    try:
        return sa.Index(name, *elements, unique=index.unique, _table=table, **options)
    except (ArgumentError, TypeError) as error:
        raise InvalidItem(f"{where}: {error}", table=label(table)) from error


def _index_options(table: Table, index: Index, where: str) -> dict[str, Any]:
    options = dict(index.kw)
    condition = options.get("postgresql_where")
    if isinstance(condition, str):
        options["postgresql_where"] = sql_text(resolve_markers(condition))
    include = options.get("postgresql_include")
    if include is not None:
        names = [column_reference(c) or c if isinstance(c, str) else c.name for c in include]
        validate_column_references(where, names, table.columns.keys())
        options["postgresql_include"] = [idents.truncate(name) for name in names]
    if options.get("postgresql_ops"):
        by_name = {column_reference(c) or c: op for c, op in options["postgresql_ops"].items()}
        options["postgresql_ops"] = {idents.truncate(c): op for c, op in by_name.items()}
    return options


def _index_element(table: Table, text: str, ops: dict[str, str]) -> Any:
    """Take an index expression apart; a plain column stays a column, so that it can be compared."""
    match = _TAIL.match(text)
    parts = match.groupdict() if match else {"body": text}
    column = column_reference(parts["body"].strip())
    element: Any
    if column is None:
        spelled = f"({resolve_markers(parts['body'].strip())})"
        element = sql_text(f"{spelled} {parts['ops']}" if parts.get("ops") else spelled)
    elif parts.get("ops") and (parts["direction"] or parts["nulls"]):
        # SQLAlchemy finds no operator class for a column that has an order as well.
        element = sql_text(f"{idents.quote(column)} {parts['ops']}")
    else:
        element = table.columns[idents.truncate(column)]
        if parts.get("ops"):
            ops[element.key] = parts["ops"]
    if parts.get("direction"):
        element = element.desc() if parts["direction"].upper() == "DESC" else element.asc()
    if parts.get("nulls"):
        last = parts["nulls"].upper() == "LAST"
        element = element.nulls_last() if last else element.nulls_first()
    return element


def _index_part(text: str) -> str:
    """Name an expression as PostgreSQL does: a column's name, a function's, or `expr`."""
    match = _TAIL.match(text)
    body = match["body"].strip() if match else text
    function = re.match(r"(?:\w+\.)*(\w+)\s*\(", body)
    return column_reference(body) or (function[1] if function else "expr")
