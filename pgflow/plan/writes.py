"""Writing the delta to the target: the insert, update and delete statements of the modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgflow.plan.comparison import match
from pgflow.plan.delta import DELTA
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, bind, join, name, names, raw, sql
from pgflow.plan.statement import Statement
from pgflow.plan.watermark import remember


def collapse(spec: SyncSpec, operations: Sequence[str]) -> Statement:
    """Keep one of several identical rows; runs only if the batch repeats any."""
    text = sql(
        "DELETE FROM {delta} AS a USING {delta} AS b\n"
        " WHERE a.pgflow_op IN ({ops}) AND b.pgflow_op = a.pgflow_op AND {match}"
        " AND a.ctid > b.ctid",
        delta=DELTA,
        ops=_literals(operations),
        match=match(spec, "a", "b"),
    )
    return Statement("keep one of several identical rows", text, when=("collapsed",))


def analyze(spec: SyncSpec) -> Statement:
    """Give the planner the delta's size, so that small ones use the target's index."""
    asked = names(["pgflow_op", *spec.keys.value])
    text = sql("ANALYZE {delta} ({asked})", delta=DELTA, asked=asked)
    return Statement("tell the planner how small the delta is", text)


def price_pages(spec: SyncSpec, operations: Sequence[str]) -> Statement:
    """Let the planner take pages of a target that fits the cache for as near as they are.

    By default a page out of order costs it four times as much as the next one, so that it reads
    a whole table from memory rather than look up one row in a hundred. How large the cache is,
    `effective_cache_size` says; a quarter of it leaves room for what others read.

    Args:
        spec: What is planned.
        operations: The operations whose rows are looked up in the target.
    """
    text = sql(
        "SELECT set_config('random_page_cost', least(1.1 * current_setting('seq_page_cost')"
        "::float8,\n       current_setting('random_page_cost')::float8)::text, true)"
        " AS random_page_cost\n"
        " WHERE (SELECT coalesce(sum(pg_relation_size(relid)), pg_relation_size({target}))\n"
        "          FROM pg_partition_tree({target}))\n"
        "       < pg_size_bytes(current_setting('effective_cache_size')) / 4",
        target=bind(str(spec.target.relation), "target"),
    )
    return Statement("tell the planner of a target that fits the cache", text, when=(*operations,))


def insert(
    spec: SyncSpec,
    operations: Sequence[str],
    stamps: Mapping[str, Sql],
    *,
    carried: Sequence[str] = (),
    purpose: str = "insert new rows",
    skip_existing: bool = False,
) -> Statement:
    """Insert rows of the delta.

    Args:
        spec: What is planned.
        operations: Which of its rows.
        stamps: pgflow's own columns and their values.
        carried: Columns that the delta took from the target.
        purpose: What a preview calls it.
        skip_existing: Whether a key that somebody else has just inserted is left alone.
    """
    columns = [*spec.delivered, *carried]
    text = sql(
        "INSERT INTO {target} ({columns}){overriding}\nSELECT {values}\n  FROM {delta} AS d\n"
        " WHERE pgflow_op IN ({ops}){order}{conflict}",
        target=spec.target.relation,
        columns=names([*columns, *stamps]),
        overriding=overriding(spec),
        values=join(", ", [*(name(c) for c in columns), *stamps.values()]),
        delta=DELTA,
        ops=_literals(operations),
        order=_by_key(spec, "d"),
        conflict=sql("\nON CONFLICT ({keys}) DO NOTHING", keys=names(spec.keys.value))
        if skip_existing
        else Sql(),
    )
    return Statement(purpose, text, counts="inserted", when=tuple(operations))


def load(spec: SyncSpec, stamps: Mapping[str, Sql], query: Sql, *, purpose: str) -> Statement:
    """Insert the whole batch without looking at the target.

    Args:
        spec: What is planned.
        stamps: pgflow's own columns and their values.
        query: The batch.
        purpose: What a preview calls it.
    """
    text = sql(
        "INSERT INTO {target} ({columns}){overriding}\nSELECT {values}\n  FROM (\n  {query}\n"
        ") AS batch{order}",
        target=spec.target.relation,
        columns=names([*spec.delivered, *stamps]),
        overriding=overriding(spec),
        values=join(", ", [*(name(c) for c in spec.delivered), *stamps.values()]),
        query=query,
        order=_by_key(spec, "batch"),
    )
    return Statement(purpose, text, counts="inserted")


def update(
    spec: SyncSpec,
    operation: str,
    assignments: Mapping[str, Sql],
    *,
    purpose: str,
    counts: str | None = "updated",
    only: Sql | None = None,
    also: Sequence[str] = (),
    reads: Sequence[str] | None = None,
) -> Statement:
    """Update target rows that the delta names.

    Args:
        spec: What is planned.
        operation: Which rows of the delta.
        assignments: Columns and their new values; `d` is the delta, `t` the target.
        purpose: What a preview calls it.
        counts: What each row counts as.
        only: A further condition on `t`.
        also: More operations of the delta.
        reads: The columns of `d` that the new values use beside the keys; None for any.
    """
    operations = (operation, *also)
    text = sql(
        "UPDATE {target} AS t\n   SET {assignments}\n  FROM {rows} AS d\n WHERE {match}{only}",
        target=spec.target.relation,
        assignments=join(
            ", ",
            (sql("{c} = {v}", c=name(column), v=value) for column, value in assignments.items()),
        ),
        rows=_rows(spec, operations, reads),
        match=match(spec, "t", "d"),
        only=in_scope(spec, only),
    )
    return Statement(purpose, text, counts=counts, when=operations)


def delete(spec: SyncSpec, operation: str, *, purpose: str, only: Sql | None = None) -> Statement:
    """Delete target rows that the delta names."""
    text = sql(
        "DELETE FROM {target} AS t USING {rows} AS d\n WHERE {match}{only}",
        target=spec.target.relation,
        rows=_rows(spec, [operation], ()),
        match=match(spec, "t", "d"),
        only=in_scope(spec, only),
    )
    return Statement(purpose, text, counts="deleted", when=(operation,))


def remember_read(spec: SyncSpec) -> Statement | None:
    """Set the watermark to the greatest value that the delta statement has read."""
    source = raw(" FROM pg_temp.pgflow_delta WHERE pgflow_op = 'tally'")
    return remember(spec, raw("pgflow_watermark"), source)


def _rows(spec: SyncSpec, operations: Sequence[str], reads: Sequence[str] | None) -> Sql:
    """Rows of the delta by merge key: the target is visited in order, not page by random page.

    Only with what is used of them: they are sorted and joined as whole rows.
    """
    columns = raw("*") if reads is None else names([*dict.fromkeys((*spec.keys.value, *reads))])
    return sql(
        "(SELECT {columns} FROM {delta} WHERE pgflow_op IN ({ops}) ORDER BY {keys})",
        columns=columns,
        delta=DELTA,
        ops=_literals(operations),
        keys=names(spec.keys.value),
    )


def _by_key(spec: SyncSpec, alias: str) -> Sql:
    """Fill indexes in their order, where the source delivers what they are about.

    Qualified, because a function among the values may give its column the name of a key.
    """
    keys = spec.keys.value or spec.target.primary_key
    if not keys or not set(keys) <= set(spec.delivered):
        return Sql()
    return raw("\n ORDER BY ") + names(keys, of=alias)


def in_scope(spec: SyncSpec, condition: Sql | None) -> Sql:
    """Further conditions on `t`: the caller's, and the scope where keys repeat outside it."""
    extra = Sql() if condition is None else raw(" AND ") + condition
    if spec.scope is None:
        return extra
    # A ctid is unique in one partition only.
    rows = sql("(SELECT tableoid, ctid FROM {target})", target=spec.scoped_target)
    return extra + raw(" AND (t.tableoid, t.ctid) IN ") + rows


def overriding(spec: SyncSpec) -> Sql:
    """Allow writing identity columns that the source delivers."""
    always = any(spec.target.column(c).always_identity for c in spec.delivered)
    return raw(" OVERRIDING SYSTEM VALUE") if always else Sql()


def _literals(operations: Sequence[str]) -> Sql:
    return raw(", ".join(f"'{operation}'" for operation in operations))
