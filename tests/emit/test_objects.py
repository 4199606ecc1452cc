from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Connection, MetaData, Numeric, Table, Text, text
from sqlalchemy.exc import IntegrityError

from pgflow.declare.items import Check, Index, Unique
from pgflow.emit.objects import add_check, add_index, add_unique, create_table
from pgflow.errors import (
    DuplicateColumn,
    DuplicateTable,
    InvalidItem,
    NameTaken,
    UnknownColumn,
)


def make(name: str = "t", metadata: MetaData | None = None, *items: Any) -> Table:
    columns = [
        Column("id", BigInteger, primary_key=True, autoincrement=False),
        Column("price", Numeric),
        Column("Order Date", Text),
    ]
    return create_table(name, "s", metadata or MetaData(), columns, items)


def apply(conn: Connection, metadata: MetaData) -> None:
    conn.execute(text("CREATE SCHEMA s"))
    metadata.create_all(conn)


def definitions(conn: Connection, kind: str) -> dict[str, str]:
    rows = conn.execute(
        text(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 's'::regnamespace AND contype = :kind ORDER BY 1"
        ),
        {"kind": kind},
    )
    return {row.conname: row[1] for row in rows}


def index_definitions(conn: Connection) -> dict[str, str]:
    rows = conn.execute(
        text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 's' ORDER BY 1")
    )
    return {name: definition.split(" USING ")[1] for name, definition in rows}


def test_constraints_get_the_names_that_postgresql_would_give(conn: Connection):
    """What SQLAlchemy would leave unnamed has the server's own name in the metadata already."""
    metadata = MetaData()
    other = make("o", metadata)
    table = make(
        "t",
        metadata,
        sa.UniqueConstraint("price", "Order Date"),
        sa.ForeignKeyConstraint(["id"], [other.c.id]),
        sa.CheckConstraint("price > 0"),
    )
    add_check(table, Check("{price} > 0"))
    add_check(table, Check("{price} > {id}"))
    add_unique(table, Unique("price"))
    add_index(table, Index(None, "{price}", "lower({Order Date})", "({price} + 1)"))
    apply(conn, metadata)
    conn.execute(text("CREATE TABLE s.u (LIKE s.t)"))
    conn.execute(
        text(
            'ALTER TABLE s.u ADD UNIQUE (price, "Order Date"), ADD PRIMARY KEY (id),'
            " ADD FOREIGN KEY (id) REFERENCES s.o, ADD UNIQUE (price), ADD CHECK (price > 0)"
        )
    )
    given = {str(c.name) for c in table.constraints} | {str(i.name) for i in table.indexes}
    by_server = conn.execute(
        text(
            "SELECT conname FROM pg_constraint WHERE conrelid = 's.u'::regclass AND contype <> 'n'"
        )
    )
    assert {name.replace("u_", "t_", 1) for (name,) in by_server} < given
    assert "t_price_lower_expr_idx" in given
    assert {"t_check", "t_check1"} < given  # two of them, as the server counts


def test_checks_are_enforced_and_keep_their_text(conn: Connection):
    """Percent signs, colons and quoted columns reach the server as they were written."""
    metadata = MetaData()
    table = make("t", metadata)
    add_check(table, Check("{Order Date} <> '100% :x' AND {price} > '-1'::int", "sane"))
    apply(conn, metadata)
    assert definitions(conn, "c") == {
        "sane": "CHECK (((\"Order Date\" <> '100% :x'::text) AND "
        "(price > ('-1'::integer)::numeric)))"
    }
    conn.execute(table.insert().values({"id": 1, "price": 1, "Order Date": "100"}))
    with pytest.raises(IntegrityError, match="sane"):
        conn.execute(table.insert().values({"id": 2, "price": 1, "Order Date": "100% :x"}))


@pytest.mark.parametrize(
    ("expressions", "options", "definition"),
    [
        (["price"], {}, "btree (price)"),
        (["{Order Date}"], {}, 'btree ("Order Date")'),
        (["{price} DESC NULLS LAST", "id asc"], {}, "btree (price DESC NULLS LAST, id)"),
        (["{price} nulls first"], {}, "btree (price NULLS FIRST)"),
        (["lower({Order Date})"], {}, 'btree (lower("Order Date"))'),
        (["{price} + 1 DESC"], {}, "btree (((price + (1)::numeric)) DESC)"),
        (["{Order Date} text_pattern_ops"], {}, 'btree ("Order Date" text_pattern_ops)'),
        (
            ["{Order Date} text_pattern_ops DESC"],
            {},
            'btree ("Order Date" text_pattern_ops DESC)',
        ),
        (
            ["lower({Order Date}) text_pattern_ops"],
            {},
            'btree (lower("Order Date") text_pattern_ops)',
        ),
        (
            ["{Order Date}"],
            {"postgresql_ops": {"{Order Date}": "text_pattern_ops"}},
            'btree ("Order Date" text_pattern_ops)',
        ),
        (['{Order Date} COLLATE "C"'], {}, 'btree ("Order Date" COLLATE "C")'),
        (["price"], {"postgresql_using": "brin"}, "brin (price)"),
        (
            ["price"],
            {"postgresql_where": "{Order Date} <> '50% :y'"},
            "btree (price) WHERE (\"Order Date\" <> '50% :y'::text)",
        ),
        (
            ["price"],
            {"postgresql_include": ["{Order Date}", "id"]},
            'btree (price) INCLUDE ("Order Date", id)',
        ),
        (
            ["price"],
            {"postgresql_with": {"fillfactor": 50}},
            "btree (price) WITH (fillfactor='50')",
        ),
    ],
)
def test_indexes_say_what_they_were_told(
    conn: Connection, expressions: list[str], options: dict[str, Any], definition: str
):
    """Columns, orders, operator classes, expressions and options arrive at the server."""
    metadata = MetaData()
    add_index(make("t", metadata), Index("ix", *expressions, **options))
    apply(conn, metadata)
    assert index_definitions(conn)["ix"] == definition


def test_a_plain_column_of_an_index_stays_a_column():
    """What can be a column for SQLAlchemy is one, so that migrations can compare it."""
    table = make()
    index = add_index(table, Index("ix", "{price}", "lower({Order Date})"))
    assert index.expressions[0] is table.c.price
    assert index.table is table


def test_unique_indexes_and_constraints_are_enforced(conn: Connection):
    """Unique(...), with NULLs distinct or not, and unique indexes keep duplicates out."""
    metadata = MetaData()
    table = make("t", metadata)
    add_unique(table, Unique("price", nulls_not_distinct=True))
    add_index(table, Index(None, "lower({Order Date})", unique=True))
    apply(conn, metadata)
    conn.execute(table.insert().values({"id": 1, "Order Date": "A"}))
    for values in ({"id": 2, "Order Date": "B"}, {"id": 3, "price": 1, "Order Date": "a"}):
        with pytest.raises(IntegrityError), conn.begin_nested():
            conn.execute(table.insert().values(values))


def test_generated_names_are_free_in_the_whole_schema():
    """Two tables whose names and columns run together get different index names."""
    metadata = MetaData()
    one = create_table("a", "s", metadata, [Column("b_c", Text), Column("d", Text)])
    two = create_table("a_b", "s", metadata, [Column("c", Text)])
    three = create_table("a_b", "other", metadata, [Column("c", Text)])
    names = [
        add_index(t, Index(None, column)).name
        for t, column in ((one, "b_c"), (two, "c"), (two, "c"), (three, "c"))
    ]
    assert names == ["a_b_c_idx", "a_b_c_idx1", "a_b_c_idx2", "a_b_c_idx"]


def test_generated_names_fit_into_63_bytes():
    """Long names end in a hash, so that two long ones stay apart."""
    table = create_table(
        "t" * 60, "s", MetaData(), [Column("x" * 60 + "1", Text), Column("x" * 60 + "2", Text)]
    )
    names = [str(add_index(table, Index(None, c)).name) for c in list(table.columns.keys())]
    assert len(set(names)) == 2
    assert all(len(name) == 63 for name in names)


def test_a_name_of_the_user_s_that_is_taken_is_refused():
    """Tables, indexes and unique constraints of a schema share their names."""
    metadata = MetaData()
    table, other = make("t", metadata), make("o", metadata)
    add_index(table, Index("ix", "price"))
    for clash in (
        lambda: add_index(other, Index("ix", "price")),
        lambda: add_unique(other, Unique("price", name="ix")),
        lambda: add_index(other, Index("t", "price")),
        lambda: add_index(other, Index("t_pkey", "price")),
    ):
        with pytest.raises(NameTaken, match="tables and indexes of a schema share their names"):
            clash()
    with pytest.raises(NameTaken) as caught:
        add_index(other, Index("ix", "price"))
    assert str(caught.value) == (
        "table s.o names an index 'ix', and that name belongs to an index of table s.t: tables "
        "and indexes of a schema share their names. Choose another, or None for a name made from "
        "table and columns."
    )
    assert (caught.value.name, caught.value.owner) == ("ix", "an index of table s.t")


def test_two_checks_of_one_name_are_refused():
    """Constraints of one table have different names; another table may use the name again."""
    metadata = MetaData()
    table = make("t", metadata)
    add_check(table, Check("{price} > 0", "sane"))
    add_check(make("o", metadata), Check("{price} > 0", "sane"))
    with pytest.raises(NameTaken, match=r"^table s\.t has two constraints 'sane'"):
        add_check(table, Check("{price} > 1", "sane"))


def test_a_table_is_declared_once():
    """The same name twice on one MetaData is refused; the way out is named."""
    metadata = MetaData()
    make("t", metadata)
    with pytest.raises(DuplicateTable) as caught:
        make("t", metadata)
    assert str(caught.value).startswith("table s.t is declared twice on one MetaData")
    assert str(caught.value).endswith("or give them different MetaData objects.")
    with pytest.raises(DuplicateTable, match=r"an index of table s\.t has it"):
        make("t_pkey", metadata)


def test_two_columns_of_one_name_are_refused():
    """SQLAlchemy would silently keep the second."""
    columns = [Column("a", Text), Column("a", BigInteger)]
    with pytest.raises(DuplicateColumn, match=r"^s\.t has two columns 'a'\. Rename one"):
        create_table("t", "s", MetaData(), columns)


def test_a_constraint_that_belongs_to_another_table_is_refused():
    """SQLAlchemy's items serve one table; pgflow's can be shared."""
    metadata = MetaData()
    for item in (sa.UniqueConstraint("price"), sa.Index("ix", "price"), sa.CheckConstraint("1=1")):
        name = type(item).__name__.lower()
        make(name, metadata, item)
        with pytest.raises(InvalidItem, match=f"belongs to table s.{name} already"):
            make(f"{name}_2", metadata, item)


@pytest.mark.parametrize(
    "item", [Check("{prise} > 0"), Index(None, "{prise}"), Index(None, "prise"), Unique("prise")]
)
def test_a_marker_that_names_no_column_is_refused(item: Any):
    """The message names the item, its table, the column and the nearest one."""
    add = {Check: add_check, Index: add_index, Unique: add_unique}[type(item)]
    with pytest.raises(UnknownColumn) as caught:
        add(make(), item)
    assert f"{item} of s.t names column 'prise', which the table does not have. Did" in str(
        caught.value
    )
    assert "Did you mean 'price'?" in str(caught.value)


def test_an_option_that_sqlalchemy_does_not_know_is_refused():
    """A misspelt index option is refused when the table is declared."""
    with pytest.raises(InvalidItem, match=r"Index\('ix', 'price'\) of s\.t: .*postgresql_usign"):
        add_index(make(), Index("ix", "price", postgresql_usign="gin"))


def test_a_convention_of_the_user_s_is_kept():
    """A MetaData with a naming_convention of its own names primary keys by it."""
    metadata = MetaData(
        naming_convention={"pk": "pk_%(table_name)s", "ck": "ck_%(table_name)s_%(constraint_name)s"}
    )
    table = make("t", metadata)
    check = add_check(table, Check("{price} > 0"))
    assert table.primary_key.name == "pk_t"
    assert check.name == "t_price_check"


def test_enum_types_live_where_their_table_does(conn: Connection):
    """An enum without a name is called after table and column, and put into the table's schema."""
    metadata = MetaData()
    columns = [
        Column("state", sa.Enum("new", "old")),
        Column("tags", sa.ARRAY(sa.Enum("x", name="tag"))),
    ]
    create_table("t", "s", metadata, columns)
    apply(conn, metadata)
    found = conn.execute(
        text("SELECT typname FROM pg_type WHERE typnamespace = 's'::regnamespace AND typtype = 'e'")
    )
    assert sorted(found.scalars()) == ["t_state", "tag"]
