"""truncate: the target, or its part in scope, is replaced by what the source delivers."""

from __future__ import annotations

from collections.abc import Sequence

from pgflow.errors import PgflowError
from pgflow.plan import writes
from pgflow.plan.batch import batch_query
from pgflow.plan.decision import Decision
from pgflow.plan.guards import empty_source, refuse_written_outside
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, raw, sql
from pgflow.plan.stamps import loaded
from pgflow.plan.statement import Plan, Row, Statement

_STAGE = raw("pg_temp.pgflow_stage")


def plan(spec: SyncSpec) -> Plan:
    """Plan a full refresh.

    Args:
        spec: What is planned.

    Returns:
        The plan; TRUNCATE where nothing speaks against it, else DELETE.
    """
    how = _how(spec)
    staged = spec.source.reads_target
    query = batch_query(spec)
    steps: list[Statement | None] = [
        _stage(query) if staged else None,
        _count(spec),
        _clear(spec, how.value),
        writes.load(
            spec,
            loaded(spec),
            sql("SELECT * FROM {stage}", stage=_STAGE) if staged else query,
            purpose="insert what the source delivers",
        ),
        refuse_written_outside(spec),
        _refuse_empty(spec),
    ]
    return Plan(
        spec.target.label,
        spec.mode,
        decisions={"replace": how},
        statements=tuple(step for step in steps if step is not None),
        hazards=_hazards(how.value),
    )


def _how(spec: SyncSpec) -> Decision[str]:
    if spec.options.replace == "delete":
        return Decision("delete", "replace='delete'")
    if spec.scope is not None:
        return Decision("delete", "scope= limits the run to a part of the target")
    if spec.facts.referenced is True:
        return Decision("delete", "a foreign key points at the target")
    if spec.facts.may_truncate is False:
        return Decision("delete", "the role may not TRUNCATE the target")
    if spec.rehearsal:
        return Decision("delete", "a dry run must not lock readers out")
    return Decision("truncate", "replace='truncate'" if spec.options.replace else "default")


def _hazards(how: str) -> tuple[str, ...]:
    if how == "delete":
        return ()
    return (
        "TRUNCATE locks readers out until the run commits, and readers with an older snapshot "
        "find the target empty; replace='delete' avoids both",
    )


def _stage(query: Sql) -> Statement:
    text = sql(
        "CREATE TEMPORARY TABLE {stage} ON COMMIT DROP AS\n{query}", stage=_STAGE, query=query
    )
    return Statement("read the source first, because it reads the target", text)


def _count(spec: SyncSpec) -> Statement:
    text = sql("SELECT count(*) AS deleted FROM {target}", target=spec.scoped_target)
    return Statement("count the rows that go", text, tallies=True)


def _clear(spec: SyncSpec, how: str) -> Statement:
    if how == "truncate":
        text = sql("TRUNCATE {target}", target=spec.target.relation)
        return Statement("empty the target", text)
    return Statement("empty the target", sql("DELETE FROM {t}", t=spec.scoped_target))


def _refuse_empty(spec: SyncSpec) -> Statement | None:
    if spec.options.on_empty_source == "allow":
        return None
    text = sql(
        "SELECT 1 AS emptied WHERE NOT EXISTS (SELECT FROM {target})", target=spec.scoped_target
    )

    def refuse(found: Sequence[Row]) -> PgflowError | None:
        return empty_source(spec, None) if found else None

    return Statement("refuse to leave the target empty", text, when=("deleted",), refuses=refuse)
