"""PostgreSQL tables and pipelines as composable factories.

Names are imported when they are first used, so that `import pgflow` stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgflow import checks as checks
    from pgflow import errors as errors
    from pgflow import graph as graph
    from pgflow import plugins as plugins
    from pgflow import project as project
    from pgflow import testing as testing
    from pgflow import types as types
    from pgflow.alembic.apply import create_all
    from pgflow.connections.registry import connect, engine
    from pgflow.declare.items import Check, ForeignKey, Index, Unique
    from pgflow.declare.lookups import Lookup
    from pgflow.declare.markers import (
        backfill,
        check,
        comment,
        natural_key,
        nullable,
        pk,
        renamed_from,
        server_default,
    )
    from pgflow.declare.rows import CSV, JSONLines, Parquet, Rows
    from pgflow.declare.schedule import Schedule
    from pgflow.declare.sources import Query, SourceTable
    from pgflow.declare.targets import Target, target
    from pgflow.decorators import metadata, pipeline, register_table, table
    from pgflow.errors import PgflowError
    from pgflow.factories.as_of import as_of
    from pgflow.factories.pipeline import Pipeline
    from pgflow.factories.relink import relink
    from pgflow.factories.simple import SimpleTable, TableFactory
    from pgflow.factory import ResourceFactory
    from pgflow.project import sync_all
    from pgflow.resolve.config import Config
    from pgflow.resolve.context import FactoryContext
    from pgflow.resolve.extension import Extension
    from pgflow.resolve.keys import Key
    from pgflow.resolve.plugin import (
        Dynamic,
        MinPGVersion,
        Plugin,
        contributes,
        optional,
        produces,
        requires,
        singleton,
    )
    from pgflow.run.erasing.erasure import forget
    from pgflow.run.recovery.cancellation import cancel_runs
    from pgflow.run.result import SyncResult

_HOMES = {
    "CSV": "declare.rows",
    "Check": "declare.items",
    "Config": "resolve.config",
    "Dynamic": "resolve.plugin",
    "Extension": "resolve.extension",
    "FactoryContext": "resolve.context",
    "ForeignKey": "declare.items",
    "Index": "declare.items",
    "JSONLines": "declare.rows",
    "Key": "resolve.keys",
    "Lookup": "declare.lookups",
    "MinPGVersion": "resolve.plugin",
    "Parquet": "declare.rows",
    "PgflowError": "errors",
    "Pipeline": "factories.pipeline",
    "Plugin": "resolve.plugin",
    "Query": "declare.sources",
    "ResourceFactory": "factory",
    "Rows": "declare.rows",
    "Schedule": "declare.schedule",
    "SimpleTable": "factories.simple",
    "SourceTable": "declare.sources",
    "SyncResult": "run.result",
    "TableFactory": "factories.simple",
    "Target": "declare.targets",
    "Unique": "declare.items",
    "as_of": "factories.as_of",
    "backfill": "declare.markers",
    "cancel_runs": "run.recovery.cancellation",
    "check": "declare.markers",
    "comment": "declare.markers",
    "connect": "connections.registry",
    "contributes": "resolve.plugin",
    "create_all": "alembic.apply",
    "engine": "connections.registry",
    "forget": "run.erasing.erasure",
    "metadata": "decorators",
    "natural_key": "declare.markers",
    "nullable": "declare.markers",
    "optional": "resolve.plugin",
    "pipeline": "decorators",
    "pk": "declare.markers",
    "produces": "resolve.plugin",
    "register_table": "decorators",
    "relink": "factories.relink",
    "renamed_from": "declare.markers",
    "requires": "resolve.plugin",
    "server_default": "declare.markers",
    "singleton": "resolve.plugin",
    "sync_all": "project",
    "table": "decorators",
    "target": "declare.targets",
}

__all__ = [
    "CSV",
    "Check",
    "Config",
    "Dynamic",
    "Extension",
    "FactoryContext",
    "ForeignKey",
    "Index",
    "JSONLines",
    "Key",
    "Lookup",
    "MinPGVersion",
    "Parquet",
    "PgflowError",
    "Pipeline",
    "Plugin",
    "Query",
    "ResourceFactory",
    "Rows",
    "Schedule",
    "SimpleTable",
    "SourceTable",
    "SyncResult",
    "TableFactory",
    "Target",
    "Unique",
    "as_of",
    "backfill",
    "cancel_runs",
    "check",
    "comment",
    "connect",
    "contributes",
    "create_all",
    "engine",
    "forget",
    "metadata",
    "natural_key",
    "nullable",
    "optional",
    "pipeline",
    "pk",
    "produces",
    "register_table",
    "relink",
    "renamed_from",
    "requires",
    "server_default",
    "singleton",
    "sync_all",
    "table",
    "target",
]


#: Modules that users write after `pgflow.`, without having imported them.
_MODULES = frozenset({"checks", "errors", "graph", "plugins", "project", "testing", "types"})


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"pgflow.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'pgflow' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"pgflow.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
