"""The stage: a temporary table that holds the batch, so that everything can look at the same rows.

A source in another database has to be brought here; checks see each row before it is written; and
of a few rows out of many the planner must know that they are few, or it would scan the target.
"""

from __future__ import annotations

from dataclasses import replace

from pgflow.plan.decision import Unknown
from pgflow.plan.spec import Stage, SyncSpec
from pgflow.plan.sql import Sql, names, raw, sql
from pgflow.plan.statement import Statement
from pgflow.plan.watermark import since

#: The temporary table; named with its schema, so that no search path can hide it.
STAGE = raw("pg_temp.pgflow_stage")

#: Rows that were taken out of the stage again, whose key no row of the stage has.
REJECTED = raw("pg_temp.pgflow_rejected")


def stage_here(spec: SyncSpec, reason: str) -> SyncSpec:
    """Have the rows of a source in the target's own database staged.

    Args:
        spec: What is planned; its source is a query or table of this database.
        reason: Why the rows are staged.

    Returns:
        The same, with the stage as its source.
    """
    fill = sql(
        "CREATE TEMPORARY TABLE {stage} ON COMMIT DROP AS\n"
        "SELECT {columns}\n  FROM {source} AS s{since}",
        stage=STAGE,
        columns=_columns(spec),
        source=spec.source.relation,
        since=since(spec.watermark),
    )
    return staged(spec, (Statement("put the source's rows into a stage", fill),), reason)


def staged(spec: SyncSpec, fill: tuple[Statement, ...], reason: str) -> SyncSpec:
    """Have the modes read the stage.

    Args:
        spec: What is planned.
        fill: The statements that make the stage and put the source's rows into it, limited by
            the watermark where there is one.
        reason: Why the rows are staged.

    Returns:
        The same, with the stage as its source. The planner will know the stage's size.
    """
    measure = Statement("tell the planner what is in the stage", sql("ANALYZE {s}", s=STAGE))
    source = replace(
        spec.source,
        relation=STAGE,
        cheap=True,
        reads_target=False,
        stage=Stage(reason, (*fill, measure)),
    )
    watermark = spec.watermark and replace(spec.watermark, applied=True)
    return replace(spec, source=source, watermark=watermark)


def _columns(spec: SyncSpec) -> Sql:
    """All columns but the one that tells transactions, which is no data and may be called xmin."""
    if spec.arriving is None or spec.position_column is None:
        return raw("*")
    return names(spec.arriving, of="s")


def gains_by_stage(spec: SyncSpec) -> bool:
    """Tell whether an incremental run is faster when the planner knows how few rows it brings."""
    mark = spec.watermark
    if mark is None or mark.value is None or isinstance(mark.value, Unknown):
        return False
    return bool(spec.keys.value) and spec.facts.target_empty is not True
