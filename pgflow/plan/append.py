"""append: rows are added and never touched again; with a key, each key once."""

from __future__ import annotations

from pgflow.plan import writes
from pgflow.plan.batch import batch_query
from pgflow.plan.comparison import missing
from pgflow.plan.delta import DeltaShape, find_changes
from pgflow.plan.first_load import first_load
from pgflow.plan.guards import (
    count_skipped,
    refuse_conflicts,
    refuse_out_of_scope,
    refuse_written_outside,
    take_stock,
)
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import join, sql
from pgflow.plan.stamps import changed, loaded
from pgflow.plan.statement import Plan, Statement


def plan(spec: SyncSpec) -> Plan:
    """Plan an append.

    Args:
        spec: What is planned. Without keys every delivered row is inserted; with keys only those
            whose key is new, and rows whose key exists with other values count as skipped.

    Returns:
        The plan.
    """
    if not spec.keys.value:
        insert = writes.load(
            spec, loaded(spec), batch_query(spec), purpose="insert what the source delivers"
        )
        outside = refuse_written_outside(spec)
        steps = (insert,) if outside is None else (insert, outside)
        return Plan(spec.target.label, spec.mode, statements=steps)
    careful = Plan(spec.target.label, spec.mode, statements=_careful(spec))
    fast = first_load(spec, loaded(spec))
    if fast is None:
        return careful
    return Plan(spec.target.label, spec.mode, statements=fast, fallback=careful)


def _careful(spec: SyncSpec) -> tuple[Statement, ...]:
    proven = spec.source.unique.value
    shape = DeltaShape(
        cases=(
            (missing(spec, "t"), "insert"),
            (sql("NOT ({differs})", differs=changed(spec)), "same"),
        ),
        keep=join(" OR ", (missing(spec, "t"), changed(spec))),
        target_columns=spec.compare.value,
    )
    steps: list[Statement | None] = [
        *find_changes(spec, shape),
        take_stock(spec, ("insert", "update")),
        None if proven else refuse_conflicts(spec),
        refuse_out_of_scope(spec, ("insert",)),
        None if proven else writes.collapse(spec, ("insert", "update")),
        count_skipped("update"),
        writes.insert(
            spec, ("insert",), loaded(spec), skip_existing=spec.facts.keys_indexed is True
        ),
        writes.remember_read(spec),
    ]
    return tuple(step for step in steps if step is not None)
