"""Quarantine as SQL: rows that fail a check leave the stage, and are kept with their reason."""

from __future__ import annotations

from collections.abc import Sequence

from pgflow.declare.data_check import DataCheck
from pgflow.errors import InvalidCheck
from pgflow.plan.batch import is_lossless
from pgflow.plan.check_results import CLEAN, OFFENDING
from pgflow.plan.checks import Surroundings, measure
from pgflow.plan.comparison import match
from pgflow.plan.decision import Unknown
from pgflow.plan.samples import key_object
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, bind, join, name, raw, sql
from pgflow.plan.staging import REJECTED, STAGE
from pgflow.plan.statement import Statement


def set_aside(spec: SyncSpec, checks: Sequence[DataCheck], beside: Surroundings) -> Statement:
    """Copy the rows that fail a check, each with the first check that it fails.

    Args:
        spec: What is planned.
        checks: All checks; those with `quarantine` count.
        beside: What they look at beside the stage.

    Raises:
        InvalidCheck: Deletes are to be followed, and the key has another type in the source.
    """
    _refuse_other_keys(spec)
    found = [
        sql(
            "SELECT s.ctid AS pgflow_row, {n} AS pgflow_check FROM {stage} AS s WHERE {c}",
            n=raw(str(number)),
            stage=STAGE,
            c=condition,
        )
        for number, condition in _conditions(spec, checks, beside)
    ]
    text = sql(
        "CREATE TEMPORARY TABLE {rejected} ON COMMIT DROP AS\n"
        "SELECT s.*, o.pgflow_row, o.pgflow_check\n"
        "  FROM {stage} AS s JOIN (\n"
        "    SELECT pgflow_row, min(pgflow_check) AS pgflow_check FROM (\n    {found}\n    ) AS f"
        " GROUP BY pgflow_row\n  ) AS o ON s.ctid = o.pgflow_row",
        rejected=REJECTED,
        stage=STAGE,
        found=join("\n    UNION ALL\n    ", found),
    )
    return Statement("set rows aside that fail a check", text, when=(OFFENDING,))


def nothing_aside() -> Statement:
    """Make the same table without rows, for the statements that look into it."""
    text = sql(
        "CREATE TEMPORARY TABLE {rejected} ON COMMIT DROP AS\n"
        "SELECT s.*, s.ctid AS pgflow_row, 0 AS pgflow_check FROM {stage} AS s WITH NO DATA",
        rejected=REJECTED,
        stage=STAGE,
    )
    return Statement("note that no row fails a check", text, when=(CLEAN,))


def remove() -> Statement:
    """Take those rows out of the stage."""
    text = sql(
        "DELETE FROM {stage} AS s USING {rejected} AS r WHERE s.ctid = r.pgflow_row",
        stage=STAGE,
        rejected=REJECTED,
    )
    return Statement("take them out of the stage", text, counts="rejected", when=(OFFENDING,))


def keep(spec: SyncSpec, checks: Sequence[DataCheck], table: Sql) -> Statement:
    """Put those rows into quarantine; one that is there as it is now is kept once.

    Args:
        spec: What is planned.
        checks: All checks.
        table: The table of the quarantine.
    """
    key = key_object(spec, "r")
    text = sql(
        "INSERT INTO {table} (run_id, pipeline, target, check_name, key, row)\n"
        "SELECT DISTINCT {run}::uuid, {owner}::text, {target}::text, new.check_name, new.key,"
        " new.row\n"
        "  FROM (SELECT ({names}::text[])[r.pgflow_check + 1] AS check_name, {key} AS key,\n"
        "               {row} AS row\n"
        "          FROM {rejected} AS r) AS new\n"
        " WHERE NOT EXISTS (\n"
        "   SELECT FROM {table} AS q\n"
        "    WHERE q.target = {target}::text AND q.key IS NOT DISTINCT FROM new.key\n"
        "      AND q.pipeline = {owner}::text AND q.check_name = new.check_name"
        " AND q.row = new.row)",
        table=table,
        run=spec.batch_id,
        owner=bind(spec.owner, "pipeline"),
        target=bind(spec.target.label, "target"),
        names=bind([check.name for check in checks], "checks"),
        key=raw("NULL::jsonb") if key is None else key,
        row=_document(spec),
        rejected=REJECTED,
    )
    return Statement("keep them in quarantine", text, when=(OFFENDING,))


def _document(spec: SyncSpec) -> Sql:
    """The row as a JSON object; a `json` stays the text that it is, which jsonb would change."""
    known = () if isinstance(spec.source.columns, Unknown) else spec.source.columns
    as_text = [column.name for column in known if column.type == "json"]
    whole = sql("to_jsonb(r.*) - 'pgflow_row' - 'pgflow_check'")
    if not as_text:
        return whole
    columns = [name("r", c.name) for c in known if c.name not in as_text]
    columns += [sql("{c}::text AS {a}", c=name("r", c), a=name(c)) for c in as_text]
    return sql("(SELECT to_jsonb(v.*) FROM (SELECT {c}) AS v)", c=join(", ", columns))


def forgive(spec: SyncSpec) -> Statement:
    """Keep only keys that no row of the stage has: those the target must not lose."""
    if not spec.keys.value:
        return Statement("forget them", sql("TRUNCATE {r}", r=REJECTED), when=(OFFENDING,))
    text = sql(
        "DELETE FROM {rejected} AS r USING {stage} AS s WHERE {match}",
        rejected=REJECTED,
        stage=STAGE,
        match=match(spec, "r", "s"),
    )
    return Statement("forget keys that another row of the batch has", text, when=(OFFENDING,))


def _conditions(
    spec: SyncSpec, checks: Sequence[DataCheck], beside: Surroundings
) -> list[tuple[int, Sql]]:
    measures = ((i, c, measure(spec, c, beside)) for i, c in enumerate(checks) if c.quarantine)
    return [(i, m.offending) for i, _, m in measures if m.offending is not None]


def _refuse_other_keys(spec: SyncSpec) -> None:
    """A rejected key protects the target's row, so both must be comparable as they are."""
    options = spec.options
    if isinstance(spec.source.columns, Unknown) or not (options.handle_deletes or options.ttl):
        return
    types = {column.name: column.type for column in spec.source.columns}
    for key in spec.keys.value:
        found, wanted = types.get(key), spec.target.column(key).type
        if found != wanted and not is_lossless(str(found), wanted):
            raise InvalidCheck(
                f"{spec.owner} -> {spec.target.label}: quarantine=True together with deletes needs "
                f"the key {key!r} in the target's type, so that a rejected row is not taken for a "
                f"deleted one. The source has {found}, the target {wanted}. Cast in the source: "
                f"CAST({key} AS {wanted})."
            )
