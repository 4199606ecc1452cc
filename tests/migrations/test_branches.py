"""Several lines of revisions: branches with labels, splices, step by step there and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.migration import MigrationContext
from sqlalchemy import Column, Engine, Index, Integer, MetaData, Table, Text, inspect

from tests.migrations.alembic_project import AlembicProject
from tests.migrations.revision_files import use_env


def declared(**tables: list[str]) -> MetaData:
    metadata = MetaData()
    for name, columns in tables.items():
        made = [Column(each, Text) for each in columns]
        Table(name, metadata, Column("id", Integer, primary_key=True), *made, schema="app")
    return metadata


def columns(engine: Engine, table: str = "t") -> list[str]:
    return [each["name"] for each in inspect(engine).get_columns(table, "app")]


@pytest.fixture
def project(tmp_path: Path, engine: Engine) -> AlembicProject:
    """A project with one table, migrated."""
    found = AlembicProject(tmp_path / "migrations", engine)
    use_env(found)
    found.config.attributes["metadata"] = declared(t=[])
    command.revision(found.config, "base", autogenerate=True, rev_id="base1")
    found.upgrade()
    return found


def revise(project: AlembicProject, metadata: MetaData, rev_id: str, **more: object) -> None:
    project.config.attributes["metadata"] = metadata
    command.revision(project.config, rev_id, autogenerate=True, rev_id=rev_id, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("one_by_one", [False, True])
def test_steps_there_and_back(project: AlembicProject, engine: Engine, one_by_one: bool) -> None:
    """Each revision can be taken alone, up and down, in one transaction or in many."""
    project.config.attributes["context"] = {"transaction_per_migration": one_by_one}
    revise(project, declared(t=["a"]), "one")
    project.upgrade()
    revise(project, declared(t=["a", "b"]), "two")
    project.upgrade("+1")
    assert columns(engine) == ["id", "a", "b"]
    project.downgrade("-1")
    assert columns(engine) == ["id", "a"]
    project.downgrade("base1")
    assert columns(engine) == ["id"]
    project.upgrade("two")
    assert columns(engine) == ["id", "a", "b"]
    assert project.discards(declared(t=["a", "b"])) == ""


def test_two_branches_meet(project: AlembicProject, engine: Engine) -> None:
    """Branches with labels are upgraded together, merged, and taken back one by one."""
    revise(project, declared(t=["a"]), "left", head="base1", branch_label="west")
    project.upgrade("heads")
    revise(
        project, declared(t=["a"], u=[]), "right", head="base1", splice=True, branch_label="east"
    )
    project.upgrade("heads")
    with engine.connect() as conn:
        assert set(MigrationContext.configure(conn).get_current_heads()) == {"left", "right"}
    revise(project, declared(t=["a", "b"], u=[]), "more", head="west@head")
    project.upgrade("heads")
    command.merge(project.config, "heads", "merged", rev_id="merged")
    project.upgrade("heads")
    assert (columns(engine), columns(engine, "u")) == (["id", "a", "b"], ["id"])
    command.check(project.config)
    project.downgrade("base1")
    assert columns(engine) == ["id"]
    assert not inspect(engine).has_table("u", "app")


def test_a_split_migration_stays_on_its_branch(tmp_path: Path, engine: Engine) -> None:
    """The second file follows the first, also where that one is a splice with a label."""
    project = AlembicProject(tmp_path / "split", engine, big_table_bytes=0)
    use_env(project)
    project.config.attributes["metadata"] = declared(t=["a"])
    command.revision(project.config, "base", autogenerate=True, rev_id="base1")
    project.upgrade()
    revise(project, declared(t=["a", "b"]), "left")
    project.upgrade()
    changed = declared(t=["a", "b", "c"])
    Index("t_a_idx", changed.tables["app.t"].c.a)
    revise(project, changed, "right", head="base1", splice=True, branch_label="east")
    project.upgrade("east@head")
    (index,) = inspect(engine).get_indexes("t", "app")
    assert index["name"] == "t_a_idx"
    command.check(project.config)
    project.downgrade("right")
    assert (inspect(engine).get_indexes("t", "app"), columns(engine)) == ([], ["id", "a", "b", "c"])
    project.downgrade("base1")
    assert columns(engine) == ["id", "a"]
