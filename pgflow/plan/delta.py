"""The delta: one pass over source and target that finds what is new, changed or gone.

It is kept in a temporary table, so that the statements that write touch only those rows. The
same statement counts what it read and finds repeated keys, so that the source is read once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pgflow.plan.batch import SEEN, batch_ctes, changes_watermark, rows
from pgflow.plan.comparison import comparable, match
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, join, name, names, raw, sql
from pgflow.plan.staging import REJECTED
from pgflow.plan.statement import Statement

#: The temporary table; named with its schema, so that no search path can hide it.
DELTA = raw("pg_temp.pgflow_delta")

#: Column names that the delta and the statements around it use.
RESERVED = frozenset(
    {
        "pgflow_op",
        "pgflow_read",
        "pgflow_live",
        "pgflow_collapsed",
        "pgflow_watermark",
        "pgflow_found",
        "pgflow_rank",
        "pgflow_seen",
        # The versions that late events make.
        "pgflow_at",
        "pgflow_before",
        "pgflow_breaks",
        "pgflow_confirms",
        "pgflow_effect",
        "pgflow_end",
        "pgflow_ends",
        "pgflow_event",
        "pgflow_first",
        "pgflow_from",
        "pgflow_last",
        "pgflow_part",
        "pgflow_place",
        "pgflow_row",
        "pgflow_run",
        "pgflow_sighted",
        "pgflow_taken",
        "pgflow_to",
        "pgflow_until",
        "pgflow_writes",
    }
)

#: At most so many offending keys are named in an error.
SAMPLE = 5


@dataclass(frozen=True)
class DeltaShape:
    """What a mode wants to know about each key.

    Attributes:
        cases: Conditions on `b` (batch) and `t` (target) with the operation that each means;
            the first that holds wins. `same` and `kept` stay out of the delta: delivered rows
            that change nothing, and target rows that nobody delivers and that stay.
        keep: What every row of the delta fulfils, and none that is `same`; cheaper to ask than
            which case it is.
        otherwise: The operation of a row that no case fits.
        live: Which target rows take part, as a condition on unqualified columns.
        target_columns: Columns of `t` that the conditions use.
        carried: Target columns that the source does not deliver and whose value goes with the row.
        deletes: Whether keys that the batch lacks are wanted.
        computed: More columns of the delta, by name.
    """

    cases: tuple[tuple[Sql, str], ...]
    keep: Sql
    otherwise: str = "update"
    live: Sql | None = None
    target_columns: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()
    deletes: bool = False
    computed: tuple[tuple[str, Sql], ...] = ()

    @property
    def changing(self) -> Sql:
        """The operations of rows that stay in the delta."""
        operations = dict.fromkeys([*(op for _, op in self.cases), self.otherwise])
        return raw(", ".join(f"'{op}'" for op in operations if op not in ("same", "kept")))


#: Operations of target rows that the batch does not deliver.
UNDELIVERED = ("delete", "undo", "kept")

_UNDELIVERED = raw(str(UNDELIVERED))


def find_changes(spec: SyncSpec, shape: DeltaShape) -> tuple[Statement, ...]:
    """Create the delta table.

    Args:
        spec: What is planned.
        shape: What the mode wants to know.

    Returns:
        One statement, the only one that reads the source.
    """
    ctes = [*batch_ctes(spec), changes_cte(spec, shape), size_cte(spec)]
    branches = [_CHANGES, _tally(spec, shape)]
    if not spec.source.unique.value:
        ctes.append(repeated_cte(spec))
        branches.append(_conflicts(spec, shape))
    text = sql(
        "CREATE TEMPORARY TABLE {delta} ON COMMIT DROP AS\nWITH {ctes}\n{branches}",
        delta=DELTA,
        ctes=join(", ", ctes),
        branches=join("\nUNION ALL\n", branches),
    )
    return (Statement("read the source and find what is new, changed or gone", text),)


_CHANGES = raw(
    "SELECT *, NULL::bigint AS pgflow_read, NULL::bigint AS pgflow_collapsed,\n"
    "       NULL::text AS pgflow_watermark\n"
    "  FROM changes"
)


def changes_cte(spec: SyncSpec, shape: DeltaShape) -> Sql:
    """Every delivered row beside the target's, and what it means; only what changes is kept."""
    # Looked at once only, where keys are proved unique.
    once = spec.source.unique.value
    return sql(
        "changes AS {how} (\n" + (_COMPARED if _all_stay(spec, shape) else _LISTED) + "\n)",
        how=raw("NOT MATERIALIZED" if once else "MATERIALIZED"),
        op=operation(replace(shape, cases=tuple(c for c in shape.cases if c[1] != "same"))),
        columns=join(", ", delta_columns(spec, shape)),
        kind=raw("FULL" if shape.deletes else "LEFT"),
        target=target_rows(spec, shape),
        match=match(spec, "t", "b"),
        keep=shape.keep,
        changing=shape.changing,
    )


_COMPARED = (
    "    SELECT {op} AS pgflow_op,\n           {columns}\n"
    "    FROM batch AS b {kind} JOIN {target} AS t ON {match}\n"
    "    WHERE {keep}"
)

#: The planner takes a list of operations for few rows, and its negation for nearly all.
_LISTED = (
    "  SELECT * FROM (\n" + _COMPARED + "\n  ) AS compared WHERE pgflow_op IN ({changing})"  # noqa: S608
)


def _all_stay(spec: SyncSpec, shape: DeltaShape) -> bool:
    """Tell whether what is compared goes into the delta as it is.

    Where no plan hangs on how many rows they are, a list of operations only costs a tenth of the
    comparison.
    """
    kept = any(op == "kept" for _, op in shape.cases)
    return bool(spec.source.unique.value) and spec.looks_again and not kept


def size_cte(spec: SyncSpec) -> Sql:
    """How many rows there are, and how many of them change something, where that is asked."""
    changing = raw("NULL")
    if not spec.source.unique.value:
        changing = sql("(SELECT count(*) FROM changes WHERE pgflow_op NOT IN {u})", u=_UNDELIVERED)
    return sql(
        "size AS MATERIALIZED (\n"
        "  SELECT count(*) AS delivered, {changing} AS changing FROM batch\n)",
        changing=changing,
    )


def repeated_cte(spec: SyncSpec) -> Sql:
    """Keys of changes that the batch has more than once.

    Of two different rows with one key at least one differs from the target, so only keys with a
    change are looked at: repeated among the changes, or once more among the rows that change
    nothing, if there are any.
    """
    template = _LOOK_AGAIN if spec.looks_again else _COUNT_TOGETHER
    return sql(
        template,
        keys=names(spec.keys.value),
        undelivered=_UNDELIVERED,
        of_batch=names(spec.keys.value, of="b"),
        match=match(spec, "b", "c"),
    )


#: For a whole table, whose size the planner knows: it will hash the changes.
_LOOK_AGAIN = (
    "repeated AS MATERIALIZED (\n"
    "  SELECT {keys} FROM changes WHERE pgflow_op NOT IN {undelivered}\n"
    "  GROUP BY {keys} HAVING count(*) > 1\n"
    "  UNION\n"
    "  SELECT {of_batch} FROM batch AS b\n"
    "  WHERE (SELECT changing < delivered FROM size)\n"
    "    AND EXISTS (SELECT FROM changes AS c"
    " WHERE c.pgflow_op NOT IN {undelivered} AND {match})\n"
    "  GROUP BY {of_batch} HAVING count(*) > 1\n)"
)

#: For any other source: a wrong guess at its size must not lead to a nested loop of all with all.
_COUNT_TOGETHER = (
    "repeated AS MATERIALIZED (\n"
    "  SELECT {keys} FROM (\n"
    "    SELECT {keys}, true AS changing FROM changes WHERE pgflow_op NOT IN {undelivered}\n"
    "    UNION ALL\n"
    "    SELECT {keys}, false FROM batch"
    " WHERE (SELECT changing BETWEEN 1 AND delivered - 1 FROM size)\n"
    "  ) AS counted GROUP BY {keys}\n"
    "  HAVING count(*) FILTER (WHERE changing) > 1\n"
    "      OR bool_or(changing) AND count(*) FILTER (WHERE NOT changing) > 1\n)"
)


def operation(shape: DeltaShape) -> Sql:
    """Name what a row means: the operation of the first case that holds."""
    cases = (sql("WHEN {c} THEN {op}", c=c, op=raw(f"'{op}'")) for c, op in shape.cases)
    return sql(
        "CASE {cases}\n              ELSE {otherwise} END",
        cases=join("\n              ", cases),
        otherwise=raw(f"'{shape.otherwise}'"),
    )


def delta_columns(spec: SyncSpec, shape: DeltaShape) -> list[Sql]:
    """List what goes into the delta beside the operation."""
    columns: list[Sql] = []
    for column in spec.delivered:
        value = name("b", column)
        if shape.deletes and column in spec.keys.value:
            value = sql(
                "coalesce({b}, {t}) AS {alias}", b=value, t=name("t", column), alias=name(column)
            )
        columns.append(value)
    columns += [name("t", column) for column in shape.carried]
    columns += [
        sql("{value} AS {alias}", value=value, alias=name(alias)) for alias, value in shape.computed
    ]
    return columns


def target_rows(spec: SyncSpec, shape: DeltaShape) -> Sql:
    """The target's rows that take part, with the columns that are needed of them."""
    wanted = dict.fromkeys((*spec.keys.value, *shape.target_columns, *shape.carried))
    columns = names(list(wanted))
    if spec.options.on_null_key == "match":
        columns = sql("true AS pgflow_found, {columns}", columns=columns)
    conditions = [c for c in (shape.live, spec.scope) if c is not None]
    if shape.deletes:
        conditions += _with_key(spec)
    where = raw(" WHERE ") + join(" AND ", conditions) if conditions else Sql()
    rows = sql(
        "(SELECT {columns} FROM {target}{where})",
        columns=columns,
        target=spec.target.relation,
        where=where,
    )
    return _not_rejected(spec, rows) if shape.deletes else rows


def _not_rejected(spec: SyncSpec, rows: Sql) -> Sql:
    """Leave alone what the source delivers in rejected rows only: it is not gone."""
    if spec.source.stage is None or not spec.source.stage.rejects:
        return rows
    return sql(
        "(SELECT * FROM {rows} AS t WHERE NOT EXISTS (SELECT FROM {rejected} AS r WHERE {match}\n"
        "      AND NOT EXISTS (SELECT FROM batch AS b WHERE {accepted})))",
        rows=rows,
        rejected=REJECTED,
        match=match(spec, "t", "r"),
        accepted=match(spec, "b", "r"),
    )


def _with_key(spec: SyncSpec) -> list[Sql]:
    """Rows without a key are nobody's: no batch delivers them, and none can lack them."""
    if spec.options.on_null_key == "match":
        return []
    keys = (key for key in spec.keys.value if spec.target.column(key).nullable)
    return [sql("{key} IS NOT NULL", key=name(key)) for key in keys]


def fillers(spec: SyncSpec, shape: DeltaShape, keys: bool = False) -> Sql:
    """NULLs for the delta's columns in a branch that has none of them; or its keys."""
    known = spec.keys.value if keys else ()
    columns = [name(c) if c in known else raw("NULL") for c in spec.delivered]
    columns += [raw("NULL")] * (len(shape.carried) + len(shape.computed))
    return join(", ", columns)


def _tally(spec: SyncSpec, shape: DeltaShape) -> Sql:
    """One row that counts the batch and remembers how far it reaches."""
    collapsed = raw("0")
    if not spec.source.unique.value:
        collapsed = sql(
            "(SELECT count(*) FROM batch AS b WHERE EXISTS (SELECT FROM repeated AS r"
            " WHERE {match})) - (SELECT count(*) FROM repeated)",
            match=match(spec, "r", "b"),
        )
    read = raw("delivered")
    if spec.options.on_duplicate is not None:
        read = raw("(SELECT count(*) FROM delivered)")
        collapsed = sql("{read} - size.delivered + {c}", read=read, c=collapsed)
    return sql(
        "SELECT 'tally', {fillers}, {read}, {collapsed}, {watermark}\n  FROM size",
        fillers=fillers(spec, shape),
        read=read,
        collapsed=collapsed,
        watermark=reached(spec),
    )


def reached(spec: SyncSpec) -> Sql:
    """The greatest value of the incremental column, as text that no session setting changes."""
    if spec.watermark is None or not spec.watermark.by_value:
        return raw("NULL")
    # Not max(): it does not exist for every type that can be ordered.
    return sql(
        "(SELECT to_jsonb({column}) #>> '{{}}' FROM {rows}"
        " WHERE {column} IS NOT NULL ORDER BY {column} DESC LIMIT 1)",
        column=name(SEEN if changes_watermark(spec) else spec.watermark.column),
        rows=raw(rows(spec)),
    )


def _conflicts(spec: SyncSpec, shape: DeltaShape) -> Sql:
    """Keys under which the batch has rows that differ; identical rows are no conflict."""
    repeated = sql(
        "batch AS b\n     WHERE EXISTS (SELECT FROM repeated AS r WHERE {match})",
        match=match(spec, "r", "b"),
    )
    return conflicts(spec, repeated, spec.keys.value, fillers(spec, shape, keys=True))


def conflicts(spec: SyncSpec, among: Sql, by: Sequence[str], shown: Sql) -> Sql:
    """Find rows of the delta's kind `conflict`: what several rows share that differ elsewhere.

    Args:
        spec: What is planned.
        among: Where the rows are, as `b`, and which of them count.
        by: The columns that they share.
        shown: The delta's columns of a conflict.
    """
    row = (
        sql("{value} AS {alias}", value=comparable(spec, column, "b"), alias=name(column))
        for column in spec.delivered
    )
    return sql(
        "SELECT 'conflict', {shown}, NULL, NULL, NULL\n"
        "  FROM (SELECT {by} FROM (\n"
        "    SELECT DISTINCT {row} FROM {among}) AS variants\n"
        "    GROUP BY {by} HAVING count(*) > 1) AS conflicts",
        shown=shown,
        by=names(by),
        row=join(", ", row),
        among=among,
    )
