"""Events of OpenLineage: what the specification wants, and nothing secret."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, MetaData, Text

from pgflow.declare.rows import CSV
from pgflow.declare.sources import Query
from pgflow.errors import InvalidSource
from pgflow.factories.pipeline import Pipeline
from pgflow.factories.simple import SimpleTable
from pgflow.graph.openlineage import job_events
from pgflow.plugins import ColumnPKPlugin
from pgflow.project import Project

URL = "postgresql://loader:geheim@db.example.com:6543/dw"
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def pipeline(name: str, metadata: MetaData, **options: Any) -> Pipeline:
    """A pipeline into a table of its own name, on a server that nobody asks."""
    key = ColumnPKPlugin(Column("id", BigInteger, comment="The number."))
    target = SimpleTable(name, "warehouse", metadata, [Column("v", Text)], plugins=[key])
    return Pipeline(name, target=target, mode="merge", **{"connection": URL, **options})


def events(*pipelines: Pipeline, **options: Any) -> list[Any]:
    """The events of a project of these pipelines."""
    tables: Any = {t.target_label: t.sync_target.table for p in pipelines for t in p.sync_targets}
    project = Project({p.name: p for p in pipelines}, tables)
    return [json.loads(each) for each in job_events(project, at=NOON, **options)]


def test_a_pipeline_is_a_job_event_with_datasets_by_host_and_database() -> None:
    """Namespaces and names are those of the specification; facets say who wrote them."""
    metadata = MetaData()

    def load() -> str:
        """Load orders."""
        return "SELECT id, name AS v FROM app.orders"

    (event,) = events(pipeline("orders", metadata, body=load), columns=True, namespace="shop")
    assert event["schemaURL"].endswith("/spec/2-0-2/OpenLineage.json#/$defs/JobEvent")
    assert event["eventTime"] == "2024-01-01T12:00:00Z"
    assert event["producer"].startswith("urn:pgflow:")
    assert (event["job"]["namespace"], event["job"]["name"]) == ("shop", "orders")
    facets = event["job"]["facets"]
    assert facets["sql"]["query"] == "SELECT id, name AS v FROM app.orders"
    assert facets["documentation"]["description"] == "Load orders."
    place = "postgres://db.example.com:6543"
    assert event["inputs"] == [{"namespace": place, "name": "dw.app.orders", "facets": {}}]
    (output,) = event["outputs"]
    assert (output["namespace"], output["name"]) == (place, "dw.warehouse.orders")
    assert output["facets"]["schema"]["fields"][0] == {
        "name": "id",
        "type": "BIGINT",
        "description": "The number.",
    }
    assert output["facets"]["columnLineage"]["fields"] == {
        "id": {"inputFields": [{"namespace": place, "name": "dw.app.orders", "field": "id"}]},
        "v": {"inputFields": [{"namespace": place, "name": "dw.app.orders", "field": "name"}]},
    }
    for facet in (*facets.values(), *output["facets"].values()):
        assert facet["_producer"] == event["producer"]
        assert facet["_schemaURL"].startswith("https://openlineage.io/spec/facets/")


def test_no_password_and_no_value_is_part_of_an_event() -> None:
    """Values of parameters stay placeholders; URLs give host, port and database only."""
    source = Query("SELECT id, v FROM app.t WHERE v = :secret", {"secret": "geheim"})
    text = json.dumps(events(pipeline("orders", MetaData(), source=source), columns=True))
    assert "geheim" not in text
    assert "loader" not in text
    assert "v = $1" in text


def test_what_is_not_known_is_left_out() -> None:
    """Columns of which not all is known have no lineage; files are inputs by their path."""
    metadata = MetaData()
    star = pipeline("star", metadata, source="SELECT * FROM app.orders")
    files = pipeline("files", metadata, source=CSV("data/*.csv"))
    first, second = events(star, files, columns=True)
    assert "columnLineage" not in first["outputs"][0]["facets"]
    assert second["inputs"] == [{"namespace": "file", "name": "data/*.csv"}]
    assert "sql" not in second["job"]["facets"]


def test_a_connection_without_a_database_is_refused() -> None:
    """A dataset without its database would be somebody else's."""
    wrong = pipeline("orders", MetaData(), source="TABLE app.t", connection="postgresql://h:1")
    with pytest.raises(InvalidSource, match="does not say its database"):
        events(wrong)
