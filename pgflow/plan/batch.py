"""The batch: the source's rows as the target's types have them, limited by the watermark."""

from __future__ import annotations

from pgflow.plan.decision import Unknown
from pgflow.plan.spec import SourceColumn, SyncSpec, TargetColumn
from pgflow.plan.sql import Sql, join, name, names, raw, sql
from pgflow.plan.watermark import since

#: The incremental column as the source has it, where the target's type would change it.
SEEN = "pgflow_seen"

#: Casts between types of one row keep every value, or fail.
_LOSSLESS = (
    frozenset({"smallint", "integer", "bigint"}),
    frozenset({"text", "character varying", "varchar"}),
)


def batch_query(spec: SyncSpec) -> Sql:
    """Select what the source delivers.

    Args:
        spec: What is planned.

    Returns:
        A SELECT of the delivered columns, cast to the target's types, then of the columns that
        only the run needs (incremental and order column).
    """
    columns = [_cast(spec, column) for column in spec.delivered]
    columns += [
        sql("{column} AS {alias}", column=name("s", column), alias=name(column))
        for column in extra_columns(spec)
    ]
    if spec.options.on_null_key == "match":
        columns.append(raw("true AS pgflow_found"))
    if spec.watermark is not None and changes_watermark(spec):
        seen = name("s", spec.watermark.column)
        columns.append(sql("{column} AS {alias}", column=seen, alias=name(SEEN)))
    query = sql(
        "SELECT {columns}\n  FROM {relation} AS s",
        columns=join(", ", columns),
        relation=spec.source.relation,
    )
    return query + since(spec.watermark)


def extra_columns(spec: SyncSpec) -> tuple[str, ...]:
    """Return the source columns that a run needs although the target has none of that name."""
    mark = spec.watermark
    wanted = [spec.options.order_by, mark.column if mark and mark.by_value else None]
    have = set(spec.delivered)
    extra: list[str] = []
    for column in wanted:
        if column is not None and column not in have and column not in extra:
            extra.append(column)
    return tuple(extra)


def batch_ctes(spec: SyncSpec) -> tuple[Sql, ...]:
    """Name the rows that count, read once: `batch`.

    With `on_duplicate=` it is one row of each key, and all rows are named `delivered`.
    """
    template = "{name} AS {how} (\n  {query}\n)"
    once = raw("MATERIALIZED")
    if spec.options.on_duplicate is None:
        # One statement has one snapshot: a cheap source is the same each time it looks at it.
        how = raw("NOT MATERIALIZED") if spec.looks_again else once
        return (sql(template, name=raw("batch"), how=how, query=batch_query(spec)),)
    return (
        sql(template, name=raw("delivered"), how=once, query=batch_query(spec)),
        sql(template, name=raw("batch"), how=once, query=_newest(spec)),
    )


def rows(spec: SyncSpec) -> str:
    """Return the name under which every row that was read stands."""
    return "batch" if spec.options.on_duplicate is None else "delivered"


def is_lossless(found: str, wanted: str) -> bool:
    """Whether a cast between two types keeps every value, or fails, and never makes two equal."""
    return any({found, wanted} <= types for types in _LOSSLESS)


def changes_watermark(spec: SyncSpec) -> bool:
    """Whether the target's type could round the incremental column, so that rows get lost."""
    column = spec.watermark.column if spec.watermark else ""
    if column not in spec.delivered or isinstance(spec.source.columns, Unknown):
        return False
    found, kind = _found_as(spec, column).type, spec.target.column(column).type
    return found != kind and not any({found, kind} <= types for types in _LOSSLESS)


def _cast(spec: SyncSpec, column: str) -> Sql:
    """A source value as the target will hold it, or would refuse it."""
    target, source = spec.target.column(column), name("s", column)
    value = source
    if _needs_cast(spec, column, target.type):
        value = sql("{value}::{kind}", value=value, kind=raw(target.type))
    if cuts_blanks(spec, column):
        value = _fitted(value, target)
    if target.collation is not None:
        # Two columns with collations of their own could not be compared.
        value = sql("{value} COLLATE {c}", value=value, c=raw(target.collation))
    return value if value is source else sql("{v} AS {a}", v=value, a=name(column))


def _needs_cast(spec: SyncSpec, column: str, kind: str) -> bool:
    """Whether a value is of another type; rows and arrays tell even a domain from its type."""
    if spec.options.change_detection == "exact" or spec.options.on_null_key == "match":
        return True
    return isinstance(spec.source.columns, Unknown) or _found_as(spec, column).type != kind


def cuts_blanks(spec: SyncSpec, column: str) -> bool:
    """Whether writing a value could cut blanks from its end, or pad it with them."""
    length = spec.target.column(column).length
    if length is None or isinstance(spec.source.columns, Unknown):
        return False
    found = _found_as(spec, column)
    return found.type != spec.target.column(column).type or found.length != length


def _fitted(value: Sql, target: TargetColumn) -> Sql:
    """Do what writing does: cut blanks, pad char(n), and refuse what is too long all the same."""
    function = "pg_catalog.bpchar" if target.type == "bpchar" else 'pg_catalog."varchar"'
    modifier = raw(str((target.length or 0) + 4))
    return sql("{f}({value}, {modifier}, false)", f=raw(function), value=value, modifier=modifier)


def _found_as(spec: SyncSpec, column: str) -> SourceColumn:
    columns = spec.source.columns
    have = () if isinstance(columns, Unknown) else columns
    return next(c for c in have if c.name == column)


def _newest(spec: SyncSpec) -> Sql:
    """Keep the first or last row of each key by the order column, ties included.

    With event time each instant of a key has a row of its own.
    """
    last = spec.options.on_duplicate == "last"
    order, event = name(spec.options.order_by), spec.options.event_timestamp_column
    columns = join(", ", (name(c) for c in (*spec.delivered, *extra_columns(spec), *_found(spec))))
    return sql(
        "SELECT {columns}\n  FROM (SELECT *, rank() OVER (PARTITION BY {keys}"
        " ORDER BY {order} {direction}) AS pgflow_rank FROM delivered) AS ranked\n"
        " WHERE pgflow_rank = 1",
        columns=columns,
        keys=names([*spec.keys.value, *([event] if event is not None else [])]),
        order=order,
        direction=raw("DESC NULLS LAST" if last else "ASC NULLS LAST"),
    )


def _found(spec: SyncSpec) -> tuple[str, ...]:
    return ("pgflow_found",) if spec.options.on_null_key == "match" else ()
