"""A project: what its modules declare, found by name, selected by pattern, synced in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from sqlalchemy import MetaData

from pgflow.declare.body import Parameter, bind_parameters
from pgflow.declare.options import nearest
from pgflow.errors import MissingParameter, UnknownPipeline, UnknownTable
from pgflow.factories.pipeline import Pipeline
from pgflow.factories.simple import TableFactory
from pgflow.project.contents import find, label, path
from pgflow.project.modules import load_modules
from pgflow.project.order import ordered
from pgflow.run.events import Observer
from pgflow.run.result import SyncResult


@dataclass(frozen=True)
class Project:
    """The pipelines and tables of a user's modules.

    Attributes:
        pipelines: Pipelines by name, in the order of declaration.
        tables: Table factories by qualified name, in the order of declaration.
        metadatas: The MetaData objects that the tables are on, and those of Core tables and
            models that the modules hold.
    """

    pipelines: Mapping[str, Pipeline]
    tables: Mapping[str, TableFactory]
    metadatas: tuple[MetaData, ...] = ()

    @classmethod
    def load(cls, modules: Sequence[str] | None = None) -> Project:
        """Import the modules and look for pipelines and tables in them.

        Args:
            modules: Module names, or paths that end in `.py`; by default those that
                `pgflow.toml` lists.

        Returns:
            The project.

        Raises:
            NoModules: Nothing names a module.
            MalformedSettings: `pgflow.toml` cannot be read.
            ModuleFailed: A module is not found, or raises while it is imported.
            DuplicatePipeline: Two pipelines have one name.
        """
        contents = find(load_modules(modules))
        return cls(contents.pipelines, contents.tables, contents.metadatas)

    @cached_property
    def in_order(self) -> tuple[Pipeline, ...]:
        """All pipelines, readers after writers; see `pgflow.project.order.ordered`."""
        return ordered(self.pipelines.values())

    def pipeline(self, name: str) -> Pipeline:
        """Return a pipeline by name.

        Raises:
            UnknownPipeline: There is none of this name.
        """
        found = self.pipelines.get(name)
        if found is None:
            raise self._unknown(name)
        return found

    def table(self, name: str) -> TableFactory:
        """Return a table by its name, with or without its schema.

        Raises:
            UnknownTable: There is none, or two schemas have one of this name.
        """
        found = [t for t in self.tables.values() if name in names_of(t)]
        if len(found) == 1:
            return found[0]
        candidates = tuple(label(table) for table in found or self.tables.values())
        if found:
            raise UnknownTable(
                f"{name!r} is the name of several tables: {', '.join(candidates)}. "
                "Give the schema too.",
                name=name,
                candidates=candidates,
            )
        raise UnknownTable(
            f"there is no table {name!r}.{nearest(name, candidates)} "
            f"The project has: {', '.join(candidates) or 'none'}.",
            name=name,
            candidates=candidates,
        )

    def select(self, names: Iterable[str]) -> tuple[Pipeline, ...]:
        """Choose pipelines by name or pattern.

        Args:
            names: Exact names, and shell patterns such as `sales_*`, which match names and
                qualified target names (`warehouse.*`), or with `tag:` the tags.

        Returns:
            Each pipeline once: in the order given, and within a pattern readers after writers.

        Raises:
            UnknownPipeline: A name or a pattern matches nothing.
        """
        chosen: dict[str, Pipeline] = {}
        for name in names:
            exact = self.pipelines.get(name)
            matching = (exact,) if exact else tuple(p for p in self.in_order if _fits(p, name))
            if not matching:
                raise self._unknown(name)
            chosen.update((pipeline.name, pipeline) for pipeline in matching)
        return tuple(chosen.values())

    def _unknown(self, name: str) -> UnknownPipeline:
        known = list(self.pipelines)
        hint = nearest(name, known)
        return UnknownPipeline(
            f"there is no pipeline {name!r}.{hint} The project has: {', '.join(known) or 'none'}.",
            name=name,
            nearest=hint.removeprefix(" Did you mean ").strip("'?") or None,
        )


def parameters(pipeline: Pipeline) -> tuple[Parameter, ...]:
    """Return the run parameters of a pipeline."""
    return pipeline.spec.body.parameters if pipeline.spec.body else ()


def arguments(
    pipelines: Sequence[Pipeline], given: Mapping[str, object]
) -> tuple[dict[str, Any], ...]:
    """Deal the parameters of a run out to the pipelines that take them.

    Args:
        pipelines: What is going to run.
        given: Values by name; text is read as the annotated type.

    Returns:
        For each pipeline its values.

    Raises:
        MissingParameter: A pipeline needs a value that is not given, or no pipeline takes one
            that is.
    """
    known = {p.name for pipeline in pipelines for p in parameters(pipeline)}
    for name in given:
        if name not in known:
            raise MissingParameter(
                f"no pipeline of this run has a parameter {name!r}.{nearest(name, known)} "
                f"They take: {', '.join(sorted(known)) or 'none'}."
            )
    return tuple(_bind(pipeline, given) for pipeline in pipelines)


def sync_all(
    modules: Sequence[str] | None = None, *, observer: Observer | None = None, **params: object
) -> list[SyncResult]:
    """Sync every pipeline of a project, readers after writers.

    Args:
        modules: As in `Project.load`.
        observer: Who watches the runs.
        **params: Run parameters; each pipeline gets those that it takes.

    Returns:
        The results, in the order of the runs.

    Raises:
        MissingParameter: A pipeline needs a value that is not given; nothing was run.
        PgflowError: A pipeline failed. Those before it stay synced, those after it do not run;
            a note on the error says which.
    """
    pipelines = Project.load(modules).in_order
    values = arguments(pipelines, params)
    results: list[SyncResult] = []
    for pipeline, own in zip(pipelines, values, strict=True):
        try:
            results.append(pipeline.sync(observer=observer, **own))
        except Exception as error:
            error.add_note(_progress(pipelines, len(results)))
            raise
    return results


def _bind(pipeline: Pipeline, given: Mapping[str, object]) -> dict[str, Any]:
    own = parameters(pipeline)
    names = {p.name for p in own}
    return bind_parameters(
        own, {k: v for k, v in given.items() if k in names}, f"pipeline {pipeline.name!r}"
    )


def _progress(pipelines: Sequence[Pipeline], failed: int) -> str:
    names = [pipeline.name for pipeline in pipelines]
    before, after = (", ".join(part) or "none" for part in (names[:failed], names[failed + 1 :]))
    return f"sync_all stopped at {names[failed]!r}; synced before: {before}; not run: {after}."


def names_of(table: TableFactory) -> set[str]:
    """Return what a table may be called: with or without its schema, quoted or not."""
    schema, name = path(table)
    return {name, label(table), f"{schema}.{name}"}


def _fits(pipeline: Pipeline, pattern: str) -> bool:
    if pattern.startswith("tag:"):
        return any(fnmatchcase(tag, pattern[4:]) for tag in pipeline.spec.tags)
    targets = [t.table for t in pipeline.spec.targets]
    plain = ["{}.{}".format(*path(table)) for table in targets]
    words = [pipeline.name, *map(label, targets), *plain]
    return any(fnmatchcase(word, pattern) for word in words)
