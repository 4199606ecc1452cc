"""Views: their query as the server prints it, their columns, and options such as security_barrier.

A view is replaced where it stands whenever PostgreSQL allows that: when its columns only grow at
the end. Everything that others hung on it (views, triggers, rights, comments) then stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pgflow import idents
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import query_relations
from pgflow.alembic.kinds.materialized_views import MATERIALIZED_VIEW
from pgflow.alembic.kinds.renaming import moved
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Statement

__all__ = ["MATERIALIZED_VIEW", "VIEW"]

_SWITCHES = ("security_barrier", "security_invoker")


class _View:
    """The kind "view"."""

    name: Final = "view"
    rank: Final = 70

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all views of some schemas."""
        for relation in query_relations.read(reader, schemas, "v"):
            yield relation.entity(self.name, {"options": _options(relation.row.options)})

    def label(self, identifier: EntityIdentifier) -> str:
        """Name a view as COMMENT ON does."""
        return f"VIEW {idents.qualify(identifier.schema, identifier.name or '')}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make a view, with the comments of its columns."""
        return (
            _definition("CREATE VIEW", entity),
            *query_relations.column_comments(None, entity),
        )

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop a view."""
        return (Statement(f"DROP {self.label(entity.id)}"),)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
        """Replace a view in place; None if its present columns do not stay as they are."""
        before, after = (entity.facts["columns"] for entity in (old, new))
        # Both are tuples, whatever a `Fact` may be in general.
        if not isinstance(before, tuple) or not isinstance(after, tuple):
            return None
        if after[: len(before)] != before:
            return None
        if (before, old.facts["query"]) != (after, new.facts["query"]):
            statements = [_definition("CREATE OR REPLACE VIEW", new)]
        else:
            statements = list(query_relations.parameter_changes(self.label(new.id), old, new))
        return Change((*statements, *query_relations.column_comments(old, new)))

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement]:
        """Rename a view."""
        return moved("VIEW", old, new)


def _definition(verb: str, entity: Entity) -> Statement:
    return query_relations.definition(verb, entity, query_relations.storage_parameters(entity))


def _options(stored: Iterable[str] | None) -> tuple[tuple[str, str], ...]:
    """Write options in one way: what is off is left out, as if it had never been set."""
    found = []
    for name, value in query_relations.options(stored):
        if name not in _SWITCHES:
            found.append((name, value.lower()))
        elif _is_on(value.lower()):
            found.append((name, "true"))
    return tuple(found)


def _is_on(value: str) -> bool:
    # The server takes any beginning of these words; "o" alone would be no boolean at all.
    return value in ("on", "1") or "true".startswith(value) or "yes".startswith(value)


VIEW = _View()
