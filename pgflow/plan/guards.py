"""What must hold before the target is written, as statements that find who breaks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pgflow.errors import (
    BatchError,
    DuplicateKeys,
    EmptySource,
    InstantTooEarly,
    InvalidOption,
    NoInstant,
    NullKeys,
    OutOfScope,
    PgflowError,
    TooManyDeletes,
)
from pgflow.plan import counted
from pgflow.plan.comparison import match
from pgflow.plan.delta import DELTA, SAMPLE
from pgflow.plan.samples import spell
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, join, name, raw, sql
from pgflow.plan.statement import Row, Statement

Refusal = Callable[[Sequence[Row]], PgflowError | None]


def take_stock(
    spec: SyncSpec,
    operations: Sequence[str],
    *,
    counts: Mapping[str, str] | None = None,
    passed: bool = False,
) -> Statement:
    """Count what the delta holds, and refuse a batch without keys or without rows.

    Args:
        spec: What is planned.
        operations: The operations that the mode's delta can hold.
        counts: Operations whose rows count as something in the result before they are written.
        passed: Whether rows that stayed out of the delta were counted while they passed.

    Returns:
        A statement that tallies `read`, `collapsed`, `conflict`, and each operation by name.
    """
    tallied = [*operations] + ([] if spec.source.unique.value else ["conflict"])
    aliases = [(op, op) for op in tallied] + list((counts or {}).items())
    columns = [
        sql(
            "count(*) FILTER (WHERE pgflow_op = {op}) AS {alias}",
            op=raw(f"'{op}'"),
            alias=name(alias),
        )
        for op, alias in aliases
    ]
    if spec.options.max_delete_ratio is not None:
        columns.append(sql("(SELECT count(*) FROM {live}) AS live", live=_live(spec)))
    text = sql(
        "{passed}SELECT {read},\n"
        "       max(pgflow_watermark) AS watermark,\n"
        # A key that is NULL matches nothing, so its row is always taken for a new one.
        "       count(*) FILTER (WHERE pgflow_op = 'insert' AND ({has_null})) AS null_keys,\n"
        "       {columns}\n  FROM {delta}",
        passed=counted.PASSED_BY if passed else Sql(),
        read=counted.tallied(operations) if passed else _TALLIED,
        has_null=join(" OR ", (sql("{k} IS NULL", k=name(key)) for key in spec.keys.value)),
        columns=join(",\n       ", columns),
        delta=DELTA,
    )
    return Statement(
        "count what was found, and check the batch",
        text,
        tallies=True,
        instead=(counted.MET_TWICE,) if passed else (),
        refuses=partial(_refuse_batch, spec),
    )


#: What the delta's own row says of the batch.
_TALLIED = raw("max(pgflow_read) AS read, max(pgflow_collapsed) AS collapsed")


def _live(spec: SyncSpec) -> Sql:
    system = spec.target.system
    column = system.valid_to or system.deleted_at
    if column is None:
        return spec.scoped_target
    glue = raw(" WHERE ") if spec.scope is None else raw(" AND ")
    return spec.scoped_target + glue + sql("{c} IS NULL", c=name(column))


def _refuse_batch(spec: SyncSpec, found: Sequence[Row]) -> PgflowError | None:
    row = found[0]
    nulls, gone = row["null_keys"] or 0, row.get("delete", 0) + row.get("undo", 0)
    if nulls and spec.options.on_null_key != "match":
        keys = ", ".join(spec.keys.value)
        return _error(
            NullKeys,
            spec,
            f"{nulls} of {row['read']} source rows have NULL in the merge key ({keys}). Filter "
            "them out in the source, or pass on_null_key='match' if NULL is a value of its own.",
        )
    if gone and not row["read"] and spec.options.on_empty_source != "allow":
        return empty_source(spec, gone)
    ratio = spec.options.max_delete_ratio
    if ratio is not None and gone > ratio * row["live"]:
        return _error(
            TooManyDeletes,
            spec,
            f"{gone} of {row['live']} live rows are not in the source, more than "
            f"max_delete_ratio={ratio} allows. Look at the source, or raise the ratio.",
        )
    return None


def empty_source(spec: SyncSpec, lost: int | None) -> PgflowError:
    """Describe a run that would empty the target because the source delivered nothing."""
    rows = "1 row" if lost == 1 else f"{lost or 'all'} rows"
    return _error(
        EmptySource,
        spec,
        f"the source delivered no rows, and {rows} of the target would go. "
        "If that is right, pass on_empty_source='allow'.",
    )


def refuse_conflicts(spec: SyncSpec) -> Statement:
    """Name the keys under which the batch has rows that differ; runs only if there are any."""
    tie, event = spec.options.on_duplicate is not None, spec.options.event_timestamp_column
    shared = "a merge key" if event is None else f"a merge key and an instant ({event})"
    advice = (
        f"They also tie in order_by={spec.options.order_by!r}; order by a column that decides."
        if tie
        else f"Make the source deliver one row a key{' and instant' if event else ''}, or say "
        "which one counts: on_duplicate='last' with order_by=."
    )
    return _sample(
        spec,
        "name the keys that have different rows in the batch",
        raw("pgflow_op = 'conflict'"),
        ("conflict",),
        lambda keys: _error(
            DuplicateKeys, spec, f"different rows share {shared}: {keys}. " + advice
        ),
    )


def refuse_without_instant(spec: SyncSpec) -> Statement:
    """Count rows whose own instant is NULL, or is no instant; runs only if there are any."""
    return Statement(
        "count the rows without an instant",
        sql(
            "SELECT count(*) FILTER (WHERE pgflow_op = 'undated') AS nulls,\n"
            "       count(*) FILTER (WHERE pgflow_op = 'unbounded') AS infinite,\n"
            "       max(pgflow_read) AS read\n  FROM {delta}",
            delta=DELTA,
        ),
        when=("undated", "unbounded"),
        refuses=partial(_no_instant, spec),
    )


def _no_instant(spec: SyncSpec, found: Sequence[Row]) -> PgflowError:
    nulls, infinite, read = (found[0][name] for name in ("nulls", "infinite", "read"))
    column = spec.options.event_timestamp_column
    spelt = [f"{nulls} have NULL"] * bool(nulls) + [f"{infinite} have infinity"] * bool(infinite)
    return _error(
        NoInstant,
        spec,
        f"of {read} source rows {' and '.join(spelt)} in event_timestamp_column={column!r}, so "
        "nothing says since when they are valid. Filter them out in the source, or deliver an "
        "instant.",
    )


def refuse_early(spec: SyncSpec) -> Statement:
    """Name keys whose current version begins after the run's instant."""
    return _sample(
        spec,
        "name the keys whose current version begins after this run's instant",
        raw("pgflow_op = 'early'"),
        ("early",),
        partial(_too_early, spec, "the current version begins later"),
    )


_ENDS_LATER = "an older version ends later; one that is open has no end, not one far away"


def refuse_overlap(spec: SyncSpec) -> Statement:
    """Name keys that reappear before the end of a version that was closed."""
    text = sql(
        "SELECT {keys} FROM {delta} AS d JOIN {target} AS t ON {match}\n"
        " WHERE d.pgflow_op = 'insert' AND t.{valid_to} > {instant} LIMIT {limit}",
        keys=_key_texts(spec, "d"),
        delta=DELTA,
        target=spec.target.relation,
        match=match(spec, "t", "d"),
        valid_to=name(spec.target.system.valid_to),
        instant=spec.instant,
        limit=raw(str(SAMPLE)),
    )
    return Statement(
        "name the keys that were closed after this run's instant",
        text,
        when=("insert",),
        refuses=lambda found: _too_early(spec, _ENDS_LATER, spell(spec, found)) if found else None,
    )


def refuse_far_ends(spec: SyncSpec, operations: Sequence[str]) -> Statement:
    """Name late keys whose history ends, but not yet: other tools spell an open end like that."""
    text = sql(
        "SELECT DISTINCT {keys} FROM {delta} AS d JOIN {history} AS t ON {match}\n"
        " WHERE d.pgflow_op IN ({ops})\n"
        "   AND t.{valid_to} > greatest({instant}::timestamptz, clock_timestamp())\n"
        "   AND NOT EXISTS (SELECT FROM {history} AS c WHERE {current} AND c.{valid_to} IS NULL)\n"
        " LIMIT {limit}",
        keys=_key_texts(spec, "d"),
        delta=DELTA,
        history=spec.history,
        match=match(spec, "t", "d"),
        ops=raw(", ".join(f"'{operation}'" for operation in operations)),
        valid_to=name(spec.target.system.valid_to),
        instant=spec.instant,
        current=match(spec, "c", "d"),
        limit=raw(str(SAMPLE)),
    )
    return Statement(
        "name the keys whose history ends in the future",
        text,
        when=(*operations, "reappearing"),
        refuses=lambda found: _too_early(spec, _ENDS_LATER, spell(spec, found)) if found else None,
    )


def count_skipped(operation: str) -> Statement:
    """Count rows that are not applied, each once, when repetitions have gone."""
    text = sql(
        "SELECT count(*) AS skipped FROM {delta} WHERE pgflow_op = {op}",
        delta=DELTA,
        op=raw(f"'{operation}'"),
    )
    return Statement("count the rows that are not applied", text, tallies=True, when=(operation,))


def refuse_out_of_scope(spec: SyncSpec, operations: Sequence[str]) -> Statement | None:
    """Name the keys of new and changed rows that the scope does not contain."""
    if spec.scope is None:
        return None
    listed = raw(", ".join(f"'{operation}'" for operation in operations))
    return _sample(
        spec,
        "name the keys of rows outside the scope",
        sql("pgflow_op IN ({ops}) AND ({scope}) IS NOT TRUE", ops=listed, scope=spec.scope),
        operations,
        lambda keys: _error(
            OutOfScope,
            spec,
            f"the source delivers rows outside scope {spec.scope_name!r}: {keys}. Put the same "
            "condition into the source.",
        ),
    )


def refuse_written_outside(spec: SyncSpec) -> Statement | None:
    """Rows that this run wrote outside its scope would be written again by every run.

    Raises:
        InvalidOption: The table has no `_batch_id`, by which such rows are known.
    """
    batch_id = spec.target.system.batch_id
    if spec.scope is None:
        return None
    if batch_id is None:
        raise InvalidOption(
            f"{spec.owner} -> {spec.target.label}: scope= in mode {spec.mode!r} without keys "
            "needs the system column _batch_id, which the table leaves out: by it the run knows "
            "the rows that it wrote. Give the table the column, or drop scope=."
        )
    text = sql(
        "SELECT count(*) AS outside FROM {target} WHERE {batch_id} = {run}::uuid"
        " AND ({scope}) IS NOT TRUE HAVING count(*) > 0",
        target=spec.target.relation,
        batch_id=name(batch_id),
        run=spec.batch_id,
        scope=spec.scope,
    )
    return Statement("refuse rows outside the scope", text, refuses=partial(_outside, spec))


def _outside(spec: SyncSpec, found: Sequence[Row]) -> PgflowError | None:
    if not found:
        return None
    return _error(
        OutOfScope,
        spec,
        f"the source delivers {found[0]['outside']} rows outside scope {spec.scope_name!r}. "
        "Put the same condition into the source.",
    )


def _sample(
    spec: SyncSpec,
    purpose: str,
    condition: Sql,
    when: Sequence[str],
    error: Callable[[str], PgflowError],
) -> Statement:
    text = sql(
        "SELECT {keys} FROM {delta} WHERE {condition} LIMIT {limit}",
        keys=_key_texts(spec),
        delta=DELTA,
        condition=condition,
        limit=raw(str(SAMPLE)),
    )
    return Statement(
        purpose,
        text,
        when=tuple(when),
        refuses=lambda found: error(spell(spec, found)) if found else None,
    )


def _key_texts(spec: SyncSpec, alias: str | None = None) -> Sql:
    return join(
        ", ",
        (sql("{k}::text AS {a}", k=name(alias, key), a=name(key)) for key in spec.keys.value),
    )


def _too_early(spec: SyncSpec, why: str, keys: str) -> PgflowError:
    where = "effective_at" if spec.explicit_instant else "the server's clock"
    return _error(
        InstantTooEarly,
        spec,
        f"{where} lies before history that exists ({why}): {keys}. Give an effective_at that is "
        "not earlier than the versions of these keys.",
    )


def _error(kind: type[BatchError], spec: SyncSpec, message: str) -> PgflowError:
    return kind(message, pipeline=spec.owner, target=spec.target.label)
