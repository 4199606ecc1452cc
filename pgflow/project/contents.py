"""What modules hold: pipelines and tables, each found once, with the place where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from sqlalchemy import MetaData, Table

from pgflow import idents
from pgflow.errors import DuplicatePipeline
from pgflow.factories.pipeline import Pipeline
from pgflow.factories.simple import TableFactory


@dataclass(frozen=True)
class Contents:
    """The pipelines and tables of some modules, in the order of declaration.

    Attributes:
        pipelines: Pipelines by name.
        tables: Table factories by qualified name; targets of the pipelines among them.
        metadatas: The MetaData objects of those tables, and of whatever else the modules hold:
            MetaData, Core tables, models.
    """

    pipelines: Mapping[str, Pipeline]
    tables: Mapping[str, TableFactory]
    metadatas: tuple[MetaData, ...] = ()


def find(modules: Iterable[ModuleType]) -> Contents:
    """Look through the names of modules, and one level into lists, tuples and dictionaries.

    Args:
        modules: Imported modules.

    Returns:
        What they hold. An object that several modules import counts once.

    Raises:
        DuplicatePipeline: Two pipelines have one name.
    """
    pipelines: dict[str, Pipeline] = {}
    places: dict[str, str] = {}
    tables: dict[str, TableFactory] = {}
    metadatas: dict[int, MetaData] = {}
    for place, value in _objects(modules):
        _note(metadatas, value)
        if isinstance(value, Pipeline):
            known = pipelines.setdefault(value.name, value)
            if known is not value:
                raise _duplicate(value.name, places[value.name], place)
            places.setdefault(value.name, place)
        else:
            _keep(tables, table_factory(value))
    for pipeline in pipelines.values():
        for target in pipeline.spec.targets:
            _keep(tables, table_factory(target.table))
    for factory in tables.values():
        _note(metadatas, factory.table)
    return Contents(pipelines, tables, tuple(metadatas.values()))


def table_factory(value: object) -> TableFactory | None:
    """Return the factory behind a table factory or a class under `@pgflow.table`, else None."""
    if isinstance(value, TableFactory):
        return value
    found = vars(value).get("__factory__") if isinstance(value, type) else None
    return found if isinstance(found, TableFactory) else None


def label(value: Any) -> str:
    """Return the qualified name of a pipeline's target.

    Args:
        value: A class under `@pgflow.table`, a table factory, or a Core `Table`.
    """
    return idents.qualify(*path(value))


def path(value: Any) -> tuple[str | None, str]:
    """Return schema and name of a pipeline's target, unquoted."""
    factory = table_factory(value)
    table = factory.table if factory else getattr(value, "__table__", value)
    if not isinstance(table, Table):
        raise TypeError(f"{value!r} is no table")
    return table.schema, table.name


def _keep(tables: dict[str, TableFactory], factory: TableFactory | None) -> None:
    if factory is not None:
        tables.setdefault(label(factory), factory)


def _note(metadatas: dict[int, MetaData], value: object) -> None:
    """Note the MetaData that an object is, or is on."""
    found = getattr(value, "metadata", None) if isinstance(value, (Table, type)) else value
    if isinstance(found, MetaData):
        metadatas.setdefault(id(found), found)


def _objects(modules: Iterable[ModuleType]) -> Iterator[tuple[str, object]]:
    for module in modules:
        for name, value in list(vars(module).items()):
            if name.startswith("__"):
                continue
            place = f"{module.__name__}.{name}"
            if isinstance(value, (list, tuple, set, frozenset)):
                yield from ((f"{place}[{i}]", item) for i, item in enumerate(value))
            elif isinstance(value, dict):
                yield from ((f"{place}[{key!r}]", item) for key, item in value.items())
            else:
                yield place, value


def _duplicate(name: str, first: str, second: str) -> DuplicatePipeline:
    return DuplicatePipeline(
        f"two pipelines are called {name!r}: {first} and {second}. Their histories and watermarks "
        "would mix; give one of them another name=.",
        pipeline=name,
        places=(first, second),
    )
