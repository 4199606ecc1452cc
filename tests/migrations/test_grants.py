"""`pgflow grants`: real roles with what it prints, and no more, do their work."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import ProgrammingError

import pgflow
from pgflow.alembic import planning, worlds
from pgflow.alembic.configuration import configure_metadata
from pgflow.alembic.declared.statements import declare_sql
from pgflow.alembic.entity import Mark, Privilege
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.rights import Roles, Section, Work, needed
from pgflow.plugins import ColumnPKPlugin
from tests.migrations.alembic_project import ENV, AlembicProject

_numbers = itertools.count(1)


def _factory(metadata: sa.MetaData, name: str, *columns: sa.Column[int]) -> pgflow.SimpleTable:
    key = ColumnPKPlugin(sa.Column("id", sa.BigInteger))
    items = [sa.Column("v", sa.Text), *columns]
    return pgflow.SimpleTable(name, "warehouse", metadata, items, plugins=[key])


@dataclass
class Place:
    """A database of its own owner's, with three ordinary roles."""

    url: str
    prefix: str
    metadata: sa.MetaData = field(default_factory=sa.MetaData)

    @property
    def roles(self) -> Roles:
        """The migrator, the loader and the reader."""
        return Roles(*(f"{self.prefix}_{name}" for name in ("migrator", "loader", "Reader")))

    def as_role(self, role: str | None) -> sa.Engine:
        """Return an engine that connects as a role."""
        assert role is not None
        return create_engine(sa.make_url(self.url).set(username=role), poolclass=NullPool)

    def admin(self, *statements: str) -> None:
        """Run statements as the database's owner."""
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def sections(self, work: Work | None = None, roles: Roles | None = None) -> tuple[Section, ...]:
        """Return what the roles need by now."""
        engine = create_engine(self.url, poolclass=NullPool)
        with engine.connect() as conn:
            return needed(conn, [self.metadata], roles or self.roles, work or Work())

    def grant(self, work: Work | None = None) -> list[str]:
        """Give the roles what they need, and return the statements."""
        found = [each for section in self.sections(work) for each in section.statements]
        self.admin(*found)
        return found

    def migrate(self) -> list[str]:
        """Migrate as the migrator, and return the titles of the steps."""
        configure_metadata(self.metadata)
        with self.as_role(self.roles.migrator).begin() as conn:
            found = planning.migration(*worlds.compare(conn, self.metadata))
            for step in found.upgrade:
                for statement in step.statements:
                    conn.exec_driver_sql(statement.sql, execution_options={"no_parameters": True})
        return [step.title for step in found.upgrade]


@pytest.fixture
def place(make_database: Callable[[], str]) -> Iterator[Place]:
    """A database in which PUBLIC may nothing."""
    found = Place(make_database(), f"pgflow_{os.getpid()}_{next(_numbers)}")
    database = sa.make_url(found.url).database
    found.admin(
        f"REVOKE ALL ON DATABASE {database} FROM PUBLIC",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        "CREATE SCHEMA source CREATE TABLE users (id bigint PRIMARY KEY, v text)",
        "INSERT INTO source.users VALUES (1, 'a'), (2, 'b')",
    )
    yield found
    for role in found.roles.named:
        found.admin(
            f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN "
            f'DROP OWNED BY "{role}" CASCADE; DROP ROLE "{role}"; END IF; END $$'
        )


WRITES = frozenset({"SELECT", "INSERT", "UPDATE"})
WORK = Work({("warehouse", "users"): WRITES}, {("source", "users")})


def test_three_ordinary_roles_do_their_work(place: Place) -> None:
    """A migrator migrates, a loader loads and a reader reads; none may do more."""
    users = _factory(place.metadata, "users")
    loader, reader = place.as_role(place.roles.loader), place.as_role(place.roles.reader)
    pipeline = pgflow.Pipeline(
        "users",
        target=users,
        source="SELECT id, v FROM source.users",
        mode="merge",
        connection=loader,
    )
    place.grant(WORK)
    assert "Create table warehouse.users" in place.migrate()
    assert place.migrate() == []
    place.grant(WORK)
    assert pipeline.sync().inserted == 2
    with reader.connect() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM warehouse.users").scalar() == 2
    for engine, statement in (
        (reader, "INSERT INTO warehouse.users (id) VALUES (3)"),
        (reader, "SELECT * FROM pgflow.runs"),
        (reader, "CREATE TABLE warehouse.mine ()"),
        (reader, "CREATE TABLE public.mine ()"),
        (loader, "DELETE FROM warehouse.users"),
        (loader, "TRUNCATE warehouse.users"),
        (loader, "ALTER TABLE warehouse.users ADD COLUMN w text"),
        (loader, "DELETE FROM pgflow.runs"),
    ):
        with engine.connect() as conn, pytest.raises(ProgrammingError, match="denied|owner"):
            conn.exec_driver_sql(statement)


def test_tables_of_the_future_are_covered(place: Place) -> None:
    """A table that a later migration makes is readable and writable at once, and no difference."""
    _factory(place.metadata, "users")
    place.grant(WORK)
    place.migrate()
    place.grant(WORK)
    _factory(place.metadata, "orders")
    assert place.migrate() == ["Create table warehouse.orders"]
    assert place.migrate() == []
    with place.as_role(place.roles.loader).begin() as conn:
        conn.exec_driver_sql("INSERT INTO warehouse.orders (id) VALUES (1)")
    with place.as_role(place.roles.reader).connect() as conn:
        assert conn.exec_driver_sql("SELECT id FROM warehouse.orders").scalar() == 1


def test_the_statements_may_be_run_again(place: Place) -> None:
    """Once the roles and tables are there, the statements stay the same and change nothing."""
    _factory(place.metadata, "users")
    place.grant(WORK)
    place.migrate()
    first = place.grant(WORK)
    assert place.grant(WORK) == first
    assert not any(each.startswith("CREATE") for each in first)


def test_default_privileges_that_are_not_declared_stay(place: Place) -> None:
    """Who may use a schema by declaration keeps default privileges that others gave in it."""
    reader = place.roles.reader
    place.admin(f'CREATE ROLE "{reader}" LOGIN')
    _factory(place.metadata, "users")
    declare_sql(place.metadata, f'GRANT USAGE ON SCHEMA warehouse TO "{reader}"')
    place.grant()
    place.migrate()
    assert any(each.startswith("ALTER DEFAULT PRIVILEGES") for each in place.grant())
    assert place.migrate() == []


def test_what_somebody_else_made_is_handed_over(place: Place) -> None:
    """A migrator can only change what it owns: tables that are there change their owner."""
    _factory(place.metadata, "users")
    pgflow.create_all(place.metadata, connection=create_engine(place.url, poolclass=NullPool))
    migrator = place.roles.migrator
    statements = place.grant(WORK)
    assert f"ALTER TABLE warehouse.users OWNER TO {migrator}" in statements
    assert f"ALTER SCHEMA warehouse OWNER TO {migrator}" in statements
    assert not any("source" in each and "OWNER" in each for each in statements)
    _factory(place.metadata, "orders")
    place.metadata.tables["warehouse.users"].append_column(sa.Column("w", sa.Text))
    assert set(place.migrate()) == {
        "Add column warehouse.users.w",
        "Create table warehouse.orders",
    }


@pytest.mark.parametrize("table", ["alembic_version", "shop_version", "meta.versions"])
def test_the_version_table_is_handed_over(place: Place, tmp_path: Path, table: str) -> None:
    """A migrator goes on with a history that another role began, whatever its table is called."""
    schema, _, name = table.rpartition(".")
    if schema:
        place.admin(f"CREATE SCHEMA {schema}")
    # Somebody else's history, which stays theirs.
    place.admin("CREATE SCHEMA theirs CREATE TABLE alembic_version (version_num varchar(32))")
    _factory(place.metadata, "users")
    begun = AlembicProject(tmp_path, create_engine(place.url, poolclass=NullPool))
    env = tmp_path / "env.py"
    where = f"version_table={name!r}, version_table_schema={schema or None!r},"
    env.write_text(ENV.replace("connection=connection,", f"connection=connection, {where}"))
    begun.revision(place.metadata)
    begun.upgrade()
    statements = place.grant()
    migrator = place.roles.migrator
    assert f"ALTER TABLE {schema or 'public'}.{name} OWNER TO {migrator}" in statements
    assert not any("theirs" in each for each in statements)
    assert not any(each.startswith("ALTER TABLE") for each in place.grant())
    begun.config.attributes["engine"] = place.as_role(migrator)
    _factory(place.metadata, "orders")
    begun.revision(place.metadata)
    begun.upgrade()
    assert begun.discards(place.metadata) == ""


def test_missing_roles_are_made_and_remarks_said(place: Place) -> None:
    """Roles that are not there are created; what cannot be granted yet is said."""
    _factory(place.metadata, "users")
    roles, migrator, loader, reader = place.sections(Work(remarks=("x reads.",)))
    assert roles.statements == tuple(
        f"CREATE ROLE {name} LOGIN"
        for name in (place.roles.migrator, place.roles.loader, f'"{place.roles.reader}"')
    )
    assert "out of band" in roles.remarks[0]
    assert migrator.title == f"{place.roles.migrator} runs migrations"
    assert loader.remarks[-1] == "x reads."
    assert reader.remarks == (
        "Not there yet: warehouse. Run this command again after the first migration.",
    )


def test_serial_columns_need_their_sequences(place: Place) -> None:
    """A loader may use the sequence of a serial column of its target; identity needs nothing."""
    place.admin(
        "CREATE SCHEMA warehouse",
        "CREATE TABLE warehouse.users (id serial, i integer GENERATED ALWAYS AS IDENTITY)",
        "CREATE TABLE warehouse.other (id serial)",
    )
    [section] = place.sections(WORK, Roles(loader="postgres"))
    sequences = [each for each in section.statements if "SEQUENCE" in each]
    assert sequences == ["GRANT USAGE ON SEQUENCE warehouse.users_id_seq TO postgres"]


def test_rights_that_the_role_grants_anyway_are_not_declared(place: Place) -> None:
    """Default privileges of the migrator for the whole database make no difference."""
    place.grant()
    migrator, reader = place.roles.migrator, place.roles.reader
    place.admin(
        f'ALTER DEFAULT PRIVILEGES FOR ROLE {migrator} GRANT SELECT ON TABLES TO "{reader}"',
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {migrator} REVOKE USAGE ON TYPES FROM PUBLIC",
    )
    users = _factory(place.metadata, "users")
    declare_sql(place.metadata, "CREATE TYPE warehouse.state AS ENUM ('a')")
    place.migrate()
    assert place.migrate() == []
    with place.as_role(migrator).connect() as conn:
        live = worlds.compare(conn, place.metadata).live
        table = EntityIdentifier("warehouse", users.table.name, kind="table")
        assert live[table].privileges == {Privilege(str(reader), "SELECT")}
        assert live[table].mark == Mark()
