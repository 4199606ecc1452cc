"""Questions to PostgreSQL's catalogue about the target and the source, each one round trip."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pgflow.plan.spec import SourceColumn, SyncSpec, TargetColumn
from pgflow.plan.sql import Sql, bind, join, name, sql
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

_COLUMNS = (
    "SELECT a.attname AS name,"  # noqa: S608  # put together from constants of this module
    + CAST_TYPE.format(t="b")
    + """,
       t.typtype = 'd' AS domain,
       NOT a.attnotnull AS nullable,
       a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL AS has_default,
       a.attgenerated <> '' AS generated,
       a.attidentity = 'a' AS always_identity,
       """
    + _COMPARABLE
    + """ AS comparable,"""
    + _HIDDEN
    + """ AS hidden_equality,
       CASE WHEN l.collname <> 'default'
            THEN format('%I.%I', l.collnamespace::regnamespace, l.collname) END AS collation,
       coalesce(l.collisdeterministic, true) AS deterministic
  FROM pg_attribute a
  JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_collation l ON l.oid = a.attcollation
 CROSS JOIN """
    + UNFOLD.format(oid="a.atttypid", modifier="a.atttypmod")
    + """ AS b
 WHERE a.attrelid = {target}::regclass AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum"""
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

_TARGET = """
SELECT EXISTS (
         SELECT FROM pg_index i CROSS JOIN LATERAL (
           SELECT array_agg(k.attname::text ORDER BY k.attname::text) AS columns
             FROM pg_attribute k
            WHERE k.attrelid = c.oid AND k.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])) AS covered
          WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
            AND NOT i.indisexclusion
            AND i.indexprs IS NULL
            AND (covered.columns = {keys}::text[]
                 OR i.indnullsnotdistinct AND covered.columns = {ended}::text[])
            AND NOT EXISTS (SELECT FROM pg_attribute k WHERE k.attrelid = c.oid
                  AND k.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]) AND NOT k.attnotnull
                  AND NOT (i.indnullsnotdistinct AND k.attname = {valid_to}::text))
            AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) = {predicate}::text)
       ) AS keys_indexed,
       EXISTS (SELECT FROM pg_constraint f WHERE f.confrelid = c.oid AND f.contype = 'f'
                  AND f.conrelid <> c.oid) AS referenced,
       has_table_privilege(c.oid, 'TRUNCATE') AS may_truncate,
       c.reltuples::bigint AS estimated_rows
  FROM pg_class c WHERE c.oid = {target}::regclass"""


@dataclass(frozen=True)
class Source:
    """What the catalogue says of a source.

    Attributes:
        columns: Its columns.
        misfits: Columns whose type the target's column does not take, with that type.
    """

    columns: tuple[SourceColumn, ...]
    misfits: tuple[tuple[SourceColumn, str], ...]


def comments(session: Session, *relations: str) -> dict[str, str | None]:
    """Return the comments of tables by qualified name: empty where there is none.

    Returns:
        None for a table that does not exist.
    """
    checks = (
        sql(
            "CASE WHEN to_regclass({r}::text) IS NOT NULL THEN"
            " coalesce(obj_description(to_regclass({r}::text), 'pg_class'), '') END",
            r=bind(r, "relation"),
        )
        for r in relations
    )
    columns = ", ".join(f"{{c{i}}} AS r{i}" for i in range(len(relations)))
    text = sql("SELECT " + columns, **{f"c{i}": check for i, check in enumerate(checks)})
    row = session.run(text, "look for the tables").rows[0]
    return {relation: row[f"r{i}"] for i, relation in enumerate(relations)}


def target_columns(session: Session, target: str) -> tuple[TargetColumn, ...]:
    """Read a table's columns as they really are."""
    text = sql(_COLUMNS, target=bind(target, "target"))
    return tuple(TargetColumn(**row) for row in session.run(text, "read the target's columns").rows)


def target_facts(session: Session, spec: SyncSpec) -> dict[str, Any]:
    """Read what the choice of a plan depends on: unique keys, foreign keys, privileges, size."""
    valid_to = spec.target.system.valid_to
    predicate = None if valid_to is None else f"({name(valid_to)} IS NULL)"
    # Of the versions of a key that end at no instant there is one, where NULLs are not distinct.
    ended = None if valid_to is None else sorted((*spec.keys.value, valid_to))
    text = sql(
        _TARGET,
        target=bind(spec.target.label, "target"),
        keys=bind(sorted(spec.keys.value), "keys"),
        predicate=bind(predicate, "predicate"),
        ended=bind(ended, "keys and end"),
        valid_to=bind(valid_to, "valid_to"),
    )
    return session.run(text, "read the target's keys and privileges").rows[0]


def is_empty(session: Session, relation: Sql) -> bool:
    """Tell whether a table, or its part, has no rows."""
    text = sql("SELECT NOT EXISTS (SELECT FROM {r}) AS empty", r=relation)
    return bool(session.run(text, "look whether the target is empty").rows[0]["empty"])


def source_columns(session: Session, target: str, fields: Sequence[Field]) -> Source:
    """Name the types of a source's columns, and find those that the target does not take."""
    text = sql(
        _SOURCE,
        names=bind([f.name for f in fields], "names"),
        oids=bind([f.oid for f in fields], "oids"),
        modifiers=bind([f.modifier for f in fields], "modifiers"),
        target=bind(target, "target"),
    )
    rows = session.run(text, "read the source's types").rows
    columns = tuple(
        SourceColumn(f.name, row["type"], row["length"])
        for f, row in zip(fields, rows, strict=True)
    )
    misfits = tuple(
        (column, row["target_type"])
        for column, row in zip(columns, rows, strict=True)
        if not row["fits"]
    )
    return Source(columns, misfits)


def proves_unique(session: Session, target: Sql, source: Sql, keys: Sequence[str]) -> bool:
    """Ask the planner whether no two rows of a source can share a key.

    It drops a LEFT JOIN whose right side is unique on the join columns and otherwise unused. If
    the join is gone from the plan, the planner has proved it: by a unique index, a GROUP BY, a
    DISTINCT, or through joins on unique keys.

    Args:
        session: The session.
        target: A table that has the keys.
        source: The source, whose keys are of the same types.
        keys: The merge keys.
    """
    pairs = [sql("t.{key} = s.{key}", key=name(key)) for key in keys]
    text = sql(
        "EXPLAIN (FORMAT JSON, COSTS OFF) SELECT 1 FROM {target} AS t"
        " LEFT JOIN {source} AS s ON {pairs}",
        target=target,
        source=source,
        pairs=join(" AND ", pairs),
    )
    plan = session.run(text, "ask whether the source's keys are unique").rows[0]["QUERY PLAN"]
    if any("Join Type" in node for node in _nodes(plan)):
        return False
    # DISTINCT ON with ORDER BY calls set-returning functions last, so that keys repeat after all;
    # the planner takes the keys for distinct all the same.
    explain = sql("EXPLAIN (FORMAT JSON, COSTS OFF) {source}", source=source)
    plan = session.run(explain, "look how the source is read").rows[0]["QUERY PLAN"]
    return not any(node["Node Type"] == "ProjectSet" for node in _nodes(plan))


#: Plans that only pass rows through, so that running them again costs a scan.
_SCANS = frozenset(
    {
        "Append",
        "Bitmap Heap Scan",
        "Bitmap Index Scan",
        "Gather",
        "Index Only Scan",
        "Index Scan",
        "Seq Scan",
        "Subquery Scan",
    }
)
#: What a plan of whole tables does not have.
_NOT_WHOLE = frozenset({"Filter", "Index Cond", "Recheck Cond", "Subplan Name", "TID Cond"})
_CALLED = re.compile(r'([\w$]+|"(?:[^"]|"")+")\(')


def rows_if_cheap(session: Session, source: Sql) -> int | None:
    """Estimate the rows of a source that gives the same ones each time in one statement.

    Args:
        session: The session.
        source: The source.

    Returns:
        The planner's estimate. None where the source is not just whole tables: as soon as it
        filters, joins, sorts, aggregates, or calls anything volatile.
    """
    explain = sql("EXPLAIN (FORMAT JSON, VERBOSE) SELECT * FROM {r} AS s", r=source)
    plan = session.run(explain, "look how the source is read").rows[0]["QUERY PLAN"]
    nodes = list(_nodes(plan))
    if any(node["Node Type"] not in _SCANS or _NOT_WHOLE.intersection(node) for node in nodes):
        return None
    rows = int(nodes[0]["Plan Rows"])
    texts = [json.dumps(node, default=str) for node in nodes]
    called = {n.strip('"').replace('""', '"') for text in texts for n in _CALLED.findall(text)}
    if not called:
        return rows
    text = sql(
        "SELECT EXISTS (SELECT FROM pg_proc WHERE provolatile = 'v'"
        " AND proname = ANY ({n}::text[])) AS found",
        n=bind(sorted(called), "functions"),
    )
    volatile = session.run(text, "look for volatile functions").rows[0]["found"]
    return None if volatile else rows


def reads(session: Session, relation: Sql, target: str) -> bool:
    """Tell whether a source reads the target, also through views and partitions."""
    explain = sql("EXPLAIN (FORMAT JSON, COSTS OFF, VERBOSE) SELECT * FROM {r} AS s", r=relation)
    plan = session.run(explain, "look which tables the source reads").rows[0]["QUERY PLAN"]
    scanned = {(n["Schema"], n["Relation Name"]) for n in _nodes(plan) if "Relation Name" in n}
    text = sql(
        "SELECT EXISTS (SELECT FROM unnest({schemas}::text[], {tables}::text[]) AS r(s, n)\n"
        "  JOIN pg_namespace ns ON ns.nspname = r.s\n"
        "  JOIN pg_class c ON c.relnamespace = ns.oid AND c.relname = r.n\n"
        " WHERE c.oid = {target}::regclass\n"
        "    OR c.oid IN (SELECT relid FROM pg_partition_tree({target}::regclass))) AS found",
        schemas=bind([schema for schema, _ in scanned], "schemas"),
        tables=bind([table for _, table in scanned], "tables"),
        target=bind(target, "target"),
    )
    return bool(session.run(text, "look whether the source reads the target").rows[0]["found"])


def reads_elsewhere(session: Session, source: Sql) -> bool:
    """Tell whether a source reads a foreign table, also through views and partitions."""
    explain = sql("EXPLAIN (FORMAT JSON, COSTS OFF) SELECT * FROM {r} AS s", r=source)
    plan = session.run(explain, "look where the source is read").rows[0]["QUERY PLAN"]
    return any(node["Node Type"] == "Foreign Scan" for node in _nodes(plan))


def _nodes(plan: Any) -> Iterator[dict[str, Any]]:
    if isinstance(plan, str):
        plan = json.loads(plan)
    stack = [entry["Plan"] for entry in plan]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(node.get("Plans", ()))
