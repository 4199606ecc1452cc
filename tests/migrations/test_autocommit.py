"""What cannot run in a transaction: apart from the rest, with timeouts of its own, repeatable."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.migration import MigrationContext
from sqlalchemy import Column, Engine, Index, Integer, MetaData, Table, Text, inspect
from sqlalchemy.exc import IntegrityError

from pgflow.alembic import declare_sql
from tests.migrations.alembic_project import AlembicProject
from tests.migrations.revision_files import use_env


def declared(*columns: str, unique: str | None = None) -> MetaData:
    metadata = MetaData()
    made = [Column(name, Text) for name in columns]
    table = Table("t", metadata, Column("id", Integer, primary_key=True), *made, schema="app")
    if unique is not None:
        Index(f"t_{unique}_idx", table.c[unique], unique=True)
    return metadata


@pytest.fixture
def project(tmp_path: Path, engine: Engine) -> AlembicProject:
    """A project for which every table is big, with one that has two equal rows."""
    found = AlembicProject(
        tmp_path / "migrations", engine, big_table_bytes=0, online_lock_timeout="7min"
    )
    use_env(found)
    found.revision(declared("a"))
    found.upgrade()
    with engine.begin() as conn:
        conn.exec_driver_sql("INSERT INTO app.t (id, a) VALUES (1, 'x'), (2, 'x')")
    return found


def head(engine: Engine) -> tuple[str, ...]:
    with engine.connect() as conn:
        return MigrationContext.configure(conn).get_current_heads()


def test_the_rest_comes_first_in_a_file_of_its_own(project: AlembicProject) -> None:
    """A column and an index on a big table are two files, the second without a transaction."""
    first, second = project.revision(declared("a", "b", unique="b"))
    assert "ADD COLUMN b" in first.upgrade
    assert "autocommit_block" not in first.upgrade
    assert "CREATE UNIQUE INDEX CONCURRENTLY" in second.upgrade
    assert "SET lock_timeout = '7min'" in second.upgrade
    assert "ADD COLUMN" not in second.upgrade
    assert "DROP INDEX" in second.downgrade
    assert "DROP INDEX" not in first.downgrade
    assert "DROP COLUMN b" in first.downgrade


def test_a_failed_index_can_be_tried_again(project: AlembicProject, engine: Engine) -> None:
    """The first file stays done, the invalid index is dropped, and nothing is left to be done."""
    wanted = declared("a", "b", unique="a")
    project.revision(wanted)
    with pytest.raises(IntegrityError):
        project.upgrade()
    (done,) = head(engine)
    with engine.begin() as conn:
        valid = conn.exec_driver_sql("SELECT indisvalid FROM pg_index WHERE indnatts = 1")
        assert False in valid.scalars().all()
        conn.exec_driver_sql("UPDATE app.t SET a = 'y' WHERE id = 1")
    project.upgrade()
    assert head(engine) != (done,)
    command.check(project.config)
    project.downgrade("-1")
    assert head(engine) == (done,)
    assert inspect(engine).get_indexes("t", "app") == []
    project.upgrade()
    command.check(project.config)


def test_a_failed_way_back_can_be_tried_again(project: AlembicProject, engine: Engine) -> None:
    """An index that the downgrade cannot build is all that is left to be done."""
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE app.t SET a = 'y' WHERE id = 1")
    project.revision(declared("a", unique="a"))
    project.upgrade()
    (before,) = head(engine)
    changed = declared("a", "b")
    Index("t_a_idx", changed.tables["app.t"].c.a)
    preparation, main, later = project.revision(changed)
    assert "DROP INDEX" in preparation.upgrade
    assert "CREATE UNIQUE INDEX CONCURRENTLY" in preparation.downgrade
    assert "ADD COLUMN b" in main.upgrade
    assert "CREATE INDEX CONCURRENTLY" in later.upgrade
    project.upgrade()
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE app.t SET a = 'x'")
    with pytest.raises(IntegrityError):
        project.downgrade(before)
    assert [each["name"] for each in inspect(engine).get_columns("t", "app")] == ["id", "a"]
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE app.t SET a = id::text")
    project.downgrade(before)
    (index,) = inspect(engine).get_indexes("t", "app")
    assert (index["name"], index["unique"]) == ("t_a_idx", True)
    project.upgrade()
    command.check(project.config)


def test_new_values_of_an_enum_can_be_used_in_the_same_file(
    project: AlembicProject, engine: Engine
) -> None:
    """Values are added before the transaction in which a default uses them."""

    def moods(default: str, *values: str) -> MetaData:
        metadata = declared("a")
        listed = ", ".join(f"'{value}'" for value in values)
        declare_sql(metadata, f"CREATE TYPE app.mood AS ENUM ({listed})")
        declare_sql(metadata, f"CREATE TABLE app.u (m app.mood DEFAULT '{default}')")
        return metadata

    project.revision(moods("calm", "calm"))
    project.upgrade()
    (written,) = project.revision(moods("wild", "calm", "wild"))
    assert written.upgrade.index("ADD VALUE") < written.upgrade.index("SET DEFAULT")
    (default,) = [line for line in written.upgrade.splitlines() if "SET DEFAULT" in line]
    assert default.startswith("op.execute"), "only the values are added outside the transaction"
    project.upgrade()
    command.check(project.config)
    with engine.begin() as conn:
        assert (
            conn.exec_driver_sql("INSERT INTO app.u DEFAULT VALUES RETURNING m").scalar() == "wild"
        )


def test_a_file_in_one_transaction_per_migration(project: AlembicProject, engine: Engine) -> None:
    """Both files also run where every migration has its own transaction."""
    project.config.attributes["context"] = {"transaction_per_migration": True}
    project.revision(declared("a", "b", unique="b"))
    project.upgrade()
    command.check(project.config)
    project.downgrade("base")
    assert not inspect(engine).has_table("t", "app")
