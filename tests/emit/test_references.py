from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, text

from pgflow.declare.items import ForeignKey, Unique
from pgflow.emit.references import (
    DimensionRef,
    check_references,
    dimensions,
    pending,
    referrers,
    register_dimension,
    resolve_fk_reference,
)
from pgflow.errors import (
    AmbiguousReference,
    InvalidItem,
    ReferenceToHistory,
    UnknownColumn,
    UnknownReference,
)
from pgflow.factories.simple import SimpleTable


def table(
    name: str, metadata: MetaData, *items: Any, schema: str = "shop", **options: Any
) -> Table:
    columns = [Column("ref", BigInteger), Column("code", Text)]
    return SimpleTable(name, schema, metadata, [*columns, *items], **options).table


def references(table: Table) -> list[str]:
    return sorted(f"{key.parent.name} -> {key.target_fullname}" for key in table.foreign_keys)


@pytest.mark.parametrize("order", list(permutations(["a", "b", "c"])))
def test_tables_may_be_declared_in_any_order(order: tuple[str, ...]):
    """Forward, backward, self and circular references end up the same whoever comes first."""
    metadata = MetaData()
    targets = {"a": "b.id", "b": "c.id", "c": "a.id"}
    made = {
        name: table(
            name, metadata, ForeignKey({"{ref}": targets[name]}), ForeignKey({"ref": f"{name}.id"})
        )
        for name in order
    }
    check_references(metadata)
    assert {name: references(each) for name, each in made.items()} == {
        name: sorted([f"ref -> shop.{target}", f"ref -> shop.{name}.id"])
        for name, target in targets.items()
    }
    assert not any(pending(metadata).values())


def test_composite_and_cross_schema_keys_reach_the_server(conn: Connection):
    """A composite key into another schema is created with its actions."""
    metadata = MetaData()
    table("regions", metadata, Unique("ref", "code"), schema="geo")
    table(
        "orders",
        metadata,
        ForeignKey(
            {"{ref}": "regions.ref", "{code}": "regions.code"},
            name="placed",
            ondelete="CASCADE",
            onupdate="SET NULL",
            deferrable=True,
            initially="DEFERRED",
        ),
    )
    for schema in ("geo", "shop"):
        conn.execute(sa.schema.CreateSchema(schema))
    metadata.create_all(conn)
    query = text("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'placed'")
    assert conn.execute(query).scalar_one() == (
        "FOREIGN KEY (ref, code) REFERENCES geo.regions(ref, code) ON UPDATE SET NULL"
        " ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"
    )


def test_generated_names_are_postgresql_s():
    """Without a name a foreign key is called table_columns_fkey, and the second one counted."""
    metadata = MetaData()
    made = table(
        "t",
        metadata,
        ForeignKey({"{ref}": "t.id"}),
        ForeignKey(raw_references={"ref": "shop.t.id"}),
    )
    assert sorted(str(c.name) for c in made.foreign_key_constraints) == [
        "t_ref_fkey", "t_ref_fkey1",
    ]  # fmt: skip


def test_raw_references_are_for_any_table_of_the_metadata():
    """A table that pgflow did not make can be referred to, declared before or after."""
    for first in (True, False):
        metadata = MetaData()
        if first:
            Table("orgs", metadata, Column("id", BigInteger, primary_key=True), schema="public")
        made = table("t", metadata, ForeignKey(raw_references={"{ref}": "public.orgs.id"}))
        if not first:
            Table("orgs", metadata, Column("id", BigInteger, primary_key=True), schema="public")
        check_references(metadata)
        assert references(made) == ["ref -> public.orgs.id"]


def test_names_with_dots_are_quoted_in_references():
    """A schema, table or column with a dot stands in double quotes."""
    metadata = MetaData()
    Table("a.b", metadata, Column("c.d", BigInteger, primary_key=True), schema="x.y")
    made = table("t", metadata, ForeignKey(raw_references={"{ref}": '"x.y"."a.b"."c.d"'}))
    (key,) = made.foreign_keys
    assert key.column.name == "c.d"
    with pytest.raises(UnknownReference, match="names with dots cannot wait"):
        table("u", metadata, ForeignKey(raw_references={"{ref}": '"x.y"."late".id'}))


def test_equal_names_in_two_schemas_need_the_schema():
    """A short reference to a name that two schemas have is refused, both named."""
    metadata = MetaData()
    table("customers", metadata, schema="shop")
    table("customers", metadata, schema="crm")
    with pytest.raises(AmbiguousReference) as caught:
        table("orders", metadata, ForeignKey({"{ref}": "customers.id"}))
    assert str(caught.value).splitlines()[0] == (
        "ForeignKey(ref -> customers.id) of shop.orders: there are two tables 'customers': "
        "shop.customers and crm.customers. Write the schema as well: 'shop.customers.column' or "
        "'crm.customers.column'."
    )
    made = table("orders", metadata, ForeignKey({"{ref}": "crm.customers.id"}))
    assert references(made) == ["ref -> crm.customers.id"]


def test_a_second_table_of_a_name_does_not_change_what_was_meant():
    """A short reference that would become ambiguous later is refused then, and nothing is left."""
    metadata = MetaData()
    table("customers", metadata)
    table("orders", metadata, ForeignKey({"{ref}": "customers.id"}))
    with pytest.raises(AmbiguousReference, match=r"of shop\.orders: there are two tables"):
        table("customers", metadata, schema="crm")
    assert "crm.customers" not in metadata.tables
    assert dimensions(metadata)["customers"] == (DimensionRef("shop", "customers"),)
    table("addresses", metadata, schema="crm")
    check_references(metadata)


def test_a_reference_to_nothing_is_found_at_the_end():
    """What nobody ever declares is named with who refers to it and what is near."""
    metadata = MetaData()
    table("customers", metadata)
    table("orders", metadata, ForeignKey({"{ref}": "custumers.id"}))
    with pytest.raises(UnknownReference) as caught:
        check_references(metadata)
    assert str(caught.value) == (
        "ForeignKey(ref -> custumers.id) of shop.orders: no table 'custumers' is declared on this "
        "MetaData. Did you mean 'customers'? Import the module that declares it, or use "
        "raw_references= for a table that pgflow did not make."
    )


def test_a_raw_reference_to_nothing_is_found_at_the_end():
    """SQLAlchemy's strings that point nowhere are named as well."""
    metadata = MetaData()
    table("orders", metadata, ForeignKey(raw_references={"{ref}": "public.orgs.id"}))
    with pytest.raises(UnknownReference) as caught:
        check_references(metadata)
    assert str(caught.value) == (
        "shop.orders has a foreign key to 'public.orgs.id', which is not on this MetaData. Declare "
        "or reflect that table on the same MetaData."
    )


@pytest.mark.parametrize("early", [True, False])
def test_a_column_that_the_other_table_lacks_is_refused(early: bool):
    """An unknown target column is refused as soon as both tables are known."""
    metadata = MetaData()
    wrong = ForeignKey({"{ref}": "customers.idd"})
    order = [("orders", wrong), ("customers",)] if early else [("customers",), ("orders", wrong)]
    table(order[0][0], metadata, *order[0][1:])
    with pytest.raises(UnknownReference) as caught:
        table(order[1][0], metadata, *order[1][1:])
    assert str(caught.value).splitlines()[0] == (
        "ForeignKey(ref -> customers.idd) of shop.orders: shop.customers has no column 'idd'. Did "
        "you mean 'id'?"
    )


def test_a_column_that_the_table_itself_lacks_is_refused():
    """A local marker that names no column is refused at construction."""
    with pytest.raises(UnknownColumn, match=r"names column 'reff'.*Did you mean 'ref'\?"):
        table("t", MetaData(), ForeignKey({"{reff}": "t.id"}))


def test_one_key_refers_to_one_table():
    """A composite key whose parts point to two tables is refused."""
    metadata = MetaData()
    table("a", metadata)
    with pytest.raises(InvalidItem, match=r"of shop\.b refers to more than one table"):
        table("b", metadata, ForeignKey({"{ref}": "a.id", "{code}": "b.code"}))


def test_references_can_be_resolved_by_hand():
    """Plugins expand `dimension.column` to the table's full name."""
    metadata = MetaData()
    register_dimension(metadata, "people", DimensionRef("hr", "people_root"))
    assert resolve_fk_reference(metadata, "people.id") == "hr.people_root.id"
    assert resolve_fk_reference(metadata, "hr.people.id") == "hr.people_root.id"
    with pytest.raises(UnknownReference, match=r"no table 'peple' is declared\. Did you mean 'pe"):
        resolve_fk_reference(metadata, "peple.id")
    with pytest.raises(InvalidItem, match="must have the form"):
        resolve_fk_reference(metadata, "people")
    register_dimension(metadata, "people", DimensionRef("crm", "people"))
    with pytest.raises(AmbiguousReference, match=r"hr\.people_root and crm\.people"):
        resolve_fk_reference(metadata, "people.id")


HISTORY = {"mode": "scd2", "keys": ("code",)}


@pytest.mark.parametrize("kind", ["references", "raw", "sqlalchemy"])
@pytest.mark.parametrize("history_first", [True, False])
def test_a_key_into_a_history_is_refused_in_both_orders(kind: str, history_first: bool):
    """Whether the history or the reference is declared first, the merge key cannot be a target."""
    metadata = MetaData()
    key = {
        "references": ForeignKey({"{code}": "dim.code"}),
        "raw": ForeignKey(raw_references={"{code}": "shop.dim.code"}),
        "sqlalchemy": sa.ForeignKeyConstraint(["code"], ["shop.dim.code"]),
    }[kind]

    def history() -> None:
        table("dim", metadata, Unique("code"), **HISTORY)

    def facts() -> None:
        table("facts", metadata, key)

    first, second = (history, facts) if history_first else (facts, history)
    first()
    with pytest.raises(ReferenceToHistory) as caught:
        second()
    message = str(caught.value).splitlines()[0]
    assert "shop.facts" in message
    assert "shop.dim" in message
    assert "(system_columns={'version_id': 'version_id'} adds one)" in message
    assert "join by key and instant" in message


def test_a_plain_table_s_key_into_a_history_is_found_at_the_end():
    """Tables that pgflow did not make are checked when the MetaData is applied."""
    metadata = MetaData()
    table("dim", metadata, Unique("code"), **HISTORY)
    Table("plain", metadata, Column("code", Text, sa.ForeignKey("shop.dim.code")))
    with pytest.raises(ReferenceToHistory, match=r"^plain has a foreign key to shop\.dim \(code\)"):
        check_references(metadata)


@pytest.mark.parametrize("how", ["text", "column", "column of its own"])
def test_a_foreign_key_that_came_after_another_history_is_seen(how: str):
    """Foreign keys that tables get after they were looked for once are found with the others."""
    metadata = MetaData()
    table("first", metadata, Unique("code"), **HISTORY)
    dim = Table("dim", metadata, Column("code", Text, unique=True), schema="shop")
    plain = Table("plain", metadata, Column("code", Text))
    given = {"text": "shop.dim.code", "column": dim.c.code}
    if how in given:
        plain.append_constraint(sa.ForeignKeyConstraint(["code"], [given[how]]))
    else:
        plain.append_column(Column("other", Text, sa.ForeignKey(dim.c.code)))
    (reference,) = referrers(dim)
    assert reference.table is plain
    metadata.remove(plain)
    assert list(referrers(dim)) == []


@pytest.mark.parametrize("history_first", [True, False])
def test_versions_can_be_referred_to(history_first: bool, conn: Connection):
    """A column that numbers the versions is a proper target, in both orders of declaration."""
    metadata = MetaData()

    def history() -> None:
        options = {**HISTORY, "system_columns": {"version_id": "version_id"}}
        table("dim", metadata, Unique("code"), **options)

    def facts() -> None:
        table("facts", metadata, ForeignKey({"{ref}": "dim.version_id"}))

    for declare in (history, facts) if history_first else (facts, history):
        declare()
    check_references(metadata)
    conn.execute(sa.schema.CreateSchema("shop"))
    metadata.create_all(conn)
    query = text("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f'")
    assert conn.execute(query).scalar_one() == ("FOREIGN KEY (ref) REFERENCES shop.dim(version_id)")
