"""The command that draws, with its options; it loads what it needs when it is called."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pgflow.cli.command import command
from pgflow.cli.options import Exclude, Modules, Names
from pgflow.cli.output import Output


class GraphFormat(StrEnum):
    """How a graph is written."""

    text = "text"
    mermaid = "mermaid"
    dot = "dot"
    svg = "svg"
    json = "json"
    openlineage = "openlineage"


def add_commands(app: typer.Typer) -> None:
    """Add the command of this module to the command line."""
    app.command("graph")(graph)


@command
def graph(
    output: Output,
    names: Names = None,
    module: Modules = None,
    exclude: Exclude = None,
    plugins: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The plugins of a pipeline or table instead, and the keys between them.",
            show_default=False,
        ),
    ] = None,
    columns: Annotated[
        bool, typer.Option("--columns", help="With columns, and what they are made of.")
    ] = False,
    path: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to write it, instead of standard output.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[  # noqa: A002  # the option's name
        GraphFormat,
        typer.Option(
            "--format",
            help="How to write it: text is for people, openlineage for catalogues of lineage.",
            case_sensitive=False,
        ),
    ] = GraphFormat.text,
) -> int:
    """Draw what pipelines read and write: tables, views, columns.

    Without a NAME the whole project is drawn. No database is asked, and no function of a pipeline
    is called.
    """
    if plugins is not None and (names or exclude or columns):
        raise typer.BadParameter("--plugins stands alone: leave out NAME, --exclude, --columns.")
    from pgflow.cli.graph import Wish, write_graph

    wish = Wish(names or None, exclude or (), plugins, columns)
    return write_graph(output, wish, module, format.value, path)
