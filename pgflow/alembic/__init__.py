"""Metadata into databases: migrations that Alembic writes and runs, compared by the server itself.

In `env.py`:

    configure()
    configure_metadata(target_metadata)
    ...
    context.configure(..., process_revision_directives=process_revision_directives)
    run_migrations()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgflow.alembic.configuration import configure, configure_metadata
    from pgflow.alembic.declared.statements import declare_sql
    from pgflow.alembic.identifiers import EntityIdentifier
    from pgflow.alembic.revision import process_revision_directives
    from pgflow.alembic.running import run_migrations
    from pgflow.alembic.schemas import register_schemas
    from pgflow.alembic.sorting import (
        build_fk_graph_from_metadata,
        expand_update_ops,
        sort_migration_ops,
    )

# Declaring needs neither Alembic nor the planner, and pipelines need none of this at all.
_HOMES = {
    "EntityIdentifier": "identifiers",
    "build_fk_graph_from_metadata": "sorting",
    "configure": "configuration",
    "configure_metadata": "configuration",
    "declare_sql": "declared.statements",
    "expand_update_ops": "sorting",
    "process_revision_directives": "revision",
    "register_schemas": "schemas",
    "run_migrations": "running",
    "sort_migration_ops": "sorting",
}

__all__ = [
    "EntityIdentifier",
    "build_fk_graph_from_metadata",
    "configure",
    "configure_metadata",
    "declare_sql",
    "expand_update_ops",
    "process_revision_directives",
    "register_schemas",
    "run_migrations",
    "sort_migration_ops",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'pgflow.alembic' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"pgflow.alembic.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
