"""The function that reads a history at an instant, through migrations."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

import pgflow
from pgflow.errors import MissingProducer
from pgflow.plugins import (
    AsOfFunctionPlugin,
    ColumnPKPlugin,
    NoOverlapPlugin,
    Scd2ColumnsPlugin,
    SplitHistoryPlugin,
)
from tests.migrations.alembic_project import AlembicProject

DAY = [datetime(2024, 1, day, tzinfo=UTC) for day in range(1, 29)]
READ = "SELECT {} FROM w.{}('2024-01-02+0')"


def declared(
    *columns: Any, name: str = "t", plugins: Any = None, **options: Any
) -> tuple[sa.MetaData, pgflow.SimpleTable]:
    """A history `w.t` with the function, or with other plugins."""
    metadata = sa.MetaData()
    extra = [AsOfFunctionPlugin()] if plugins is None else plugins
    key = ColumnPKPlugin(sa.Column("id", sa.BigInteger))
    options = {"mode": "scd2", "extra_plugins": extra, **options}
    items = [sa.Column("a", sa.Text), *columns]
    return metadata, pgflow.SimpleTable(name, "w", metadata, items, plugins=[key], **options)


def run(engine: Engine, sql: str) -> list[Any]:
    """Execute SQL in a transaction of its own."""
    with engine.begin() as connection:
        result = connection.exec_driver_sql(sql)
        return [tuple(row) for row in result] if result.returns_rows else []


def migrate(project: AlembicProject, metadata: sa.MetaData) -> str:
    """Bring the database to a metadata, and see that nothing is left to do."""
    (made,) = project.revision(metadata)
    project.upgrade()
    assert project.discards(metadata) == ""
    return str(made.upgrade)


def test_migrations_follow_the_table(engine: Engine, tmp_path: Path) -> None:
    """Columns come, change their type and go, the table is renamed: the function goes along."""
    project = AlembicProject(tmp_path / "project", engine)
    migrate(project, declared()[0])
    run(engine, "INSERT INTO w.t (id, a, valid_from) VALUES (1, '7', '2024-01-01+0')")
    assert run(engine, READ.format("id, a", "t_as_of")) == [(1, "7")]

    migrate(project, declared(sa.Column("b", sa.Integer))[0])
    assert run(engine, READ.format("id, a, b", "t_as_of")) == [(1, "7", None)]
    migrate(project, declared(sa.Column("b", sa.Text))[0])
    assert run(engine, READ.format("pg_typeof(b)::text", "t_as_of")) == [("text",)]
    migrate(project, declared()[0])
    assert run(engine, READ.format("to_jsonb(t_as_of) ? 'b'", "t_as_of")) == [(False,)]

    renamed, _ = declared(name="u", renamed_from="t")
    migrate(project, renamed)
    assert run(engine, READ.format("id, a", "u_as_of")) == [(1, "7")]
    assert run(engine, "SELECT proname FROM pg_proc WHERE proname LIKE '%%as_of'") == [("u_as_of",)]


def test_migrations_follow_the_names(engine: Engine, tmp_path: Path) -> None:
    """The function gets another name, goes, and comes back with a downgrade."""
    project = AlembicProject(tmp_path / "project", engine)
    migrate(project, declared()[0])
    migrate(project, declared(plugins=[AsOfFunctionPlugin(name="then")])[0])
    assert run(engine, READ.format("count(*)", '"then"')) == [(0,)]
    removed = migrate(project, declared(plugins=[])[0])
    assert "DROP FUNCTION" in removed
    functions = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'w'::regnamespace"
    assert run(engine, functions) == [(0,)]
    project.downgrade("-1")
    assert run(engine, READ.format("count(*)", '"then"')) == [(0,)]
    project.downgrade("base")
    assert run(engine, "SELECT to_regclass('w.t')") == [(None,)]


@pytest.mark.parametrize(
    "plugin",
    [AsOfFunctionPlugin(), NoOverlapPlugin(), SplitHistoryPlugin(), Scd2ColumnsPlugin()],
    ids=lambda plugin: type(plugin).__name__,
)
def test_a_table_without_the_mode_is_told_where_the_mode_stands(plugin: Any) -> None:
    """The mode of a pipeline is no mode of its table; no plugin to add is named."""
    with pytest.raises(MissingProducer, match=r'as in @pgflow\.table\(mode="scd2"\)') as refused:
        declared(plugins=[plugin], mode=None)
    assert "Add " not in str(refused.value)


@pytest.mark.parametrize("kind", [AsOfFunctionPlugin, NoOverlapPlugin])
def test_the_pipeline_that_has_the_mode_takes_the_plugin(kind: Any) -> None:
    """With the target's key it stands on the pipeline; without, the message says so."""
    metadata, table = declared(plugins=[], mode=None)
    options: dict[str, Any] = {"target": table, "source": "SELECT 1 AS id", "mode": "scd2"}
    with pytest.raises(MissingProducer, match=rf'give the pipeline {kind.__name__}\("target"\)'):
        pgflow.Pipeline("p", extra_plugins=[kind()], **options)
    pgflow.Pipeline("p", extra_plugins=[kind("target")], **options)
    made = table.table
    assert "valid_to" in made.columns
    if kind is AsOfFunctionPlugin:
        assert "t_as_of" in str(metadata.info)
    else:
        assert "t_id_validity_excl" in {c.name for c in made.constraints}
