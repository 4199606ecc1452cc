"""Enums: their values in order. Values are added in place; any other change replaces the type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds.renaming import moved
from pgflow.alembic.kinds.replacement import replace_type
from pgflow.alembic.kinds.type_catalogue import called, drop, read_types
from pgflow.alembic.literals import literal
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Hazard, Statement

_VALUES = """
    coalesce((SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
                FROM pg_enum e WHERE e.enumtypid = t.oid), '{}') AS "values"
"""


class _Enum:
    """The kind "enum"."""

    name: Final = "enum"
    rank: Final = 20

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all enums of some schemas."""
        for row, common in read_types(reader, schemas, self.name, "e", _VALUES):
            yield Entity(**common, facts={"values": tuple(row.values)})

    def label(self, identifier: EntityIdentifier) -> str:
        """Name an enum as COMMENT ON does."""
        return f"TYPE {called(identifier)}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make an enum."""
        values = ", ".join(literal(value) for value in _values(entity))
        return (Statement(f"CREATE TYPE {called(entity.id)} AS ENUM ({values})"),)

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop an enum."""
        return drop("TYPE", entity)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change:
        """Add the new values in their places; put a new type in place if there are others."""
        before, after = _values(old), _values(new)
        if [value for value in after if value in before] != list(before):
            return rebuild(old, new, worlds)
        return Change(tuple(_additions(called(new.id), before, after)))

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement]:
        """Rename an enum."""
        return moved("TYPE", old, new)


def rebuild(old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change:
    """Replace an enum whose values were removed, renamed or put in another order.

    Rows that hold a removed value stop it with PostgreSQL's error, which names the value.

    Args:
        old: The enum as it is.
        new: The enum as it should be.
        worlds: The database before and after the migration.

    Returns:
        A change that disturbs: see `replace_type` for what the planner has to know.
    """
    made = ENUM.create(new, worlds[1])
    return replace_type("TYPE", old, new, worlds, made, by_text=True)


def _additions(name: str, before: Sequence[str], after: Sequence[str]) -> Iterable[Statement]:
    previous: str | None = None
    for value in after:
        if value not in before:
            # The value before it is there by now, for it was there or was added just now.
            place = f" AFTER {literal(previous)}" if previous is not None else ""
            if previous is None and before:
                place = f" BEFORE {literal(before[0])}"
            yield Statement(
                f"ALTER TYPE {name} ADD VALUE IF NOT EXISTS {literal(value)}{place}",
                (Hazard.NO_TRANSACTION,),
                autocommit=True,
            )
        previous = value


def _values(entity: Entity) -> tuple[str, ...]:
    values = entity.facts["values"]
    return tuple(map(str, values)) if isinstance(values, tuple) else ()


ENUM = _Enum()
