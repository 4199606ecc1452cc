"""Constraints of tables: primary keys, unique, check, foreign keys, exclusion.

NOT NULL is a fact of the column. A constraint that is declared NOT VALID is content with a valid
one: validity is never taken back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row

from pgflow.alembic.entity import Address, Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import constraint_texts, index_settings, indexes, relations
from pgflow.alembic.printing import settled
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Hazard, Statement

#: The rank of foreign keys, which come after all other constraints.
FOREIGN_KEY_RANK = 57

# What partitions and inheriting tables have from their parent is the parent's.
_QUERY = """
SELECT k.oid, n.nspname, k.conname, c.relname, k.contype::text AS contype,
       pg_get_constraintdef(k.oid) AS definition, k.condeferrable, k.condeferred,
       k.convalidated, {enforced} AS conenforced, c.relkind = 'p' AS partitioned,
       i.indisclustered, i.indisreplident, ic.reloptions, s.spcname, m.description,
       CASE WHEN k.contype IN ('p', 'u') THEN
           substr(pg_get_indexdef(ic.oid), length(format('CREATE UNIQUE INDEX %I ON %I.%I ',
               ic.relname, n.nspname, c.relname)) + 1) END AS index
  FROM pg_constraint k
  JOIN pg_class c ON c.oid = k.conrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_index i ON i.indexrelid = k.conindid AND k.contype IN ('p', 'u', 'x')
  LEFT JOIN pg_class ic ON ic.oid = i.indexrelid
  LEFT JOIN pg_tablespace s ON s.oid = ic.reltablespace
  LEFT JOIN pg_description m
         ON m.classoid = 'pg_constraint'::regclass AND m.objoid = k.oid AND m.objsubid = 0
 WHERE n.nspname = ANY(:schemas) AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND k.contype IN ('p', 'u', 'c', 'f', 'x') AND k.conparentid = 0 AND k.conislocal
   AND NOT (c.relispartition AND k.coninhcount > 0)
   AND {own}
 ORDER BY n.nspname, c.relname, k.conname
"""

_TYPES = {
    "p": "primary_key",
    "u": "unique",
    "c": "check",
    "f": "foreign_key",
    "x": "exclude",
}


class _Constraint:
    name = "constraint"
    rank = 55

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read the constraints of all tables."""
        enforced = "k.conenforced" if reader.version >= 180000 else "true"
        query = _QUERY.format(enforced=enforced, own=relations.OWN)
        return [_entity(row) for row in reader.rows(query, {"schemas": list(schemas)})]

    def label(self, identifier: EntityIdentifier) -> str:
        """Name a constraint as COMMENT ON does."""
        return f"CONSTRAINT {relations.own(identifier)} ON {relations.owner(identifier)}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Add a constraint; the rows that are there are checked unless it is NOT VALID."""
        invalid = "" if entity.facts["validated"] or not entity.facts["enforced"] else " NOT VALID"
        added = Statement(
            f"{_alter(entity)} ADD {constraint_texts.clause(entity)}{invalid}",
            hazards=_hazards(entity),
        )
        return (added, *constraint_texts.settings(entity))

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop a constraint, with its index."""
        dropped = Statement(f"{_alter(entity)} DROP CONSTRAINT {relations.own(entity.id)}")
        return (*index_settings.unmarked(entity), dropped)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
        """Validate, alter when it is checked, or what is set on its index; else None."""
        before, after = old.facts, new.facts
        if any(before[fact] != after[fact] for fact in ("type", "definition")):
            return None
        timing = [fact for fact in ("deferrable", "enforced") if before[fact] != after[fact]]
        if timing and after["type"] != "foreign_key":
            return None
        if new.notes["partitioned"] and before["options"] != after["options"]:
            return None  # the server cannot alter them
        statements = [_timed(new, fact) for fact in timing]
        validated = after["validated"] and not before["validated"]
        if validated and "enforced" not in timing:
            statements += validate(new)
        return Change((*statements, *index_settings.changes(old, new, worlds[1])))

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement] | None:
        """Rename a constraint of a table, which itself has its new name already."""
        if old.name == new.name:
            return ()
        table = f"ALTER TABLE {relations.owner(new)}"
        return (
            Statement(f"{table} RENAME CONSTRAINT {relations.own(old)} TO {relations.own(new)}"),
        )


#: Constraints of tables.
CONSTRAINT = _Constraint()


def create_not_valid(entity: Entity, world: Snapshot) -> Sequence[Statement]:
    """Add a check or a foreign key for new rows only, in a moment; `validate` does the rest.

    A foreign key of a partitioned table cannot be so before PostgreSQL 18: it is added as usual.

    Args:
        entity: The constraint as declared.
        world: The database as it should be.
    """
    foreign_key = entity.facts["type"] == "foreign_key"
    too_old = foreign_key and bool(entity.notes["partitioned"]) and world.version < 180000
    if too_old or not may_be_not_valid(entity):
        return CONSTRAINT.create(entity, world)
    return (Statement(f"{_alter(entity)} ADD {constraint_texts.clause(entity)} NOT VALID"),)


def may_be_not_valid(entity: Entity) -> bool:
    """Tell whether a constraint can be added first and validated later."""
    return entity.facts["type"] in {"check", "foreign_key"} and bool(entity.facts["enforced"])


def validate(entity: Entity) -> Sequence[Statement]:
    """Check the rows that were there before the constraint, while others read and write.

    Args:
        entity: The constraint as declared.
    """
    return (
        Statement(
            f"{_alter(entity)} VALIDATE CONSTRAINT {relations.own(entity.id)}",
            hazards=(Hazard.SCANS,),
        ),
    )


def create_using_index(entity: Entity, world: Snapshot) -> Sequence[Statement]:
    """Add a primary key or a unique constraint over an index that is built concurrently.

    Partitioned tables and WITHOUT OVERLAPS cannot have it so: they get it in the plain way.

    Args:
        entity: The constraint as declared.
        world: The database as it should be.
    """
    facts = entity.facts
    temporal = "WITHOUT OVERLAPS" in str(facts["definition"])
    keyed = facts["type"] in {"primary_key", "unique"}
    if not keyed or temporal or entity.notes["partitioned"]:
        return CONSTRAINT.create(entity, world)
    name = relations.own(entity.id)
    space = facts["tablespace"]
    tail = "" if space is None else f" TABLESPACE {relations.quoted(space)}"
    kind = "PRIMARY KEY" if facts["type"] == "primary_key" else "UNIQUE"
    timing = f" {facts['deferrable']}" if facts["deferrable"] else ""
    return (
        indexes.without_leftover(entity.id),
        Statement(
            f"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS {name} "
            f"ON {relations.owner(entity.id)} {entity.notes['index']}{tail}",
            hazards=(Hazard.SCANS, Hazard.NO_TRANSACTION),
            autocommit=True,
        ),
        Statement(f"{_alter(entity)} ADD CONSTRAINT {name} {kind} USING INDEX {name}{timing}"),
        *index_settings.marks(entity),
    )


def _alter(entity: Entity) -> str:
    return f"ALTER TABLE {relations.owner(entity.id)}"


def _hazards(entity: Entity) -> tuple[Hazard, ...]:
    if may_be_not_valid(entity) and not entity.facts["validated"]:
        return ()
    if not entity.facts["enforced"]:
        return ()
    if entity.facts["type"] == "foreign_key":
        return (Hazard.SCANS, Hazard.STOPS_WRITERS)
    return (Hazard.SCANS, Hazard.EXCLUSIVE)


def _timed(entity: Entity, fact: str) -> Statement:
    altered = f"{_alter(entity)} ALTER CONSTRAINT {relations.own(entity.id)}"
    if fact == "deferrable":
        return Statement(f"{altered} {entity.facts['deferrable'] or 'NOT DEFERRABLE'}")
    if entity.facts["enforced"]:
        return Statement(f"{altered} ENFORCED", hazards=(Hazard.SCANS,))
    return Statement(f"{altered} NOT ENFORCED")


def _entity(row: Row[Any]) -> Entity:
    kept = row._mapping
    deferrable = ""
    if kept["condeferrable"]:
        deferrable = "DEFERRABLE INITIALLY DEFERRED" if kept["condeferred"] else "DEFERRABLE"
    definition = kept["definition"]
    # The server prints these last, in this order.
    for tail in (" NOT VALID", " NOT ENFORCED"):
        if not kept["convalidated"]:
            definition = definition.removesuffix(tail)
    if deferrable:
        definition = definition.removesuffix(f" {deferrable}")
    settings = index_settings.facts(kept)
    if kept["contype"] == "x":
        settings["options"] = ()  # the definition has them, in its middle
    return Entity(
        EntityIdentifier(
            kept["nspname"], kept["conname"], kind="constraint", table=kept["relname"]
        ),
        facts={
            "type": _TYPES[kept["contype"]],
            "definition": settled(definition),
            "deferrable": deferrable,
            "enforced": kept["conenforced"],
            "validated": kept["convalidated"],
            **settings,
        },
        comment=kept["description"],
        notes={
            "valid": kept["convalidated"],
            "partitioned": kept["partitioned"],
            "index": kept["index"],
        },
        address=Address("pg_constraint", kept["oid"]),
    )
