"""Mode `replace_keys`: what the batch delivers of a key takes the place of all that was there.

For rows that belong together, such as the lines of an order: `keys=("order_id",)` names the order,
and of an order that is delivered no old line survives. Orders that are not delivered stay.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgflow import PgflowError
from pgflow.errors import NullKeys
from pgflow.plan.batch import batch_query
from pgflow.plan.modes import Mode, modes
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import join, name, names, raw, sql
from pgflow.plan.stamps import loaded
from pgflow.plan.statement import Plan, Row, Statement

_STAGE = raw("pg_temp.replace_keys_stage")


def plan(spec: SyncSpec) -> Plan:
    """Plan a run.

    Args:
        spec: What is planned.

    Returns:
        The plan; it only says what is to be done, and never touches a connection.
    """
    statements = (_stage(spec), _look(spec), _delete(spec), _insert(spec))
    return Plan(spec.target.label, spec.mode, statements=statements)


def _stage(spec: SyncSpec) -> Statement:
    text = sql(
        "CREATE TEMPORARY TABLE {stage} ON COMMIT DROP AS\n{batch}",
        stage=_STAGE,
        batch=batch_query(spec),
    )
    return Statement("read the source", text)


def _look(spec: SyncSpec) -> Statement:
    """Count what was read; a NULL key would match nothing, and come again with every run."""
    is_null = join(" OR ", (sql("{key} IS NULL", key=name(key)) for key in spec.keys.value))
    text = sql(
        "SELECT count(*) AS read, count(*) FILTER (WHERE {is_null}) AS null_keys FROM {stage}",
        is_null=is_null,
        stage=_STAGE,
    )

    def refuse(rows: Sequence[Row]) -> PgflowError | None:
        if not rows[0]["null_keys"]:
            return None
        return NullKeys(
            f"{rows[0]['null_keys']} rows have no {', '.join(spec.keys.value)}. Leave them out of "
            "the source.",
            pipeline=spec.owner,
            target=spec.target.label,
        )

    return Statement("count the batch, and refuse NULL keys", text, tallies=True, refuses=refuse)


def _delete(spec: SyncSpec) -> Statement:
    text = sql(
        "DELETE FROM {target} WHERE ({keys}) IN (SELECT {keys} FROM {stage})",
        target=spec.target.relation,
        keys=names(spec.keys.value),
        stage=_STAGE,
    )
    return Statement("delete what the delivered keys had", text, counts="deleted")


def _insert(spec: SyncSpec) -> Statement:
    stamps = loaded(spec)
    text = sql(
        "INSERT INTO {target} ({columns})\nSELECT {values} FROM {stage}",
        target=spec.target.relation,
        columns=names([*spec.delivered, *stamps]),
        values=join(", ", [*(name(column) for column in spec.delivered), *stamps.values()]),
        stage=_STAGE,
    )
    return Statement("insert what they have now", text, counts="inserted")


REPLACE_KEYS = modes.register(
    Mode(
        "replace_keys",
        plan,
        keys="required",
        columns="append",
        doc="replace all rows of the keys that the batch delivers",
    )
)
