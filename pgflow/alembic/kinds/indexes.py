"""Indexes of tables and materialized views; those of constraints belong to the constraints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row

from pgflow import idents
from pgflow.alembic import comments
from pgflow.alembic.entity import Address, Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import index_settings, relations
from pgflow.alembic.literals import dollar, literal
from pgflow.alembic.printing import settled
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Hazard, Statement

# Indexes of partitions that were made through the parent's index are the parent's.
_QUERY = """
SELECT c.oid, n.nspname, c.relname, t.relname AS table_name, i.indisunique, i.indisvalid,
       pg_get_indexdef(c.oid) AS definition,
       length(format('CREATE %sINDEX %I ON %s%I.%I ',
                     CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, c.relname,
                     CASE WHEN c.relkind = 'I' THEN 'ONLY ' ELSE '' END,
                     n.nspname, t.relname)) AS head,
       pg_get_expr(i.indpred, i.indrelid) AS predicate, c.reloptions, s.spcname,
       i.indisclustered, i.indisreplident, c.relkind = 'I' AS partitioned, m.description,
       (SELECT array_agg(a.attnum || '=' || a.attstattarget ORDER BY a.attnum)
          FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attstattarget >= 0) AS targets,
       pg_relation_size(c.oid) AS bytes
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_class t ON t.oid = i.indrelid
  JOIN pg_namespace n ON n.oid = t.relnamespace
  LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
  LEFT JOIN pg_description m
         ON m.classoid = 'pg_class'::regclass AND m.objoid = c.oid AND m.objsubid = 0
 WHERE n.nspname = ANY(:schemas) AND t.relkind IN ('r', 'p', 'm') AND t.relpersistence <> 't'
   AND NOT c.relispartition
   AND NOT EXISTS (
       SELECT FROM pg_constraint k
        WHERE k.conindid = c.oid AND k.conrelid = t.oid AND k.contype IN ('p', 'u', 'x'))
   AND NOT EXISTS (
       SELECT FROM pg_depend x
        WHERE x.classid = 'pg_class'::regclass AND x.objid IN (c.oid, t.oid) AND x.deptype = 'e')
 ORDER BY n.nspname, t.relname, c.relname
"""


class _Index:
    name = "index"
    rank = 60

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all indexes that belong to no constraint."""
        return [_entity(row) for row in reader.rows(_QUERY, {"schemas": list(schemas)})]

    def label(self, identifier: EntityIdentifier) -> str:
        """Name an index as COMMENT ON does."""
        return f"INDEX {relations.qualified(identifier)}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make an index, while nobody writes to the table."""
        made = Statement(_text(entity), hazards=(Hazard.SCANS, Hazard.STOPS_WRITERS))
        return (made, *_targets((), entity), *index_settings.marks(entity))

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop an index."""
        dropped = Statement(f"DROP INDEX {relations.qualified(entity.id)}")
        return (*index_settings.unmarked(entity), dropped)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
        """Alter what is set on an index; None for another definition and for an invalid one."""
        if any(
            old.facts[fact] != new.facts[fact] for fact in ("unique", "definition", "predicate")
        ):
            return None
        if new.facts["valid"] and not old.facts["valid"]:
            return None
        if new.notes["partitioned"] and old.facts["options"] != new.facts["options"]:
            return None  # the server cannot alter them
        # A valid index is always good enough: nothing makes one invalid.
        targets = _targets(relations.texts(old.facts["statistics"]), new)
        return Change((*targets, *index_settings.changes(old, new, worlds[1])))

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement] | None:
        """Rename an index of a table, which itself has its new name already."""
        if old.name == new.name:
            return ()
        at = idents.qualify(new.schema, old.name or "")
        return (Statement(f"ALTER INDEX {at} RENAME TO {relations.own(new)}"),)


#: Indexes.
INDEX = _Index()


def create_concurrently(entity: Entity, world: Snapshot) -> Sequence[Statement]:
    """Make an index while the table is read and written; can be run again after a failure.

    What a failed attempt left behind is dropped first, never an index that is valid. The server
    cannot do so on a partitioned table, whose index is made in the plain way.

    Args:
        entity: The index as declared.
        world: The database as it should be.
    """
    if entity.notes["partitioned"]:
        return INDEX.create(entity, world)
    return (
        without_leftover(entity.id),
        Statement(
            _text(entity, "CONCURRENTLY IF NOT EXISTS "),
            hazards=(Hazard.SCANS, Hazard.NO_TRANSACTION),
            autocommit=True,
        ),
        *_targets((), entity),
        *index_settings.marks(entity),
    )


def drop_concurrently(entity: Entity) -> Sequence[Statement]:
    """Drop an index without stopping those who use the table; can be run again.

    Args:
        entity: The index as it is.
    """
    name = relations.qualified(entity.id)
    if entity.notes["partitioned"]:
        return (*index_settings.unmarked(entity), Statement(f"DROP INDEX {name}"))
    dropped = Statement(
        f"DROP INDEX CONCURRENTLY IF EXISTS {name}",
        hazards=(Hazard.NO_TRANSACTION,),
        autocommit=True,
    )
    return (*index_settings.unmarked(entity), dropped)


def without_leftover(identifier: EntityIdentifier) -> Statement:
    """Drop the invalid index that a failed CREATE INDEX CONCURRENTLY left, if there is one.

    It raises where the name belongs to something else: IF NOT EXISTS would be content with that.

    Args:
        identifier: The index, or the constraint that it will carry.
    """
    name = idents.qualify(identifier.schema, identifier.name or "")
    table = relations.owner(identifier)
    # DROP INDEX CONCURRENTLY cannot be made to depend on a condition; nobody uses an invalid
    # index, so that dropping it plainly takes but a moment.
    body = f"""
DECLARE
    present regclass := pg_catalog.to_regclass({literal(name)});
    ours regclass := pg_catalog.to_regclass({literal(table)});
BEGIN
    IF EXISTS (
        SELECT FROM pg_catalog.pg_index
         WHERE indexrelid = present AND indrelid = ours AND NOT indisvalid
    ) THEN
        DROP INDEX {name};
    ELSIF present IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_index WHERE indexrelid = present AND indrelid = ours
    ) THEN
        RAISE EXCEPTION '% is something else than an index of %', present, ours
            USING ERRCODE = 'duplicate_table',
                  HINT = 'Rename it, or declare the index under another name.';
    END IF;
END
"""  # noqa: S608 (every part is a quoted name or literal)
    return Statement(f"DO {dollar(body)}", autocommit=True)


def _text(entity: Entity, how: str = "") -> str:
    facts = entity.facts
    unique = "UNIQUE " if facts["unique"] else ""
    definition = str(facts["definition"]).removeprefix("USING btree ")
    text = (
        f"CREATE {unique}INDEX {how}{relations.own(entity.id)} ON {relations.owner(entity.id)} "
        f"{definition}{index_settings.stored(entity)}"
    )
    return text if facts["predicate"] is None else f"{text} WHERE {facts['predicate']}"


def _targets(old: Sequence[str], new: Entity) -> list[Statement]:
    """Set the statistics targets of an index's expressions, which go by number."""
    before = dict(target.split("=") for target in old)
    after = dict(target.split("=") for target in relations.texts(new.facts["statistics"]))
    at = f"ALTER INDEX {relations.qualified(new.id)} ALTER COLUMN"
    return [
        Statement(f"{at} {number} SET STATISTICS {after.get(number, '-1')}")
        for number in sorted({*before, *after}, key=int)
        if before.get(number) != after.get(number)
    ]


def _entity(row: Row[Any]) -> Entity:
    kept = row._mapping
    comment, mark = comments.split(kept["description"])
    definition = kept["definition"][kept["head"] :]
    if kept["predicate"] is not None:
        definition = definition.removesuffix(f" WHERE {kept['predicate']}")
    if kept["reloptions"]:
        definition = definition[: definition.rindex(" WITH (")]
    return Entity(
        EntityIdentifier(kept["nspname"], kept["relname"], kind="index", table=kept["table_name"]),
        facts={
            "unique": kept["indisunique"],
            "definition": settled(definition),
            "predicate": kept["predicate"] and settled(kept["predicate"]),
            "valid": kept["indisvalid"],
            "statistics": tuple(kept["targets"] or ()),
            **index_settings.facts(kept),
        },
        comment=comment,
        mark=mark,
        notes={
            "valid": kept["indisvalid"],
            "partitioned": kept["partitioned"],
            "bytes": kept["bytes"],
        },
        address=Address("pg_class", kept["oid"]),
    )
