from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Engine, MetaData, Text, inspect, text

from pgflow.alembic.apply import create_all
from pgflow.declare.items import ForeignKey
from pgflow.errors import TablesOutOfDate, UnknownReference
from pgflow.factories.simple import SimpleTable
from pgflow.resolve.config import Config

#: The tables of the newest layout.
BOOKKEEPING = ["backfills", "erasures", "quarantine", "runs", "watermarks"]


def shop(metadata: MetaData, *more: Column[Any]) -> MetaData:
    orders = [Column("customer_id", Text), ForeignKey({"customer_id": "customers.code"})]
    SimpleTable("orders", "shop", metadata, orders)
    SimpleTable("customers", "shop", metadata, [Column("code", Text, unique=True), *more])
    return metadata


def tables(engine: Engine, schema: str) -> list[str]:
    return sorted(inspect(engine).get_table_names(schema))


def test_everything_is_created_and_a_second_call_changes_nothing(engine: Engine):
    """Schemas, tables in the order of their keys, and pgflow's own tables; again is no change."""
    metadata = shop(MetaData())
    create_all(metadata, connection=engine)
    assert tables(engine, "shop") == ["customers", "orders"]
    assert tables(engine, "pgflow") == BOOKKEEPING
    create_all(metadata, connection=engine)


def test_an_engine_s_work_is_committed_and_a_connection_s_is_the_caller_s(engine: Engine):
    """With a connection everything belongs to the caller's transaction."""
    with engine.connect() as conn:
        create_all(shop(MetaData()), connection=conn)
        assert inspect(conn).get_table_names("shop")
        conn.rollback()
    assert tables(engine, "shop") == []


def test_a_url_or_a_name_will_do(database: str, engine: Engine, monkeypatch: pytest.MonkeyPatch):
    """The connection is found as everywhere: by URL, or by the name of a setting."""
    create_all(shop(MetaData()), connection=database)
    assert tables(engine, "shop") == ["customers", "orders"]
    monkeypatch.setenv("PGFLOW_DSN_OTHER", database)
    create_all(shop(MetaData()), connection="other")


def test_pgflow_s_own_tables_go_where_the_config_says(engine: Engine):
    """utility_schema names the schema of bookkeeping."""
    metadata = MetaData()
    Config(utility_schema="etl").attach(metadata)
    create_all(metadata, connection=engine)
    assert tables(engine, "etl") == BOOKKEEPING


def test_parallel_calls_wait_for_each_other(engine: Engine):
    """Eight first calls at once all succeed."""
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(create_all, shop(MetaData()), connection=engine) for _ in range(8)]
    assert [job.result() for job in jobs] == [None] * 8
    assert tables(engine, "shop") == ["customers", "orders"]


def test_a_table_that_lacks_columns_is_refused_before_anything_is_created(engine: Engine):
    """create_all never changes a table: it names what is missing and the way to migrate."""
    create_all(shop(MetaData()), connection=engine)
    newer = shop(MetaData(), Column("name", Text), Column("e mail", Text))
    SimpleTable("more", "shop", newer, [Column("a", Text)])
    with pytest.raises(TablesOutOfDate) as caught:
        create_all(newer, connection=engine)
    assert str(caught.value).startswith(
        "The database has tables that are older than the metadata: shop.customers lacks name, "
        "e mail. create_all() creates tables and never changes one: migrate them with Alembic"
    )
    assert caught.value.missing == {"shop.customers": ("name", "e mail")}
    assert "more" not in tables(engine, "shop")


def test_references_to_nothing_are_refused_before_the_database_is_asked():
    """A foreign key to a table that nobody declares needs no connection to be found."""
    metadata = MetaData()
    SimpleTable("t", "s", metadata, [Column("a", Text), ForeignKey({"a": "nowhere.a"})])
    with pytest.raises(UnknownReference, match="no table 'nowhere' is declared"):
        create_all(metadata, connection="postgresql://nobody@127.0.0.1:1/none")


def test_a_role_without_create_on_the_database_may_call_it_when_all_is_there(
    engine: Engine, conn: Connection
):
    """Nothing is asked of the database that has been done already."""
    metadata = shop(MetaData())
    create_all(metadata, connection=engine)
    conn.execute(text("CREATE ROLE reader"))
    try:
        conn.execute(text("GRANT USAGE ON SCHEMA shop, pgflow TO reader"))
        conn.execute(text("SET LOCAL ROLE reader"))
        create_all(metadata, connection=conn)
    finally:
        conn.rollback()
