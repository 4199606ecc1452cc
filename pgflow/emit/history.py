"""Where history is kept: a table on a MetaData becomes one that a mode can fill, in place.

`system_columns` says what a mode needs, `amend` changes the table, `claim` keeps owners with
incompatible modes apart. An amendment is checked as a whole before anything is changed.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Table

from pgflow.declare.expressions import validate_column_references
from pgflow.declare.system_columns import SystemColumns
from pgflow.emit.claims import check_claim, claim, claims
from pgflow.emit.names import label
from pgflow.emit.state import remember, state_of
from pgflow.emit.system_columns import (
    Amendment,
    SystemColumn,
    check_overrides,
    system_columns,
)
from pgflow.emit.version_keys import VersionKeys, match_nulls, prepare_keys, rekey
from pgflow.errors import MappedTable, ModeConflict, SystemColumnMismatch

__all__ = [
    "Amendment",
    "amend",
    "check_amend",
    "check_claim",
    "check_overrides",
    "claim",
    "claims",
    "mark_mapped",
    "system_columns",
    "system_columns_of",
]


def system_columns_of(table: Table) -> SystemColumns:
    """Return the names of the system columns that a table has."""
    return state_of(table).system


def mark_mapped(table: Table, cls: type) -> None:
    """Note that a table is mapped to a class, so that columns cannot be added to it any more."""
    remember(table, mapped=cls.__qualname__)


def check_amend(table: Table, amendment: Amendment) -> None:
    """Refuse an amendment that the table cannot take; nothing is changed.

    Args:
        table: A table on a MetaData.
        amendment: What the mode needs.

    Raises:
        UnknownColumn: A merge key is no column of the table.
        SystemColumnMismatch: A column of a system column's name cannot serve as one.
        MappedTable: The table is mapped to a class that would not know the new columns.
        ModeConflict: The table keeps its history by other keys.
        NotAmendable: A constraint of the table cannot hold in a history.
        ReferenceToHistory: A foreign key refers to the merge key.
    """
    if amendment not in state_of(table).amendments:
        _prepare(table, amendment)


def amend(table: Table, amendment: Amendment) -> None:
    """Change a table so that a mode can fill it; doing it again changes nothing.

    For scd2 the primary key becomes merge keys and `valid_from`, one version of a key is current,
    and what was unique is unique among current versions. A former primary key that numbers rows
    by itself (an identity, a generated UUID) goes on identifying rows, which are versions now.

    Args:
        table: A table on a MetaData.
        amendment: What the mode needs.

    Raises:
        TableError: As `check_amend`; the table is as it was then.
    """
    if amendment in state_of(table).amendments:
        return
    new_columns, keys = _prepare(table, amendment)
    for column in new_columns:
        table.append_column(column.make())
    if keys is not None:
        rekey(table, amendment, keys)
    elif amendment.match_nulls:
        match_nulls(table, amendment.keys)
    state = state_of(table)
    remember(
        table,
        system=state.system.with_more(amendment.system),
        amendments=(*state.amendments, amendment),
        history=amendment.primary_key if amendment.keeps_history else state.history,
    )


def _prepare(table: Table, amendment: Amendment) -> tuple[list[SystemColumn], VersionKeys | None]:
    """Check an amendment against a table: the columns to add, and the keys if they change."""
    validate_column_references(
        f"The merge key of {label(table)}", amendment.keys, table.columns.keys()
    )
    new_columns = []
    for column in amendment.columns:
        if column.name in table.columns:
            _adopt(table, table.columns[column.name], column)
        else:
            new_columns.append(column)
    keys = None
    if amendment.keeps_history and not _kept_already(table, amendment):
        keys = prepare_keys(table, amendment)
    if new_columns or keys is not None:
        _refuse_mapped(table, amendment, new_columns)
    return new_columns, keys


def _refuse_mapped(table: Table, amendment: Amendment, new_columns: list[SystemColumn]) -> None:
    mapped = state_of(table).mapped
    if mapped is None:
        return
    names = ", ".join(column.name for column in new_columns)
    raise MappedTable(
        f"{label(table)} is mapped to class {mapped} (base=), which would not know the columns "
        f"that mode {amendment.mode!r} adds ({names}). Put the mode on the table: "
        f"@pgflow.table(mode={amendment.mode!r}, base=...).",
        table=label(table),
    )


def _kept_already(table: Table, amendment: Amendment) -> bool:
    kept = state_of(table).history
    if kept is None:
        return False
    if kept != amendment.primary_key:
        raise ModeConflict(
            f"{label(table)} keeps its history by ({', '.join(kept[:-1])}), and another owner "
            f"wants ({', '.join(amendment.keys)}). One table has one history: give both the same "
            "keys=.",
            table=label(table),
            owners=tuple(claims(table)),
        )
    return True


def _adopt(table: Table, column: Column[Any], wanted: SystemColumn) -> None:
    """Let a column of the user's serve as a system column, if it can."""
    problem = _misfit(column, wanted)
    if problem is not None:
        raise SystemColumnMismatch(
            f"{label(table)} has a column {column.name!r} that cannot serve as system column "
            f"{wanted.role!r}: {problem}. Change it, or give the system column another name: "
            f"system_columns={{{wanted.role!r}: '...'}}.",
            table=label(table),
            column=column.name,
        )


def _misfit(column: Column[Any], wanted: SystemColumn) -> str | None:
    kind: Any = column.type
    fits = {
        "stamp": isinstance(kind, sa.DateTime) and kind.timezone,
        "instant": isinstance(kind, sa.DateTime) and kind.timezone,
        "batch": isinstance(kind, sa.Uuid),
        "flag": isinstance(kind, sa.Boolean),
        "hash": isinstance(kind, sa.LargeBinary),
        "number": isinstance(kind, sa.Integer),
    }
    expected = wanted.make()
    if not fits[wanted.kind]:
        return f"it is {kind!r}, and {expected.type!r} is needed"
    if wanted.kind == "flag" and column.computed is None:
        return "it must be generated, or nobody would fill it"
    if wanted.kind == "number" and column.identity is None:
        return "it must be an identity column"
    if wanted.kind not in ("flag", "number") and column.computed is not None:
        return "it is generated and cannot be written"
    if wanted.kind == "stamp" and not column.nullable and column.server_default is None:
        return "it is NOT NULL and needs a default, such as now()"
    if wanted.kind in ("instant", "batch", "hash") and column.nullable != wanted.nullable:
        return "it must take NULL" if wanted.nullable else "it must be NOT NULL"
    return None
