"""Former names and backfills reach the Core objects, where migrations read them."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Column, MetaData

import pgflow
from pgflow import backfill, natural_key, pk, renamed_from
from pgflow.errors import InvalidItem, InvalidOption, UncalledMarker
from pgflow.types import BigInt, Text


def declare(**options: Any) -> sa.Table:
    """A table with a renamed column and one that needs a value for old rows."""

    @pgflow.table(schema="app", metadata=MetaData(), **options)
    class Customer:
        customer_id: Annotated[BigInt, pk()]
        email: Annotated[Text, renamed_from("mail"), natural_key()]
        country: Annotated[Text, backfill("'unknown'"), renamed_from("land")]
        core = Column(sa.Text, info={"renamed_from": "kern", "mine": 1})

    return pgflow.TableFactory.of(Customer).table


def test_columns_say_their_former_names_and_backfills():
    """Markers and Column(info=...) both end in Column.info; other columns have none."""
    columns = declare().columns
    assert {c.name: dict(c.info) for c in columns if c.info} == {
        "email": {"renamed_from": "mail"},
        "country": {"renamed_from": "land", "backfill": "'unknown'"},
        "core": {"renamed_from": "kern", "mine": 1},
    }


def test_they_survive_scd2_and_copies():
    """A table that gets a history keeps them, and so does its copy on another MetaData."""
    table = declare(mode="scd2", renamed_from="clients").to_metadata(MetaData())
    assert table.info["renamed_from"] == "clients"
    assert table.columns["country"].info["backfill"] == "'unknown'"


@pytest.mark.parametrize("name", ["clients", "old.clients"])
def test_tables_say_their_former_name(name: str):
    """The decorator and the factory give Table.info the same former name."""
    factory = pgflow.SimpleTable("t", "app", MetaData(), [], renamed_from=name)
    assert factory.table.info == declare(renamed_from=name).info == {"renamed_from": name}
    assert factory.spec.describe()["renamed_from"] == name


def test_register_table_knows_former_names():
    """register_table takes renamed_from= as well."""
    metadata = MetaData()

    @pgflow.register_table(metadata=metadata, schema="app", renamed_from="clients")
    class Customer:
        email: Text

    assert metadata.tables["app.customer"].info == {"renamed_from": "clients"}
    assert "email" in Customer.__annotations__


@pytest.mark.parametrize("name", ["", 3, "a\0"])
def test_a_former_table_name_is_a_name(name: Any):
    """Anything else is refused by the table's name."""
    with pytest.raises(InvalidOption, match="is no name: give the table's former name"):
        declare(renamed_from=name)
    with pytest.raises(InvalidOption, match=r"table app\.t: renamed_from="):
        pgflow.SimpleTable("t", "app", MetaData(), [], renamed_from=name)


def test_a_forgotten_call_is_noticed():
    """`Annotated[Text, renamed_from]` names nothing, and is refused."""
    with pytest.raises(UncalledMarker, match=r"write renamed_from\('old_name'\)"):

        @pgflow.table(schema="app", metadata=MetaData())
        class Customer:
            email: Annotated[Text, renamed_from]


def test_table_args_take_sqlalchemy_s_options():
    """Options of PostgreSQL and `info` go through; one that SQLAlchemy lacks is named."""

    class Rows:
        day: BigInt
        __table_args__ = {
            "postgresql_partition_by": "RANGE (day)",
            "info": {"mine": 1},
            "comment": "Rows.",
        }

    made = pgflow.table(schema="app", metadata=MetaData(), renamed_from="lines")(Rows)
    table = pgflow.TableFactory.of(made).table
    assert table.info == {"mine": 1, "renamed_from": "lines"}
    assert table.dialect_options["postgresql"]["partition_by"] == "RANGE (day)"

    class Wrong:
        day: BigInt
        __table_args__ = {"postgresql_partition": "RANGE (day)"}

    with pytest.raises(InvalidItem, match=r"table app\.wrong: SQLAlchemy refuses its options"):
        pgflow.table(schema="app", metadata=MetaData())(Wrong)
