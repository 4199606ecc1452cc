"""Rows of a target that are to be linked again: as a source would deliver them, without links."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pgflow.errors import CannotRelink
from pgflow.plan.delta import DELTA
from pgflow.plan.link import Link
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, bind, join, name, names, raw, sql
from pgflow.plan.statement import Statement


@dataclass(frozen=True)
class Limits:
    """Which rows are linked again.

    Attributes:
        since: Only rows whose instant is not before this one.
        until: Only rows whose instant is before this one.
        unresolved: Only rows without a link of their own.
        scope: The pipeline's part of the target.
        deleted_at: The column that marks deleted rows, which stay as they are.
    """

    since: datetime | None = None
    until: datetime | None = None
    unresolved: bool = False
    scope: Sql | None = None
    deleted_at: str | None = None


def rows_to_link(
    relation: Sql, columns: Sequence[str], links: Sequence[Link], limits: Limits
) -> Sql:
    """Select what a source would deliver.

    Args:
        relation: The target.
        columns: Its columns without those that are looked up.
        links: The lookups.
        limits: Which of its rows.

    Returns:
        A SELECT.
    """
    conditions = []
    if limits.deleted_at is not None:
        conditions.append(sql("{c} IS NULL", c=name(limits.deleted_at)))
    if limits.scope is not None:
        conditions.append(limits.scope)
    if limits.since is not None or limits.until is not None:
        conditions.append(_any(_within(link, limits) for link in links))
    if limits.unresolved:
        conditions.append(_any(_unresolved(link) for link in links))
    where = raw("\n WHERE ") + join("\n   AND ", conditions) if conditions else Sql()
    return sql("SELECT {columns}\n  FROM {r}", columns=names(columns), r=relation) + where


def _any(conditions: Iterable[Sql]) -> Sql:
    return raw("(") + join(" OR ", conditions) + raw(")")


def _within(link: Link, limits: Limits) -> Sql:
    parts = []
    if limits.since is not None:
        parts.append(sql("{at} >= {v}", at=name(link.at), v=bind(limits.since, "since")))
    if limits.until is not None:
        parts.append(sql("{at} < {v}", at=name(link.at), v=bind(limits.until, "until")))
    return join(" AND ", parts)


def _unresolved(link: Link) -> Sql:
    column = name(link.into)
    if link.member is None:
        return sql("{c} IS NULL", c=column)
    if not isinstance(link.member, dict):
        return sql("({c} IS NULL OR {c} = {v})", c=column, v=bind(link.member, "unknown member"))
    keys = (
        sql("v.{key} = {value}", key=name(key), value=bind(value, key))
        for key, value in link.member.items()
    )
    return sql(
        "({c} IS NULL OR {c} IN (SELECT v.{select} FROM {dimension} AS v WHERE {keys}))",
        c=column,
        select=name(link.select),
        dimension=link.relation,
        keys=join(" AND ", keys),
    )


def refuse_inserts(spec: SyncSpec) -> Statement:
    """Refuse to bring back rows that somebody without our lock has deleted meanwhile.

    An empty target has nothing to link, and a run on it may keep no delta.
    """
    inserts = sql("SELECT 1 AS gone FROM {d} WHERE pgflow_op = 'insert' LIMIT 1", d=DELTA)
    if spec.facts.target_empty is True:
        inserts = raw("SELECT 1 AS gone LIMIT 0")

    def refuse(found: Sequence[object]) -> CannotRelink | None:
        if not found:
            return None
        return CannotRelink(
            f"{spec.owner}: rows of {spec.target.label} were deleted by somebody else while they "
            "were linked. Nothing was written; run it again.",
            target=spec.target.label,
        )

    return Statement("make sure that no deleted row comes back", inserts, refuses=refuse)
