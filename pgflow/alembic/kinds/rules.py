"""Rewrite rules on tables and views, other than the one that makes a view a view."""

from __future__ import annotations

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

_RULES = """
    SELECT r.oid, n.nspname AS schema, c.relname AS relation, r.rulename AS name,
           pg_get_ruledef(r.oid) AS definition, r.ev_enabled::text AS enabled, d.description,
           format('CREATE RULE %I AS', r.rulename) AS opening,
           format(' TO %I.%I', n.nspname, c.relname) AS target
      FROM pg_rewrite r
      JOIN pg_class c ON c.oid = r.ev_class
      JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_description d ON d.objoid = r.oid AND d.classoid = 'pg_rewrite'::regclass
     WHERE r.rulename <> '_RETURN'
       AND n.nspname = ANY(:schemas)
       AND NOT EXISTS (SELECT FROM pg_depend e
                        WHERE e.deptype = 'e'
                          AND ((e.classid = 'pg_class'::regclass AND e.objid = c.oid)
                               OR (e.classid = 'pg_rewrite'::regclass AND e.objid = r.oid)))
     ORDER BY n.nspname, c.relname, r.rulename
"""


class _Rule:
    """The kind "rule"."""

    name: Final = "rule"
    rank: Final = 75

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all rules of some schemas."""
        for row in reader.rows(_RULES, {"schemas": list(schemas)}):
            comment, mark = comments.split(row.description)
            text = row.definition.removeprefix(row.opening).removesuffix(";")
            event, _, action = text.partition(row.target)
            yield Entity(
                id=EntityIdentifier(row.schema, row.name, kind=self.name, table=row.relation),
                facts={
                    "event": event.strip(),
                    "action": settled(action.strip(), f"CREATE RULE r AS {event.strip()} TO t "),
                    "enabled": STATES[row.enabled],
                },
                comment=comment,
                mark=mark,
                address=Address("pg_rewrite", row.oid),
            )

    def label(self, identifier: EntityIdentifier) -> str:
        """Name a rule as COMMENT ON does."""
        relation = idents.qualify(identifier.schema, identifier.table or "")
        return f"RULE {idents.quote(identifier.name or '')} ON {relation}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make a rule; it is switched off, or to replicas, by a statement of its own."""
        return (_definition("CREATE RULE", entity), *firing("RULE", entity))

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop a rule."""
        return (Statement(f"DROP {self.label(entity.id)}"),)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
        """Replace a rule in place; the state in which it fires survives that."""
        statements = []
        if any(old.facts[fact] != new.facts[fact] for fact in ("event", "action")):
            statements.append(_definition("CREATE OR REPLACE RULE", new))
        return Change((*statements, *firing("RULE", new, before=old.facts["enabled"])))

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement] | None:
        """Rename a rule."""
        return renamed_on("RULE", old, new)


def _definition(verb: str, entity: Entity) -> Statement:
    relation = idents.qualify(entity.id.schema, entity.id.table or "")
    event, action = entity.facts["event"], entity.facts["action"]
    return Statement(
        f"{verb} {idents.quote(entity.id.name or '')} AS\n{event} TO {relation}\n{action}"
    )


RULE = _Rule()
