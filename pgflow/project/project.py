"""A project: what its modules declare, found by name, selected by pattern, synced in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import MetaData

from pgflow.connections.settings import project_settings
from pgflow.declare.body import Parameter, bind_parameters
from pgflow.declare.options import nearest
from pgflow.errors import MissingParameter, UnknownPipeline, UnknownTable
from pgflow.factories.pipeline import Pipeline
from pgflow.factories.simple import TableFactory
from pgflow.project.batch import Batch, Chosen
from pgflow.project.contents import find, label, path
from pgflow.project.crew import run_batch
from pgflow.project.modules import load_modules
from pgflow.project.order import ordered
from pgflow.project.precedence import precedence
from pgflow.project.selection import Selection
from pgflow.project.watching import attach
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
        attach(contents.pipelines.values(), project_settings())
        return cls(contents.pipelines, contents.tables, contents.metadatas)

    @cached_property
    def in_order(self) -> tuple[Pipeline, ...]:
        """All pipelines, readers after writers; see `pgflow.project.order.ordered`."""
        return ordered(self.pipelines.values())

    @cached_property
    def on_schedule(self) -> tuple[Pipeline, ...]:
        """The pipelines that have a schedule, readers after writers; all if none has one.

        The others need no order: that some of them read what the others write stops no schedule.
        """
        found = [p for p in self.pipelines.values() if p.spec.timing is not None]
        if not found:
            return tuple(self.pipelines.values())
        return precedence(found, self.pipelines.values()).pipelines

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

    def select(
        self, names: Iterable[str] | None = None, exclude: Iterable[str] = ()
    ) -> tuple[Pipeline, ...]:
        """Choose pipelines by words; each word adds to what the others choose.

        Args:
            names: Exact names; shell patterns such as `sales_*`, which match names and qualified
                target names (`warehouse.*`); `tag:nightly`; `state:failed` and `state:never`,
                which ask the history. A `+` before a word adds all that it depends on, one behind
                it all that depends on it. By default all pipelines.
            exclude: Words for what is left out.

        Returns:
            Each pipeline once, readers after writers; those that are not related in the order of
            the words.

        Raises:
            UnknownPipeline: A name, pattern, tag or state is unknown.
            PipelineCycle: Pipelines that are chosen read what the others write.
            MissingTable: A state is asked for, and a database has no history.
        """
        words = self.pipelines if names is None else names
        chosen = Selection(self.pipelines).chosen(words, exclude)
        return precedence(chosen.values(), self.pipelines.values()).pipelines

    def _unknown(self, name: str) -> UnknownPipeline:
        return Selection(self.pipelines).unknown(name)


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
    modules: Sequence[str] | None = None,
    *,
    observer: Observer | None = None,
    workers: int | None = None,
    **params: object,
) -> list[SyncResult]:
    """Sync every pipeline of a project, readers after writers, independent ones at the same time.

    Args:
        modules: As in `Project.load`.
        observer: Who watches the runs; with several workers, from several threads at a time.
        workers: How many pipelines run at the same time, each in a thread of its own; by default
            as many as there are processors, four at most. With 1 they run in this thread.
        **params: Run parameters; each pipeline gets those that it takes.

    Returns:
        The results, in the order in which one after the other would have run.

    Raises:
        MissingParameter: A pipeline needs a value that is not given; nothing was run.
        PgflowError: A pipeline failed. Those that were running were finished, no other was begun;
            a note on the error says which.
    """
    project = Project.load(modules)
    pipelines = project.in_order
    values = arguments(pipelines, params)
    chosen = [Chosen(p, own) for p, own in zip(pipelines, values, strict=True)]
    batch = run_batch(
        chosen,
        lambda each, watch: each.pipeline.sync(observer=watch, **each.values),
        workers=workers,
        observer=observer,
    )
    if batch.interrupt is not None:
        raise batch.interrupt
    for failed in batch.failed:
        if failed.error is not None:
            failed.error.add_note(_progress(batch, failed.name))
            raise failed.error
    return [each.result for each in batch.outcomes if each.result is not None]


def _bind(pipeline: Pipeline, given: Mapping[str, object]) -> dict[str, Any]:
    own = parameters(pipeline)
    names = {p.name for p in own}
    return bind_parameters(
        own, {k: v for k, v in given.items() if k in names}, f"pipeline {pipeline.name!r}"
    )


def _progress(batch: Batch, culprit: str) -> str:
    def names(*statuses: str) -> str:
        found = (o.name for o in batch.outcomes if o.status in statuses and o.name != culprit)
        return ", ".join(found)

    also = names("failed", "interrupted")
    return (
        f"sync_all stopped at {culprit!r}; synced: {names('success') or 'none'}; "
        f"{f'failed too: {also}; ' if also else ''}not run: {names('not run') or 'none'}."
    )


def names_of(table: TableFactory) -> set[str]:
    """Return what a table may be called: with or without its schema, quoted or not."""
    schema, name = path(table)
    return {name, label(table), f"{schema}.{name}"}
