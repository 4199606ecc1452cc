"""Columns and keys that a table has already, and what cannot serve a history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Connection, Table, Text

from pgflow.declare.items import Check
from pgflow.emit.history import amend, check_amend, mark_mapped, system_columns
from pgflow.emit.objects import add_check
from pgflow.errors import (
    MappedTable,
    ModeConflict,
    NotAmendable,
    SystemColumnMismatch,
    UnknownColumn,
)
from tests.emit.histories import create, ddl, keys, make


def stamp(name: str, **options: Any) -> Column[Any]:
    return Column(name, sa.DateTime(timezone=True), **options)


def test_columns_of_the_user_s_that_fit_are_adopted(conn: Connection):
    """A table with validity columns of its own keeps them, in their place."""
    table = make(
        Column("code", Text, primary_key=True),
        stamp("from_", nullable=False),
        stamp("valid_to"),
        Column("is_current", sa.Boolean, sa.Computed("valid_to IS NULL", persisted=True)),
        Column("_batch_id", sa.Uuid),
        stamp("_loaded_at"),
    )
    add_check(table, Check("{valid_to} > {from_}"))
    amend(table, system_columns("scd2", ("code",), None, {"valid_from": "from_"}))
    create(conn, table)
    assert table.columns.keys() == [
        "code", "from_", "valid_to", "is_current", "_batch_id", "_loaded_at", "_closed_batch_id",
    ]  # fmt: skip
    assert keys(conn) == ["(code) WHERE (valid_to IS NULL)", "PRIMARY (code, from_)"]


def test_a_history_that_is_one_already_is_taken_over():
    """A table whose primary key is (key, valid_from) keeps its constraint."""
    table = make(
        Column("code", Text, primary_key=True),
        stamp("valid_from", primary_key=True),
        stamp("valid_to"),
    )
    former = table.primary_key
    amend(table, system_columns("scd2", ("code",)))
    assert table.primary_key is former


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (Column("valid_from", sa.DateTime), "it is DateTime(), and DateTime(timezone=True) is"),
        (Column("valid_from", Text), "it is Text(), and DateTime(timezone=True) is needed"),
        (stamp("valid_from"), "it must be NOT NULL"),
        (stamp("valid_to", nullable=False), "it must take NULL"),
        (Column("_batch_id", BigInteger), "it is BigInteger(), and Uuid() is needed"),
        (Column("_batch_id", sa.Uuid, nullable=False), "it must take NULL"),
        (Column("is_current", sa.Boolean), "it must be generated, or nobody would fill it"),
        (Column("is_current", Text), "it is Text(), and Boolean() is needed"),
        (stamp("_loaded_at", nullable=False), "it is NOT NULL and needs a default, such as now()"),
        (
            Column("valid_to", sa.DateTime(timezone=True), sa.Computed("now()", persisted=True)),
            "it is generated and cannot be written",
        ),
    ],
)
def test_columns_that_do_not_fit_are_refused(column: Column[Any], problem: str):
    """The column, what is wrong with it, and the two ways out are named; nothing is changed."""
    table = make(Column("code", Text, primary_key=True), column._copy())
    before = ddl(table)
    with pytest.raises(SystemColumnMismatch) as caught:
        amend(table, system_columns("scd2", ("code",)))
    message = str(caught.value)
    assert message.startswith(
        f"s.t has a column {column.name!r} that cannot serve as system column"
    )
    assert problem in message
    assert message.endswith(f"system_columns={{{column.name!r}: '...'}}.")
    assert ddl(table) == before


def test_an_unknown_merge_key_is_refused():
    """A key that is no column is named before anything is changed."""
    table = make()
    with pytest.raises(UnknownColumn, match=r"^The merge key of s\.t names column 'cod'"):
        amend(table, system_columns("scd2", ("cod",)))
    assert table.columns.keys() == ["code", "email"]


def test_another_history_is_refused():
    """One table has one history: two owners with different keys are refused."""
    table = make()
    amend(table, system_columns("scd2", ("code",)))
    with pytest.raises(ModeConflict) as caught:
        check_amend(table, system_columns("scd2", ("email",)))
    assert str(caught.value) == (
        "s.t keeps its history by (code), and another owner wants (email). One table has one "
        "history: give both the same keys=."
    )


def deferrable() -> Table:
    unique = sa.UniqueConstraint("email", name="u", deferrable=True)
    return make(items=[unique])


def serial() -> Table:
    return make(Column("id", BigInteger, primary_key=True), Column("code", Text))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (deferrable, "s.t: unique constraint 'u' is deferrable, and in a history it would have to"),
        (serial, "s.t: column 'id' is a serial, which it is only as the whole primary key"),
    ],
)
def test_what_cannot_hold_in_a_history_is_refused(table: Callable[[], Table], message: str):
    """Deferrable constraints and serials are refused, with the way out, and nothing is changed."""
    made = table()
    before = ddl(made)
    with pytest.raises(NotAmendable) as caught:
        amend(made, system_columns("scd2", ("code",)))
    assert str(caught.value).startswith(message)
    assert ddl(made) == before


def test_a_mapped_table_is_not_changed_behind_its_class():
    """A table that is mapped to a class gets its mode where it is declared."""

    class Thing:
        pass

    table = make()
    mark_mapped(table, Thing)
    with pytest.raises(MappedTable) as caught:
        amend(table, system_columns("merge", ("code",)))
    assert "which would not know the columns that mode 'merge' adds (_loaded_at, _batch_id)" in str(
        caught.value
    )
    assert str(caught.value).endswith("@pgflow.table(mode='merge', base=...).")
