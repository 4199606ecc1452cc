"""`pgflow graph`: pictures of a project, of its columns, or of the plugins of one factory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from pgflow.cli.failures import OK
from pgflow.cli.output import Output
from pgflow.cli.pipelines import named_factories
from pgflow.graph import Graph, draw, plugin_graph, project_graph
from pgflow.project import Project


@dataclass(frozen=True)
class Wish:
    """What is to be drawn.

    Attributes:
        names: Words that choose pipelines; None for the whole project.
        exclude: Words for what is left out.
        plugins: The pipeline or table whose plugins are to be drawn instead.
        columns: Whether columns are part of it.
    """

    names: Sequence[str] | None
    exclude: Sequence[str]
    plugins: str | None
    columns: bool


def write_graph(
    output: Output,
    wish: Wish,
    modules: Sequence[str] | None,
    format: str,  # noqa: A002  # the option's name
    path: Path | None,
) -> int:
    """Draw, and write it to standard output or to a file."""
    project = Project.load(modules or None)
    text = _events(project, wish) if format == "openlineage" else _picture(project, wish, format)
    if path is None:
        output.line(text)
        return OK
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", encoding="utf-8")
    output.note(f"written to {path}")
    return OK


def _picture(project: Project, wish: Wish, format: str) -> str:  # noqa: A002  # the option's name
    if wish.plugins is None:
        return draw(_graph(project, wish), format)
    factories = named_factories(project, wish.plugins)
    if len(factories) > 1 and format != "text":
        raise typer.BadParameter(
            f"pipeline {wish.plugins!r} has {len(factories)} targets; name the table, or use "
            "--format text, which writes one after the other."
        )
    return "\n\n".join(draw(plugin_graph(factory), format) for _, factory in factories)


def _graph(project: Project, wish: Wish) -> Graph:
    return project_graph(project, wish.names, wish.exclude, columns=wish.columns)


def _events(project: Project, wish: Wish) -> str:
    from pgflow.graph.openlineage import job_events

    if wish.plugins is not None:
        raise typer.BadParameter("OpenLineage has no events for plugins; leave --plugins out.")
    return "\n".join(job_events(project, wish.names, wish.exclude, columns=wish.columns))
