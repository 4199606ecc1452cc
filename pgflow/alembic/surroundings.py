"""What declared objects need of other people's, as bare structure for a shadow database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgflow import idents
from pgflow.alembic.declared.nodes import occurrences
from pgflow.alembic.declared.world import DeclaredWorld
from pgflow.alembic.errands import Errand
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.literals import literal
from pgflow.alembic.reader import Reader

# What the named objects need in turn: columns their types, functions their arguments' types.
_CLOSURE = """
WITH RECURSIVE named (role, schema, name) AS (
    SELECT * FROM unnest(CAST(:roles AS text[]), CAST(:schemas AS text[]), CAST(:names AS text[]))
), found (catalogue, oid) AS (
    SELECT 'pg_class'::regclass::oid, c.oid
      FROM named m JOIN pg_class c ON c.relname = m.name AND m.role = 'relation'
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
       AND CASE WHEN m.schema IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = m.schema END
    UNION
    SELECT 'pg_type'::regclass::oid, t.oid
      FROM named m JOIN pg_type t ON t.typname = m.name AND m.role = 'type'
      JOIN pg_namespace n ON n.oid = t.typnamespace
     WHERE CASE WHEN m.schema IS NULL THEN pg_type_is_visible(t.oid) ELSE n.nspname = m.schema END
    UNION
    SELECT 'pg_proc'::regclass::oid, p.oid
      FROM named m JOIN pg_proc p ON p.proname = m.name AND m.role = 'function'
      JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE CASE WHEN m.schema IS NULL THEN pg_function_is_visible(p.oid)
                ELSE n.nspname = m.schema END
    UNION
    SELECT d.refclassid, d.refobjid
      FROM found f JOIN pg_depend d ON d.classid = f.catalogue AND d.objid = f.oid
     WHERE d.deptype IN ('n', 'i', 'a')
       AND d.refclassid IN ('pg_type'::regclass, 'pg_class'::regclass)
)
SELECT DISTINCT f.catalogue::regclass::text AS catalogue, f.oid::bigint AS oid,
       e.extname::text AS extension, en.nspname::text AS extension_schema
  FROM found f
  LEFT JOIN pg_depend d ON d.classid = f.catalogue AND d.objid = f.oid AND d.deptype = 'e'
  LEFT JOIN pg_extension e ON e.oid = d.refobjid
  LEFT JOIN pg_namespace en ON en.oid = e.extnamespace
 WHERE f.oid >= 16384
"""

_RELATIONS = """
SELECT c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name,
       c.relkind::text AS kind, CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS by,
       ARRAY(SELECT ARRAY[a.attname::text, format_type(a.atttypid, a.atttypmod),
                          CASE WHEN a.attcollation <> t.typcollation
                               THEN quote_ident(cn.nspname) || '.' || quote_ident(co.collname) END,
                          a.attnotnull::text]
               FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
               LEFT JOIN pg_collation co ON co.oid = a.attcollation
               LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              ORDER BY a.attnum) AS columns,
       ARRAY(SELECT ARRAY[k.conname::text, pg_get_constraintdef(k.oid)] FROM pg_constraint k
              WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u') ORDER BY k.oid) AS keys,
       ARRAY(SELECT ARRAY[x.relname::text, pg_get_indexdef(x.oid)]
               FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
              WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid
                AND i.indpred IS NULL AND i.indexprs IS NULL
                AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = x.oid)
              ORDER BY x.oid) AS indexes
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY(CAST(CAST(:oids AS bigint[]) AS oid[])) AND c.relkind <> 'c'
   AND c.relkind NOT IN ('i', 'I', 't')
 ORDER BY c.oid
"""

_TYPES = """
SELECT t.oid::bigint AS oid, n.nspname::text AS schema, t.typname::text AS name,
       t.typtype::text AS kind, format_type(t.typbasetype, t.typtypmod) AS base,
       ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid
              ORDER BY e.enumsortorder) AS labels,
       ARRAY(SELECT ARRAY[a.attname::text, format_type(a.atttypid, a.atttypmod)]
               FROM pg_attribute a
              WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
              ORDER BY a.attnum) AS attributes,
       (SELECT format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid) AS subtype
  FROM pg_type t
  JOIN pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_class c ON c.oid = t.typrelid
 WHERE t.oid = ANY(CAST(CAST(:oids AS bigint[]) AS oid[]))
   AND (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c'))
 ORDER BY t.typtype <> 'e', t.oid
"""

_FUNCTIONS = """
SELECT n.nspname::text AS schema, p.proname::text AS name, p.prokind::text AS kind,
       pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result,
       p.provolatile::text AS volatility, p.proisstrict AS strict,
       ARRAY(SELECT format_type(a.type, NULL)
               FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, place)
              ORDER BY a.place) AS inputs
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE p.oid = ANY(CAST(CAST(:oids AS bigint[]) AS oid[]))
 ORDER BY p.oid
"""

_VOLATILITY = {"i": "IMMUTABLE", "s": "STABLE", "v": "VOLATILE"}


@dataclass(frozen=True)
class Surroundings:
    """What is to be made in a shadow database before the declared objects.

    Attributes:
        schemas: The schemas of others in which something is needed.
        errands: The statements, in order, after those that make the schemas.
        relations: The relations that they make, as (schema, name).
        objects: The types and functions that they make, as (schema, name).
    """

    schemas: frozenset[str]
    errands: Sequence[Errand]
    relations: frozenset[tuple[str, str]]
    objects: frozenset[tuple[str, str]]


def read(reader: Reader, world: DeclaredWorld) -> Surroundings:
    """Find what declared objects name of other people's in the live database.

    Args:
        reader: The live database, with the session's own search path.
        world: What is declared.

    Returns:
        What a shadow database needs besides the declared objects.
    """
    names = sorted(_named(world), key=str)
    columns = list(zip(*names, strict=True)) if names else [(), (), ()]
    parameters = dict(zip(("roles", "schemas", "names"), map(list, columns), strict=True))
    rows = reader.rows(_CLOSURE, parameters)
    extensions = {row.extension: row.extension_schema for row in rows if row.extension}
    oids = {"oids": [row.oid for row in rows if not row.extension]}
    types = reader.rows(_TYPES, oids)
    relations = reader.rows(_RELATIONS, oids)
    functions = reader.rows(_FUNCTIONS, oids)
    errands = [
        *_extensions(extensions),
        *(Errand(_type(row)) for row in types),
        *(Errand(sql) for row in relations for sql in _relation(row, world)),
        *(Errand(sql) for row in functions for sql in _function(row)),
    ]
    made = [*types, *relations, *functions]
    schemas = {row.schema for row in made} | set(extensions.values())
    return Surroundings(
        frozenset(schemas),
        errands,
        frozenset((row.schema, row.name) for row in relations),
        frozenset(
            [
                *((row.schema, row.name) for row in (*types, *functions)),
                *((row.schema, idents.fit(f"{row.name}_step")) for row in functions),
            ]
        ),
    )


def _named(world: DeclaredWorld) -> set[tuple[str, str | None, str]]:
    found: set[tuple[str, str | None, str]] = set()
    for declaration in world.declarations:
        places = occurrences(declaration.node)
        for name in places.names:
            if name.schema is None and name.name in places.local:
                continue
            if name.schema in ("pg_catalog", "information_schema"):
                continue
            if (name.schema, name.name) in world.stand_ins or _is_foreign(world, name):
                found.add((name.role, name.schema, name.name))
        for schema, text in world.register.foreign_in_strings(declaration):
            found |= {(role, schema, text) for role in ("relation", "function", "type")}
    return found


def _is_foreign(world: DeclaredWorld, name: Any) -> bool:
    return world.register.find(name.schema, name.name, name.role) is None


def _extensions(extensions: Mapping[str, str]) -> Iterator[Errand]:
    for name, schema in sorted(extensions.items()):
        yield Errand(
            f"CREATE EXTENSION IF NOT EXISTS {idents.quote(name)} SCHEMA {idents.quote(schema)} "
            "CASCADE"
        )


def _type(row: Any) -> str:
    name = idents.qualify(row.schema, row.name)
    if row.kind == "e":
        return f"CREATE TYPE {name} AS ENUM ({', '.join(map(literal, row.labels))})"
    if row.kind == "d":
        return f"CREATE DOMAIN {name} AS {row.base}"
    if row.kind == "r":
        return f"CREATE TYPE {name} AS RANGE (SUBTYPE = {row.subtype})"
    attributes = ", ".join(f"{idents.quote(a)} {type_}" for a, type_ in row.attributes)
    return f"CREATE TYPE {name} AS ({attributes})"


def _relation(row: Any, world: DeclaredWorld) -> Iterator[str]:
    name = idents.qualify(row.schema, row.name)
    if row.kind == "S":
        yield f"CREATE SEQUENCE {name}"
        return
    if row.kind in ("v", "m"):
        values = ", ".join(f"NULL::{type_} AS {idents.quote(c)}" for c, type_, _, _ in row.columns)
        kind = "VIEW" if row.kind == "v" else "MATERIALIZED VIEW"
        yield f"CREATE {kind} {name} AS SELECT {values}"
        return
    columns = ", ".join(
        f"{idents.quote(column)} {type_}"
        f"{f' COLLATE {collation}' if collation else ''}{' NOT NULL' if required == 'true' else ''}"
        for column, type_, collation, required in row.columns
    )
    yield f"CREATE TABLE {name} ({columns}){f' PARTITION BY {row.by}' if row.by else ''}"
    for key, definition in row.keys:
        yield f"ALTER TABLE {name} ADD CONSTRAINT {idents.quote(key)} {definition}"
    for index, definition in row.indexes:
        if not world.makes(EntityIdentifier(row.schema, index, None, "index", None, row.name)):
            yield definition


def _function(row: Any) -> Iterator[str]:
    name = idents.qualify(row.schema, row.name)
    # A body in a language whose bodies are not checked: nothing ever calls it.
    body = "LANGUAGE plpgsql AS 'BEGIN END'"
    words = f"{_VOLATILITY[row.volatility]}{' STRICT' if row.strict else ''}"
    if row.kind == "p":
        yield f"CREATE PROCEDURE {name}({row.arguments}) {body}"
    elif row.kind == "a":
        step = idents.qualify(row.schema, idents.fit(f"{row.name}_step"))
        types = ", ".join([row.result, *row.inputs])
        yield f"CREATE FUNCTION {step}({types}) RETURNS {row.result} {body}"
        yield f"CREATE AGGREGATE {name}({row.arguments}) (SFUNC = {step}, STYPE = {row.result})"
    else:
        yield f"CREATE FUNCTION {name}({row.arguments}) RETURNS {row.result} {words} {body}"
