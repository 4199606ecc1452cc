from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import render_op
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import BigInteger, Column, Connection, Identity, MetaData, Text, text

from pgflow.declare.items import Index, Unique
from pgflow.declare.options import SyncOptions
from pgflow.declare.system_columns import SystemColumns
from pgflow.emit.history import amend, system_columns, system_columns_of
from pgflow.emit.objects import add_index, add_unique
from tests.emit.histories import create, ddl, insert, keys, make, refused

MONDAY, TUESDAY = (datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2))


def test_a_history_has_the_columns_and_keys_that_it_promises(conn: Connection):
    """The server keeps one current version a key, one version an instant, and ends after starts."""
    table = make()
    amend(table, system_columns("scd2", ("code",)))
    create(conn, table)
    assert keys(conn) == ["(code) WHERE (valid_to IS NULL)", "PRIMARY (code, valid_from)"]
    insert(conn, table, code="a", valid_from=MONDAY, valid_to=TUESDAY)
    insert(conn, table, code="a", valid_from=TUESDAY)
    insert(conn, table, code="b", valid_from=MONDAY)
    assert refused(conn, table, code="a", valid_from=datetime(2024, 1, 3, tzinfo=UTC))
    assert refused(conn, table, code="a", valid_from=MONDAY, valid_to=TUESDAY)
    assert refused(conn, table, code="c", valid_from=TUESDAY, valid_to=MONDAY)
    assert refused(conn, table, code="c", valid_from=MONDAY, valid_to=MONDAY)
    rows = conn.execute(
        sa.select(table.c.code, table.c.is_current, table.c._loaded_at.is_not(None)).order_by(
            table.c.code, table.c.valid_from
        )
    )
    assert rows.all() == [("a", False, True), ("a", True, True), ("b", True, True)]


def test_what_was_unique_is_unique_among_current_versions(conn: Connection):
    """Unique constraints and unique indexes are limited to current versions, each by its kind."""
    table = make(
        Column("code", Text, primary_key=True),
        Column("email", Text, unique=True),
        Column("x", Text),
        Column("y", Text),
    )
    add_unique(table, Unique("x", "y", nulls_not_distinct=True))
    add_index(table, Index(None, "lower({x})", unique=True))
    add_index(table, Index(None, "{y}", unique=True, postgresql_where="{y} <> '' OR {x} = ''"))
    add_index(table, Index(None, "{x}"))
    amend(table, system_columns("scd2", ("code",)))
    create(conn, table)
    assert keys(conn) == [
        "(code) WHERE (valid_to IS NULL)",
        "(email) WHERE (valid_to IS NULL)",
        "(lower(x)) WHERE (valid_to IS NULL)",
        "(x, y) NULLS NOT DISTINCT WHERE (valid_to IS NULL)",
        "(y) WHERE (((y <> ''::text) OR (x = ''::text)) AND (valid_to IS NULL))",
        "PRIMARY (code, valid_from)",
    ]
    insert(conn, table, code="a", email="e", valid_from=MONDAY, valid_to=TUESDAY)
    insert(conn, table, code="a", email="e", x="1", valid_from=TUESDAY)
    assert refused(conn, table, code="b", email="e", valid_from=TUESDAY)
    assert not table.c.email.unique


@pytest.mark.parametrize(
    "key",
    [
        Column("id", BigInteger, Identity(), primary_key=True),
        Column("id", sa.Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    ],
)
def test_a_surrogate_key_numbers_the_versions(conn: Connection, key: Column[Any]):
    """An id that the server makes for each row stays unique, and each version has its own."""
    table = make(key._copy(), Column("code", Text, nullable=False, unique=True))
    amend(table, system_columns("scd2", ("code",)))
    create(conn, table)
    assert keys(conn) == [
        "(code) WHERE (valid_to IS NULL)",
        "(id)",
        "PRIMARY (code, valid_from)",
    ]
    insert(conn, table, code="a", valid_from=MONDAY, valid_to=TUESDAY)
    insert(conn, table, code="a", valid_from=TUESDAY)
    assert conn.execute(sa.select(sa.func.count(table.c.id.distinct()))).scalar_one() == 2


def test_a_delivered_key_beside_the_merge_key_is_unique_among_current_versions(conn: Connection):
    """A primary key that the source delivers repeats in every version of its row."""
    table = make(
        Column("id", BigInteger, primary_key=True, autoincrement=False),
        Column("code", Text, nullable=False),
    )
    amend(table, system_columns("scd2", ("code",)))
    create(conn, table)
    assert keys(conn) == [
        "(code) WHERE (valid_to IS NULL)",
        "(id) WHERE (valid_to IS NULL)",
        "PRIMARY (code, valid_from)",
    ]


def test_a_numbered_column_can_be_the_merge_key(conn: Connection):
    """Where the id itself is the merge key, its versions share it."""
    table = make(Column("id", BigInteger, Identity(), primary_key=True), Column("email", Text))
    add_unique(table, Unique("id", "email"))
    amend(table, system_columns("scd2", ("id",)))
    create(conn, table)
    assert keys(conn) == [
        "(id) WHERE (valid_to IS NULL)",
        "(id, email) WHERE (valid_to IS NULL)",
        "PRIMARY (id, valid_from)",
    ]


def test_versions_are_numbered_on_request(conn: Connection):
    """version_id is an identity with a unique constraint, for foreign keys to refer to."""
    table = make()
    amend(table, system_columns("scd2", ("code",), None, {"version_id": "version"}))
    create(conn, table)
    assert "(version)" in keys(conn)


def test_nullable_keys_match_by_nulls_not_distinct(conn: Connection):
    """on_null_key="match" keeps one current version of a NULL key, without a primary key."""
    table = make(Column("a", Text), Column("b", Text))
    amend(table, system_columns("scd2", ("a", "b"), SyncOptions(on_null_key="match")))
    create(conn, table)
    assert keys(conn) == [
        "(a, b) NULLS NOT DISTINCT WHERE (valid_to IS NULL)",
        "(a, b, valid_from) NULLS NOT DISTINCT",
    ]
    insert(conn, table, a=None, b="x", valid_from=MONDAY)
    assert refused(conn, table, a=None, b="x", valid_from=TUESDAY)
    assert not table.primary_key.columns
    assert table.c.a.nullable


def test_required_keys_need_no_such_thing():
    """Where no key takes NULL, on_null_key="match" changes nothing."""
    table = make()
    amend(table, system_columns("scd2", ("code",), SyncOptions(on_null_key="match")))
    other = make()
    amend(other, system_columns("scd2", ("code",)))
    assert ddl(table) == ddl(other)


def test_a_merged_natural_key_counts_nulls_as_equal(conn: Connection):
    """For merge and scd1 the unique constraint on the merge key becomes NULLS NOT DISTINCT."""
    table = make(Column("a", Text), Column("b", Text, unique=True))
    add_unique(table, Unique("a"))
    amend(table, system_columns("merge", ("a",), SyncOptions(on_null_key="match")))
    create(conn, table)
    assert keys(conn) == ["(a) NULLS NOT DISTINCT", "(b)"]


def test_merge_keys_become_required():
    """The key of a history takes no NULL, and the metadata says so as the server does."""
    table = make(Column("a", Text), Column("b", Text))
    amend(table, system_columns("scd2", ("a",)))
    assert not table.c.a.nullable
    assert [c.name for c in table.primary_key.columns] == ["a", "valid_from"]


def test_amending_again_changes_nothing():
    """The same amendment twice leaves the same DDL, and so does another owner's of equal keys."""
    table = make()
    amend(table, system_columns("scd2", ("code",)))
    before = ddl(table)
    amend(table, system_columns("scd2", ("code",)))
    amend(table, system_columns("scd2", ("code",), SyncOptions(handle_deletes="soft")))
    assert ddl(table) == before


def test_amendments_unite():
    """Owners in several modes that share a table each find their columns."""
    table = make()
    amend(table, system_columns("append"))
    amend(table, system_columns("merge", ("code",), SyncOptions(handle_deletes="soft")))
    amend(table, system_columns("scd1", ("code",), SyncOptions(change_detection="hash")))
    assert list(table.columns.keys()) == [
        "code", "email", "_loaded_at", "_batch_id", "_deleted_at", "_changed_at", "row_hash",
    ]  # fmt: skip
    assert system_columns_of(table) == SystemColumns(
        loaded_at="_loaded_at",
        batch_id="_batch_id",
        changed_at="_changed_at",
        deleted_at="_deleted_at",
        row_hash="row_hash",
    )
    assert system_columns_of(make()) == SystemColumns()


def test_history_can_be_enriched_later():
    """A second owner with the same keys may add a hash; the keys stay as they are."""
    table = make()
    amend(table, system_columns("scd2", ("code",)))
    amend(table, system_columns("scd2", ("code",), SyncOptions(change_detection="hash")))
    assert table.columns.keys()[-1] == "row_hash"
    assert len(table.indexes) == 1


def test_a_migration_of_an_amended_table_is_plain_sqlalchemy():
    """What Alembic writes names nothing of pgflow's, and can be executed."""
    table = make(Column("code", Text, primary_key=True), Column("email", Text, unique=True))
    amend(table, system_columns("scd2", ("code",)))
    context = AutogenContext(
        MigrationContext.configure(dialect_name="postgresql"),
        opts={
            "sqlalchemy_module_prefix": "sa.",
            "alembic_module_prefix": "op.",
            "user_module_prefix": None,
        },
    )
    operations = [ops.CreateTableOp.from_table(table)]
    operations += [ops.CreateIndexOp.from_index(index) for index in table.indexes]
    written = "\n".join(line for op in operations for line in render_op(context, op))
    assert "pgflow" not in written
    assert "info=" not in written
    compile(written, "migration", "exec")


def test_a_copy_of_an_amended_table_is_the_same():
    """SQLAlchemy's to_metadata finds no trace of the constraints that were replaced."""
    table = make(
        Column("code", Text, primary_key=True),
        Column("email", Text, unique=True),
        Column("n", Text),
    )
    amend(table, system_columns("scd2", ("code",)))
    assert ddl(table.to_metadata(MetaData())) == ddl(table)


def test_names_with_everything_in_them_work(conn: Connection):
    """Keys and system columns may be called anything that PostgreSQL stores."""
    overrides: dict[str, str | None] = {"valid_from": "from %s", "valid_to": 'to ":x"'}
    table = make(Column("select", Text, primary_key=True), Column("100%", Text, unique=True))
    amend(table, system_columns("scd2", ("select",), None, overrides))
    create(conn, table)
    conn.execute(table.insert().values({"select": "a", "from %s": MONDAY, "100%": "x"}))
    assert refused(conn, table, **{"select": "a", "from %s": TUESDAY, "100%": "x"})
