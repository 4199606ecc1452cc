"""The keys of a history: what identifies a version, and what is unique among current ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Table
from sqlalchemy.sql.elements import Grouping

from pgflow import idents
from pgflow.declare.system_columns import SystemColumns
from pgflow.emit.names import label, release, take_constraint_name, take_relation_name
from pgflow.emit.objects import sql_text
from pgflow.emit.partitioning import Guard, can_be_unique, guard_of
from pgflow.emit.references import referrers
from pgflow.emit.system_columns import Amendment
from pgflow.emit.uniqueness import is_plain
from pgflow.errors import NotAmendable, ReferenceToHistory

Unique = sa.UniqueConstraint | sa.Index


@dataclass(frozen=True)
class VersionKeys:
    """What becomes of a table's keys when it starts to keep history.

    Attributes:
        whole: The columns of a former primary key that goes on identifying rows.
        current: The columns of a former primary key that identifies current versions only.
        limited: Unique constraints and indexes that hold among current versions only.
        guard: What allows one current version of a key.
    """

    whole: tuple[str, ...] = ()
    current: tuple[str, ...] = ()
    limited: tuple[Unique, ...] = ()
    guard: Guard = "index"


def prepare_keys(table: Table, amendment: Amendment) -> VersionKeys:
    """Find out what becomes of a table's keys; nothing is changed.

    Args:
        table: The table.
        amendment: What scd2 needs on it.

    Returns:
        What `rekey` is to do.

    Raises:
        NotAmendable: A constraint cannot hold in a history.
        ReferenceToHistory: A foreign key refers to columns that a history repeats.
    """
    system = amendment.system
    guard = guard_of(table, amendment.keys, system.valid_from or "", system.valid_to or "")
    former = _names(table.primary_key)
    kept: tuple[str, ...] = ()
    current: tuple[str, ...] = ()
    if former and set(former) not in (set(amendment.keys), set(amendment.primary_key)):
        if _numbers_rows(table, amendment, _columns(table.primary_key)):
            kept = former
        else:
            current = former
    whole = {frozenset(kept)} if can_be_unique(table, kept) else set()
    limited: list[Unique] = []
    for unique in _uniques(table):
        if _holds_in_history(table, amendment, unique):
            if not isinstance(unique, sa.Index) or is_plain(unique):
                whole.add(frozenset(_names(unique)))
        else:
            _refuse_unguarded(table, unique, amendment)
            limited.append(unique)
    if current:
        _refuse_unguarded(table, table.primary_key, amendment)
    for reference in referrers(table):
        _refuse_referrer(table, reference, whole)
    return VersionKeys(kept, current, tuple(limited), guard)


def rekey(table: Table, amendment: Amendment, keys: VersionKeys) -> None:
    """Give a table the keys of a history.

    Args:
        table: The table, with its system columns.
        amendment: What scd2 needs on it.
        keys: What `prepare_keys` found.
    """
    is_current = f"{idents.quote(amendment.system.valid_to or '')} IS NULL"
    nulls = amendment.match_nulls and any(table.columns[k].nullable for k in amendment.keys)
    for unique in keys.limited:
        _limit(table, unique, is_current, set(amendment.keys))
    if keys.guard == "end":
        _drop_primary_key(table)
        _add_end_key(table, amendment)
    elif nulls:
        _drop_primary_key(table)
        _add_index(table, amendment.primary_key, (), None, nulls=True)
    else:
        _set_primary_key(table, amendment.primary_key)
    if keys.guard != "end":
        guarded = keys.guard == "index"
        _add_index(table, amendment.keys, ("current",), is_current, nulls=nulls, unique=guarded)
    if keys.current:
        _add_index(table, keys.current, ("current",), is_current)
    for columns in (keys.whole, (amendment.version_id,) if amendment.version_id else ()):
        if columns and columns not in [_names(unique) for unique in _uniques(table)]:
            _identify(table, columns)
    _add_validity_check(table, amendment.system)


def match_nulls(table: Table, keys: tuple[str, ...]) -> None:
    """Let the unique constraint on the merge keys count NULLs as equal.

    Args:
        table: A table without history.
        keys: The merge keys.
    """
    for constraint in table.constraints:
        if isinstance(constraint, sa.UniqueConstraint) and set(_names(constraint)) == set(keys):
            constraint.dialect_options["postgresql"]["nulls_not_distinct"] = True


def _names(unique: sa.PrimaryKeyConstraint | Unique) -> tuple[str, ...]:
    return tuple(column.name for column in _columns(unique))


def _columns(unique: sa.PrimaryKeyConstraint | Unique) -> list[Column[object]]:
    """Return the table's columns among what is unique; an index may have expressions as well."""
    return [column for column in unique.columns if isinstance(column, Column)]


def _uniques(table: Table) -> Iterator[Unique]:
    """Yield the unique constraints and indexes in an order that does not change."""
    found: list[Unique] = [c for c in table.constraints if isinstance(c, sa.UniqueConstraint)]
    found += [index for index in table.indexes if index.unique]
    yield from sorted(found, key=lambda unique: str(unique.name))


def _holds_in_history(table: Table, amendment: Amendment, unique: Unique) -> bool:
    """Tell whether a unique constraint holds among all versions, and not just current ones."""
    if amendment.system.valid_from in _names(unique):
        return True
    if _numbers_rows(table, amendment, _columns(unique)):
        return True
    if isinstance(unique, sa.UniqueConstraint) and (unique.deferrable or unique.initially):
        raise NotAmendable(
            f"{label(table)}: unique constraint {unique.name!r} is deferrable, and in a history "
            "it would have to hold among current versions only, which takes an index that cannot "
            "be deferred. Declare it without deferrable=.",
            table=label(table),
        )
    return False


def _numbers_rows(table: Table, amendment: Amendment, columns: list[Column[object]]) -> bool:
    """Tell whether the server gives every version its own value of one of these columns."""
    return any(_generates(table, column) for column in columns if column.name not in amendment.keys)


def _generates(table: Table, column: Column[object]) -> bool:
    if column.identity is not None:
        return True
    if column.server_default is not None:
        return isinstance(column.type, sa.Uuid)
    if column.primary_key and column is table.autoincrement_column:
        raise NotAmendable(
            f"{label(table)}: column {column.name!r} is a serial, which it is only as the whole "
            "primary key, and a history has another. Declare it with Identity(), or with "
            "autoincrement=False if the source delivers it.",
            table=label(table),
            column=column.name,
        )
    return False


def _refuse_referrer(
    table: Table, reference: sa.ForeignKeyConstraint, whole: set[frozenset[str]]
) -> None:
    columns = [element.column.name for element in reference.elements]
    if frozenset(columns) in whole:
        return
    listed = ", ".join(columns)
    raise ReferenceToHistory(
        f"{label(table)} is to keep history (mode 'scd2'), and {label(reference.table)} has a "
        f"foreign key to its ({listed}), which has one row for each version then. Refer to a "
        "column that numbers the versions (system_columns={'version_id': 'version_id'} adds one), "
        "or drop the foreign key and join by key and instant.",
        reference=f"{label(table)} ({listed})",
        table=label(reference.table),
    )


def _drop_primary_key(table: Table) -> None:
    """Take the primary key off."""
    _release_primary_key(table)
    table.append_constraint(sa.PrimaryKeyConstraint())


def _release_primary_key(table: Table) -> str | None:
    """Make place for another primary key, and return the name of the former one."""
    former = table.primary_key
    for column in former.columns:
        column.primary_key = False
    name = former.name if isinstance(former.name, str) else None
    release(table, name)
    return name


def _set_primary_key(table: Table, columns: tuple[str, ...]) -> None:
    if _names(table.primary_key) == columns:
        return
    name = _release_primary_key(table)
    for column in columns:
        table.columns[column].primary_key = True
        table.columns[column].nullable = False
    chosen = take_relation_name(table, name, "pk", ())
    key = sa.PrimaryKeyConstraint(*[table.columns[column] for column in columns], name=chosen)
    table.append_constraint(key)


def _refuse_unguarded(
    table: Table, unique: sa.PrimaryKeyConstraint | Unique, amendment: Amendment
) -> None:
    """Refuse what the server cannot keep unique among the current versions of all partitions."""
    columns = _names(unique)
    if set(columns) == set(amendment.keys) or can_be_unique(table, columns):
        return
    raise NotAmendable(
        f"{label(table)}: ({', '.join(columns)}) is to be unique, and no unique index can hold "
        "across its partitions without the columns that it is partitioned by. Drop the unique "
        "constraint, or leave the table in one piece.",
        table=label(table),
    )


def _identify(table: Table, columns: tuple[str, ...]) -> None:
    """Let columns that number the versions be unique, or at least found, where partitions are."""
    if can_be_unique(table, columns):
        _add_unique(table, columns)
    else:
        _add_index(table, columns, (), None, unique=False)


def _add_end_key(table: Table, amendment: Amendment) -> None:
    """Let no two versions of a key end at one instant; NULL, of which there is one, is an end."""
    columns = (*amendment.keys, amendment.system.valid_to or "")
    for key in () if amendment.match_nulls else amendment.keys:
        table.columns[key].nullable = False
    table.append_constraint(
        sa.UniqueConstraint(
            *[table.columns[column] for column in columns],
            name=take_relation_name(table, None, "uq", columns),
            postgresql_nulls_not_distinct=True,
        )
    )


def _add_unique(table: Table, columns: tuple[str, ...]) -> None:
    name = take_relation_name(table, None, "uq", columns)
    table.append_constraint(sa.UniqueConstraint(*[table.columns[c] for c in columns], name=name))


def _add_index(
    table: Table,
    columns: tuple[str, ...],
    parts: tuple[str, ...],
    where: str | None,
    nulls: bool = False,
    unique: bool = True,
) -> None:
    # Alembic writes every option that is given into migrations, whatever its value.
    options: dict[str, Any] = {}
    if nulls and unique:
        options["postgresql_nulls_not_distinct"] = True
    if where is not None:
        options["postgresql_where"] = sql_text(where)
    sa.Index(
        take_relation_name(table, None, "ix", (*columns, *parts)),
        *[table.columns[column] for column in columns],
        unique=unique,
        **options,
    )


def _limit(table: Table, unique: Unique, is_current: str, keys: set[str]) -> None:
    """Replace a unique constraint or index by one that holds among current versions."""
    columns = _names(unique)
    options = unique.dialect_options["postgresql"]
    if isinstance(unique, sa.UniqueConstraint):
        for column in columns:
            # SQLAlchemy would make the constraint again from this flag when it copies the table.
            table.columns[column].unique = None
        table.constraints.discard(unique)
        release(table, unique.name)
        if set(columns) != keys:
            nulls = bool(options["nulls_not_distinct"])
            _add_index(table, columns, ("current",), is_current, nulls)
        return
    limit = sql_text(is_current)
    condition = options["where"]
    options["where"] = limit if condition is None else sa.and_(Grouping(condition), limit)


def _add_validity_check(table: Table, system: SystemColumns) -> None:
    start, end = system.valid_from or "", system.valid_to or ""
    name = take_constraint_name(table, None, "ck", (end,))
    condition = sql_text(f"{idents.quote(end)} > {idents.quote(start)}")
    table.append_constraint(sa.CheckConstraint(condition, name=name))
