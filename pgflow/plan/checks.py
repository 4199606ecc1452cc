"""Checks as SQL on the stage: one statement evaluates them all, before the target is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pgflow.declare.checks import (
    AcceptedValues,
    Freshness,
    NotNull,
    QueryCheck,
    Relationship,
    RowCount,
    SQLCheck,
    Unique,
)
from pgflow.declare.data_check import DataCheck
from pgflow.errors import InvalidCheck, SourceMismatch
from pgflow.plan import query
from pgflow.plan.check_results import refusal, report, warnings
from pgflow.plan.contract import unlimited
from pgflow.plan.decision import Unknown
from pgflow.plan.samples import SAMPLE, key_columns, key_object, shows_keys
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, bind, join, name, names, raw, sql
from pgflow.plan.staging import STAGE
from pgflow.plan.statement import Statement


@dataclass(frozen=True)
class Parent:
    """The table that a `Relationship` leads to.

    Attributes:
        relation: Its name.
        columns: The columns there.
        live: Which of its rows count, as a condition on `p`; None for all.
        is_target: Whether it is the target itself, so that the batch counts too.
    """

    relation: Sql
    columns: tuple[str, ...]
    live: Sql | None = None
    is_target: bool = False


@dataclass(frozen=True)
class Surroundings:
    """What checks look at beside the stage.

    Attributes:
        runs: The history of runs.
        parents: The tables that relationships lead to, by the check's name.
    """

    runs: Sql
    parents: Mapping[str, Parent]


@dataclass(frozen=True)
class Measure:
    """How one check is evaluated.

    Attributes:
        failed: How many rows fail: an aggregate over the stage `s`, or a query in parentheses.
        scans: Whether it is such an aggregate; they all share one pass.
        offending: What offending rows of the stage `s` fulfil, if they can be told.
        found: What was found, as an aggregate of type text, where a number is not enough.
        samples: Rows with one column `k`, the keys of offending rows, where `offending` is None.
    """

    failed: Sql
    scans: bool
    offending: Sql | None = None
    found: Sql | None = None
    samples: Sql | None = None


def evaluate(spec: SyncSpec, checks: Sequence[DataCheck], beside: Surroundings) -> Statement:
    """Evaluate every check on the staged rows.

    Args:
        spec: What is planned; its source is the stage.
        checks: The checks.
        beside: What they look at beside the stage.

    Returns:
        A statement that refuses the batch if checks of severity `error` fail, naming them all.
    """
    measures = [measure(spec, check, beside) for check in checks]
    alone = [
        Statement(_purpose([check]), _evaluation(spec, [each]))
        for check, each in zip(checks, measures, strict=True)
    ]
    return Statement(
        _purpose(checks),
        _evaluation(spec, measures),
        reports=partial(report, tuple(checks)),
        warns=partial(warnings, spec, tuple(checks)),
        refuses=partial(refusal, spec, tuple(checks)),
        apart=tuple(alone),
    )


def require_readable(check: DataCheck, owner: str) -> None:
    """Refuse SQL that cannot be parsed, long before it runs.

    Args:
        check: The check.
        owner: Whose it is, for the message.

    Raises:
        InvalidSource: Its SQL is no condition, or no query.
    """
    if isinstance(check, SQLCheck):
        query.expression(check.condition, {}, f"{owner}: check {check.name!r}")
    elif isinstance(check, QueryCheck):
        query.from_text(check.query, {}, f"{owner}: check {check.name!r}")


def _purpose(checks: Sequence[DataCheck]) -> str:
    told = ", ".join(repr(check.name) for check in checks)
    return f"evaluate the check{'s' if len(checks) > 1 else ''} {told} on the staged rows"


def _evaluation(spec: SyncSpec, measures: Sequence[Measure]) -> Sql:
    """One row for each check, by one scan of the stage for all that can share it."""
    scan = [raw("count(*) AS pgflow_rows")]
    for number, each in enumerate(measures):
        if each.scans:
            scan.append(sql("{f} AS {a}", f=each.failed, a=name(f"f{number}")))
        if each.found is not None:
            scan.append(sql("{f} AS {a}", f=each.found, a=name(f"v{number}")))
    branches = [_branch(spec, number, each) for number, each in enumerate(measures)]
    return sql(
        "WITH scan AS MATERIALIZED (\n  SELECT {scan}\n    FROM {stage} AS s\n)\n{branches}\n"
        "ORDER BY pgflow_check",
        scan=join(",\n         ", scan),
        stage=STAGE,
        branches=join("\nUNION ALL\n", branches),
    )


def measure(spec: SyncSpec, check: DataCheck, beside: Surroundings) -> Measure:
    """Say in SQL how a check is evaluated.

    Args:
        spec: What is planned.
        check: The check.
        beside: What it looks at beside the stage.

    Raises:
        SourceMismatch: It is about a column that the source does not deliver.
        InvalidCheck: Its kind is unknown, or its SQL cannot be read.
    """
    _require_columns(spec, check)
    if isinstance(check, RowCount):
        return _counted(spec, check, beside)
    if isinstance(check, Freshness):
        newest = sql("max({c})", c=name("s", check.column))
        return Measure(_flag(_stale(spec, check)), True, found=sql("{n}::text", n=newest))
    if isinstance(check, Unique):
        return _unique(spec, check)
    if isinstance(check, QueryCheck):
        return _queried(spec, check)
    condition = _offending(spec, check, beside)
    if not isinstance(check, Relationship):
        return Measure(sql("count(*) FILTER (WHERE {c})", c=condition), True, condition)
    # Apart from the others: as a join it can be hashed, as a filter it would be a loop.
    counted = sql("(SELECT count(*) FROM {s} AS s WHERE {c})", s=STAGE, c=condition)
    return Measure(counted, False, condition)


def _offending(spec: SyncSpec, check: DataCheck, beside: Surroundings) -> Sql:
    if isinstance(check, NotNull):
        # IS NULL holds for rows of NULLs too, which NOT NULL lets pass.
        return sql("num_nulls({columns}) > 0", columns=names(check.columns, of="s"))
    if isinstance(check, AcceptedValues):
        return sql(
            "{c} <> ALL ({values}::text[]::{kind}[])",
            c=name("s", check.column),
            values=bind(list(check.values), "accepted"),
            kind=raw(unlimited(_type_of(spec, check.column))),
        )
    if isinstance(check, SQLCheck):
        owner = f"{spec.owner}: check {check.name!r}"
        return sql("NOT {c}", c=query.expression(check.condition, {}, owner))
    if isinstance(check, Relationship):
        return _orphaned(spec, check, beside.parents[check.name])
    raise InvalidCheck(
        f"{spec.owner}: check {check.name!r} is a {type(check).__name__}, which nobody evaluates. "
        "Use the kinds of pgflow.checks; QueryCheck takes any SQL."
    )


def _orphaned(spec: SyncSpec, check: Relationship, parent: Parent) -> Sql:
    """A row that refers to nothing, by all of its columns."""
    pairs = [
        sql("p.{there} = {here}", there=name(there), here=name("s", here))
        for there, here in zip(parent.columns, check.columns, strict=True)
    ]
    conditions = [sql("{c} IS NOT NULL", c=name("s", column)) for column in check.columns]
    stays = [] if parent.live is None else [parent.live]
    replaced = parent.is_target and _replaces(spec)
    if replaced and spec.scope is not None:
        stays.append(sql("({scope}) IS NOT TRUE", scope=spec.scope))
    if not replaced or spec.scope is not None:
        conditions.append(
            sql(
                "NOT EXISTS (SELECT FROM {parent} AS p WHERE {match})",
                parent=parent.relation,
                match=join(" AND ", [*pairs, *stays]),
            )
        )
    if parent.is_target:
        match = join(" AND ", pairs)
        batch = sql("NOT EXISTS (SELECT FROM {s} AS p WHERE {match})", s=STAGE, match=match)
        conditions.append(batch)
    return join(" AND ", conditions)


def _replaces(spec: SyncSpec) -> bool:
    """Whether rows of the target, or of its part in scope, go if the batch lacks them."""
    return spec.mode == "truncate" or spec.options.handle_deletes is not None


def _unique(spec: SyncSpec, check: Unique) -> Measure:
    columns = names(check.columns, of="s")
    known = join(" AND ", (sql("{c} IS NOT NULL", c=name("s", c)) for c in check.columns))
    repeated = sql(
        "SELECT {columns}, count(*) AS pgflow_times FROM {s} AS s WHERE {known}"
        " GROUP BY {columns} HAVING count(*) > 1",
        columns=columns,
        s=STAGE,
        known=known,
    )
    failed = sql("(SELECT coalesce(sum(pgflow_times), 0)::bigint FROM ({r}) AS d)", r=repeated)
    key = key_object(spec, "s")
    if key is None:
        return Measure(failed, False)
    samples = sql(
        "SELECT {key} AS k FROM {s} AS s WHERE ({columns}) IN (SELECT {bare} FROM ({r}) AS d)",
        key=key,
        s=STAGE,
        columns=columns,
        bare=names(check.columns, of="d"),
        r=repeated,
    )
    return Measure(failed, False, samples=samples)


def _queried(spec: SyncSpec, check: QueryCheck) -> Measure:
    owner = f"{spec.owner}: check {check.name!r}"
    asked = query.from_text(check.query, {}, owner)
    whole = sql("(WITH batch AS (SELECT * FROM {s})\n{q}\n)", s=STAGE, q=_alone(asked))
    if check.returns == "boolean":
        # An array takes one column, where a longer list would hide the second.
        flag = sql("(SELECT count(*) FROM unnest(ARRAY{q}) AS q(holds) WHERE NOT holds)", q=whole)
        return Measure(flag, False)
    failed = sql("(SELECT count(*) FROM {q} AS pgflow_found)", q=whole)
    keys = key_columns(spec)
    if not keys:
        return Measure(failed, False)
    pairs = [
        sql("{n}::text, to_jsonb(pgflow_found.*) ->> {n}::text", n=bind(key, "column"))
        for key in keys
    ]
    samples = sql(
        "SELECT jsonb_strip_nulls(jsonb_build_object({pairs})) AS k FROM {q} AS pgflow_found",
        pairs=join(", ", pairs),
        q=whole,
    )
    return Measure(failed, False, samples=samples)


def _alone(asked: Sql) -> Sql:
    """A query after a WITH of ours, whatever it begins with itself."""
    return sql("SELECT * FROM (\n{q}\n) AS asked", q=asked)


def _branch(spec: SyncSpec, number: int, each: Measure) -> Sql:
    """One row of the answer: the check's number, how many rows fail, and keys of a few."""
    failed = name("scan", f"f{number}") if each.scans else each.failed
    found = raw("NULL::text") if each.found is None else name("scan", f"v{number}")
    samples = _samples(spec, each)
    keys = raw("NULL::jsonb")
    if samples is not None:
        # Not evaluated unless something fails.
        keys = sql(
            "CASE WHEN c.failed > 0 THEN (SELECT jsonb_agg(k) FROM ({s} LIMIT {n}) AS few) END",
            s=samples,
            n=raw(str(SAMPLE)),
        )
    # OFFSET 0, or the planner would put what counts into both places that use its number.
    return sql(
        "SELECT {number} AS pgflow_check, c.failed, scan.pgflow_rows AS rows,\n"
        "       {found} AS found, {keys} AS sample_keys\n"
        "  FROM scan CROSS JOIN LATERAL (SELECT {failed} AS failed OFFSET 0) AS c",
        number=raw(str(number)),
        found=found,
        keys=keys,
        failed=failed,
    )


def _samples(spec: SyncSpec, each: Measure) -> Sql | None:
    if not shows_keys(spec):
        return None
    key = key_object(spec, "s")
    if each.offending is None or key is None:
        return each.samples
    return sql("SELECT {k} AS k FROM {s} AS s WHERE {c}", k=key, s=STAGE, c=each.offending)


def _flag(condition: Sql) -> Sql:
    return sql("(CASE WHEN {c} THEN 1 ELSE 0 END)", c=condition)


def _counted(spec: SyncSpec, check: RowCount, beside: Surroundings) -> Measure:
    """Compare the number of rows with its limits, and with what the last run has read."""
    if check.max_decrease is None and check.max_increase is None:
        return Measure(_flag(_outside(check, Sql())), True)
    before = sql(
        "(SELECT r.read FROM {runs} AS r WHERE r.pipeline = {pipeline}::text\n"
        "    AND r.target = {target}::text AND coalesce(r.scope, '') = {scope}::text\n"
        "    AND r.status = 'success' ORDER BY r.started_at DESC LIMIT 1)",
        runs=beside.runs,
        pipeline=bind(spec.owner, "pipeline"),
        target=bind(spec.target.label, "target"),
        scope=bind(spec.scope_name, "scope"),
    )
    return Measure(_flag(_outside(check, before)), True, found=sql("{b}::text", b=before))


def _outside(check: RowCount, before: Sql) -> Sql:
    limits = []
    if check.min is not None:
        limits.append(sql("count(*) < {n}::bigint", n=bind(check.min, "min")))
    if check.max is not None:
        limits.append(sql("count(*) > {n}::bigint", n=bind(check.max, "max")))
    for share, text in (
        (check.max_decrease, "count(*) < (1 - {share}::text::numeric) * {before}"),
        (check.max_increase, "count(*) > (1 + {share}::text::numeric) * nullif({before}, 0)"),
    ):
        if share is not None:
            limits.append(sql(text, share=bind(str(share), "share"), before=before))
    return join(" OR ", limits)


def _stale(spec: SyncSpec, check: Freshness) -> Sql:
    newest = sql("max({c})::timestamptz", c=name("s", check.column))
    if check.timezone is not None and "with time zone" not in _type_of(spec, check.column):
        newest = sql(
            "max({c})::timestamp AT TIME ZONE {zone}::text",
            c=name("s", check.column),
            zone=bind(check.timezone, "timezone"),
        )
    return sql(
        "({newest}) >= {at}::timestamptz - {within}::interval IS NOT TRUE",
        newest=newest,
        at=spec.instant,
        within=bind(check.within, "within"),
    )


def _require_columns(spec: SyncSpec, check: DataCheck) -> None:
    if isinstance(spec.source.columns, Unknown):
        return
    have = [column.name for column in spec.source.columns]
    lacking = [column for column in check.columns_named if column not in have]
    if lacking:
        raise SourceMismatch(
            f"check {check.name!r} is about {lacking[0]!r}, which the source does not deliver. "
            f"It delivers: {', '.join(have)}.",
            pipeline=spec.owner,
            target=spec.target.label,
        )


def _type_of(spec: SyncSpec, column: str) -> str:
    columns = spec.source.columns
    if isinstance(columns, Unknown):
        return "text"
    return next((str(c.type) for c in columns if c.name == column), "text")
