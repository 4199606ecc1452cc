"""Triggers on tables and views, with the state in which they fire.

Clones of a partitioned table's trigger on its partitions follow it and are no objects of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from pgflow import idents
from pgflow.alembic import comments
from pgflow.alembic.entity import Address, Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds.firing import STATES, firing
from pgflow.alembic.kinds.renaming import renamed_on
from pgflow.alembic.printing import settled
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Statement

_TRIGGERS = """
    SELECT t.oid, n.nspname AS schema, c.relname AS relation, t.tgname AS name,
           pg_get_triggerdef(t.oid) AS definition, t.tgenabled::text AS enabled, d.description,
           t.tgconstraint <> 0 AS is_constraint,
           format(' TRIGGER %I ', t.tgname) AS opening,
           format('%I.%I', n.nspname, c.relname) AS target
      FROM pg_trigger t
      JOIN pg_class c ON c.oid = t.tgrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_description d ON d.objoid = t.oid AND d.classoid = 'pg_trigger'::regclass
     WHERE NOT t.tgisinternal
       AND t.tgparentid = 0
       AND n.nspname = ANY(:schemas)
       AND NOT EXISTS (SELECT FROM pg_depend e
                        WHERE e.deptype = 'e'
                          AND ((e.classid = 'pg_class'::regclass AND e.objid = c.oid)
                               OR (e.classid = 'pg_trigger'::regclass AND e.objid = t.oid)))
     ORDER BY n.nspname, c.relname, t.tgname
"""


class _Trigger:
    """The kind "trigger"."""

    name: Final = "trigger"
    rank: Final = 80

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all triggers of some schemas."""
        for row in reader.rows(_TRIGGERS, {"schemas": list(schemas)}):
            comment, mark = comments.split(row.description)
            event, action = _halves(row.definition, row.opening, row.target)
            yield Entity(
                id=EntityIdentifier(row.schema, row.name, kind=self.name, table=row.relation),
                facts={
                    "constraint": row.is_constraint,
                    "event": event,
                    "action": settled(action),
                    "enabled": STATES[row.enabled],
                },
                comment=comment,
                mark=mark,
                address=Address("pg_trigger", row.oid),
            )

    def label(self, identifier: EntityIdentifier) -> str:
        """Name a trigger as COMMENT ON does."""
        relation = idents.qualify(identifier.schema, identifier.table or "")
        return f"TRIGGER {idents.quote(identifier.name or '')} ON {relation}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make a trigger; it is switched off, or to replicas, by a statement of its own."""
        return (_definition("CREATE", entity), *firing("TRIGGER", entity))

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop a trigger."""
        return (Statement(f"DROP {self.label(entity.id)}"),)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
        """Replace a trigger in place; None if it is a constraint trigger, or becomes one."""
        if all(old.facts[fact] == new.facts[fact] for fact in ("constraint", "event", "action")):
            return Change(firing("TRIGGER", new, before=old.facts["enabled"]))
        if old.facts["constraint"] or new.facts["constraint"]:
            return None
        # Replacing a trigger switches it on.
        return Change((_definition("CREATE OR REPLACE", new), *firing("TRIGGER", new)))

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement]:
        """Rename a trigger."""
        return renamed_on("TRIGGER", old, new)


def _halves(definition: str, opening: str, target: str) -> tuple[str, str]:
    """Split what the server prints into what comes before and after `ON relation`.

    The names of an UPDATE OF list are stepped over, whatever is in their quotes.
    """
    text = definition.partition(opening)[2]
    found = re.match(rf'((?:"(?:[^"]|"")*"|[^"])*?) ON {re.escape(target)} ', text, re.DOTALL)
    if found is None:  # pragma: no cover (the server writes no other form)
        raise AssertionError(definition)
    return found[1], text[found.end() :]


def _definition(verb: str, entity: Entity) -> Statement:
    noun = "CONSTRAINT TRIGGER" if entity.facts["constraint"] else "TRIGGER"
    own = idents.quote(entity.id.name or "")
    relation = idents.qualify(entity.id.schema, entity.id.table or "")
    event, action = entity.facts["event"], entity.facts["action"]
    return Statement(f"{verb} {noun} {own} {event} ON {relation} {action}")


TRIGGER = _Trigger()
