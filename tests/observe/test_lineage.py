"""Runs as events of OpenLineage: each begins and ends once, and none fails for it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import DuplicateKeys, MissingExtra
from pgflow.graph.run_events import LineageObserver
from pgflow.project import Project


def watched(pipeline: Any, path: Path, **options: Any) -> LineageObserver:
    """An observer of a project of one pipeline, which writes to a file."""
    tables = {each.target_label: each.sync_target.table for each in pipeline.sync_targets}
    return LineageObserver(path, Project({pipeline.name: pipeline}, tables), **options)


def events(path: Path) -> list[Any]:
    """The events in a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_is_told_with_its_id_its_datasets_and_its_rows(world: Any, tmp_path: Path) -> None:
    """START and COMPLETE bear the run of the history; a dry run is not told."""
    pipeline = world.pipe(world.table(), "SELECT id, a, b FROM w.s", mode="merge")
    world.fill((1, "a", 1), (2, "b", 2))
    path = tmp_path / "lineage.jsonl"
    observer = watched(pipeline, path, namespace="shop", columns=True)
    pipeline.dry_run(observer=observer)
    assert not path.exists()
    result = pipeline.sync(observer=observer)
    start, complete = events(path)
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    for each in (start, complete):
        assert each["schemaURL"].endswith("/2-0-2/OpenLineage.json#/$defs/RunEvent")
        assert each["run"] == {"runId": str(result.targets[0].run_id), "facets": {}}
        assert (each["job"]["namespace"], each["job"]["name"]) == ("shop", "p")
        assert each["job"]["facets"]["sql"]["query"] == "SELECT id, a, b FROM w.s"
        assert [one["name"].partition(".")[2] for one in each["inputs"]] == ["w.s"]
        assert [one["name"].partition(".")[2] for one in each["outputs"]] == ["w.t"]
        assert {"schema", "columnLineage"} <= set(each["outputs"][0]["facets"])
    assert start["eventTime"] < complete["eventTime"]
    assert "outputFacets" not in start["outputs"][0]
    assert complete["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 2


def test_a_run_of_a_schedule_bears_the_instant_of_its_firing(world: Any, tmp_path: Path) -> None:
    """Each event says so, in UTC, also of the run that finds its firing done."""
    pipeline = world.pipe(world.table(), "SELECT id, a, b FROM w.s", mode="merge")
    world.fill((1, "a", 1))
    path = tmp_path / "lineage.jsonl"
    at = datetime.fromisoformat("2026-03-01T06:00:00+01:00")
    for _ in range(2):
        pipeline.sync(firing=at, observer=watched(pipeline, path))
    told = events(path)
    assert [each["eventType"] for each in told] == ["START", "COMPLETE", "START", "ABORT"]
    for each in told:
        facet = each["run"]["facets"]["nominalTime"]
        assert facet.pop("_producer").startswith("urn:pgflow:")
        assert facet == {
            "_schemaURL": "https://openlineage.io/spec/facets/1-0-1/NominalTimeRunFacet.json"
            "#/$defs/NominalTimeRunFacet",
            "nominalStartTime": "2026-03-01T05:00:00Z",
        }


def test_failures_are_told_and_so_are_runs_that_could_not_begin(world: Any, tmp_path: Path) -> None:
    """FAIL bears the error, also where the database is down, when no run has an id."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1), (1, "b", 1))
    path = tmp_path / "lineage.jsonl"
    with pytest.raises(DuplicateKeys) as raised:
        pipeline.sync(observer=watched(pipeline, path))
    start, fail = events(path)
    assert (start["eventType"], fail["eventType"]) == ("START", "FAIL")
    assert fail["run"]["facets"]["errorMessage"]["message"] == str(raised.value)
    path.unlink()
    nowhere = sa.create_engine("postgresql+psycopg://127.0.0.1:1/none")
    down = pgflow.Pipeline(
        "p", target=world.table("u"), mode="append", source="SELECT 1 AS id", connection=nowhere
    )
    with pytest.raises((pgflow.PgflowError, sa.exc.OperationalError)):
        down.sync(observer=watched(down, path))
    start, fail = events(path)
    assert (start["eventType"], fail["eventType"]) == ("START", "FAIL")
    assert start["run"]["runId"] == fail["run"]["runId"]


def test_who_takes_events_ends_no_run(
    world: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that raises, and a project that cannot be described, are logged."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))

    def broken(event: str) -> None:
        raise OSError("the catalogue is away")

    assert pipeline.sync(observer=LineageObserver(broken)).inserted == 1
    assert "the catalogue is away" in caplog.text
    told: list[str] = []
    pipeline.sync(observer=LineageObserver(told.append))
    complete = json.loads(told[1])
    assert complete["job"] == {"namespace": "pgflow", "name": "p"}
    assert (complete["inputs"], complete["outputs"]) == ([], [])
    monkeypatch.setitem(__import__("sys").modules, "sqlglot", None)
    with pytest.raises(MissingExtra, match="sqlglot"):
        LineageObserver(told.append, columns=True)
