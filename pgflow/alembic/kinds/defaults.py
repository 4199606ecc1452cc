"""Defaults of columns, of tables and of views; what a generated column computes is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row

from pgflow.alembic.entity import Address, Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import relations, sequences
from pgflow.alembic.printing import settled
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Statement

# A partition's default is its own only where it is not the parent's. Whether an expression calls
# a volatile function stands in its tree, as the numbers of all functions and operators in it.
_QUERY = f"""
SELECT e.oid, n.nspname, c.relname, a.attname, pg_get_expr(e.adbin, c.oid) AS expression,
       EXISTS (
           SELECT FROM regexp_matches(e.adbin::text, 'funcid ([0-9]+)', 'g') called
             JOIN pg_proc p ON p.oid = called[1]::oid
            WHERE p.provolatile = 'v') AS volatile
  FROM pg_attrdef e
  JOIN pg_class c ON c.oid = e.adrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = e.adnum
 WHERE n.nspname = ANY(:schemas) AND c.relkind IN ('r', 'p', 'v') AND c.relpersistence <> 't'
   AND a.attgenerated = ''
   AND NOT (a.attinhcount > 0 AND EXISTS (
       SELECT FROM pg_inherits i
         JOIN pg_attribute pa ON pa.attrelid = i.inhparent AND pa.attname = a.attname
         JOIN pg_attrdef pe ON pe.adrelid = pa.attrelid AND pe.adnum = pa.attnum
        WHERE i.inhrelid = c.oid
          AND pg_get_expr(pe.adbin, pe.adrelid) = pg_get_expr(e.adbin, c.oid)))
   AND {relations.OWN}
 ORDER BY n.nspname, c.relname, a.attnum
"""  # noqa: S608 (composed of constants)


class _Default:
    name = "default"
    rank = 52

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read the defaults of all columns."""
        return [_entity(row) for row in reader.rows(_QUERY, {"schemas": list(schemas)})]

    def label(self, identifier: EntityIdentifier) -> str:
        """Name the column: a default has no name and no comment of its own."""
        return f"COLUMN {relations.owner(identifier)}.{relations.own(identifier)}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Set a default; a sequence of the column gets its owner and goes on where rows are."""
        statements = [_set(entity, world)]
        for sequence in sequences.of_column(entity.id, world):
            if sequences.used(entity, sequence):
                statements += sequences.given(sequence, world)
                statements.append(sequences.continued(sequence, entity.id))
        return tuple(statements)

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop a default."""
        return (Statement(f"{_alter(entity, world)} DROP DEFAULT"),)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
        """Set another default."""
        return Change(tuple(self.create(new, worlds[1])))

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement] | None:
        """Do nothing: a default goes with its column."""
        return ()


#: Defaults of columns.
DEFAULT = _Default()


def _set(entity: Entity, world: Snapshot) -> Statement:
    return Statement(f"{_alter(entity, world)} SET DEFAULT {entity.facts['expression']}")


def _alter(entity: Entity, world: Snapshot) -> str:
    relation = world.parent(entity.id)
    word = "VIEW" if relation is not None and relation.id.kind == "view" else "TABLE"
    table = relations.owner(entity.id)
    return f"ALTER {word} {table} ALTER COLUMN {relations.own(entity.id)}"


def _entity(row: Row[Any]) -> Entity:
    kept = row._mapping
    return Entity(
        EntityIdentifier(kept["nspname"], kept["attname"], kind="default", table=kept["relname"]),
        facts={"expression": settled(kept["expression"])},
        notes={"volatile": kept["volatile"]},
        address=Address("pg_attrdef", kept["oid"]),
    )
