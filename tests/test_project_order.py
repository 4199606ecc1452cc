"""Projects: choosing pipelines by name and pattern, and the order in which they run."""

from __future__ import annotations

import types
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, ForeignKey, MetaData, Text, column, select, table
from sqlalchemy_declarative_extensions import View, register_view

from pgflow.alembic import declare_sql
from pgflow.connections import registry
from pgflow.declare.lookups import Lookup
from pgflow.declare.sources import Query, SourceTable
from pgflow.declare.targets import Target
from pgflow.decorators import table as table_decorator
from pgflow.errors import InvalidSource, PipelineCycle, UnknownPipeline, UnknownTable
from pgflow.factories.pipeline import Pipeline
from pgflow.factories.simple import SimpleTable
from pgflow.plugins import ColumnPKPlugin
from pgflow.project import Project
from pgflow.project.contents import find
from pgflow.project.order import arranged, ordered
from pgflow.project.reading import Reading, reading
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


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("SELECT x.v, s.id FROM (WITH s AS (SELECT 1 AS v) SELECT * FROM s) x, s", ["s"]),
        ("(WITH s AS (SELECT 1) SELECT * FROM s) UNION ALL SELECT * FROM s", ["s"]),
        ("SELECT (WITH s AS (SELECT 1) TABLE s), q.id FROM (SELECT * FROM s) q", ["s"]),
        ("WITH s AS (SELECT * FROM s) SELECT * FROM s", ["s"]),
        ("WITH a AS (SELECT * FROM s), s AS (SELECT 1) SELECT * FROM a, s", ["s"]),
        ("WITH RECURSIVE a AS (SELECT * FROM s), s AS (SELECT 1) SELECT * FROM a, s", []),
        ("WITH s AS (SELECT 1) SELECT * FROM (WITH b AS (TABLE s) TABLE b) q, b", ["b"]),
        ("SELECT * FROM s AS b FOR UPDATE OF b", ["s"]),
    ],
)
def test_names_of_with_clauses_count_where_they_stand(source: str, reads: list[str]) -> None:
    """A WITH clause inside a query hides no table outside it; an alias is no table."""
    found = reading(pipeline("report", MetaData(), source)).relations
    assert [name for _, _, name in found] == reads


def test_whoever_reads_a_declared_view_reads_what_is_below_it() -> None:
    """Views on views, materialized ones, and those of SQLAlchemy's are seen through."""
    metadata = MetaData()
    report = pipeline("report", metadata, "TABLE warehouse.newest")
    raw, stock = pipeline("raw", metadata), pipeline("stock", metadata)
    other = pipeline("other", metadata, "TABLE shown.stock")
    unknown = pipeline("unknown", metadata, "TABLE warehouse.elsewhere")
    declare_sql(
        metadata,
        "CREATE VIEW warehouse.newest AS SELECT * FROM shown.raw;"
        " CREATE MATERIALIZED VIEW shown.raw AS SELECT * FROM warehouse.raw;"
        " CREATE FUNCTION shown.review() RETURNS int RETURN 1;",
    )
    stocked = table("stock", column("id"), schema="warehouse")
    register_view(metadata, View("stock", select(stocked), "shown"))
    register_view(metadata, View("elsewhere", "SELECT * FROM", "warehouse"))
    given = [report, other, unknown, stock, raw]
    assert names(ordered(given)) == ["raw", "report", "stock", "other", "unknown"]


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


def test_what_a_function_returns_literally_counts() -> None:
    """A reader whose SQL stands in its function comes after the writer; nobody calls it."""
    metadata = MetaData()

    def body(conn: object, *, day: date | None) -> str:
        assert day is None, "called"
        return "SELECT id, v FROM warehouse.raw WHERE day = :day"

    report = Pipeline("report", target=make_table("report", metadata), mode="merge", body=body)
    raw = pipeline("raw", metadata)
    assert names(ordered([report, raw])) == ["raw", "report"]
    assert reading(report) == Reading((("default", "warehouse", "raw"),), True, ("default",))


def test_a_declared_source_counts_where_the_function_may_leave_it_in_force() -> None:
    """A function that always returns SQL has `source_table=` never read, an empty one always."""
    metadata = MetaData()

    def sql(conn: object) -> str:
        return "SELECT 1 AS id, NULL AS v"

    def nothing() -> None:
        pass

    made = [
        Pipeline(
            body.__name__,
            target=make_table(body.__name__, metadata),
            mode="merge",
            source_table="warehouse.raw",
            body=body,
        )
        for body in (sql, nothing)
    ]
    raw = pipeline("raw", metadata)
    assert names(ordered([*made, raw])) == ["sql", "raw", "nothing"]


def test_what_a_function_reads_by_its_connection_is_not_known() -> None:
    """It may be any table, whatever SQL the function returns afterwards."""
    metadata = MetaData()

    def asks(source: Any, target: Any) -> str:
        target.exec_driver_sql("SELECT max(id) FROM warehouse.raw")
        return "SELECT 1 AS id, NULL AS v"

    async def leaves_alone(source: Any, target: Any, /, *, limit: int = 1) -> str:
        assert limit
        return "SELECT 1 AS id, NULL AS v"

    def opens() -> str:
        with registry.connect() as own:
            own.exec_driver_sql("SELECT max(id) FROM warehouse.raw")
        return "SELECT 1 AS id, NULL AS v"

    def opens_inside() -> str:
        from sqlalchemy import create_engine as make

        def ask() -> object:
            return make("postgresql://").connect()

        ask()
        return "SELECT 1 AS id, NULL AS v"

    bodies = ((asks, False), (leaves_alone, True), (opens, False), (opens_inside, False))
    for body, known in bodies:
        target = make_table(body.__name__, metadata)
        made = Pipeline(body.__name__, target=target, mode="merge", body=body)
        assert reading(made).complete is known


def test_sql_that_cannot_be_parsed_is_refused_where_it_is_declared() -> None:
    """A function's text may never be returned, so it is only not known what it reads."""
    metadata = MetaData()

    def body(conn: object) -> str:
        return "SELEC 1"

    told = Pipeline("told", target=make_table("told", metadata), mode="merge", body=body)
    assert not reading(told).known
    assert names(ordered([told])) == ["told"]
    with pytest.raises(InvalidSource, match="declared"):
        ordered([pipeline("declared", metadata, "SELEC 1")])


def test_a_name_with_its_database_is_a_table_of_this_one() -> None:
    """PostgreSQL takes database.schema.table for the database that it is connected to."""
    metadata = MetaData()
    report = pipeline("report", metadata, 'SELECT * FROM db.warehouse."raw"')
    assert names(ordered([report, pipeline("raw", metadata)])) == ["raw", "report"]


def test_a_query_knows_best_where_it_is_read() -> None:
    """The connection of a query goes before that of its pipeline, and that before the targets'."""
    metadata = MetaData()
    query = Query("TABLE warehouse.raw", connection="default")
    report = pipeline("report", metadata, query, source_connection="crm")
    far = Pipeline(
        "far",
        targets=[Target(make_table("far", metadata), target_connection="mart")],
        mode="merge",
        source=SourceTable("warehouse.raw"),
    )
    assert reading(report).connections == ("default",)
    assert reading(far).connections == ("default",)
    assert names(ordered([report, far, pipeline("raw", metadata)])) == ["raw", "report", "far"]


def test_tables_that_foreign_keys_lead_to_come_first_if_nothing_speaks_against_it() -> None:
    """A child waits for its parent; a source that says the contrary wins; no circle is made."""
    metadata = MetaData()

    def child(name: str, parent: str, source: str) -> Pipeline:
        parents = Column("parent", BigInteger, ForeignKey(f"warehouse.{parent}.id"))
        key = ColumnPKPlugin(Column("id", BigInteger))
        target = SimpleTable(
            name, "warehouse", metadata, [parents, Column("v", Text)], plugins=[key]
        )
        return Pipeline(name, target=target, mode="merge", source=source)

    orders = child("orders", "customers", "SELECT 1 AS id, 1 AS parent, '' AS v")
    customers = pipeline("customers", metadata)
    assert names(ordered([orders, customers])) == ["customers", "orders"]
    derived = child("derived", "orders", "SELECT 1 AS id, 1 AS parent, '' AS v")
    first = pipeline("first", metadata, SourceTable("warehouse.derived"))
    assert names(ordered([first, derived, orders, customers])) == [
        "customers",
        "orders",
        "derived",
        "first",
    ]
    mutual = [child("a", "b", "SELECT 1 AS id"), child("b", "a", "SELECT 1 AS id")]
    assert names(ordered(mutual)) == ["b", "a"]
    dotted = child("lines", "order.items", "SELECT 1 AS id, 1 AS parent, '' AS v")
    items = Pipeline(
        "items", target=make_table("order.items", metadata), mode="merge", source="SELECT 1 AS id"
    )
    assert names(ordered([dotted, items])) == ["items", "lines"]


def test_a_long_chain_is_ordered() -> None:
    """However many pipelines stand in a row, the order is found."""
    chain = [f"p{number}" for number in range(5000)]
    before = {name: (previous,) for previous, name in pairwise(chain)} | {"p0": ()}
    assert arranged(reversed(chain), before, {}) == tuple(chain)
    with pytest.raises(PipelineCycle) as caught:
        arranged(chain, before | {"p0": ("p4999",)}, {})
    assert len(caught.value.chain) == 5001


def test_functions_are_not_called_for_the_order() -> None:
    """A pipeline whose function computes its SQL keeps its place, and is left alone."""
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
    d = pipeline("d", metadata, SourceTable("warehouse.b"))
    around = pipeline("c", MetaData(), SourceTable("warehouse.d"))
    with pytest.raises(PipelineCycle, match=r"\(pgflow sync [bcd], then [bcd], then [bcd]\)"):
        ordered([b, around, d])


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
