"""Constraints by which the server itself forbids that two versions of a key are valid at once."""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Column, Table
from sqlalchemy.dialects.postgresql import TSTZRANGE, ExcludeConstraint

from pgflow import idents
from pgflow.emit.names import label, take_relation_name
from pgflow.emit.objects import sql_text
from pgflow.emit.partitioning import can_be_unique
from pgflow.emit.sql_objects import emit_sql
from pgflow.emit.state import remember, state_of
from pgflow.emit.versions import Versions
from pgflow.errors import NotAmendable

#: How overlaps are forbidden.
Form = Literal["exclude", "without_overlaps"]

#: It teaches GiST indexes the equality of plain types.
EXTENSION = "CREATE EXTENSION IF NOT EXISTS btree_gist"

#: Types that have no operator class for GiST, with or without the extension.
_UNINDEXED = (sa.JSON, sa.ARRAY)


def forbid_overlaps(versions: Versions, form: Form, column: str, owner: str) -> None:
    """Put the constraint on a history; doing it again changes nothing.

    Args:
        versions: The history.
        form: `exclude` for a constraint on the instants as they are, `without_overlaps` for a
            unique key that temporal foreign keys can refer to, which needs a stored range.
        column: The name of that range's column.
        owner: Who asks, for messages.

    Raises:
        NotAmendable: A key is of a type, or may be NULL, so that the constraint would not hold;
            or the table forbids overlaps in the other form already.
    """
    table = versions.table
    known = state_of(table).overlaps_forbidden
    if known is not None and known != form:
        raise NotAmendable(
            f"{owner}: {label(table)} forbids overlaps by form={known!r} already. Say the same "
            "form wherever the plugin stands, or say it once.",
            table=label(table),
        )
    if known is not None:
        return
    _refuse_keys(versions, owner)
    if form == "exclude":
        _exclude(versions)
    else:
        _without_overlaps(versions, column, owner)
    remember(table, overlaps_forbidden=form)


def _refuse_keys(versions: Versions, owner: str) -> None:
    table = versions.table
    if not can_be_unique(table, versions.keys):
        raise NotAmendable(
            f"{owner}: {label(table)} is partitioned by something else than its merge keys "
            f"({', '.join(versions.keys)}), so versions of one key can be in several partitions, "
            "and no constraint spans them. Leave the plugin out, or partition by HASH of the keys.",
            table=label(table),
        )
    for key in versions.keys:
        column = table.columns[key]
        if column.nullable:
            raise NotAmendable(
                f"{owner}: merge key {key!r} of {label(table)} takes NULL, and to a constraint no "
                "two NULLs are the same key, so nothing would keep their versions apart. Leave "
                "the plugin out, or have the source deliver a value in place of NULL.",
                table=label(table),
                column=key,
            )
        if isinstance(column.type, _UNINDEXED):
            raise NotAmendable(
                f"{owner}: merge key {key!r} of {label(table)} is {column.type!r}, which has no "
                "operator class for GiST. Leave the plugin out.",
                table=label(table),
                column=key,
            )


def _range(versions: Versions) -> str:
    return f"tstzrange({idents.quote(versions.valid_from)}, {idents.quote(versions.valid_to)})"


def _exclude(versions: Versions) -> None:
    table = versions.table
    elements: list[tuple[Any, str]] = [(table.columns[key], "=") for key in versions.keys]
    name = take_relation_name(table, None, "ex", (*versions.keys, "validity"))
    table.append_constraint(
        ExcludeConstraint(
            *elements,
            (sql_text(_range(versions)), "&&"),
            using="gist",
            name=name,
            # Looked at when a statement ends, so that one can move the border of two versions.
            deferrable=True,
            initially="IMMEDIATE",
        )
    )


def _without_overlaps(versions: Versions, column: str, owner: str) -> None:
    """Add the range and its unique key; SQLAlchemy has no word for the latter."""
    table = versions.table
    if column in table.columns:
        raise NotAmendable(
            f"{owner}: {label(table)} has a column {column!r} already. Give the range another "
            "name: NoOverlapPlugin(range_column='...').",
            table=label(table),
            column=column,
        )
    computed = sa.Computed(sql_text(_range(versions)), persisted=True)
    table.append_column(Column(column, TSTZRANGE, computed, nullable=False))
    name = take_relation_name(table, None, "uq", (*versions.keys, column))
    keys = ", ".join(idents.quote(key) for key in versions.keys)
    emit_sql(
        table.metadata,
        f"ALTER TABLE {label(table)} ADD CONSTRAINT {idents.quote(name)}"
        f" UNIQUE ({keys}, {idents.quote(column)} WITHOUT OVERLAPS)",
        owner,
    )


def is_partitioned(table: Table) -> bool:
    """Tell whether a table is declared with partitions."""
    return bool(table.dialect_options["postgresql"]["partition_by"])
