"""Materialized views: a query whose rows are stored, and how they are stored.

Another query means that the view is dropped and made again: there is no OR REPLACE for it.
Whether it is filled is not compared; it is made WITH DATA unless it was declared WITH NO DATA.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Row

from pgflow import idents
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import query_relations
from pgflow.alembic.kinds.renaming import moved
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Hazard, Statement

_STORAGE = {"p": "PLAIN", "e": "EXTERNAL", "x": "EXTENDED", "m": "MAIN"}
_COMPRESSION = {"p": "pglz", "l": "lz4"}
_MOVES = (Hazard.REWRITES, Hazard.EXCLUSIVE)


class _MaterializedView:
    """The kind "materialized_view"."""

    name: Final = "materialized_view"
    rank: Final = 72

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all materialized views of some schemas."""
        for relation in query_relations.read(reader, schemas, "m"):
            row = relation.row
            stored = (*(row.options or ()), *(row.toast_options or ()))
            facts = {
                "options": query_relations.options(stored),
                "access_method": row.access_method,
                "tablespace": row.tablespace,
                "settings": tuple(
                    (column.name, setting)
                    for column in relation.columns
                    for setting in _settings(column)
                ),
            }
            usual = tuple((c.name, _STORAGE[c.usual_storage]) for c in relation.columns)
            notes = {"populated": row.populated, "usual_storage": usual}
            yield relation.entity(self.name, facts, notes)

    def label(self, identifier: EntityIdentifier) -> str:
        """Name a materialized view as COMMENT ON does."""
        return f"MATERIALIZED VIEW {idents.qualify(identifier.schema, identifier.name or '')}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make a materialized view, with the settings and comments of its columns."""
        method, space = entity.facts["access_method"], entity.facts["tablespace"]
        clauses = (
            (f" USING {idents.quote(str(method))}" if method != "heap" else "")
            + query_relations.storage_parameters(entity)
            + (f" TABLESPACE {idents.quote(str(space))}" if space else "")
        )
        empty = entity.notes.get("populated") is False
        ending = "\n  WITH NO DATA" if empty else ""
        return (
            query_relations.definition("CREATE MATERIALIZED VIEW", entity, clauses, ending),
            *self._setting_changes(None, entity),
            *query_relations.column_comments(None, entity),
        )

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop a materialized view."""
        return (Statement(f"DROP {self.label(entity.id)}"),)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
        """Change how a materialized view is stored; None if its query is another one."""
        if any(old.facts[fact] != new.facts[fact] for fact in ("query", "columns")):
            return None
        label = self.label(new.id)
        statements = list(query_relations.parameter_changes(label, old, new))
        if old.facts["access_method"] != new.facts["access_method"]:
            method = idents.quote(str(new.facts["access_method"]))
            statements.append(Statement(f"ALTER {label} SET ACCESS METHOD {method}", _MOVES))
        if old.facts["tablespace"] != new.facts["tablespace"]:
            space = idents.quote(str(new.facts["tablespace"] or "pg_default"))
            statements.append(Statement(f"ALTER {label} SET TABLESPACE {space}", _MOVES))
        return Change(
            (
                *statements,
                *self._setting_changes(old, new),
                *query_relations.column_comments(old, new),
            )
        )

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement]:
        """Rename a materialized view."""
        return moved("MATERIALIZED VIEW", old, new)

    def _setting_changes(self, old: Entity | None, new: Entity) -> Iterator[Statement]:
        before, after = (
            [] if entity is None else query_relations.pairs(entity.facts["settings"])
            for entity in (old, new)
        )
        usual = {} if old is None else dict(query_relations.pairs(old.notes["usual_storage"]))
        kept = {(column, _subject(setting)) for column, setting in after}
        resets = [
            (column, _reset(setting, usual.get(column, "PLAIN")))
            for column, setting in before
            if (column, _subject(setting)) not in kept
        ]
        sets = [item for item in after if item not in before]
        for column, clause in (*resets, *sets):
            yield Statement(f"ALTER {self.label(new.id)} ALTER {idents.quote(column)} {clause}")


def _settings(column: Row[Any]) -> Iterator[str]:
    """Say what ALTER COLUMN set on a column."""
    if column.target != -1:
        yield f"SET STATISTICS {column.target}"
    if column.storage != column.usual_storage:
        yield f"SET STORAGE {_STORAGE[column.storage]}"
    if column.compression in _COMPRESSION:
        yield f"SET COMPRESSION {_COMPRESSION[column.compression]}"
    for option in sorted(column.options or ()):
        yield f"SET ({option})"


def _subject(setting: str) -> str:
    """Return what a setting is about: `SET STATISTICS`, or `SET (n_distinct`."""
    return setting.partition("=")[0] if "=" in setting else setting.rpartition(" ")[0]


def _reset(setting: str, usual_storage: str) -> str:
    subject = _subject(setting)
    if subject == "SET STORAGE":
        return f"SET STORAGE {usual_storage}"
    if subject == "SET STATISTICS":
        return "SET STATISTICS -1"
    if subject == "SET COMPRESSION":
        return "SET COMPRESSION default"
    return f"RE{subject})"


MATERIALIZED_VIEW = _MaterializedView()
