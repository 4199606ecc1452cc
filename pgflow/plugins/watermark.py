"""The position of an incremental pipeline: of which kind it is, and what becomes of NULLs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pgflow.declare.options import SyncOptions
from pgflow.errors import NullWatermark, PgflowError
from pgflow.plan.decision import Decision
from pgflow.plan.spec import SyncSpec, Watermark
from pgflow.plan.sql import Sql, bind, name, sql
from pgflow.plan.staging import STAGE
from pgflow.plan.statement import Row, Statement
from pgflow.plugins.sync_keys import OPTIONS, STATEMENTS, WATERMARK, ExtraStatement
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.plugin import Plugin, contributes, produces, requires

_REASONS = {
    "snapshot": "watermark='snapshot': rows of transactions that {column!r} names and that had "
    "not committed when the last run began to read",
    "horizon": "watermark='horizon': rows of transactions, by {column!r}, from the oldest on that "
    "was running when the last run began to read",
    "slot": "watermark='slot': rows whose keys the source's log names since the last run",
}
_NULLS = {"read": "NULLs too", "skip": "NULLs never", "error": "NULLs are an error"}


@produces(WATERMARK)
@requires(OPTIONS)
@contributes(STATEMENTS)
class WatermarkPlugin(Plugin):
    """Read only what came after the position of the run before.

    By `value` that is the last seen value of `incremental_column`: the row or rows at that very
    value are read again and recognised by their key. A value watermark misses rows that a slow
    transaction commits with an older value; `lookback=` reads that far back. By `snapshot`,
    `horizon` and `slot` nothing is missed.

    Args:
        schema: The schema of pgflow's own tables.
    """

    def __init__(self, schema: str = "pgflow") -> None:
        self.schema = schema

    def run(self, ctx: FactoryContext) -> None:
        """Describe the watermark, or say that there is none."""
        options = ctx[OPTIONS]
        if not options.incremental:
            ctx[WATERMARK] = Decision(None, "the whole source is read")
            return
        watermark = Watermark(
            name(self.schema, "watermarks"),
            options.incremental_column or "",
            lookback=_lookback(options.lookback),
            kind=options.watermark or "value",
            nulls=options.on_null_watermark or "read",
        )
        ctx[WATERMARK] = Decision(watermark, _reason(options, watermark))
        if watermark.nulls == "error":
            extra = ExtraStatement(_refuse_nulls, "staged", "on_null_watermark='error'")
            ctx.contribute(STATEMENTS, extra)


def _reason(options: SyncOptions, watermark: Watermark) -> str:
    if not watermark.by_value:
        return _REASONS[watermark.kind].format(column=watermark.column)
    back = f", {options.lookback} further back" if options.lookback else ""
    return (
        f"incremental_column={watermark.column!r}: rows from the last seen value on{back}; "
        f"{_NULLS[watermark.nulls]}"
    )


def _refuse_nulls(spec: SyncSpec) -> Statement:
    column = spec.watermark.column if spec.watermark is not None else ""
    text = sql(
        "SELECT count(*) AS nulls FROM {stage} WHERE {column} IS NULL",
        stage=STAGE,
        column=name(column),
    )

    def refuse(found: Sequence[Row]) -> PgflowError | None:
        if not found[0]["nulls"]:
            return None
        return NullWatermark(
            f"{found[0]['nulls']} source rows have no {column!r}, so nobody can say whether they "
            "are new. Give them a value, or say on_null_watermark='read' (in every run) or "
            "'skip' (never).",
            pipeline=spec.owner,
            target=spec.target.label,
        )

    return Statement(f"refuse rows without {column}", text, refuses=refuse)


def _lookback(value: timedelta | int | None) -> Sql | None:
    if value is None:
        return None
    if isinstance(value, timedelta):
        return sql("{v}::interval", v=bind(value, "lookback"))
    return sql("{v}::bigint", v=bind(value, "lookback"))
