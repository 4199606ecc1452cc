"""What views and materialized views share: a query, columns with comments and rights, options."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from pgflow import idents
from pgflow.alembic import comments, privileges
from pgflow.alembic.entity import Address, Entity, Fact
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.literals import literal
from pgflow.alembic.printing import settled
from pgflow.alembic.reader import Reader
from pgflow.alembic.statement import Statement

# `pg_get_viewdef` is asked for its plain form, the one that pg_dump trusts: the pretty one leaves
# out parentheses by a precedence table that newer servers may change.
_RELATIONS = """
    SELECT c.oid, n.nspname AS schema, c.relname AS name, pg_get_viewdef(c.oid) AS query,
           pg_get_userbyid(c.relowner) AS owner, c.relacl::text[] AS acl, d.description,
           c.relispopulated AS populated, c.reloptions AS options,
           ARRAY(SELECT 'toast.' || o FROM unnest(toast.reloptions) AS o) AS toast_options,
           coalesce(m.amname, '') AS access_method, coalesce(s.spcname, '') AS tablespace,
           a.names, a.types
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_description d ON d.objoid = c.oid AND d.objsubid = 0
                                AND d.classoid = 'pg_class'::regclass
      LEFT JOIN pg_class toast ON toast.oid = c.reltoastrelid
      LEFT JOIN pg_am m ON m.oid = c.relam
      LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
     CROSS JOIN LATERAL (
           SELECT array_agg(a.attname::text ORDER BY a.attnum) AS names,
                  array_agg(format_type(a.atttypid, a.atttypmod)
                            || CASE WHEN a.attcollation <> t.typcollation
                                    THEN format(' COLLATE %I.%I', cn.nspname, co.collname)
                                    ELSE '' END ORDER BY a.attnum) AS types
             FROM pg_attribute a
             JOIN pg_type t ON t.oid = a.atttypid
             LEFT JOIN pg_collation co ON co.oid = a.attcollation
             LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) a
     WHERE c.relkind = :kind
       AND n.nspname = ANY(:schemas)
       AND NOT EXISTS (SELECT FROM pg_depend e
                        WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid
                          AND e.objsubid = 0 AND e.deptype = 'e')
     ORDER BY n.nspname, c.relname
"""

# Only the options that ALTER COLUMN is documented to take: some servers note more there for
# themselves, different for each relation that is made.
_COLUMNS = """
    SELECT c.oid, a.attname AS name, a.attacl::text[] AS acl, d.description,
           coalesce(a.attstattarget, -1) AS target, a.attcompression::text AS compression,
           a.attstorage::text AS storage, t.typstorage::text AS usual_storage,
           ARRAY(SELECT o FROM unnest(a.attoptions) AS o WHERE o LIKE 'n_distinct%') AS options
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      JOIN pg_type t ON t.oid = a.atttypid
      LEFT JOIN pg_description d ON d.objoid = c.oid AND d.objsubid = a.attnum
                                AND d.classoid = 'pg_class'::regclass
     WHERE c.relkind = :kind
       AND n.nspname = ANY(:schemas)
       AND (a.attacl IS NOT NULL OR d.description IS NOT NULL OR a.attstorage <> t.typstorage
            OR coalesce(a.attstattarget, -1) <> -1 OR a.attcompression <> ''
            OR a.attoptions::text LIKE '%n_distinct%')
     ORDER BY c.oid, a.attnum
"""


@dataclass(frozen=True)
class Relation:
    """One view as the catalogue has it, with those of its columns of which there is more to say.

    Attributes:
        row: Its row of the catalogue.
        columns: Rows of columns that have a comment, rights or settings.
    """

    row: Row[Any]
    columns: list[Row[Any]] = field(default_factory=list)

    @property
    def facts(self) -> Mapping[str, Fact]:
        """The query, the columns (name, type with collation) and their comments."""
        return {
            "query": settled(self.row.query.removesuffix(";"), ""),
            "columns": tuple(zip(self.row.names or (), self.row.types or (), strict=True)),
            "column_comments": tuple(
                (column.name, column.description)
                for column in self.columns
                if column.description is not None
            ),
        }

    def entity(
        self, kind: str, facts: Mapping[str, Fact], notes: Mapping[str, Fact] | None = None
    ) -> Entity:
        """Make an entity of it.

        Args:
            kind: "view" or "materialized_view".
            facts: What this kind compares beyond query and columns.
            notes: What is known and not compared.
        """
        row = self.row
        comment, mark = comments.split(row.description)
        own = {column.name: column.acl for column in self.columns}
        return Entity(
            id=EntityIdentifier(row.schema, row.name, kind=kind),
            facts={**self.facts, **facts},
            comment=comment,
            mark=mark,
            owner=row.owner,
            privileges=privileges.parse(row.acl, kind, row.owner, own),
            notes=notes or {},
            address=Address("pg_class", row.oid),
        )


def read(reader: Reader, schemas: Sequence[str], relkind: str) -> Iterator[Relation]:
    """Read all relations of one `relkind` in some schemas, in two queries."""
    asked = {"kind": relkind, "schemas": list(schemas)}
    relations = [Relation(row) for row in reader.rows(_RELATIONS, asked)]
    by_oid = {relation.row.oid: relation for relation in relations}
    for column in reader.rows(_COLUMNS, asked) if relations else ():
        if column.oid in by_oid:
            by_oid[column.oid].columns.append(column)
    yield from relations


def pairs(value: Fact) -> list[tuple[str, str]]:
    """Return a fact that is made of (name, value) as such, for the type checker."""
    items = value if isinstance(value, tuple) else ()
    return [(str(item[0]), str(item[1])) for item in items if isinstance(item, tuple)]


def storage_parameters(entity: Entity) -> str:
    """Write the options of a view as its WITH clause; "" if it has none."""
    options = pairs(entity.facts["options"])
    listed = ", ".join(_parameter(name, value) for name, value in options)
    return f" WITH ({listed})" if listed else ""


def parameter_changes(label: str, old: Entity, new: Entity) -> Iterator[Statement]:
    """Turn the options of one into those of the other.

    Args:
        label: As ALTER names it: `VIEW app.v`.
        old: What it is.
        new: What it should be.
    """
    before, after = (dict(pairs(entity.facts["options"])) for entity in (old, new))
    changed = [_parameter(name, after[name]) for name in after if before.get(name) != after[name]]
    gone = [name for name in before if name not in after]
    if changed:
        yield Statement(f"ALTER {label} SET ({', '.join(changed)})")
    if gone:
        yield Statement(f"ALTER {label} RESET ({', '.join(gone)})")


def column_comments(old: Entity | None, new: Entity) -> Iterator[Statement]:
    """Set the comments of columns that have another one, or none any more.

    Args:
        old: What it is; None for what was just made.
        new: What it should be.
    """
    before = {} if old is None else dict(pairs(old.facts["column_comments"]))
    after = dict(pairs(new.facts["column_comments"]))
    relation = idents.qualify(new.id.schema, new.id.name or "")
    for name, _ in pairs(new.facts["columns"]):
        if before.get(name) != after.get(name):
            text = literal(after[name]) if name in after else "NULL"
            yield Statement(f"COMMENT ON COLUMN {relation}.{idents.quote(name)} IS {text}")


def definition(verb: str, entity: Entity, clauses: str = "", ending: str = "") -> Statement:
    """Write the statement that makes a view.

    Args:
        verb: `CREATE VIEW`, `CREATE OR REPLACE VIEW`, ...
        entity: The view.
        clauses: What stands between its name and AS.
        ending: What follows the query.
    """
    called = idents.qualify(entity.id.schema, entity.id.name or "")
    return Statement(f"{verb} {called}{clauses} AS\n{entity.facts['query']}{ending}")


def options(stored: Iterable[str] | None) -> tuple[tuple[str, str], ...]:
    """Take stored options (`name=value`) apart, in the order of their names."""
    split = (option.partition("=") for option in stored or ())
    return tuple(sorted((name, value) for name, _, value in split))


def _parameter(name: str, value: str) -> str:
    return f"{name}={value if value.replace('_', '').isalnum() else literal(value)}"
