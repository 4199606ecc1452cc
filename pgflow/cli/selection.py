"""From names on the command line to pipelines with their parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from pgflow.factories.pipeline import Pipeline
from pgflow.project.project import Project, arguments


@dataclass(frozen=True)
class Chosen:
    """A pipeline that is to run.

    Attributes:
        pipeline: The pipeline.
        values: Its run parameters.
    """

    pipeline: Pipeline
    values: Mapping[str, Any]


def select(
    names: Sequence[str] | None,
    everything: bool,
    modules: Sequence[str] | None,
    given: Mapping[str, object],
) -> tuple[Chosen, ...]:
    """Load the project and choose from it, and check the parameters before anything runs.

    Args:
        names: Names and patterns.
        everything: Whether `--all` was given.
        modules: What `--module` said.
        given: What `--param` said.

    Returns:
        What is to run, in order.

    Raises:
        typer.BadParameter: Neither names nor `--all` were given, or both.
        PgflowError: The project cannot be loaded, a name is unknown, or a parameter is missing.
    """
    if bool(names) == everything:
        raise typer.BadParameter("give the names of pipelines, or --all for every one.")
    project = Project.load(modules or None)
    pipelines = project.in_order if everything else project.select(names or ())
    values = arguments(pipelines, given)
    return tuple(Chosen(p, own) for p, own in zip(pipelines, values, strict=True))


def select_one(name: str, modules: Sequence[str] | None) -> Pipeline:
    """Load the project and choose one pipeline.

    Args:
        name: Its name.
        modules: What `--module` said.

    Raises:
        UnknownPipeline: There is none of that name.
    """
    found = Project.load(modules or None).select([name])
    if len(found) > 1:
        names = ", ".join(pipeline.name for pipeline in found)
        raise typer.BadParameter(f"{name!r} fits several pipelines ({names}); name one.")
    return found[0]
