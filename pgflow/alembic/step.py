"""One step of a migration: one object made, changed or dropped, as a reader would say it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.statement import Statement

Action = Literal["create", "alter", "rename", "drop"]

_NOTHING: frozenset[EntityIdentifier] = frozenset()


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a migration.

    Attributes:
        id: What it is about.
        action: What happens to it.
        title: What happens in words: "Add column app.customers.email".
        statements: The SQL, in order; never empty in a migration.
        provides: What exists and is as declared right after it (a new table with its columns).
        removes: What is gone after it.
    """

    id: EntityIdentifier
    action: Action
    title: str
    statements: tuple[Statement, ...]
    provides: frozenset[EntityIdentifier] = field(default=_NOTHING)
    removes: frozenset[EntityIdentifier] = field(default=_NOTHING)


@dataclass(frozen=True, slots=True)
class Migration:
    """What leads from one state of a database to another, and back."""

    upgrade: tuple[Step, ...]
    downgrade: tuple[Step, ...]
