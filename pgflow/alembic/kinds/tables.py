"""Tables: plain, partitioned, partitions and inheriting ones, and what is set on the whole table.

Columns, defaults, constraints and indexes are objects of their own; `create_whole` writes them
into one CREATE TABLE again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Row

from pgflow.alembic import comments, privileges
from pgflow.alembic.entity import Address, Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import relations, renaming, table_changes, table_texts
from pgflow.alembic.printing import settled
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Hazard, Statement

# Sizes come from the files themselves, because statistics are old or missing; a partitioned
# table is as big as its partitions.
_QUERY = f"""
SELECT c.oid, n.nspname, c.relname, c.relkind::text AS relkind,
       c.relpersistence::text AS persistence, c.relrowsecurity, c.relforcerowsecurity,
       c.relreplident::text AS replident, c.reloptions, t.reloptions AS toast_options,
       s.spcname, am.amname, c.relispartition, c.reloftype,
       CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partition_by,
       pg_get_expr(c.relpartbound, c.oid) AS bound,
       (SELECT array_agg(i.inhparent::regclass::text ORDER BY i.inhseqno)
          FROM pg_inherits i WHERE i.inhrelid = c.oid) AS parents,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident) AS by_index,
       CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END AS of_type,
       m.description, pg_get_userbyid(c.relowner) AS owner, c.relacl::text[] AS acl,
       (SELECT json_object_agg(a.attname, a.attacl::text[]) FROM pg_attribute a
         WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped) AS column_acl,
       CASE WHEN c.relkind = 'r' THEN
           pg_relation_size(c.oid) + CASE WHEN t.oid IS NULL THEN 0 ELSE pg_relation_size(t.oid) END
       ELSE (SELECT coalesce(sum(pg_relation_size(p.relid)), 0)
               FROM pg_partition_tree(c.oid) p WHERE p.isleaf) END::bigint AS bytes,
       CASE WHEN c.relkind = 'r' THEN c.reltuples
       ELSE (SELECT coalesce(sum(greatest(l.reltuples, 0)), 0) FROM pg_partition_tree(c.oid) p
               JOIN pg_class l ON l.oid = p.relid WHERE p.isleaf) END::bigint AS rows,
       (SELECT ds.spcname FROM pg_database d JOIN pg_tablespace ds ON ds.oid = d.dattablespace
         WHERE d.datname = current_database()) AS default_tablespace
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
  LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
  LEFT JOIN pg_am am ON am.oid = c.relam
  LEFT JOIN pg_description m
         ON m.classoid = 'pg_class'::regclass AND m.objoid = c.oid AND m.objsubid = 0
 WHERE n.nspname = ANY(:schemas) AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND {relations.OWN}
 ORDER BY n.nspname, c.relname
"""  # noqa: S608 (composed of constants)

_REPLICA_IDENTITIES = {"n": "NOTHING", "f": "FULL"}


class _Table:
    name = "table"
    rank = 50

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all tables, with how much they hold as notes `bytes` and `rows`."""
        return [_entity(row) for row in reader.rows(_QUERY, {"schemas": list(schemas)})]

    def label(self, identifier: EntityIdentifier) -> str:
        """Name a table as COMMENT ON does."""
        return f"TABLE {relations.qualified(identifier)}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make a table with its columns, without defaults and constraints."""
        return table_texts.create_whole(entity, world, ())

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop a table."""
        return (
            Statement(f"DROP TABLE {relations.qualified(entity.id)}", hazards=(Hazard.DELETES,)),
        )

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
        """Alter what is set on the table.

        Raises:
            CannotChange: Another partition key, other parents: these need a new table.
        """
        return table_changes.change(old, new)

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement] | None:
        """Rename a table, and move it to another schema."""
        return renaming.moved("TABLE", old, new)


#: Tables.
TABLE = _Table()


def create_whole(
    entity: Entity, world: Snapshot, parts: Collection[EntityIdentifier]
) -> Sequence[Statement]:
    """Make a table with all its columns and some of its other parts in one CREATE TABLE.

    Args:
        entity: The table.
        world: The database as it should be, in which its columns are.
        parts: The defaults and constraints to write into the statement; columns always are.

    Returns:
        CREATE TABLE, then what it cannot say: storage of columns, row security, to which columns
        sequences belong.
    """
    return table_texts.create_whole(entity, world, parts)


def _entity(row: Row[Any]) -> Entity:
    kept = row._mapping
    comment, mark = comments.split(kept["description"])
    parents = tuple(kept["parents"] or ())
    identity = _REPLICA_IDENTITIES.get(kept["replident"], "DEFAULT")
    if kept["replident"] == "i" and not kept["by_index"]:
        identity = "NOTHING"  # the index is gone, and the server takes none instead
    options = (
        *relations.storage_options(kept["reloptions"]),
        *relations.storage_options(kept["toast_options"], "toast."),
    )
    return Entity(
        EntityIdentifier(kept["nspname"], kept["relname"], kind="table"),
        facts={
            "persistence": "unlogged" if kept["persistence"] == "u" else "permanent",
            "partition_by": kept["partition_by"] and settled(kept["partition_by"]),
            "partition_of": parents[0] if kept["relispartition"] else None,
            "bound": kept["bound"],
            "inherits": () if kept["relispartition"] else parents,
            "of_type": kept["of_type"],
            "options": options,
            "tablespace": kept["spcname"],
            "access_method": kept["amname"],
            "row_security": kept["relrowsecurity"],
            "forced_row_security": kept["relforcerowsecurity"],
            "replica_identity": identity,
        },
        comment=comment,
        mark=mark,
        owner=kept["owner"],
        privileges=privileges.parse(kept["acl"], "table", kept["owner"], kept["column_acl"]),
        notes={
            "bytes": kept["bytes"],
            "rows": max(kept["rows"], 0),
            "default_tablespace": kept["default_tablespace"],
        },
        address=Address("pg_class", kept["oid"]),
    )
