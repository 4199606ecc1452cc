"""Plugins that a table gets when it has rows already, and loses again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, DateTime, Engine, MetaData, Text

import pgflow
from pgflow.errors import CannotChange, PostgresTooOld
from pgflow.plugins import (
    AsOfFunctionPlugin,
    ChangeTrackingPlugin,
    NoOverlapPlugin,
    SplitHistoryPlugin,
)
from tests.migrations.alembic_project import AlembicProject

#: What a history gets later.
ADDED: dict[str, dict[str, Any]] = {
    "as of": {"extra_plugins": [AsOfFunctionPlugin()]},
    "change tracking": {"extra_plugins": [ChangeTrackingPlugin()]},
    "no overlap": {"extra_plugins": [NoOverlapPlugin()]},
    "confirmations": {"keep_confirmations": True},
    "version numbers": {"system_columns": {"version_id": "version"}},
}


def history(**options: Any) -> tuple[MetaData, pgflow.Pipeline]:
    """A history by event time, and the pipeline that fills it."""
    metadata = MetaData()
    columns = [
        Column("code", Text),
        Column("name", Text),
        Column("at", DateTime(timezone=True), nullable=False),
    ]
    target = pgflow.SimpleTable(
        "t",
        "app",
        metadata,
        columns,
        keys=["code"],
        mode="scd2",
        event_timestamp_column="at",
        **options,
    )
    source = (
        "SELECT v.code, v.name, v.at::timestamptz FROM (VALUES ('a', 'x', '2024-01-01'),"
        " ('a', 'y', '2024-02-01'), ('b', 'z', '2024-03-01')) AS v (code, name, at)"
    )
    return metadata, pgflow.Pipeline("p", target=target, source=source)


def rows(engine: Engine) -> list[object]:
    """The versions that are there, without what pgflow keeps about them."""
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT code, name, valid_from, valid_to FROM app.t ORDER BY 1, 3"
        )
        return [tuple(row) for row in found]


def load(pipeline: pgflow.Pipeline, engine: Engine) -> None:
    """Sync into a database."""
    with engine.begin() as connection:
        pipeline.sync(connection=connection)


@pytest.mark.parametrize("name", ADDED)
def test_it_comes_and_goes_with_rows_there(name: str, engine: Engine, tmp_path: Path) -> None:
    """Added, reverted, added and taken out by migrations: no version is lost, and loads work."""
    project = AlembicProject(tmp_path / "project", engine)
    metadata, pipeline = history()
    project.revision(metadata)
    project.upgrade()
    load(pipeline, engine)
    before = rows(engine)
    assert len(before) == 3

    metadata, grown = history(**ADDED[name])
    try:
        project.revision(metadata)
    except PostgresTooOld as error:
        assert engine.dialect.server_version_info < (18,)
        pytest.skip(str(error))
    project.upgrade()
    assert rows(engine) == before
    load(grown, engine)
    assert rows(engine) == before
    assert project.discards(history(**ADDED[name])[0]) == ""

    project.downgrade("-1")
    assert rows(engine) == before
    load(pipeline, engine)
    project.upgrade()
    project.revision(history()[0])
    project.upgrade()
    assert rows(engine) == before
    load(pipeline, engine)
    assert project.discards(history()[0]) == ""


def test_a_table_in_one_piece_is_not_split(engine: Engine, tmp_path: Path) -> None:
    """The server cannot split a table that is there: that is refused before, with the way out."""
    project = AlembicProject(tmp_path / "project", engine)
    metadata, pipeline = history()
    project.revision(metadata)
    project.upgrade()
    load(pipeline, engine)
    before = rows(engine)
    with pytest.raises(CannotChange, match=r"(?s)app\.t.*partition"):
        project.revision(history(extra_plugins=[SplitHistoryPlugin()])[0])
    assert rows(engine) == before
