"""A window: the rows of a source whose value in one column is within bounds, read apart."""

from __future__ import annotations

from dataclasses import replace

from pgflow.plan.decision import Decision
from pgflow.plan.spec import SyncSpec, Watermark
from pgflow.plan.sql import Sql
from pgflow.plan.statement import Plan, Statement


def windowed(draft: SyncSpec, column: str, begin: str, end: str) -> SyncSpec:
    """Limit what is planned to a window; no watermark is read or moved.

    Args:
        draft: What is planned.
        column: A column that the source delivers.
        begin: The least value that belongs to the window, as text.
        end: The least value after it, as text.

    Returns:
        The same, for the rows of the window.
    """
    table = Sql() if draft.watermark is None else draft.watermark.table
    return replace(draft, watermark=Watermark(table, column, value=begin, now=end, kind="window"))


def enclosed(plan: Plan, before: Statement, after: Statement, reason: str) -> Plan:
    """Put statements around a plan, and around its fallback.

    Args:
        plan: The plan.
        before: Runs before the mode's statements.
        after: Runs after them.
        reason: Why only a part of the source is read.
    """
    return replace(
        plan,
        statements=(before, *plan.statements, after),
        fallback=plan.fallback and enclosed(plan.fallback, before, after, reason),
        decisions={**plan.decisions, "watermark": Decision(None, reason)},
    )
