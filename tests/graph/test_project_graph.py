"""The graph of a project, and of a factory's plugins."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, MetaData, Text, create_engine
from sqlalchemy_declarative_extensions import View, register_view

from pgflow.alembic import declare_sql
from pgflow.declare.lookups import Lookup
from pgflow.errors import MissingExtra, UnknownPipeline
from pgflow.factories.pipeline import Pipeline
from pgflow.factories.simple import SimpleTable
from pgflow.graph import Graph, draw, plugin_graph, project_graph
from pgflow.plugins import ColumnPKPlugin
from pgflow.project import Project


def make_table(name: str, metadata: MetaData) -> SimpleTable:
    """A table with the key `id` and a text `v`."""
    key = ColumnPKPlugin(Column("id", BigInteger))
    return SimpleTable(name, "warehouse", metadata, [Column("v", Text)], plugins=[key])


def pipeline(name: str, metadata: MetaData, source: object, **options: Any) -> Pipeline:
    """A pipeline into a table of its own name."""
    target = make_table(name, metadata)
    return Pipeline(name, target=target, mode="merge", source=source, **options)


def project_of(*pipelines: Pipeline, more: tuple[SimpleTable, ...] = ()) -> Project:
    """A project with these pipelines, their targets, and more tables."""
    tables: Any = {t.target_label: t.sync_target.table for p in pipelines for t in p.sync_targets}
    tables |= {f"warehouse.{each.tablename}": each for each in more}
    metadatas = {id(t.table.metadata): t.table.metadata for t in tables.values()}
    return Project({p.name: p for p in pipelines}, tables, tuple(metadatas.values()))


def edges(graph: Graph) -> set[str]:
    """The edges as text."""
    names = {node.id: node.label for node in graph.nodes}
    return {f"{names[e.source]} {e.kind} {names[e.target]}" for e in graph.edges}


def kinds(graph: Graph) -> dict[str, str]:
    """The kind of each node."""
    return {node.label: node.kind for node in graph.nodes}


def test_rows_flow_from_sources_over_pipelines_and_views_to_tables() -> None:
    """Tables, views, sources and pipelines stand in the direction of the rows."""
    metadata = MetaData()
    register_view(metadata, View("seen", "SELECT id, v FROM warehouse.raw", schema="warehouse"))
    project = project_of(
        pipeline("raw", metadata, "SELECT id, v FROM app.orders"),
        pipeline("report", metadata, "SELECT id, v FROM warehouse.seen"),
        more=(make_table("unused", metadata),),
    )
    graph = project_graph(project)
    assert edges(graph) == {
        "app.orders reads raw",
        "raw writes warehouse.raw",
        "warehouse.raw shows warehouse.seen",
        "warehouse.seen reads report",
        "report writes warehouse.report",
    }
    found = kinds(graph)
    assert found["app.orders"] == "source"
    assert found["warehouse.seen"] == "view"
    assert found["warehouse.unused"] == found["warehouse.raw"] == "table"


def test_words_choose_what_is_drawn() -> None:
    """Chosen pipelines come with their tables only; unknown words are refused."""
    metadata = MetaData()
    project = project_of(
        pipeline("one", metadata, "SELECT id, v FROM app.a"),
        pipeline("two", metadata, "SELECT id, v FROM warehouse.one"),
    )
    assert set(kinds(project_graph(project, ["two"]))) == {"two", "warehouse.one", "warehouse.two"}
    assert "app.a" in kinds(project_graph(project, ["+two"]))
    assert "two" not in kinds(project_graph(project, exclude=["two"]))
    with pytest.raises(UnknownPipeline, match="Did you mean 'two'"):
        project_graph(project, ["twos"])


def test_circles_are_drawn() -> None:
    """What a run would refuse is what a picture must show."""
    metadata = MetaData()
    project = project_of(
        pipeline("a", metadata, "SELECT id, v FROM warehouse.b"),
        pipeline("b", metadata, "SELECT id, v FROM warehouse.a"),
    )
    graph = project_graph(project)
    assert {"warehouse.a reads b", "warehouse.b reads a"} <= edges(graph)
    for each in ("text", "mermaid", "dot", "svg", "json"):
        assert "warehouse" in draw(graph, each)


def test_what_is_not_known_is_said() -> None:
    """A function that computes its SQL, and SQL that is broken, leave a note and no edge."""
    metadata = MetaData()

    def computed(conn: object) -> str:
        return f"SELECT {1} AS id"

    project = project_of(
        pipeline("dynamic", metadata, None, body=computed),
        pipeline("broken", metadata, "SELECT FROM WHERE"),
    )
    graph = project_graph(project)
    assert [(n.name, n.known) for n in graph.nodes if n.kind == "pipeline"] == [
        ("dynamic", False),
        ("broken", False),
    ]
    assert len(graph.notes) == 2
    assert "cannot be parsed" in graph.notes[1]
    assert "not all is known" in draw(graph)


def test_one_name_on_two_connections_is_two_tables_and_no_secret_is_shown() -> None:
    """Connections are told by name, or by host and database; never with user or password."""
    metadata = MetaData()
    url = "postgresql://loader:geheim@db.example.com:6543/crm"
    engine = create_engine("postgresql+psycopg://someone:geheim@other.example.com/shop")
    project = project_of(
        pipeline(
            "a", metadata, "SELECT id, v FROM app.t", source_connection=url, target_connection="dw"
        ),
        pipeline(
            "b", metadata, "SELECT id, v FROM app.t", source_connection=engine, connection="dw"
        ),
        pipeline("c", metadata, "SELECT id, v FROM app.t"),
        pipeline("d", metadata, "SELECT 1", connection="postgresql:/loader:geheim@h/d"),
    )
    graph = project_graph(project)
    assert {
        "app.t",
        "app.t (db.example.com:6543/crm)",
        "app.t (other.example.com/shop)",
        "warehouse.a (dw)",
        "warehouse.d (elsewhere 1)",
    } <= set(kinds(graph))
    for each in ("text", "mermaid", "dot", "svg", "json"):
        drawn = draw(graph, each)
        assert "geheim" not in drawn
        assert "loader" not in drawn


def test_columns_lead_to_their_origins() -> None:
    """Columns of sources feed columns of targets; system columns are no part of it."""
    metadata = MetaData()
    raw = pipeline("raw", metadata, "SELECT id, upper(name) AS v FROM app.orders")
    report = Pipeline(
        "report",
        target=make_table("report", metadata),
        mode="merge",
        source_table="warehouse.raw",
        column_map={"id": "id"},
    )
    guess = pipeline("guess", metadata, "SELECT * FROM app.other")
    text = draw(project_graph(project_of(raw, report, guess), columns=True))
    assert "  warehouse.raw.v      from app.orders.name\n" in text
    assert "  warehouse.report.v   from warehouse.raw.v\n" in text
    assert "  warehouse.guess.v    not known\n" in text
    assert "_loaded_at" not in text


#: Views with what `SELECT *` from each makes of the columns of a target, `?` where it is not known.
VIEWS = {
    "one": ("AS SELECT id, upper(v) AS v FROM warehouse.raw", "one.id", "one.v"),
    "named (id, v)": ("AS SELECT max(id), 1 + 1 FROM warehouse.raw", "named.id", "named.v"),
    "all_of": ("AS SELECT r.* FROM warehouse.raw r JOIN warehouse.one o USING (id)",
               "all_of.id", "all_of.v"),
    "above": ("AS SELECT * FROM warehouse.one UNION SELECT 1, 'x'", "above.id", "above.v"),
    "unnamed": ("AS SELECT id, upper(v) FROM warehouse.raw", "?", "?"),
    "far": ("AS SELECT * FROM app.elsewhere", "?", "?"),
    "hidden": ("AS WITH raw AS (SELECT 1 AS x) SELECT * FROM raw", "?", "?"),
}  # fmt: skip


def test_the_columns_of_declared_views_are_known() -> None:
    """`SELECT *` from a view is resolved where the view's own text names its columns."""
    metadata = MetaData()
    for view, (query, *_) in reversed(VIEWS.items()):
        declare_sql(metadata, f"CREATE VIEW warehouse.{view} {query}")
    raw = pipeline("raw", metadata, "SELECT 1 AS id, 'x' AS v")
    names = {view.partition(" ")[0]: told for view, (_, *told) in VIEWS.items()}
    readers = [pipeline(f"p_{n}", metadata, f"SELECT * FROM warehouse.{n}") for n in names]
    text = draw(project_graph(project_of(raw, *readers), columns=True))
    lines = {" ".join(line.split()) for line in text.splitlines()}
    for name, told in names.items():
        for column, origin in zip(("id", "v"), told, strict=True):
            known = "not known" if origin == "?" else f"from warehouse.{origin}"
            assert f"warehouse.p_{name}.{column} {known}" in lines


def test_a_lookup_is_an_edge_and_the_origin_of_its_column() -> None:
    """The dimension leads to the pipeline, and its surrogate key to the fact's column."""
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
    facts = SimpleTable(
        "orders",
        "warehouse",
        metadata,
        [Column("customer", BigInteger), Column("v", Text)],
        plugins=[ColumnPKPlugin(Column("id", BigInteger))],
    )
    orders = Pipeline(
        "orders",
        target=facts,
        source="SELECT id, v, at FROM app.orders",
        mode="merge",
        lookups=[Lookup(dimension, into="customer", at="at", on="v")],
    )
    graph = project_graph(project_of(orders), columns=True)
    assert "warehouse.customers looks up orders" in edges(graph)
    assert "  warehouse.orders.customer  from warehouse.customers.version\n" in draw(graph)


def test_a_column_that_is_read_before_it_is_filled_stays_not_known() -> None:
    """The order of declaration does not make a column known."""
    metadata = MetaData()
    late = pipeline("late", metadata, "SELECT id, v FROM warehouse.raw")
    raw = pipeline("raw", metadata, "SELECT * FROM app.orders")
    text = draw(project_graph(project_of(late, raw), columns=True))
    assert "  warehouse.late.v   from warehouse.raw.v\n" in text
    assert "  warehouse.raw.v    not known\n" in text


def test_queries_of_another_postgresql_are_followed_and_no_others() -> None:
    """The kind of a database is told by its connection; another kind has other rules."""
    metadata = MetaData()
    query = "SELECT id, name AS v FROM app.t"
    urls = {"a": "postgresql://h/d", "b": "mysql://h/d", "c": "nowhere"}
    pipelines = [
        pipeline(name, metadata, query, source_connection=url, target_connection="dw")
        for name, url in urls.items()
    ]
    lines = draw(project_graph(project_of(*pipelines), columns=True)).splitlines()
    assert "  warehouse.a.v (dw)   from app.t.name (h/d)" in lines
    assert "  warehouse.b.v (dw)   not known" in lines
    assert "  warehouse.c.v (dw)   not known" in lines


def test_columns_without_sqlglot_are_refused_with_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error says what to install; tables are drawn without it."""
    project = project_of(pipeline("raw", MetaData(), "SELECT id, v FROM app.orders"))
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "sqlglot":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "sqlglot", raising=False)
    with pytest.raises(MissingExtra, match=r"pip install 'pgflow\[lineage\]'"):
        project_graph(project, columns=True)
    assert "app.orders" in draw(project_graph(project))


def test_plugins_hand_each_other_keys() -> None:
    """An edge bears the keys, from the plugin that has them to the one that reads them."""
    graph = plugin_graph(pipeline("raw", MetaData(), "SELECT 1 AS id, 'x' AS v"))
    names = {node.id: node.name for node in graph.nodes}
    found = {(names[e.source], names[e.target]): e.label for e in graph.edges}
    assert found["MergeKeysPlugin", "CompareColumnsPlugin"] == "merge_keys"
    assert found["CompareColumnsPlugin", "SQLPlannerPlugin"] == "compare_columns"
    assert "options" in found["given by the factory", "MergeKeysPlugin"]
    assert draw(graph).startswith("plugins of raw -> warehouse.raw\n")
