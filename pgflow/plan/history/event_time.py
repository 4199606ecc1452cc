"""Event time: the words in which the plans of scd2 speak of the rows' own instants.

A version is valid from the instant of the row that opened it. What history keeps of the rows
that it has seen are points: each version's beginning, its newest confirmation where the table
keeps one, and the ends after which nothing follows. A run puts its events among them.
"""

from __future__ import annotations

from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, name, sql
from pgflow.plan.stamps import hashes


def event_column(spec: SyncSpec) -> str:
    """Return the column of the rows' own instants."""
    return spec.options.event_timestamp_column or ""


def begins(spec: SyncSpec) -> str:
    """Return the column that a version begins at."""
    return spec.target.system.valid_from or "valid_from"


def ends(spec: SyncSpec) -> str:
    """Return the column that a version ends at."""
    return spec.target.system.valid_to or "valid_to"


def sighted(spec: SyncSpec, alias: str) -> Sql:
    """Say when a version was last delivered: its confirmation, or its beginning."""
    confirmed_at = spec.target.system.confirmed_at
    if confirmed_at is None:
        return name(alias, begins(spec))
    return sql("greatest({f}, {c})", f=name(alias, begins(spec)), c=name(alias, confirmed_at))


def keeps_confirmations(spec: SyncSpec) -> bool:
    """Whether the table keeps confirmations, whichever pipeline asked for them."""
    return spec.target.system.confirmed_at is not None


def ends_missing(spec: SyncSpec) -> bool:
    """Whether a run ends what is not delivered, so that delivery says that a key is alive."""
    return spec.options.handle_deletes is not None or spec.options.ttl is not None


def run_instant(spec: SyncSpec) -> Sql:
    """Return the instant of the run, at which deletes are."""
    return sql("{at}::timestamptz", at=spec.instant)


def payload(spec: SyncSpec) -> tuple[str, ...]:
    """Return the columns that an event brings: delivered values, and their hash."""
    stored = (spec.target.system.row_hash or "",) if hashes(spec) else ()
    return (*spec.values, *stored)


def closing(spec: SyncSpec, instant: Sql) -> dict[str, Sql]:
    """What is written to a version that ends."""
    written = {ends(spec): instant}
    closed_batch_id = spec.target.system.closed_batch_id
    if closed_batch_id is not None:
        written[closed_batch_id] = sql("{run}::uuid", run=spec.batch_id)
    return written


def seen(spec: SyncSpec, instant: Sql) -> dict[str, Sql]:
    """What is written to a version that is delivered at an instant."""
    confirmed_at = spec.target.system.confirmed_at
    return {} if confirmed_at is None else {confirmed_at: instant}


def usable(column: Sql) -> Sql:
    """Return an instant, or NULL for one at the end of time, which the target then refuses."""
    return sql("CASE WHEN isfinite({c}) THEN {c} END", c=column)
