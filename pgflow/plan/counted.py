"""The delta of a source that nothing proves to have each key once, found while rows pass by.

Rows that need no writing are dropped as they pass, and sequences count them, so that neither the
source nor the delta is kept for a second look. Afterwards the numbers must agree: if the rows of
the target that were met are as many as the meetings, none was met twice, so no key of the target
came twice. A new key that comes twice violates the target's own index. In both cases the run
gives way to the careful plan, which can tell rows that only repeat from rows that contradict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pgflow.plan.batch import batch_ctes, extra_columns
from pgflow.plan.comparison import match, missing
from pgflow.plan.decision import Decision, Unknown
from pgflow.plan.delta import (
    DELTA,
    UNDELIVERED,
    DeltaShape,
    delta_columns,
    fillers,
    operation,
    reached,
    target_rows,
)
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, join, raw, sql
from pgflow.plan.statement import Statement

#: The temporary table whose columns own the sequences, so that they go when it goes.
PASSED = raw("pg_temp.pgflow_passed")

#: Fewer rows are compared in less time than making the sequences takes.
ENOUGH = 20_000

#: A source with a smaller part of the target's rows had better look them up one by one.
PART = 4

#: The same for a target of which only some rows take part, such as a history's current ones.
PART_OF_ALL = 16

#: The operations of rows that are dropped, with the sequences that count them.
_DROPPED = {"same": "pgflow_same", "kept": "pgflow_kept"}

#: What `take_stock` is told to find; greater than zero if some row of the target was met twice.
MET_TWICE = "met_twice"


def counts_in_passing(spec: SyncSpec, shape: DeltaShape) -> bool:
    """Tell whether this is how a batch is compared.

    Args:
        spec: What is planned.
        shape: What the mode wants to know.

    Returns:
        False unless the source is a whole table in the target's database, about as large as the
        target or larger, and the target's index allows each key once.
    """
    facts, source, options = spec.facts, spec.source, spec.options
    if source.unique.value or not spec.looks_again or source.stage is not None:
        return False
    if facts.keys_indexed is not True or facts.target_empty is not False:
        return False
    if options.on_duplicate is not None or options.on_null_key == "match" or extra_columns(spec):
        return False
    return pays(spec, shape)


def pays(spec: SyncSpec, shape: DeltaShape) -> bool:
    """Tell whether that is faster, by what the planner knows of both sizes."""
    mine, theirs = spec.source.estimated_rows, spec.facts.estimated_rows
    if isinstance(theirs, Unknown) or mine is None or mine < ENOUGH:
        return False
    part = PART if shape.live is None else PART_OF_ALL
    # All of the target is read anyway to find what is gone; one that was never analyzed has -1.
    return shape.deletes or 0 <= theirs <= mine * part


def found_unique(spec: SyncSpec) -> SyncSpec:
    """Return what the statements after the comparison go by: no key came twice."""
    unique = Decision(True, "counted while the rows were compared")
    return replace(spec, source=replace(spec.source, unique=unique))


def find_and_count(spec: SyncSpec, shape: DeltaShape) -> tuple[Statement, ...]:
    """Create the delta table, with sequences that count what is not put into it.

    Args:
        spec: What is planned.
        shape: What the mode wants to know.

    Returns:
        Two statements, of which the second is the only one that reads the source.
    """
    columns = join(
        ", ",
        (
            raw(f"{s} bigint GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME {s} CACHE 10000)")
            for s in _DROPPED.values()
        ),
    )
    count = sql(
        "CREATE TEMPORARY TABLE {passed} ({columns}) ON COMMIT DROP",
        passed=PASSED,
        columns=columns,
    )
    cases = _cases(spec, shape)
    left = replace(shape, cases=tuple(case for case in cases if case[1] not in _DROPPED))
    find = sql(
        "CREATE TEMPORARY TABLE {delta} ON COMMIT DROP AS\n"
        "WITH {ctes}\n"
        "SELECT {op} AS pgflow_op,\n       {columns},\n"
        "       NULL::bigint AS pgflow_live, NULL::text AS pgflow_watermark\n"
        "  FROM batch AS b FULL JOIN {target} AS t ON {match}\n"
        " WHERE CASE {filters}\n            ELSE true END\n"
        "UNION ALL\n"
        "SELECT 'tally', {fillers}, (SELECT count(*) FROM {target} AS t), {watermark}",
        delta=DELTA,
        ctes=join(", ", batch_ctes(spec)),
        op=operation(left),
        columns=join(", ", delta_columns(spec, shape)),
        target=target_rows(spec, shape),
        match=match(spec, "t", "b"),
        filters=join("\n            ", (_filter(*case) for case in cases)),
        fillers=fillers(spec, shape),
        watermark=reached(spec),
    )
    return (
        Statement("count the rows that need no writing as they pass", count),
        Statement("read the source and find what is new, changed or gone", find),
    )


def _cases(spec: SyncSpec, shape: DeltaShape) -> tuple[tuple[Sql, str], ...]:
    """The mode's cases; target rows that nobody delivers take part whether it wants them or not."""
    new, *others = shape.cases
    if shape.deletes:
        return shape.cases
    return (new, (missing(spec, "b"), "kept"), *others)


def _filter(condition: Sql, named: str) -> Sql:
    """Let a row pass into the delta, or count it: no sequence is ever below zero."""
    answer = "true"
    if named in _DROPPED:
        answer = f"nextval('pg_temp.{_DROPPED[named]}') < 0"
    return sql("WHEN {condition} THEN {answer}", condition=condition, answer=raw(answer))


#: How often rows were dropped: one less than what the sequences say now.
PASSED_BY = raw(
    "WITH passed AS MATERIALIZED (\n"
    "  SELECT nextval('pg_temp.pgflow_same') - 1 AS same,\n"
    "         nextval('pg_temp.pgflow_kept') - 1 AS kept)\n"
)


def tallied(operations: Sequence[str]) -> Sql:
    """Return what `take_stock` cannot read from the delta.

    Args:
        operations: The operations that the mode's delta can hold.

    Returns:
        How many rows the source had, and by how much the meetings outnumber the rows of the
        target, if any of them changes something; to be selected from the delta after `PASSED_BY`.
    """
    delivered = ", ".join(f"'{o}'" for o in operations if o not in UNDELIVERED)
    return sql(
        "(SELECT same FROM passed) + count(*) FILTER (WHERE pgflow_op IN ({delivered})) AS read,\n"
        # Rows that repeat what the target has anyway do no harm.
        "       CASE WHEN bool_or({met}) THEN (SELECT same + kept FROM passed)"
        " + count(*) FILTER (WHERE {met})\n"
        "         - max(pgflow_live) END AS {met_twice}",
        delivered=raw(delivered),
        met=raw("pgflow_op NOT IN ('insert', 'tally')"),
        met_twice=raw(MET_TWICE),
    )
