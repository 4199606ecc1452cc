"""Sequences: those that stand alone and those that belong to a column (`serial`).

The sequences of identity columns are facts of their columns. How far a sequence has counted is
never compared. That a sequence belongs to a column is said after both exist, by whatever makes the
second of the two: see `ownership`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Row

from pgflow import idents
from pgflow.alembic import comments, privileges
from pgflow.alembic.entity import Address, Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import numbering, relations, renaming
from pgflow.alembic.kinds.numbering import Numbering
from pgflow.alembic.literals import literal
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Hazard, Statement

_QUERY = f"""
SELECT c.oid, n.nspname, c.relname, c.relpersistence::text AS persistence,
       format_type(s.seqtypid, NULL) AS type, s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
       s.seqcache, s.seqcycle, m.description, pg_get_userbyid(c.relowner) AS owner,
       c.relacl::text[] AS acl, tn.nspname AS table_schema, t.relname AS table_name,
       a.attname AS column_name
  FROM pg_sequence s
  JOIN pg_class c ON c.oid = s.seqrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_description m
         ON m.classoid = 'pg_class'::regclass AND m.objoid = c.oid AND m.objsubid = 0
  LEFT JOIN pg_depend d
         ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
        AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
  LEFT JOIN pg_class t ON t.oid = d.refobjid
  LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
  LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE n.nspname = ANY(:schemas) AND c.relpersistence <> 't' AND d.deptype IS DISTINCT FROM 'i'
   AND {relations.OWN}
 ORDER BY n.nspname, c.relname
"""  # noqa: S608 (composed of constants)


class _Sequence:
    name = "sequence"
    rank = 30

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all sequences but those of identity columns."""
        return [_entity(row) for row in reader.rows(_QUERY, {"schemas": list(schemas)})]

    def label(self, identifier: EntityIdentifier) -> str:
        """Name a sequence as COMMENT ON does."""
        return f"SEQUENCE {relations.qualified(identifier)}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make a sequence; the column that it belongs to is said by `ownership`."""
        facts = entity.facts
        words = ["CREATE", "UNLOGGED"] if facts["persistence"] == "unlogged" else ["CREATE"]
        words += ["SEQUENCE", relations.qualified(entity.id)]
        if facts["type"] != "bigint":
            words.append(f"AS {facts['type']}")
        words += relations.texts(facts["options"])
        return (Statement(" ".join(words)),)

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop a sequence; one that belongs to a column may have gone with it already."""
        guard = "" if entity.facts["owned_by"] is None else "IF EXISTS "
        return (Statement(f"DROP SEQUENCE {guard}{relations.qualified(entity.id)}"),)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
        """Alter the options, the type, the column that it belongs to."""
        name = relations.qualified(new.id)
        actions = []
        if old.facts["type"] != new.facts["type"]:
            actions.append(f"AS {new.facts['type']}")
        before, after = (relations.texts(entity.facts["options"]) for entity in (old, new))
        actions += numbering.alterations(before, after)
        statements = []
        if actions:
            statements.append(Statement(f"ALTER SEQUENCE {name} {' '.join(actions)}"))
        if old.facts["persistence"] != new.facts["persistence"]:
            logged = "UNLOGGED" if new.facts["persistence"] == "unlogged" else "LOGGED"
            statements.append(Statement(f"ALTER SEQUENCE {name} SET {logged}"))
        if old.facts["owned_by"] != new.facts["owned_by"]:
            statements += given(new, worlds[1])
        return Change(tuple(statements))

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement] | None:
        """Rename a sequence, and move it to another schema."""
        return renaming.moved("SEQUENCE", old, new)


#: Sequences.
SEQUENCE = _Sequence()


def owned(entity: Entity) -> Statement:
    """Say to which column a sequence belongs, or that it belongs to none."""
    column = entity.facts["owned_by"] or "NONE"
    return Statement(f"ALTER SEQUENCE {relations.qualified(entity.id)} OWNED BY {column}")


def given(entity: Entity, world: Snapshot) -> list[Statement]:
    """Give a sequence to a column of a table that may belong to another role.

    The server insists on one owner of both.

    Args:
        entity: The sequence.
        world: The database as it should be, which knows the owner of the table.
    """
    tables = (each for each in world.of_kind("table") if _has(each, entity))
    owner = next((table.owner for table in tables), None)
    if owner in {None, world.user}:
        return [owned(entity)]
    name = relations.qualified(entity.id)
    return [Statement(f"ALTER SEQUENCE {name} OWNER TO {relations.quoted(owner)}"), owned(entity)]


def of_column(column: EntityIdentifier, world: Snapshot) -> list[Entity]:
    """Return the sequences that belong to a column.

    Args:
        column: The column, or its default.
        world: Where to look.
    """
    name = f"{relations.owner(column)}.{relations.own(column)}"
    return [entity for entity in world.of_kind("sequence") if entity.facts["owned_by"] == name]


def _has(table: Entity, sequence: Entity) -> bool:
    column = str(sequence.facts["owned_by"] or "")
    return column.startswith(f"{relations.qualified(table.id)}.")


def used(default: Entity | None, sequence: Entity) -> bool:
    """Tell whether a column's default takes its numbers from a sequence."""
    if default is None:
        return False
    return f"nextval({literal(relations.qualified(sequence.id))}::regclass)" in str(
        default.facts["expression"]
    )


def continued(sequence: Entity, column: EntityIdentifier) -> Statement:
    """Let a sequence go on after the largest number that a column holds; never move it back.

    Args:
        sequence: The sequence from which the column gets its numbers from now on.
        column: A column of a table that may hold rows.
    """
    name = relations.qualified(sequence.id)
    up = numbering.counts_up(relations.texts(sequence.facts["options"]))
    best, sign = ("max", ">=") if up else ("min", "<=")
    value = f"{best}({relations.own(column)})::bigint"
    return Statement(
        f"SELECT pg_catalog.setval({literal(name)}, {value}) FROM {relations.owner(column)} "  # noqa: S608 (quoted names)
        f"HAVING {value} {sign} (SELECT last_value FROM {name})",
        hazards=(Hazard.SCANS,),
    )


def _entity(row: Row[object]) -> Entity:
    kept = row._mapping
    comment, mark = comments.split(kept["description"])
    owner = kept["owner"]
    numbers = Numbering(
        kept["type"],
        kept["seqstart"],
        kept["seqincrement"],
        kept["seqmin"],
        kept["seqmax"],
        kept["seqcache"],
        kept["seqcycle"],
    )
    return Entity(
        EntityIdentifier(kept["nspname"], kept["relname"], kind="sequence"),
        facts={
            "type": numbers.type,
            "options": numbers.clauses,
            "persistence": "unlogged" if kept["persistence"] == "u" else "permanent",
            "owned_by": _column(kept["table_schema"], kept["table_name"], kept["column_name"]),
        },
        comment=comment,
        mark=mark,
        owner=owner,
        privileges=privileges.parse(kept["acl"], "sequence", owner),
        address=Address("pg_class", kept["oid"]),
    )


def _column(schema: str | None, table: str | None, column: str | None) -> str | None:
    if table is None or column is None:
        return None
    return f"{idents.qualify(schema, table)}.{idents.quote(column)}"
