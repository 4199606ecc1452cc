"""Which rows of a source come after a position, for every kind of position that there is.

A value says how far a column had come. A snapshot says which transactions had committed, so that
the rows of all others can be told by the number of the transaction that wrote them. A horizon is
the number below which every transaction had ended.
"""

from __future__ import annotations

from pgflow.plan.decision import Unknown
from pgflow.plan.spec import SyncSpec, Watermark
from pgflow.plan.sql import Sql, bind, name, raw, sql
from pgflow.plan.statement import Statement

#: Transactions are numbered with 64 bits; of a row's own only 32 are kept.
_WRAP = 2**32

#: Transactions that may begin between the look at the server and the reading statement. More of
#: them are no harm: their rows are read by the next run.
_MEANWHILE = 2**20


def since(watermark: Watermark | None) -> Sql:
    """Limit the source `s` to rows that come after the position.

    Args:
        watermark: The position, or None where the whole source is read.

    Returns:
        A WHERE clause, or nothing.
    """
    if watermark is None or watermark.applied:
        return Sql()
    if watermark.value is None:
        if watermark.by_value and watermark.nulls == "skip":
            return sql("\n WHERE {c} IS NOT NULL", c=name("s", watermark.column))
        return Sql()
    condition = _CONDITIONS[watermark.kind](watermark)
    return raw("\n WHERE ") + condition if condition.parts else condition


def _since_value(watermark: Watermark) -> Sql:
    value = None if isinstance(watermark.value, Unknown) else watermark.value
    kind = raw("text" if isinstance(watermark.type, Unknown) else watermark.type)
    start = sql("{value}::text::{kind}", value=bind(value, "watermark"), kind=kind)
    if watermark.lookback is not None:
        start = sql("{start} - {lookback}", start=start, lookback=watermark.lookback)
    template = "({column} >= {since} OR {column} IS NULL)"
    if watermark.nulls == "skip":
        template = "{column} >= {since}"
    return sql(template, column=name("s", watermark.column), since=start)


def _within_window(watermark: Watermark) -> Sql:
    kind = raw("text" if isinstance(watermark.type, Unknown) else watermark.type)
    begin = None if isinstance(watermark.value, Unknown) else watermark.value
    return sql(
        "{column} >= {begin}::text::{kind} AND {column} < {end}::text::{kind}",
        column=name("s", watermark.column),
        kind=kind,
        begin=bind(begin, "from"),
        end=bind(watermark.now, "to"),
    )


def _since_snapshot(watermark: Watermark) -> Sql:
    """Rows of transactions that had not committed then; the first condition is for an index.

    A row without a number was there before its table began to be tracked.
    """
    value = None if isinstance(watermark.value, Unknown) else watermark.value
    return sql(
        "{column} >= pg_snapshot_xmin({then}) AND NOT pg_visible_in_snapshot({column}, {then})",
        column=name("s", watermark.column),
        then=sql("{v}::text::pg_snapshot", v=bind(value, "watermark")),
    )


def _since_horizon(watermark: Watermark) -> Sql:
    """Rows of transactions from the horizon on, by the 32 bits of their number that rows keep.

    Numbers repeat every four billion transactions. Very old rows can look new for that, and are
    read once more; new ones never look old.
    """
    if isinstance(watermark.value, Unknown) or watermark.value is None:
        return raw("false")
    begin = int(watermark.value)
    width = watermark.ahead - begin + _MEANWHILE
    if width >= _WRAP:
        return Sql()
    return sql(
        "({column}::text::bigint - {begin}::bigint + {wrap}) % {wrap} < {width}::bigint",
        column=name("s", watermark.column),
        begin=bind(begin % _WRAP, "watermark"),
        wrap=raw(str(_WRAP)),
        width=bind(width, "transactions"),
    )


def _since_slot(_: Watermark) -> Sql:
    """The source is joined with the changed keys already."""
    return Sql()


_CONDITIONS = {
    "value": _since_value,
    "window": _within_window,
    "snapshot": _since_snapshot,
    "horizon": _since_horizon,
    "slot": _since_slot,
}


def remember(spec: SyncSpec, reached: Sql, source: Sql) -> Statement | None:
    """Advance the watermark in the data's own transaction.

    Args:
        spec: What is planned.
        reached: The greatest value that was read, as text; NULL leaves the old one. Positions of
            other kinds are known before anything is read.
        source: Where that expression reads from, starting with FROM, or nothing.
    """
    mark = spec.watermark
    if mark is None or mark.kind == "window":
        return None
    details = None if mark.by_value else bind(mark.details, "details")
    if not mark.by_value:
        reached, source = sql("{v}::text", v=bind(mark.now, "position")), Sql()
    text = sql(
        "INSERT INTO {table} (pipeline, target, scope, column_name, value, run_id{more})\n"
        "SELECT {owner}::text, {target}::text, {scope}::text, {column}::text, {value},"
        " {run}::uuid{details}{source}\n"
        "ON CONFLICT (pipeline, target, scope) DO UPDATE\n"
        "   SET column_name = excluded.column_name, value = {kept},\n"
        "       run_id = excluded.run_id, updated_at = clock_timestamp(){also}",
        table=mark.table,
        owner=bind(spec.owner, "pipeline"),
        target=bind(spec.target.label, "target"),
        scope=bind(spec.scope_name, "scope"),
        column=bind(mark.label, "column"),
        value=reached,
        kept=_KEPT,
        run=spec.batch_id,
        source=source,
        # Only these columns: tables of the layout before have no details.
        more=Sql() if details is None else raw(", details"),
        details=Sql() if details is None else sql(", {d}::jsonb", d=details),
        also=Sql() if details is None else raw(", details = excluded.details"),
    )
    return Statement("remember how far the source was read", text)


#: A batch without a value leaves the position where it is. One in another column says nothing.
_KEPT = raw(
    "CASE WHEN watermarks.column_name = excluded.column_name\n"
    "              THEN coalesce(excluded.value, watermarks.value) ELSE excluded.value END"
)
