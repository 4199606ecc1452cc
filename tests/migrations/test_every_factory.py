"""What every factory, plugin and mode declares converges: made, unchanged, reverted, made again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, Engine, MetaData, Numeric, Text

import pgflow
import pgflow.plugins
from pgflow import Check, ForeignKey, Index, Unique
from pgflow.checks import NotNull
from pgflow.errors import PostgresTooOld
from pgflow.factories.simple import TableFactory
from pgflow.factory import ResourceFactory
from pgflow.plan.modes import modes
from pgflow.plugins import (
    AsOfFunctionPlugin,
    CheckPlugin,
    ColumnPKPlugin,
    LookupPlugin,
    NoOverlapPlugin,
    SplitHistoryPlugin,
)
from pgflow.resolve.plugin import Plugin
from tests.migrations.alembic_project import AlembicProject
from tests.migrations.matrix.workshop import Workshop

Recipe = Callable[[MetaData], object]


def table(metadata: MetaData, *extra: Any, **options: Any) -> pgflow.SimpleTable:
    """A table with a key of its own, for plugins that want more of it."""
    columns = [Column("name", Text, nullable=False), Column("amount", Numeric(12, 2)), *extra]
    options.setdefault("plugins", [ColumnPKPlugin(Column("code", Text))])
    return pgflow.SimpleTable("t", "app", metadata, columns, **options)


def items(metadata: MetaData) -> None:
    """Every item, with every option that the server prints in its own way."""
    table(
        metadata,
        Column("parent", Text),
        Check("{amount} >= 0 AND {name} <> 'a:b%'"),
        Check("length({name}) BETWEEN 1 AND 200", "short_name"),
        Index(None, "lower({name})", "{amount} DESC NULLS LAST"),
        Index("t_open", "{parent} text_pattern_ops", postgresql_where="{amount} IS NULL"),
        Index(None, "{name}", unique=True, postgresql_include=["amount"]),
        Unique("name", "amount", nulls_not_distinct=True),
        ForeignKey({"{parent}": "t.code"}, ondelete="SET NULL"),
    )


def lookups(metadata: MetaData) -> None:
    """A pipeline that looks up the versions of a table in itself."""
    version = {"version_id": "version"}
    target = table(metadata, Column("parent", BigInteger), mode="scd2", system_columns=version)
    parent = pgflow.Lookup(target, into="parent", at="at", on="name")
    source = "SELECT 'a' AS code, 'b' AS name, now() AS at"
    plugins = [LookupPlugin(parent)]
    pgflow.Pipeline("p", target=target, source=source, mode="scd2", extra_plugins=plugins)


def checks(metadata: MetaData) -> None:
    """A pipeline that checks its rows, and puts some aside."""
    extra = [CheckPlugin(NotNull("name", quarantine=True))]
    source = "SELECT 'a' AS code, 'b' AS name"
    pgflow.Pipeline("p", target=table(metadata), source=source, mode="merge", extra_plugins=extra)


#: How to declare what cannot be made from its class alone. Whatever is not here is made with no
#: arguments (plugins) or with a name, a schema and a column (factories).
RECIPES: dict[str, Recipe] = {
    "AsOfFunctionPlugin": lambda metadata: table(
        metadata, mode="scd2", extra_plugins=[AsOfFunctionPlugin()]
    ),
    "CheckEvaluationPlugin": checks,
    "CheckPlugin": checks,
    "LookupPlugin": lookups,
    "NoOverlapPlugin": lambda metadata: table(
        metadata, mode="scd2", extra_plugins=[NoOverlapPlugin()]
    ),
    "SplitHistoryPlugin": lambda metadata: table(
        metadata, mode="scd2", extra_plugins=[SplitHistoryPlugin()]
    ),
    "ColumnPKPlugin": lambda metadata: table(
        metadata,
        plugins=[ColumnPKPlugin(Column("a", BigInteger), Column("b", Text))],
    ),
    "SimpleTablePlugin": table,
    "Pipeline": lambda metadata: pgflow.Pipeline(
        "p", target=table(metadata), source="SELECT 'a' AS code, 'b' AS name", mode="merge"
    ),
    "LoadColumnsPlugin": lambda metadata: table(metadata, mode="merge"),
    "Scd2ColumnsPlugin": lambda metadata: table(metadata, mode="scd2"),
    "TableCheckPlugin": items,
    "TableFKPlugin": items,
    "TableIndexPlugin": items,
    "TableUniquePlugin": items,
}

#: What a mode can be given that changes the table.
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "soft": {"handle_deletes": "soft"},
    "hash": {"change_detection": "hash"},
    "nulls": {"keys": ["name", "amount"], "on_null_key": "match"},
    "renamed": {
        "system_columns": {
            "valid_from": "From",
            "valid_to": "To",
            "_batch_id": None,
            "version_id": "version",
        }
    },
}


def exported(module: ModuleType, base: type) -> Iterator[type]:
    """The classes of a family that users import from a module, without the base itself."""
    for name in module.__all__:
        found = getattr(module, name)
        if (
            inspect.isclass(found)
            and issubclass(found, base)
            and found.__module__ != base.__module__
        ):
            yield found


def recipe(kind: type) -> Recipe:
    """How to declare one factory, or one plugin on a table."""
    if kind.__name__ in RECIPES:
        return RECIPES[kind.__name__]
    name = Column("name", Text)
    if issubclass(kind, TableFactory):
        return lambda metadata: kind("t", "app", metadata, [name])
    return lambda metadata: pgflow.SimpleTable("t", "app", metadata, [name], plugins=[kind()])


def mode_recipe(mode: str, variant: str) -> Recipe:
    """How to declare a table that a mode fills."""

    def declare(metadata: MetaData) -> None:
        table(metadata, Unique("name"), mode=mode, **VARIANTS[variant])

    return declare


FACTORIES = list(exported(pgflow, ResourceFactory))
PLUGINS = list(exported(pgflow.plugins, Plugin))
MODES = [
    (mode.name, variant)
    for mode in modes
    for variant in VARIANTS
    if variant == "plain" or mode.columns in ("merge", "scd1", "scd2")
]
CASES = {kind.__name__: recipe(kind) for kind in (*FACTORIES, *PLUGINS)} | {
    f"{mode}-{variant}": mode_recipe(mode, variant) for mode, variant in MODES
}


def test_new_factories_and_plugins_join() -> None:
    """What is exported is found, and no recipe is for something that is not there."""
    assert {"SimpleTable", "TableFactory", "Pipeline"} <= {kind.__name__ for kind in FACTORIES}
    assert {"SerialPKPlugin", "Scd2ColumnsPlugin"} <= {kind.__name__ for kind in PLUGINS}
    assert set(RECIPES) <= {kind.__name__ for kind in (*FACTORIES, *PLUGINS)}


@pytest.mark.parametrize("name", CASES)
def test_it_converges(name: str, engine: Engine, tmp_path: Path) -> None:
    """Autogenerate, upgrade, nothing left to do; base, nothing of ours left; and once more."""
    declare = CASES[name]
    project, workshop = AlembicProject(tmp_path / "project", engine), Workshop(engine)
    before = _state(workshop)

    metadata = _declared(declare)
    try:
        (first,) = project.revision(metadata)
    except PostgresTooOld as error:
        assert engine.dialect.server_version_info < (18,)
        pytest.skip(str(error))
    assert "CREATE TABLE app.t" in first.upgrade
    project.upgrade()
    made = _state(workshop)
    assert project.discards(_declared(declare)) == ""

    project.downgrade()
    assert _state(workshop) == before

    project.upgrade()
    assert _state(workshop) == made
    assert project.discards(_declared(declare)) == ""


def _declared(declare: Recipe) -> MetaData:
    metadata = MetaData()
    declare(metadata)
    return metadata


def _state(workshop: Workshop) -> list[object]:
    """What is in the database, without Alembic's own table."""
    return [row for row in workshop.state() if "alembic_version" not in str(row[1:3])]
