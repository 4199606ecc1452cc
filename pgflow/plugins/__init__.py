"""Built-in plugins, one family a file; names are imported when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgflow.plugins.as_of import AsOfFunctionPlugin
    from pgflow.plugins.change_tracking import ChangeTrackingPlugin
    from pgflow.plugins.check import TableCheckPlugin
    from pgflow.plugins.created_at import CreatedAtPlugin
    from pgflow.plugins.dimension import DimensionPlugin
    from pgflow.plugins.foreign_key import TableFKPlugin
    from pgflow.plugins.index import TableIndexPlugin
    from pgflow.plugins.load import LoadColumnsPlugin
    from pgflow.plugins.lookup import LookupPlugin
    from pgflow.plugins.no_overlap import NoOverlapPlugin
    from pgflow.plugins.pk import ColumnPKPlugin, SerialPKPlugin, UUIDV4PKPlugin, UUIDV7PKPlugin
    from pgflow.plugins.row_checks import CheckEvaluationPlugin, CheckPlugin
    from pgflow.plugins.scd2 import Scd2ColumnsPlugin
    from pgflow.plugins.split_history import SplitHistoryPlugin
    from pgflow.plugins.table import SimpleTablePlugin
    from pgflow.plugins.unique import TableUniquePlugin

_HOMES = {
    "ChangeTrackingPlugin": "change_tracking",
    "AsOfFunctionPlugin": "as_of",
    "CheckEvaluationPlugin": "row_checks",
    "CheckPlugin": "row_checks",
    "ColumnPKPlugin": "pk",
    "CreatedAtPlugin": "created_at",
    "DimensionPlugin": "dimension",
    "LoadColumnsPlugin": "load",
    "LookupPlugin": "lookup",
    "NoOverlapPlugin": "no_overlap",
    "Scd2ColumnsPlugin": "scd2",
    "SerialPKPlugin": "pk",
    "SimpleTablePlugin": "table",
    "SplitHistoryPlugin": "split_history",
    "TableCheckPlugin": "check",
    "TableFKPlugin": "foreign_key",
    "TableIndexPlugin": "index",
    "TableUniquePlugin": "unique",
    "UUIDV4PKPlugin": "pk",
    "UUIDV7PKPlugin": "pk",
}

__all__ = [
    "AsOfFunctionPlugin",
    "ChangeTrackingPlugin",
    "CheckEvaluationPlugin",
    "CheckPlugin",
    "ColumnPKPlugin",
    "CreatedAtPlugin",
    "DimensionPlugin",
    "LoadColumnsPlugin",
    "LookupPlugin",
    "NoOverlapPlugin",
    "Scd2ColumnsPlugin",
    "SerialPKPlugin",
    "SimpleTablePlugin",
    "SplitHistoryPlugin",
    "TableCheckPlugin",
    "TableFKPlugin",
    "TableIndexPlugin",
    "TableUniquePlugin",
    "UUIDV4PKPlugin",
    "UUIDV7PKPlugin",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'pgflow.plugins' has no attribute {name!r}")
    return getattr(importlib.import_module(f"pgflow.plugins.{home}"), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
