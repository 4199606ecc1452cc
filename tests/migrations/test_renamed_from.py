"""Renamed tables and columns keep their rows: `renamed_from` through real migrations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from sqlalchemy import Connection, Engine, MetaData

import pgflow
from pgflow import Check, Index, Unique, backfill, pk, renamed_from
from pgflow.types import BigInt, Text
from tests.migrations.alembic_project import AlembicProject
from tests.migrations.matrix.workshop import Workshop


@pytest.fixture
def project(engine: Engine, tmp_path: Path) -> AlembicProject:
    """A database with five filled rows in `app.client`, made by a migration."""
    made = AlembicProject(tmp_path / "project", engine)
    made.revision(before())
    made.upgrade()
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO app.client (client_id, mail, town)"
            " SELECT n, n || '@example.com', 'Lisbon' FROM generate_series(1, 5) AS n"
        )
    return made


def before() -> MetaData:
    """A table with everything that has the table's name in its own."""
    metadata = MetaData()

    @pgflow.table(schema="app", metadata=metadata)
    class Client:
        client_id: Annotated[BigInt, pk()]
        mail: Text
        town: Text | None
        __table_items__ = [
            Check("{mail} LIKE '%@%'"),
            Index(None, "lower({town})"),
            Unique("mail"),
        ]

    return metadata


def after(table: str | None = "client", mail: str | None = "mail", schema: str = "app") -> MetaData:
    """The same table and two of its columns under other names."""
    metadata = MetaData()
    email: Any = Annotated[Text, renamed_from(mail)] if mail else Text

    @pgflow.table(schema=schema, metadata=metadata, renamed_from=table)
    class Customer:
        client_id: Annotated[BigInt, pk()]
        email: email
        city: Annotated[Text, renamed_from("town"), backfill("'unknown'")]
        __table_items__ = [
            Check("{email} LIKE '%@%'"),
            Index(None, "lower({city})"),
            Unique("email"),
        ]

    return metadata


def rows(connection: Connection, table: str) -> list[Any]:
    """The rows of a table, with the file that they are in."""
    found = connection.exec_driver_sql(f"SELECT t.* FROM {table} AS t ORDER BY 1").all()
    return [
        connection.exec_driver_sql(f"SELECT pg_relation_filenode('{table}')").scalar(),
        *(tuple(row) for row in found),
    ]


def test_a_table_and_its_columns_get_other_names(
    project: AlembicProject, engine: Engine, conn: Connection
) -> None:
    """Names change, and nothing else: same file, same rows; constraints and indexes follow."""
    old, state = rows(conn, "app.client"), Workshop(engine).state()
    conn.commit()
    (written,) = project.revision(after())
    assert "DROP" not in written.upgrade
    assert "CREATE" not in written.upgrade
    project.upgrade()
    assert rows(conn, "app.customer") == old
    conn.commit()
    assert project.discards(after()) == ""
    project.downgrade("-1")
    assert Workshop(engine).state() == state


def test_a_former_name_may_stay(project: AlembicProject) -> None:
    """Where the new table is, the former name does nothing, even if the old one comes back."""
    project.revision(after())
    project.upgrade()
    both = after()

    @pgflow.table(schema="app", metadata=both)
    class Client:
        client_id: Annotated[BigInt, pk()]

    (written,) = project.revision(both)
    assert written.upgrade.count("CREATE TABLE") == 1
    assert "RENAME" not in written.upgrade
    project.upgrade()
    assert project.discards(both) == ""


def test_a_new_database_gets_the_new_name(engine: Engine, tmp_path: Path) -> None:
    """Where there is nothing to rename, the table is created."""
    project = AlembicProject(tmp_path / "new", engine)
    (written,) = project.revision(after())
    assert "RENAME" not in written.upgrade
    project.upgrade()
    assert project.discards(after()) == ""


def test_a_table_moves_to_another_schema(project: AlembicProject, conn: Connection) -> None:
    """A former name with its schema moves the table with its rows."""
    old = rows(conn, "app.client")
    conn.commit()
    project.revision(after("app.client", schema="crm"))
    project.upgrade()
    assert rows(conn, "crm.customer") == old
    conn.commit()
    assert project.discards(after("app.client", schema="crm")) == ""
    project.downgrade("-1")
    assert rows(conn, "app.client") == old


def test_without_a_former_name_the_column_is_another_one(project: AlembicProject) -> None:
    """A new NOT NULL column over rows is refused, and the way out is named."""
    with pytest.raises(pgflow.PgflowError, match="email.*(?s:.*)backfill"):
        project.revision(after(mail=None))


def test_rows_get_the_backfill(project: AlembicProject, conn: Connection) -> None:
    """What was NULL has the declared value before the column becomes NOT NULL."""
    conn.exec_driver_sql("UPDATE app.client SET town = NULL WHERE client_id > 3")
    conn.commit()
    project.revision(after())
    project.upgrade()
    cities = conn.exec_driver_sql("SELECT city FROM app.customer ORDER BY client_id").scalars()
    assert list(cities) == ["Lisbon", "Lisbon", "Lisbon", "unknown", "unknown"]


def test_a_new_column_is_filled_from_others(project: AlembicProject, conn: Connection) -> None:
    """A backfill may use any column of the row, also one that is new or renamed itself."""
    metadata = MetaData()

    @pgflow.table(schema="app", metadata=metadata)
    class Client:
        client_id: Annotated[BigInt, pk()]
        a_domain: Annotated[Text, backfill("split_part(email, '@', 2) || z_suffix")]
        email: Annotated[Text, renamed_from("mail")]
        z_suffix: Annotated[Text, backfill("'!'")]
        town: Text | None

    project.revision(metadata)
    project.upgrade()
    found = conn.exec_driver_sql("SELECT DISTINCT a_domain FROM app.client").scalars().all()
    assert found == ["example.com!"]
    conn.commit()
    assert project.discards(metadata) == ""


def test_bookkeeping_moves_with_its_rows(engine: Engine, conn: Connection, tmp_path: Path) -> None:
    """A changed utility_schema that says where the tables were takes the history along."""

    def declare(**config: Any) -> tuple[MetaData, pgflow.Pipeline]:
        metadata = MetaData()
        pgflow.Config(**config).attach(metadata)
        table = pgflow.SimpleTable("t", "app", metadata, [])
        return metadata, pgflow.Pipeline(
            "p", target=table, source="SELECT 1::bigint AS id", mode="append", connection=engine
        )

    project = AlembicProject(tmp_path / "moved", engine)
    metadata, pipeline = declare()
    project.revision(metadata)
    project.upgrade()
    assert pipeline.sync().inserted == 1

    moved: dict[str, Any] = {"utility_schema": "ops", "utility_schema_renamed_from": "pgflow"}
    (written,) = project.revision(declare(**moved)[0])
    assert "DROP TABLE" not in written.upgrade
    project.upgrade()
    assert conn.exec_driver_sql("SELECT count(*) FROM ops.runs").scalar() == 1
    conn.commit()
    assert project.discards(declare(**moved)[0]) == ""
    declare(**moved)[1].sync()
    assert conn.exec_driver_sql("SELECT count(*) FROM ops.runs").scalar() == 2
