"""Columns of tables: read, added, dropped; how one changes is in `column_changes`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row

from pgflow.alembic.entity import Address, Entity, Fact
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import column_changes, relations, sequences
from pgflow.alembic.kinds.column_clauses import clause, settings
from pgflow.alembic.kinds.numbering import Numbering
from pgflow.alembic.printing import settled
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Hazard, Statement

#: `COLUMN.create` sets the column's default too, where the world has one.
includes_default = True

# What partitions and inheriting tables have from their parent is the parent's.
_QUERY = f"""
SELECT c.oid, n.nspname, c.relname, a.attname, a.attnum,
       format_type(a.atttypid, a.atttypmod) AS type,
       CASE WHEN a.attcollation <> t.typcollation
            THEN quote_ident(ln.nspname) || '.' || quote_ident(l.collname) END AS collation,
       a.attnotnull AND NOT EXISTS (
           SELECT FROM pg_constraint k
            WHERE k.conrelid = c.oid AND k.contype = 'n' AND NOT k.convalidated
              AND k.conkey = ARRAY[a.attnum]) AS not_null,
       a.attidentity::text AS identity, a.attgenerated::text AS generation,
       CASE WHEN a.attgenerated <> '' THEN pg_get_expr(e.adbin, c.oid) END AS generated,
       a.attstorage::text AS storage, t.typstorage::text AS default_storage,
       a.attcompression::text AS compression, a.attstattarget AS statistics, a.attoptions,
       m.description, sc.relname AS identity_sequence, format_type(s.seqtypid, NULL) AS seqtype,
       s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_collation l ON l.oid = a.attcollation
  LEFT JOIN pg_namespace ln ON ln.oid = l.collnamespace
  LEFT JOIN pg_attrdef e
         ON a.attgenerated <> '' AND e.adrelid = a.attrelid AND e.adnum = a.attnum
  LEFT JOIN pg_description m
         ON m.classoid = 'pg_class'::regclass AND m.objoid = c.oid AND m.objsubid = a.attnum
  LEFT JOIN pg_depend d
         ON a.attidentity <> '' AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
        AND d.refobjsubid = a.attnum AND d.classid = 'pg_class'::regclass AND d.deptype = 'i'
  LEFT JOIN pg_sequence s ON s.seqrelid = d.objid
  LEFT JOIN pg_class sc ON sc.oid = s.seqrelid
 WHERE n.nspname = ANY(:schemas) AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND a.attnum > 0 AND NOT a.attisdropped AND a.attislocal
   AND {relations.OWN}
 ORDER BY n.nspname, c.relname, a.attnum
"""  # noqa: S608 (composed of constants)

_IDENTITIES = {"a": "ALWAYS", "d": "BY DEFAULT"}
_GENERATIONS = {"s": "STORED", "v": "VIRTUAL"}
_STORAGES = {"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}
_COMPRESSIONS = {"p": "pglz", "l": "lz4"}


class _Column:
    name = "column"
    rank = 51

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read the columns of all tables, in their order."""
        return [_entity(row) for row in reader.rows(_QUERY, {"schemas": list(schemas)})]

    def label(self, identifier: EntityIdentifier) -> str:
        """Name a column as COMMENT ON does."""
        return f"COLUMN {relations.owner(identifier)}.{relations.own(identifier)}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Add a column with its default; the user's own SQL (`backfill`) fills existing rows.

        Sequences that belong to the column must exist, and are told so.
        """
        default = world.get(relations.sibling(entity.id, "default"))
        statements = _added(entity, default)
        statements += settings(entity)
        for sequence in sequences.of_column(entity.id, world):
            statements += sequences.given(sequence, world)
        return tuple(statements)

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop a column; only what is computed from other columns is no loss of data."""
        computed = entity.facts["generated"] is not None
        return (
            Statement(
                f"{_alter(entity.id)} DROP COLUMN {relations.own(entity.id)}",
                hazards=() if computed else (Hazard.DELETES,),
            ),
        )

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
        """Alter a column; None for what only a new column can be (generated another way)."""
        return column_changes.change(old, new, worlds)

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement] | None:
        """Rename a column of a table, which itself has its new name already."""
        if old.name == new.name:
            return ()
        to = f"RENAME COLUMN {relations.own(old)} TO {relations.own(new)}"
        return (Statement(f"{_alter(new)} {to}"),)


#: Columns of tables.
COLUMN = _Column()


def set_not_null_online(entity: Entity) -> Sequence[Statement]:
    """Make a column of a big table NOT NULL while it is read and written.

    A check that is validated first spares the scan under ACCESS EXCLUSIVE. Each statement is a
    transaction of its own, and all can be run again after a failure.

    Args:
        entity: The column as declared; its `backfill` note, if any, fills it first.
    """
    return column_changes.not_null_online(entity)


def first_values(entity: Entity) -> Fact:
    """Return what the rows that are there get in a column that is added, as SQL; None if nothing.

    What the user asks for (`backfill`) also fills a column that is there and becomes NOT NULL.
    What pgflow gives its own columns (`backfill_when_new`) never touches values that are there.

    Args:
        entity: The column as declared.
    """
    return entity.notes.get("backfill", entity.notes.get("backfill_when_new"))


def _added(entity: Entity, default: Entity | None) -> list[Statement]:
    table, column = _alter(entity.id), relations.own(entity.id)
    backfill = first_values(entity)
    if backfill is None or entity.facts["identity"] or entity.facts["generated"]:
        hazards = (Hazard.REWRITES, Hazard.EXCLUSIVE) if _rewrites(entity, default) else ()
        return [Statement(f"{table} ADD COLUMN {clause(entity, default)}", hazards=hazards)]
    statements = [
        Statement(f"{table} ADD COLUMN {clause(entity, None, nullable=True)}"),
        Statement(
            f"UPDATE {relations.owner(entity.id)} SET {column} = ({backfill})",  # noqa: S608 (the user's own SQL)
            hazards=(Hazard.REWRITES, Hazard.WRITES),
        ),
    ]
    if default is not None:
        to = f"SET DEFAULT {default.facts['expression']}"
        statements.append(Statement(f"{table} ALTER COLUMN {column} {to}"))
    if entity.facts["not_null"]:
        statements.append(column_changes.set_not_null(entity.id))
    return statements


def _rewrites(entity: Entity, default: Entity | None) -> bool:
    facts = entity.facts
    if facts["identity"] is not None or facts["generation"] == "STORED":
        return True
    return default is not None and bool(default.notes.get("volatile", True))


def _alter(identifier: EntityIdentifier) -> str:
    return f"ALTER TABLE {relations.owner(identifier)}"


def _entity(row: Row[Any]) -> Entity:
    kept = row._mapping
    numbers: tuple[str, ...] = ()
    if kept["identity"]:
        numbers = Numbering(
            kept["seqtype"],
            kept["seqstart"],
            kept["seqincrement"],
            kept["seqmin"],
            kept["seqmax"],
            kept["seqcache"],
            kept["seqcycle"],
        ).clauses
    usual = kept["storage"] == kept["default_storage"]
    # PostgreSQL 17 and later say NULL where earlier ones said -1.
    target = kept["statistics"] if kept["statistics"] != -1 else None
    return Entity(
        EntityIdentifier(kept["nspname"], kept["attname"], kind="column", table=kept["relname"]),
        facts={
            "type": kept["type"],
            "collation": kept["collation"],
            "not_null": kept["not_null"],
            "identity": _IDENTITIES.get(kept["identity"]),
            "identity_options": numbers,
            "generation": _GENERATIONS.get(kept["generation"]),
            "generated": kept["generated"] and settled(kept["generated"]),
            "storage": None if usual else _STORAGES[kept["storage"]],
            "compression": _COMPRESSIONS.get(kept["compression"]),
            "statistics": target,
            "options": _options(kept["attoptions"]),
        },
        comment=kept["description"],
        notes={
            "position": kept["attnum"],
            # It takes a name in the table's schema, although it is no object of its own.
            "identity_sequence": kept["identity_sequence"],
            "default_storage": _STORAGES[kept["default_storage"]],
        },
        address=Address("pg_class", kept["oid"], kept["attnum"]),
    )


def _options(raw: Sequence[str] | None) -> tuple[str, ...]:
    """Keep what users can set; some builds of PostgreSQL note versions of columns there too."""
    own = [option for option in raw or () if option.startswith("n_distinct")]
    return relations.storage_options(own)
