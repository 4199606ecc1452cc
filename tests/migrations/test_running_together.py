"""Migrations beside others who migrate, and beside others who change the same schemas."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Engine, Index, Integer, MetaData, Table, Text, text

from pgflow.alembic import catalogue, turns
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.reader import Reader
from pgflow.alembic.respelling import Respelling
from pgflow.alembic.tenants import VERSION_TABLE, move
from pgflow.errors import CatalogueChanging, LockNotGranted
from tests.migrations.alembic_project import AlembicProject
from tests.migrations.revision_files import use_env, write

_WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def declared(*, indexed: bool = False) -> MetaData:
    metadata = MetaData()
    columns: list[Column[Any]] = [Column("id", Integer, primary_key=True), Column("a", Text)]
    table = Table("t", metadata, *columns, schema="app")
    if indexed:
        Index("t_a_idx", table.c.a)
    return metadata


@pytest.fixture
def project(tmp_path: Path, engine: Engine) -> AlembicProject:
    """A project that is not patient, for which every table is big."""
    options: dict[str, Any] = {"lock_timeout": "50ms", "lock_retries": 2, "big_table_bytes": 0}
    found = AlembicProject(tmp_path / "migrations", engine, **options)
    use_env(found)
    return found


def until_somebody_waits(engine: Engine) -> None:
    with engine.connect() as conn:
        for _ in range(1000):
            if conn.exec_driver_sql(_WAITING).scalar():
                return
            conn.rollback()
            threading.Event().wait(0.01)
    raise AssertionError("nobody waits")


# --- others who migrate -----------------------------------------------------------------


def test_a_second_upgrade_waits_and_finds_the_work_done(
    project: AlembicProject, engine: Engine
) -> None:
    """It begins to look for what is to be done when the first one has ended, not before."""
    write(project, "one", None, 'op.execute("CREATE TABLE made_once (id int)")')
    with turns.turn(engine, "alembic_version"):
        second = threading.Thread(target=project.upgrade)
        second.start()
        until_somebody_waits(engine)
        with engine.begin() as conn:  # what the first one does
            conn.exec_driver_sql("CREATE TABLE made_once (id int)")
            MigrationContext.configure(conn).stamp(
                ScriptDirectory.from_config(project.config), "one"
            )
    second.join(20)
    assert not second.is_alive()
    with engine.connect() as conn:
        assert MigrationContext.configure(conn).get_current_heads() == ("one",)


def test_waiting_for_a_turn_is_no_failure(project: AlembicProject, engine: Engine) -> None:
    """The lock_timeout of the migration does not count while another one is under way."""
    write(project, "one", None, "op.execute(\"SET LOCAL lock_timeout = '1ms'\")")
    with turns.turn(engine, "alembic_version"):
        second = threading.Thread(target=project.upgrade)
        second.start()
        until_somebody_waits(engine)
        second.join(0.2)  # longer than lock_timeout
        assert second.is_alive()
    second.join(20)
    with engine.connect() as conn:
        assert MigrationContext.configure(conn).get_current_heads() == ("one",)


def test_a_turn_keeps_no_snapshot(engine: Engine) -> None:
    """CREATE INDEX CONCURRENTLY, which waits for all of them, ends while somebody has a turn."""
    with turns.turn(engine, "x"), engine.connect() as conn:
        kept = "SELECT count(backend_xmin) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        mine = f"{kept} AND datname = current_database()"
        assert conn.exec_driver_sql(mine).scalar() == 0


# --- others who change the schemas ------------------------------------------------------


def test_what_is_gone_when_it_should_be_printed_is_left_out(engine: Engine) -> None:
    """The server prints nothing for a view that was dropped since the query began."""
    query = "SELECT oid, pg_get_viewdef(oid) AS query FROM (VALUES (0::oid), (:view)) AS v (oid)"
    with engine.connect() as conn:
        view = conn.exec_driver_sql("SELECT 'pg_catalog.pg_roles'::regclass::oid").scalar()
        (row,) = Reader(conn).rows(query, {"view": view})
    assert row.oid == view


@pytest.mark.parametrize("times", [1, 9])
def test_a_schema_that_changes_is_read_again(
    times: int, project: AlembicProject, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object that vanishes while it is printed makes the reading begin anew."""
    project.revision(declared())
    project.upgrade()
    failures = fail_at_first(monkeypatch, times)
    command.check(project.config)
    assert not failures


def test_a_schema_that_never_rests_is_told(
    project: AlembicProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some tries the error says what happens, and what the server said."""
    fail_at_first(monkeypatch, 1000)
    with pytest.raises(
        CatalogueChanging, match=r"others drop some of them meanwhile \(.* does not exist\)"
    ):
        project.revision(declared())


def fail_at_first(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    left = list(range(times))
    read = catalogue._entities

    def reading(reader: Reader, schemas: Sequence[str]) -> Mapping[EntityIdentifier, Entity]:
        if left:
            left.pop()
            reader.run("SELECT 'app.gone'::regclass")
        return read(reader, schemas)

    monkeypatch.setattr(catalogue, "_entities", reading)
    return left


# --- tenants ----------------------------------------------------------------------------


@pytest.fixture
def tenant(project: AlembicProject, engine: Engine) -> Respelling:
    """A tenant that has the first revision of two; the second indexes a big table."""
    project.revision(declared())
    project.upgrade()
    respelling = Respelling("app", 'Te"nant', f'Te"nant.{VERSION_TABLE}')
    move_tenant(project, engine, respelling)
    project.revision(declared(indexed=True))
    project.upgrade()
    return respelling


def move_tenant(project: AlembicProject, engine: Engine, respelling: Respelling) -> None:
    script = ScriptDirectory.from_config(project.config)
    with engine.connect() as conn:
        move(conn, project.config, script, respelling, "heads")


def test_a_tenant_gets_the_indexes_of_big_tables(
    project: AlembicProject, engine: Engine, tenant: Respelling
) -> None:
    """What clears the place for an index, and the index, are respelled."""
    move_tenant(project, engine, tenant)
    with engine.connect() as conn:
        query = text("SELECT indexname FROM pg_indexes WHERE schemaname = :schema ORDER BY 1")
        found = conn.scalars(query, {"schema": tenant.new}).all()
    assert found == ["alembic_version_pkc", "t_a_idx", "t_pkey"]


def test_a_tenant_s_migration_gives_way(
    project: AlembicProject, engine: Engine, tenant: Respelling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for a lock as long as every migration does, and tries again as often."""
    write(project, "two", _head(project), 'op.execute("ALTER TABLE app.t ADD COLUMN b int")')
    with engine.connect() as reader:
        reader.exec_driver_sql('SELECT count(*) FROM "Te""nant".t')
        monkeypatch.setattr("time.sleep", lambda _: None)
        with pytest.raises(LockNotGranted, match="tried 3 times"):
            move_tenant(project, engine, tenant)
        monkeypatch.setattr("time.sleep", lambda _: reader.rollback())
        move_tenant(project, engine, tenant)
    with engine.connect() as conn:
        conn.exec_driver_sql('SELECT b FROM "Te""nant".t')


def _head(project: AlembicProject) -> str:
    (head,) = ScriptDirectory.from_config(project.config).get_heads()
    return head
