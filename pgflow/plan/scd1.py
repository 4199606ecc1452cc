"""scd1: rows are overwritten, and each says when it last changed."""

from __future__ import annotations

from pgflow.plan.merge import plan_upsert
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, sql
from pgflow.plan.statement import Plan


def plan(spec: SyncSpec) -> Plan:
    """Plan an scd1 run: `compare` decides what a change is, every delivered value is written.

    Args:
        spec: What is planned.

    Returns:
        The plan; `_changed_at` is stamped on new and changed rows.
    """
    stamps: dict[str, Sql] = {}
    if spec.target.system.changed_at is not None:
        stamps[spec.target.system.changed_at] = sql("{at}::timestamptz", at=spec.instant)
    return plan_upsert(spec, written=spec.values, stamps=stamps)
