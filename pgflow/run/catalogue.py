"""Questions to PostgreSQL's catalogue about the target and the source, each one round trip."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, bind, join, name, sql
from pgflow.run.session import Session

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


def proves_unique(
    session: Session, target: Sql, source: Sql, keys: Sequence[str], *, scanned: bool = False
) -> bool:
    """Ask the planner whether no two rows of a source can share a key.

    It drops a LEFT JOIN whose right side is unique on the join columns and otherwise unused. If
    the join is gone from the plan, the planner has proved it: by a unique index, a GROUP BY, a
    DISTINCT, or through joins on unique keys.

    Args:
        session: The session.
        target: A table that has the keys.
        source: The source, whose keys are of the same types.
        keys: The merge keys.
        scanned: Whether the source is known to be whole tables as they are.
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
    if scanned:
        return True
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
