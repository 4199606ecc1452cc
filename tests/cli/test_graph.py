"""`pgflow graph`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Invoke, Place


def test_the_project_is_drawn_as_a_tree(place: Place, invoke: Invoke) -> None:
    """Without a name everything is drawn, along the flow of rows."""
    ran = invoke("graph")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "raw  [pipeline]",
        "└─ warehouse.raw  [merge]",
        "   └─ report  [pipeline, 0 * * * *, tag:nightly]",
        "      └─ warehouse.report  [scd2]",
    ]


def test_columns_say_where_they_come_from(place: Place, invoke: Invoke) -> None:
    """What a function of the server delivers is not known; a table's column is."""
    ran = invoke("graph", "--columns")
    assert "  warehouse.report.v   from warehouse.raw.v\n" in ran.out
    assert "  warehouse.raw.id     not known\n" in ran.out
    assert "is what a function returns" in ran.out


def test_a_picture_goes_to_a_file(place: Place, invoke: Invoke) -> None:
    """--output makes directories and says where it wrote; names choose."""
    ran = invoke("graph", "report", "--format", "svg", "-o", "out/graph.svg")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "written to out/graph.svg\n"
    text = (place.directory / "out" / "graph.svg").read_text()
    assert text.startswith("<svg ")
    assert text.endswith("</svg>\n")


def test_every_format_comes_to_standard_output(place: Place, invoke: Invoke) -> None:
    """Each begins as its readers expect; OpenLineage has a line for each pipeline."""
    begins = {"mermaid": "flowchart LR\n", "dot": 'digraph "pipelines" {\n', "svg": "<svg "}
    for name, begin in begins.items():
        assert invoke("graph", "--format", name).out.startswith(begin)
    assert invoke("graph", "--format", "json").json["title"] == "pipelines"
    lines = invoke("graph", "--format", "openlineage").out.splitlines()
    assert [line[:13] for line in lines] == ['{"eventTime":'] * 2


def test_plugins_of_a_table_or_pipeline_are_drawn(place: Place, invoke: Invoke) -> None:
    """--plugins takes what `explain` takes, and nothing beside it."""
    assert "MergeKeysPlugin" in invoke("graph", "--plugins", "report").out
    assert "ColumnPKPlugin" in invoke("graph", "--plugins", "warehouse.raw").out
    wrong = invoke("graph", "--plugins", "reprot")
    assert wrong.code == 2
    assert "Did you mean 'report'?" in wrong.err
    assert invoke("graph", "raw", "--plugins", "report").code == 2
    assert invoke("graph", "--plugins", "report", "--format", "openlineage").code == 2
