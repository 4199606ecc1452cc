"""scd2: every change opens a version and closes the one before, at one instant.

Intervals are half-open, `[valid_from, valid_to)`; a current version has no end.
"""

from __future__ import annotations

from pgflow.errors import InvalidOption
from pgflow.plan import writes
from pgflow.plan.comparison import missing
from pgflow.plan.counted import counts_in_passing, find_and_count, found_unique
from pgflow.plan.delta import DeltaShape, find_changes
from pgflow.plan.first_load import first_load
from pgflow.plan.guards import (
    refuse_conflicts,
    refuse_early,
    refuse_out_of_scope,
    refuse_overlap,
    take_stock,
)
from pgflow.plan.history import scd2_events
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, bind, join, name, sql
from pgflow.plan.stamps import changed, hash_stamp, hashes, loaded
from pgflow.plan.statement import Plan, Statement

#: insert: a key without a current version. update: a changed one. correct: a changed one whose
#: version began at this very instant. delete: a current version that ends. undo: one that ends at
#: its own beginning, so it never was. early: one that begins after this instant.
_OPERATIONS = ("insert", "update", "correct", "early")
_DELETES = ("delete", "undo")


def plan(spec: SyncSpec) -> Plan:
    """Plan an scd2 run.

    Args:
        spec: What is planned; `compare` holds the columns whose change makes a version.

    Returns:
        The plan; for an empty target one that lets the target's own constraints check the keys.
    """
    if spec.options.event_timestamp_column is not None:
        return scd2_events.plan(spec, _carried(spec))
    _refuse_confirmed(spec)
    careful = Plan(spec.target.label, spec.mode, statements=_steps(spec))
    fast = first_load(spec, {**loaded(spec), _from(spec): _at(spec)})
    if fast is None and counts_in_passing(spec, _shape(spec)):
        fast = _steps(found_unique(spec), counting=True)
    if fast is None:
        return careful
    return Plan(spec.target.label, spec.mode, statements=fast, fallback=careful)


def _refuse_confirmed(spec: SyncSpec) -> None:
    """A run that knows no instants of rows could end a version before its last confirmation."""
    if spec.target.system.confirmed_at is not None:
        raise InvalidOption(
            f"{spec.owner} -> {spec.target.label}: the table keeps confirmations "
            f"({spec.target.system.confirmed_at}), as another pipeline has asked with "
            "keep_confirmations=, and they are instants of rows. Fill it by event time here as "
            "well: event_timestamp_column=."
        )


def _steps(spec: SyncSpec, *, counting: bool = False) -> tuple[Statement, ...]:
    proven = spec.source.unique.value
    deletes = _ends_missing(spec)
    find = find_and_count if counting else find_changes
    steps: list[Statement | None] = [
        *find(spec, _shape(spec)),
        take_stock(
            spec,
            _OPERATIONS + (_DELETES if deletes else ()),
            counts={"delete": "deleted"} if deletes else None,
            passed=counting,
        ),
        None if proven else refuse_conflicts(spec),
        refuse_out_of_scope(spec, ("insert", "update", "correct")),
        refuse_early(spec),
        refuse_overlap(spec),
        None if proven else writes.collapse(spec, ("insert", "update", "correct")),
        writes.analyze(spec),
        writes.price_pages(spec, ("update", "correct", *_DELETES)),
        _undo(spec) if deletes else None,
        _correct(spec),
        _close(spec, deletes),
        _open(spec),
        writes.remember_read(spec),
    ]
    return tuple(step for step in steps if step is not None)


def _ends_missing(spec: SyncSpec) -> bool:
    return spec.options.handle_deletes is not None or spec.options.ttl is not None


def _at(spec: SyncSpec) -> Sql:
    return sql("{at}::timestamptz", at=spec.instant)


def _from(spec: SyncSpec) -> str:
    return spec.target.system.valid_from or "valid_from"


def _to(spec: SyncSpec) -> str:
    return spec.target.system.valid_to or "valid_to"


def _shape(spec: SyncSpec) -> DeltaShape:
    began, at = name("t", _from(spec)), _at(spec)
    deletes = _ends_missing(spec)
    new, differs = missing(spec, "t"), changed(spec)
    early = sql("{began} > {at}", began=began, at=at)
    cases, keep = [(new, "insert")], [new]
    if deletes:
        cases += _gone(spec)
        keep.append(missing(spec, "b"))
    keep += [early, differs]
    cases += [
        (early, "early"),
        (sql("NOT ({differs})", differs=differs), "same"),
        (sql("{began} = {at}", began=began, at=at), "correct"),
    ]
    return DeltaShape(
        cases=tuple(cases),
        keep=join(" OR ", keep),
        live=sql("{valid_to} IS NULL", valid_to=name(_to(spec))),
        target_columns=(
            _from(spec),
            *spec.compare.value,
            *((spec.target.system.row_hash or "",) if hashes(spec) else ()),
        ),
        carried=_carried(spec),
        deletes=deletes,
        computed=tuple(hash_stamp(spec, "b", computed=True).items()),
    )


def _gone(spec: SyncSpec) -> list[tuple[Sql, str]]:
    """A current version that nobody delivers; with `ttl`, young ones stay open."""
    gone, began, at = missing(spec, "b"), name("t", _from(spec)), _at(spec)
    cases = [
        (sql("{gone} AND {began} = {at}", gone=gone, began=began, at=at), "undo"),
        (sql("{gone} AND {began} < {at}", gone=gone, began=began, at=at), "delete"),
        (sql("{gone}", gone=gone), "early"),
    ]
    if spec.options.ttl is None:
        return cases
    young = sql(
        "{gone} AND {began} >= {at} - {ttl}::interval",
        gone=gone,
        began=began,
        at=at,
        ttl=bind(spec.options.ttl, "ttl"),
    )
    return [(young, "kept"), *cases]


def _carried(spec: SyncSpec) -> tuple[str, ...]:
    """Plain columns that the source does not deliver go along into the next version."""
    return tuple(
        c.name
        for c in spec.target.columns
        if c.name not in spec.delivered and not c.has_default and not c.generated
    )


def _current(spec: SyncSpec) -> Sql:
    return sql("t.{valid_to} IS NULL", valid_to=name(_to(spec)))


def _undo(spec: SyncSpec) -> Statement:
    return writes.delete(
        spec, "undo", only=_current(spec), purpose="remove versions that end where they began"
    )


def _correct(spec: SyncSpec) -> Statement:
    values = {column: name("d", column) for column in spec.values}
    return writes.update(
        spec,
        "correct",
        {**values, **loaded(spec), **hash_stamp(spec, "d")},
        only=_current(spec),
        purpose="correct versions that began at this instant",
    )


def _close(spec: SyncSpec, deletes: bool) -> Statement:
    closing = {_to(spec): _at(spec)}
    closed_batch_id = spec.target.system.closed_batch_id
    if closed_batch_id is not None:
        closing[closed_batch_id] = sql("{run}::uuid", run=spec.batch_id)
    return writes.update(
        spec,
        "update",
        closing,
        also=("delete",) if deletes else (),
        counts="closed",
        only=_current(spec),
        reads=(),
        purpose="close the versions that end",
    )


def _open(spec: SyncSpec) -> Statement:
    return writes.insert(
        spec,
        ("insert", "update"),
        {**loaded(spec), **hash_stamp(spec, ""), _from(spec): _at(spec)},
        carried=_carried(spec),
        purpose="open the versions that begin",
    )
