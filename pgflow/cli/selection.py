"""From names on the command line to pipelines with their parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import typer

from pgflow.factories.pipeline import Pipeline
from pgflow.project.batch import Chosen
from pgflow.project.project import Project, arguments

__all__ = ["Chosen", "Selected", "select", "select_from", "select_one"]


@dataclass(frozen=True)
class Selected:
    """What was chosen from a project.

    Attributes:
        chosen: What is to run, in order.
        project: All pipelines of the project.
    """

    chosen: tuple[Chosen, ...]
    project: tuple[Pipeline, ...] = ()


def select(
    names: Sequence[str] | None,
    everything: bool,
    modules: Sequence[str] | None,
    given: Mapping[str, object],
    exclude: Sequence[str] | None = None,
) -> tuple[Chosen, ...]:
    """Load the project and choose from it, and check the parameters before anything runs.

    Args:
        names: Names, patterns and other words.
        everything: Whether `--all` was given.
        modules: What `--module` said.
        given: What `--param` said.
        exclude: What `--exclude` said.

    Returns:
        What is to run, in order.

    Raises:
        typer.BadParameter: Neither names nor `--all` were given, or both.
        PgflowError: The project cannot be loaded, a name is unknown, or a parameter is missing.
    """
    return select_from(names, everything, modules, given, exclude).chosen


def select_from(
    names: Sequence[str] | None,
    everything: bool,
    modules: Sequence[str] | None,
    given: Mapping[str, object],
    exclude: Sequence[str] | None = None,
) -> Selected:
    """Do the same, and return the project's other pipelines too; see `select`."""
    if bool(names) == everything:
        raise typer.BadParameter("give the names of pipelines, or --all for every one.")
    project = Project.load(modules or None)
    pipelines = project.select(None if everything else names, exclude or ())
    values = arguments(pipelines, given) if pipelines else ()
    chosen = tuple(Chosen(p, own) for p, own in zip(pipelines, values, strict=True))
    return Selected(chosen, tuple(project.pipelines.values()))


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
