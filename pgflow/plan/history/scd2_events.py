"""scd2 by event time: versions begin at the rows' own instants, whenever the rows come."""

from __future__ import annotations

from pgflow.plan import writes
from pgflow.plan.guards import (
    refuse_conflicts,
    refuse_early,
    refuse_far_ends,
    refuse_out_of_scope,
    refuse_without_instant,
    take_stock,
)
from pgflow.plan.history.event_delta import (
    DELETES,
    OPERATIONS,
    drop_known,
    find_events,
    find_reappearing,
)
from pgflow.plan.history.event_load import load_versions
from pgflow.plan.history.event_splice import splice
from pgflow.plan.history.event_time import ends_missing
from pgflow.plan.history.event_writes import write_alone, write_spliced
from pgflow.plan.spec import SyncSpec
from pgflow.plan.statement import Plan, Statement


def plan(spec: SyncSpec, carried: tuple[str, ...]) -> Plan:
    """Plan an scd2 run by event time.

    Args:
        spec: What is planned; `event_timestamp_column` is set.
        carried: Target columns whose value goes into the next version of a key.

    Returns:
        The plan; for an empty target one that lets the target's own constraints check the batch.
    """
    careful = Plan(spec.target.label, spec.mode, statements=_careful(spec, carried))
    fast = load_versions(spec)
    if fast is None:
        return careful
    return Plan(spec.target.label, spec.mode, statements=fast, fallback=careful)


def _careful(spec: SyncSpec, carried: tuple[str, ...]) -> tuple[Statement, ...]:
    deletes = ends_missing(spec)
    steps: list[Statement | None] = [
        find_events(spec, carried),
        take_stock(
            spec,
            OPERATIONS + (DELETES if deletes else ()),
            counts={"delete": "deleted"} if deletes else None,
        ),
        refuse_without_instant(spec),
        None if spec.source.unique.value else refuse_conflicts(spec),
        refuse_out_of_scope(spec, ("insert", "update", "correct", "late", "several")),
        refuse_early(spec),
        writes.analyze(spec),
        writes.price_pages(spec, (*(o for o in OPERATIONS if o != "insert"), *DELETES)),
        find_reappearing(spec),
        drop_known(spec),
        refuse_far_ends(spec, ("late", "several")),
        splice(spec, carried),
        *write_alone(spec, carried, deletes),
        *write_spliced(spec, carried),
        writes.remember_read(spec),
    ]
    return tuple(step for step in steps if step is not None)
