from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import render_op
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import BigInteger, Column, Connection, Identity, MetaData, Table, Text, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateIndex, CreateSchema, CreateTable

from pgflow.declare.items import Check, Index, Unique
from pgflow.declare.options import SyncOptions
from pgflow.declare.system_columns import SystemColumns
from pgflow.emit.history import (
    amend,
    check_amend,
    mark_mapped,
    system_columns,
    system_columns_of,
)
from pgflow.emit.objects import add_check, add_index, add_unique, create_table
from pgflow.errors import (
    MappedTable,
    ModeConflict,
    NotAmendable,
    SystemColumnMismatch,
    UnknownColumn,
)

MONDAY, TUESDAY = (datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2))


def make(*columns: Column[Any], metadata: MetaData | None = None, items: Any = ()) -> Table:
    given = columns or (
        Column("code", Text, primary_key=True),
        Column("email", Text),
    )
    return create_table("t", "s", metadata or MetaData(), given, items)


def ddl(table: Table) -> list[str]:
    """Everything that would be created, as text."""
    statements = [CreateTable(table), *map(CreateIndex, table.indexes)]
    dialect = sa.create_mock_engine("postgresql+psycopg://", print).dialect
    return sorted(str(s.compile(dialect=dialect)).strip() for s in statements)


def create(conn: Connection, table: Table) -> None:
    conn.execute(CreateSchema("s"))
    table.metadata.create_all(conn)


def keys(conn: Connection) -> list[str]:
    """What the server says of the table's keys, without names."""
    rows = conn.execute(
        text(
            "SELECT CASE WHEN i.indisprimary THEN 'PRIMARY ' ELSE '' END || "
            "split_part(pg_get_indexdef(i.indexrelid), ' USING btree ', 2) FROM pg_index i "
            "WHERE i.indrelid = 's.t'::regclass AND i.indisunique ORDER BY 1"
        )
    )
    return list(rows.scalars())


def insert(conn: Connection, table: Table, **values: Any) -> None:
    conn.execute(table.insert().values(**values))


def refused(conn: Connection, table: Table, **values: Any) -> bool:
    try:
        with conn.begin_nested():
            insert(conn, table, **values)
    except IntegrityError:
        return True
    return False


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
