"""The schema that migrations are written for, where each tenant has one like it."""

from __future__ import annotations

from dataclasses import replace

from pgflow import idents
from pgflow.alembic.settings import MigrationSettings
from pgflow.alembic.snapshot import Snapshot


def filled(live: Snapshot, settings: MigrationSettings) -> Snapshot:
    """Let the tables of the template count as tables with rows.

    The template is empty, but the migrations that are planned from it run on tenants' tables,
    which are not.

    Args:
        live: The live database.
        settings: Say which schema is the template; without `[migrations.tenants]` none is.
    """
    template = settings.tenants.get("schema")
    if not isinstance(template, str):
        return live
    schema = idents.truncate(template)
    entities = dict(live.entities)
    for table in live.of_kind("table"):
        if table.id.schema == schema and not table.notes.get("rows"):
            entities[table.id] = replace(table, notes={**table.notes, "rows": 1})
    return replace(live, entities=entities)
