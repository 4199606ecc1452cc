"""Built-in plugins, one family a file; names are imported when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgflow.plugins.check import TableCheckPlugin
    from pgflow.plugins.created_at import CreatedAtPlugin
    from pgflow.plugins.dimension import DimensionPlugin
    from pgflow.plugins.foreign_key import TableFKPlugin
    from pgflow.plugins.index import TableIndexPlugin
    from pgflow.plugins.load import LoadColumnsPlugin
    from pgflow.plugins.pk import ColumnPKPlugin, SerialPKPlugin, UUIDV4PKPlugin, UUIDV7PKPlugin
    from pgflow.plugins.scd2 import Scd2ColumnsPlugin
    from pgflow.plugins.table import SimpleTablePlugin
    from pgflow.plugins.unique import TableUniquePlugin

_HOMES = {
    "ColumnPKPlugin": "pk",
    "CreatedAtPlugin": "created_at",
    "DimensionPlugin": "dimension",
    "LoadColumnsPlugin": "load",
    "Scd2ColumnsPlugin": "scd2",
    "SerialPKPlugin": "pk",
    "SimpleTablePlugin": "table",
    "TableCheckPlugin": "check",
    "TableFKPlugin": "foreign_key",
    "TableIndexPlugin": "index",
    "TableUniquePlugin": "unique",
    "UUIDV4PKPlugin": "pk",
    "UUIDV7PKPlugin": "pk",
}

__all__ = [
    "ColumnPKPlugin",
    "CreatedAtPlugin",
    "DimensionPlugin",
    "LoadColumnsPlugin",
    "Scd2ColumnsPlugin",
    "SerialPKPlugin",
    "SimpleTablePlugin",
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
