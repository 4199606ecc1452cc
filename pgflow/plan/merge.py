"""merge: new keys are inserted, changed rows updated, and deletes followed where asked for."""

from __future__ import annotations

from collections.abc import Mapping

from pgflow.plan import writes
from pgflow.plan.comparison import missing
from pgflow.plan.counted import counts_in_passing, find_and_count, found_unique
from pgflow.plan.delta import DeltaShape, find_changes
from pgflow.plan.first_load import first_load
from pgflow.plan.guards import (
    count_skipped,
    refuse_conflicts,
    refuse_out_of_scope,
    take_stock,
)
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, join, name, raw, sql
from pgflow.plan.stamps import changed, hash_stamp, hashes, loaded
from pgflow.plan.statement import Plan, Statement

_OPERATIONS = ("insert", "update", "stale", "delete")


def plan(spec: SyncSpec) -> Plan:
    """Plan a merge.

    Args:
        spec: What is planned; `compare` holds the columns that are compared and written.

    Returns:
        A plan; for an empty target one that lets the target's own constraints check the keys.
    """
    written = spec.compare.value
    if _orders(spec):
        # Without it, the next run would take this row for as old as the one that it replaced.
        written += tuple({spec.options.order_by or ""} - set(written))
    return plan_upsert(spec, written=written, stamps={})


def plan_upsert(spec: SyncSpec, written: tuple[str, ...], stamps: Mapping[str, Sql]) -> Plan:
    """Plan an upsert by way of a delta.

    Args:
        spec: What is planned; `compare` holds the columns whose change counts.
        written: The columns that an update writes.
        stamps: Further columns that inserts and updates write.

    Returns:
        The plan, with the careful one as fallback of the fast one.
    """
    careful = Plan(spec.target.label, spec.mode, statements=_steps(spec, written, stamps))
    fast = first_load(spec, {**loaded(spec), **stamps})
    if fast is None and counts_in_passing(spec, _shape(spec)):
        fast = _steps(found_unique(spec), written, stamps, counting=True)
    if fast is None:
        return careful
    return Plan(spec.target.label, spec.mode, statements=fast, fallback=careful)


def _steps(
    spec: SyncSpec, written: tuple[str, ...], stamps: Mapping[str, Sql], *, counting: bool = False
) -> tuple[Statement, ...]:
    stamped = {**loaded(spec), **hash_stamp(spec, ""), **stamps}
    find = find_and_count if counting else find_changes
    steps: list[Statement | None] = [
        *find(spec, _shape(spec)),
        take_stock(spec, _operations(spec), passed=counting),
        None if spec.source.unique.value else refuse_conflicts(spec),
        refuse_out_of_scope(spec, ("insert", "update")),
        None if spec.source.unique.value else writes.collapse(spec, ("insert", "update", "stale")),
        count_skipped("stale") if _orders(spec) else None,
        writes.analyze(spec),
        writes.price_pages(spec, ("update", "delete")),
        _update(spec, written, {**stamped, **hash_stamp(spec, "d"), **_alive(spec)}),
        writes.insert(spec, ("insert",), stamped),
        _delete(spec),
        writes.remember_read(spec),
    ]
    return tuple(step for step in steps if step is not None)


def _operations(spec: SyncSpec) -> tuple[str, ...]:
    wanted = ["insert", "update"]
    if _orders(spec):
        wanted.append("stale")
    if spec.options.handle_deletes:
        wanted.append("delete")
    return tuple(o for o in _OPERATIONS if o in wanted)


def _orders(spec: SyncSpec) -> bool:
    """Whether the target itself has the order column, so that older rows can be told."""
    return spec.options.order_by in spec.delivered


def _shape(spec: SyncSpec) -> DeltaShape:
    deletes = spec.options.handle_deletes is not None
    new, differs = missing(spec, "t"), _differs(spec)
    cases, keep = [(new, "insert")], [new]
    if deletes:
        cases += _gone(spec)
        keep.append(missing(spec, "b"))
    keep.append(differs)
    cases.append((sql("NOT ({differs})", differs=differs), "same"))
    if _orders(spec):
        order = name(spec.options.order_by)
        cases.append((sql("b.{order} < t.{order}", order=order), "stale"))
    return DeltaShape(
        cases=tuple(cases),
        keep=join(" OR ", keep),
        target_columns=_target_columns(spec),
        deletes=deletes,
        computed=tuple(hash_stamp(spec, "b", computed=True).items()),
    )


def _differs(spec: SyncSpec) -> Sql:
    """A delivered row differs, or was marked as deleted and is back."""
    deleted_at = spec.target.system.deleted_at
    if deleted_at is None:
        return changed(spec)
    return sql("t.{d} IS NOT NULL OR {changed}", d=name(deleted_at), changed=changed(spec))


def _gone(spec: SyncSpec) -> list[tuple[Sql, str]]:
    """A key that the batch lacks; marked ones stay as they are."""
    gone, deleted_at = missing(spec, "b"), spec.target.system.deleted_at
    if spec.options.handle_deletes != "soft" or deleted_at is None:
        return [(gone, "delete")]
    marked = sql("{gone} AND t.{d} IS NOT NULL", gone=gone, d=name(deleted_at))
    return [(marked, "kept"), (gone, "delete")]


def _target_columns(spec: SyncSpec) -> tuple[str, ...]:
    system = spec.target.system
    more = [system.deleted_at, system.row_hash if hashes(spec) else None]
    if _orders(spec):
        more.append(spec.options.order_by)
    return (*spec.compare.value, *(c for c in more if c is not None))


def _alive(spec: SyncSpec) -> dict[str, Sql]:
    """A row that is delivered again is no longer deleted."""
    deleted_at = spec.target.system.deleted_at
    return {} if deleted_at is None else {deleted_at: raw("NULL")}


def _update(
    spec: SyncSpec, written: tuple[str, ...], stamps: Mapping[str, Sql]
) -> Statement | None:
    columns = [c for c in written if c in spec.values]
    assignments = {column: name("d", column) for column in columns}
    if not columns and not _alive(spec):
        return None
    return writes.update(
        spec,
        "update",
        {**assignments, **stamps},
        reads=[*columns, *hash_stamp(spec, "d")],
        purpose="update changed rows",
    )


def _delete(spec: SyncSpec) -> Statement | None:
    kind = spec.options.handle_deletes
    if kind is None:
        return None
    if kind == "hard":
        return writes.delete(spec, "delete", purpose="delete rows that the source lacks")
    system = spec.target.system
    stamps = {system.deleted_at or "": sql("{at}::timestamptz", at=spec.instant)}
    if system.batch_id is not None:
        stamps[system.batch_id] = sql("{run}::uuid", run=spec.batch_id)
    return writes.update(
        spec,
        "delete",
        stamps,
        counts="deleted",
        reads=(),
        purpose="mark rows that the source lacks as deleted",
    )
