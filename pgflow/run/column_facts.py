"""Columns and their types, as the catalogue of PostgreSQL has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pgflow.plan.spec import SourceColumn, TargetColumn, TargetShape
from pgflow.plan.sql import bind, sql
from pgflow.run.session import Field, Session

# The type that a domain is made of, through domains over domains; other types stand for themselves.
UNFOLD = """LATERAL (
    WITH RECURSIVE u (oid, modifier) AS (
      SELECT {oid}, {modifier} UNION ALL
      SELECT d.typbasetype, d.typtypmod FROM u JOIN pg_type d ON d.oid = u.oid AND d.typtype = 'd')
    SELECT u.oid, u.modifier FROM u JOIN pg_type p ON p.oid = u.oid AND p.typtype <> 'd')"""

# The type to cast a source value to before it is compared. varchar(n), char(n) and bit(n) lose
# their length, because an explicit cast would cut the value silently where writing it fails.
CAST_TYPE = """format_type({t}.oid, CASE WHEN {t}.oid IN
         (1042, 1043, 1560, 1562, 1014, 1015, 1561, 1563) THEN -1 ELSE {t}.modifier END) AS type,
       CASE WHEN {t}.oid IN (1042, 1043) AND {t}.modifier > 4 THEN {t}.modifier - 4 END AS length"""

# boolean, bytea, bigint, smallint, integer, text, real, double precision, bpchar, varchar, date,
# time, timestamp, timestamptz, interval, numeric, uuid and jsonb have the same numbers in every
# database, are no domains, and have an equality in pg_catalog.
_PLAIN = (
    "16, 17, 20, 21, 23, 25, 700, 701, 1042, 1043, 1082, 1083, 1114, 1184, 1186, 1700, 2950, 3802"
)

# Nothing can stand before what pg_catalog has: temporary tables have a schema without operators.
_UNHIDDEN = (
    "(array_remove(current_schemas(true), pg_my_temp_schema()::regnamespace::name))[1]"
    " = 'pg_catalog'"
)

# What costs next to nothing to ask; `plain` says that there is no more to know of the type.
_COLUMNS = (
    "SELECT a.attname AS name,"  # noqa: S608  # put together from constants of this module
    + CAST_TYPE.format(t="a")
    + """, a.oid, a.modifier,
       NOT a.attnotnull AS nullable,
       a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL AS has_default,
       a.attgenerated <> '' AS generated,
       a.attidentity = 'a' AS always_identity,
       CASE WHEN l.collname <> 'default'
            THEN format('%I.%I', l.collnamespace::regnamespace, l.collname) END AS collation,
       coalesce(l.collisdeterministic, true) AS deterministic,
       a.oid IN ("""
    + _PLAIN
    + ") AND "
    + _UNHIDDEN
    + """ AS plain
  FROM (SELECT *, atttypid AS oid, atttypmod AS modifier FROM pg_attribute) AS a
  JOIN pg_type t ON t.oid = a.oid
  LEFT JOIN pg_collation l ON l.oid = a.attcollation
 WHERE a.attrelid = {target}::regclass AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum"""
)

# A type has an equality if it has a default btree or hash operator class, its own or that of a
# type that it is the same bytes as (varchar: text). Geometric `=` compares areas: no equality.
# What an array, a domain or a row is made of needs one too.
_COMPARABLE = """
NOT EXISTS (
    WITH RECURSIVE part (oid) AS (
      SELECT b.oid UNION
      SELECT x.oid FROM part JOIN pg_type p ON p.oid = part.oid CROSS JOIN LATERAL (
        SELECT p.typelem AS oid WHERE p.typcategory = 'A' AND p.typelem <> 0 UNION ALL
        SELECT p.typbasetype WHERE p.typtype = 'd' UNION ALL
        SELECT f.atttypid FROM pg_attribute f
         WHERE p.typtype = 'c' AND f.attrelid = p.typrelid AND f.attnum > 0
           AND NOT f.attisdropped) AS x)
    SELECT FROM part JOIN pg_type e ON e.oid = part.oid
     WHERE e.typtype NOT IN ('d', 'c', 'e', 'r', 'm')
       AND NOT (e.typcategory = 'A' AND e.typelem <> 0)
       AND NOT EXISTS (
         SELECT FROM pg_opclass o
          WHERE o.opcdefault AND o.opcmethod IN (403, 405)
            AND (o.opcintype = e.oid OR EXISTS (
                 SELECT FROM pg_cast c WHERE c.castsource = e.oid AND c.casttarget = o.opcintype
                    AND c.castmethod = 'b' AND c.castcontext = 'i'))))"""

# Where a type's own `=` lives if the search path does not find it: another type's would be used.
_HIDDEN = """
(SELECT p.oprnamespace::regnamespace::text FROM pg_opclass o
   JOIN pg_amop s ON s.amopfamily = o.opcfamily AND s.amopstrategy = 3
        AND s.amoplefttype = b.oid AND s.amoprighttype = b.oid
   JOIN pg_operator p ON p.oid = s.amopopr
  WHERE o.opcdefault AND o.opcmethod = 403 AND o.opcintype = b.oid
    AND NOT pg_operator_is_visible(p.oid))"""

_TYPES = (
    "SELECT a.attname AS name,"  # noqa: S608  # put together from constants of this module
    + CAST_TYPE.format(t="b")
    + """, b.oid, b.modifier, a.atttypid <> b.oid AS domain,"""
    + _COMPARABLE
    + """ AS comparable,"""
    + _HIDDEN
    + """ AS hidden_equality
  FROM pg_attribute a CROSS JOIN """
    + UNFOLD.format(oid="a.atttypid", modifier="a.atttypmod")
    + """ AS b
 WHERE a.attrelid = {target}::regclass AND a.attnum > 0 AND a.attname = ANY ({names}::text[])"""
)

# Only values that assignment takes, and text, which every type can be read from. Arrays,
# composites and pseudo-types are left to the server.
_SOURCE = (
    "SELECT "  # noqa: S608  # put together from constants of this module
    + CAST_TYPE.format(t="b")
    + """, format_type(a.atttypid, a.atttypmod) AS target_type,
       a.atttypid IS NULL OR u.oid = v.oid OR u.typcategory IN ('S', 'X', 'A')
       OR v.typcategory IN ('S', 'A') OR u.typtype IN ('c', 'p')
       OR EXISTS (SELECT FROM pg_cast c WHERE c.castsource = u.oid AND c.casttarget = v.oid
                     AND c.castcontext IN ('i', 'a')) AS fits
  FROM unnest({names}::text[], {oids}::oid[], {modifiers}::int4[]) WITH ORDINALITY
       AS s(name, oid, modifier, position)
  CROSS JOIN """
    + UNFOLD.format(oid="s.oid", modifier="s.modifier")
    + """ AS b
  JOIN pg_type u ON u.oid = b.oid
  LEFT JOIN pg_attribute a ON a.attrelid = {target}::regclass AND a.attname = s.name
        AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN """
    + UNFOLD.format(oid="a.atttypid", modifier="a.atttypmod")
    + """ AS w ON true
  LEFT JOIN pg_type v ON v.oid = w.oid
 ORDER BY s.position"""
)


@dataclass(frozen=True)
class Source:
    """What the catalogue says of a source.

    Attributes:
        columns: Its columns.
        misfits: Columns whose type the target's column does not take, with that type.
    """

    columns: tuple[SourceColumn, ...]
    misfits: tuple[tuple[SourceColumn, str], ...]


def target_columns(session: Session, target: str) -> tuple[TargetColumn, ...]:
    """Read a table's columns as they really are.

    Args:
        session: The session.
        target: The table's qualified name.
    """
    text = sql(_COLUMNS, target=bind(target, "target"))
    rows = {row["name"]: row for row in session.run(text, "read the target's columns").rows}
    special = [name for name, row in rows.items() if not row.pop("plain")]
    if special:
        text = sql(_TYPES, target=bind(target, "target"), names=bind(special, "names"))
        for row in session.run(text, "read the types of the target's columns").rows:
            rows[row["name"]].update(row)
    return tuple(_column(row) for row in rows.values())


def _column(row: dict[str, Any]) -> TargetColumn:
    number, modifier = row.pop("oid"), row.pop("modifier")
    return TargetColumn(**row, base=(number, modifier))


def source_columns(session: Session, target: TargetShape, fields: Sequence[Field]) -> Source:
    """Name the types of a source's columns, and find those that the target does not take.

    Args:
        session: The session.
        target: The target; its columns are those of the database.
        fields: The source's columns.
    """
    bases = {column.name: column.base for column in target.columns}
    # A type that is the target's own needs no question.
    asked = [f for f in fields if bases.get(f.name) != (f.oid, f.modifier)]
    answers = iter(_types(session, target, asked) if asked else ())
    columns: list[SourceColumn] = []
    misfits: list[tuple[SourceColumn, str]] = []
    for field in fields:
        if bases.get(field.name) == (field.oid, field.modifier):
            own = target.column(field.name)
            columns.append(SourceColumn(field.name, own.type, own.length))
            continue
        row = next(answers)
        columns.append(SourceColumn(field.name, row["type"], row["length"]))
        if not row["fits"]:
            misfits.append((columns[-1], row["target_type"]))
    return Source(tuple(columns), tuple(misfits))


def _types(
    session: Session, target: TargetShape, fields: Sequence[Field]
) -> tuple[dict[str, Any], ...]:
    text = sql(
        _SOURCE,
        names=bind([f.name for f in fields], "names"),
        oids=bind([f.oid for f in fields], "oids"),
        modifiers=bind([f.modifier for f in fields], "modifiers"),
        target=bind(target.label, "target"),
    )
    return session.run(text, "read the source's types").rows
