"""Projects: choosing pipelines by name and pattern, and the order in which they run."""

from __future__ import annotations

import types

import pytest
from sqlalchemy import BigInteger, Column, MetaData, Text, column, select, table

from pgflow.declare.lookups import Lookup
from pgflow.declare.sources import Query, SourceTable
from pgflow.declare.targets import Target
from pgflow.decorators import table as table_decorator
from pgflow.errors import PipelineCycle, UnknownPipeline, UnknownTable
from pgflow.factories.pipeline import Pipeline
from pgflow.factories.simple import SimpleTable
from pgflow.plugins import ColumnPKPlugin
from pgflow.project import Project
from pgflow.project.contents import find
from pgflow.project.order import ordered
from pgflow.types import BigInt

# --- finding and choosing ------------------------------------------------------------


def make_table(name: str, metadata: MetaData, schema: str = "warehouse") -> SimpleTable:
    """A table with the key `id` and a text `v`."""
    key = ColumnPKPlugin(Column("id", BigInteger))
    return SimpleTable(name, schema, metadata, [Column("v", Text)], plugins=[key])


def pipeline(
    name: str, metadata: MetaData, source: object = "SELECT 1 AS id, NULL AS v", **options: object
) -> Pipeline:
    """A pipeline into a table of its own name."""
    given = {"target": make_table(name, metadata), "mode": "merge", "source": source, **options}
    return Pipeline(name, **given)  # type: ignore[arg-type]  # options of every kind


def project_of(*pipelines: Pipeline) -> Project:
    """A project with these pipelines and their targets."""
    tables = {t.target_label: t.sync_target.table for p in pipelines for t in p.sync_targets}
    return Project({p.name: p for p in pipelines}, tables)


def names(pipelines: tuple[Pipeline, ...]) -> list[str]:
    """The names of pipelines."""
    return [each.name for each in pipelines]


def test_names_and_patterns_choose_pipelines() -> None:
    """Names choose in the order given; patterns fit names, target names and tags; none twice."""
    metadata = MetaData()
    project = project_of(
        pipeline("sales_day", metadata),
        pipeline("sales_month", metadata, tags=("nightly",)),
        Pipeline("other", target=make_table("x", metadata, "mart"), mode="merge", source="TABLE y"),
    )
    assert names(project.select(["other", "sales_day"])) == ["other", "sales_day"]
    assert names(project.select(["sales_month", "sales_*"])) == ["sales_month", "sales_day"]
    assert names(project.select(["mart.*"])) == ["other"]
    assert names(project.select(["warehouse.sales_day"])) == ["sales_day"]
    assert names(project.select(["tag:night*"])) == ["sales_month"]


def test_a_name_or_pattern_that_fits_nothing_is_refused() -> None:
    """A typing error never makes a run do nothing; the nearest name is offered."""
    project = project_of(pipeline("sales_day", MetaData()))
    with pytest.raises(UnknownPipeline) as caught:
        project.select(["sales_day", "sale_day"])
    assert caught.value.nearest == "sales_day"
    assert str(caught.value) == (
        "there is no pipeline 'sale_day'. Did you mean 'sales_day'? The project has: sales_day."
    )
    with pytest.raises(UnknownPipeline, match=r"there is no pipeline 'mart\.\*'"):
        project.select(["mart.*"])
    with pytest.raises(UnknownPipeline):
        project.pipeline("nothing")


def test_a_table_is_found_with_or_without_its_schema() -> None:
    """A bare name serves until two schemas have it; quoted and plain spelling both do."""
    metadata = MetaData()
    project = project_of(
        pipeline("Odd Name", metadata),
        pipeline("t", metadata),
        Pipeline("p", target=make_table("t", metadata, "mart"), mode="merge", source="TABLE y"),
    )
    odd = project.table("Odd Name")
    assert odd is project.table('warehouse."Odd Name"') is project.table("warehouse.Odd Name")
    assert project.table("mart.t").table.schema == "mart"
    with pytest.raises(UnknownTable, match=r"several tables: warehouse\.t, mart\.t\. Give"):
        project.table("t")
    with pytest.raises(UnknownTable, match=r"no table 'mart\.s'\. Did you mean 'mart\.t'\?"):
        project.table("mart.s")


def test_classes_under_the_decorator_are_tables() -> None:
    """A class under @pgflow.table is found as well as a factory; its subclasses add nothing."""
    module = types.ModuleType("classes")

    class Customer:
        id: BigInt

    module.Customer = table_decorator(schema="w", metadata=MetaData())(Customer)  # type: ignore[attr-defined]  # a module made by hand
    module.Sub = type("Sub", (module.Customer,), {})  # type: ignore[attr-defined]  # as above
    assert list(find([module]).tables) == ["w.customer"]


# --- order ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        SourceTable("warehouse.raw"),
        Query("WITH raw AS (SELECT 1) SELECT r.* FROM warehouse.raw r, raw; -- the end"),
        Query("SELECT id, :x AS v FROM warehouse.raw", {"x": "50%"}),
        select(table("raw", column("id"), column("v"), schema="warehouse")),
        "SELECT (SELECT max(v) FROM warehouse.raw) AS v, 1 AS id",
    ],
)
def test_a_reader_comes_after_the_writer(source: object) -> None:
    """However a source names a table, its pipeline runs after those that write the table."""
    metadata = MetaData()
    report, raw = pipeline("report", metadata, source), pipeline("raw", metadata)
    assert names(ordered([report, raw])) == ["raw", "report"]


def test_names_without_schema_are_in_public() -> None:
    """A bare name in SQL means public, and no table of another schema."""
    metadata = MetaData()
    public = Pipeline(
        "w", target=make_table("raw", metadata, "public"), mode="merge", source="TABLE x"
    )
    bare, other = pipeline("bare", metadata, "TABLE raw"), pipeline("raw", metadata)
    assert names(ordered([bare, other, public])) == ["w", "bare", "raw"]


def test_the_same_name_on_another_connection_is_another_table() -> None:
    """A source on another connection does not read what is written on this one."""
    metadata = MetaData()
    report = pipeline("report", metadata, SourceTable("warehouse.raw"), source_connection="crm")
    raw = pipeline("raw", metadata)
    assert names(ordered([report, raw])) == ["report", "raw"]
    same = pipeline("same", metadata, SourceTable("warehouse.raw"), connection="default")
    assert names(ordered([same, raw])) == ["raw", "same"]


def test_functions_are_not_called_for_the_order() -> None:
    """A pipeline whose function makes the SQL keeps its place, and its function is left alone."""
    metadata = MetaData()

    def body(conn: object) -> str:
        raise AssertionError("called")

    lonely = Pipeline("lonely", target=make_table("lonely", metadata), mode="merge", body=body)
    report = pipeline("report", metadata, SourceTable("warehouse.raw"))
    raw = pipeline("raw", metadata)
    assert names(ordered([lonely, report, raw])) == ["lonely", "raw", "report"]


def test_reading_the_own_target_is_no_cycle() -> None:
    """A pipeline may look at what it has loaded."""
    own = pipeline("own", MetaData(), "SELECT id, v FROM warehouse.own")
    assert names(ordered([own])) == ["own"]


def test_pipelines_that_wait_for_each_other_are_named() -> None:
    """A cycle is refused as a chain of names, before anything runs."""
    metadata = MetaData()
    a = pipeline("a", metadata, SourceTable("warehouse.b"))
    b = pipeline("b", metadata, SourceTable("warehouse.c"))
    c = pipeline("c", metadata, SourceTable("warehouse.b"))
    with pytest.raises(PipelineCycle) as caught:
        ordered([a, b, c])
    assert caught.value.chain == ("b", "c", "b")
    assert "wait for each other: 'b' reads from 'c' reads from 'b'. Sync them" in str(caught.value)


def test_every_target_of_a_pipeline_counts_as_written() -> None:
    """The second target of a pipeline orders its readers too."""
    metadata = MetaData()
    reader = pipeline("reader", metadata, SourceTable("warehouse.second"))
    fan = Pipeline(
        "fan",
        targets=[Target(make_table("first", metadata)), Target(make_table("second", metadata))],
        mode="merge",
        source="SELECT 1 AS id, NULL AS v",
    )
    assert names(ordered([reader, fan])) == ["fan", "reader"]


def test_facts_come_after_the_dimensions_that_they_look_up() -> None:
    """A lookup orders pipelines, also where a function makes the SQL."""
    metadata = MetaData()
    dimension = SimpleTable(
        "customers",
        "warehouse",
        metadata,
        [Column("v", Text)],
        keys=["v"],
        mode="scd2",
        system_columns={"version_id": "version"},
    )
    columns = [Column("customer", BigInteger), Column("v", Text)]
    key = ColumnPKPlugin(Column("id", BigInteger))
    target = SimpleTable("orders", "warehouse", metadata, columns, plugins=[key])
    orders = Pipeline(
        "orders",
        target=target,
        body=lambda: "SELECT 1 AS id, 'a' AS v, now() AS at",
        mode="merge",
        lookups=[Lookup(dimension, into="customer", at="at", on="v")],
    )
    customers = Pipeline("customers", target=dimension, mode="scd2", source="SELECT 'a' AS v")
    assert names(ordered([orders, customers])) == ["customers", "orders"]
    assert names(ordered([customers, orders])) == ["customers", "orders"]
