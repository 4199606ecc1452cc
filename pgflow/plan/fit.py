"""Does the source fit the target? Checked by names and types before any row is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from pgflow import idents
from pgflow.declare.options import nearest
from pgflow.errors import MissingMergeKey, SourceMismatch
from pgflow.plan.contract import SQLType, check_contract
from pgflow.plan.decision import Decision, Unknown
from pgflow.plan.query import columns_of
from pgflow.plan.spec import SourceColumn, SyncSpec


def fit(spec: SyncSpec) -> SyncSpec:
    """Match the source's columns with the target's, and settle what depends on them.

    Args:
        spec: What is planned. While the source's columns are unknown nothing can be checked.

    Returns:
        The spec with the compare columns that the source delivers, and, for append, without
        inferred keys that it does not deliver.

    Raises:
        SourceMismatch: A column is missing, superfluous, given twice, generated, or of a type
            that the target's column does not take.
        MissingMergeKey: An incremental append is left without a key.
    """
    if isinstance(spec.source.columns, Unknown):
        return spec
    names = [column.name for column in spec.source.columns]
    check_repeated(spec, names)
    _check_needed(spec, names)
    check_contract(spec)
    _check_extra(spec, names)
    _check_target(spec, names)
    _check_lookback(spec)
    _check_position(spec)
    check_instants(spec, spec.source.columns)
    spec = _settle_compare(_settle_keys(spec, names), names)
    _check_event_time(spec)
    _check_equality(spec)
    _check_identity(spec)
    _check_scope(spec)
    return spec


def check_types(spec: SyncSpec, misfits: Iterable[tuple[SourceColumn, str]]) -> None:
    """Refuse source columns whose type PostgreSQL would not assign to the target's.

    Args:
        spec: What is planned.
        misfits: The source columns, each with the target's type.

    Raises:
        SourceMismatch: There are any.
    """
    spelt = [f"{c.name!r} is {c.type}, the target has {kind}" for c, kind in misfits]
    if spelt:
        raise _error(
            spec, f"types do not fit: {'; '.join(spelt)}. Cast in the source: CAST(x AS type)."
        )


def check_repeated(spec: SyncSpec, names: list[str]) -> None:
    """Refuse a source in which a name stands twice, or none at all.

    Args:
        spec: What is planned.
        names: The names of the source's columns.

    Raises:
        SourceMismatch: It is so.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise _error(spec, f"the source delivers {_list(twice)} more than once; rename by AS.")
    if not names:
        raise _error(spec, "the source delivers no columns.")


def _check_needed(spec: SyncSpec, names: list[str]) -> None:
    options = spec.options
    wanted: list[tuple[str, str]] = []
    if options.incremental_column:
        wanted.append((options.incremental_column, "incremental_column="))
    if spec.watermark is not None and spec.watermark.kind == "window":
        wanted.append((spec.watermark.column, "the backfill"))
    if options.order_by:
        wanted.append((options.order_by, "order_by="))
    if options.event_timestamp_column:
        wanted.append((options.event_timestamp_column, "event_timestamp_column="))
    wanted += [(c, "compare_columns=") for c in options.compare_columns or ()]
    wanted += [(c, "update_columns=") for c in options.update_columns or ()]
    if spec.mode != "append" or options.keys:
        wanted += [(c, f"the merge key ({spec.keys.reason})") for c in spec.keys.value]
    for column, why in wanted:
        if column not in names:
            raise _error(
                spec,
                f"the source does not deliver {column!r}, which {why} needs."
                f"{nearest(column, names)} It delivers: {', '.join(names)}."
                f"{_renaming(spec, column)}",
            )


def _renaming(spec: SyncSpec, column: str) -> str:
    """How a column comes to have the name that is looked for."""
    way = (
        f"rename it in the source's SQL: AS {idents.quote(column)}"
        if spec.source.selected
        else f"say so to the source: column_map={{{column!r}: ...}}"
    )
    return f" If one of these is it, {way}."


def _check_extra(spec: SyncSpec, names: list[str]) -> None:
    have = {c.name for c in spec.target.columns}
    mark = None if spec.watermark is None else spec.watermark.column
    own = {mark, spec.options.incremental_column, spec.options.order_by}
    extra = [n for n in names if n not in have and n not in own]
    system = [n for n in extra if n in spec.target.system.names]
    if system:
        raise _error(
            spec,
            f"the source delivers {_list(system)}, which pgflow fills itself; "
            "leave it out of the source.",
        )
    if extra and spec.options.schema_mode != "ignore_extra":
        raise _error(
            spec,
            f"the source delivers {_list(extra)}, which the target lacks."
            f"{nearest(extra[0], sorted(have))} Add the column to the target, leave it out of "
            "the source, or pass schema_mode='ignore_extra'.",
        )


def _check_target(spec: SyncSpec, names: list[str]) -> None:
    missing = [
        c.name
        for c in spec.target.columns
        if not c.nullable and not c.has_default and not c.generated and c.name not in names
    ]
    if missing:
        raise _error(
            spec,
            f"the target's {_list(missing)} is NOT NULL without a default, and the source does "
            f"not deliver it.{nearest(missing[0], names)} It delivers: {', '.join(names)}."
            f"{_renaming(spec, missing[0])}",
        )
    generated = [c.name for c in spec.target.columns if c.generated and c.name in names]
    if generated:
        raise _error(
            spec, f"the target computes {_list(generated)} itself; leave it out of the source."
        )


#: What a lookback can be subtracted from, by its kind: the beginnings of type names.
_TIMES = ("date", "timestamp", "time", "interval")
_NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision", "pg_lsn")


def _check_lookback(spec: SyncSpec) -> None:
    back, column = spec.options.lookback, spec.options.incremental_column
    if back is None or isinstance(spec.source.columns, Unknown):
        return
    kind = next(str(c.type) for c in spec.source.columns if c.name == column)
    if not kind.startswith(_TIMES if isinstance(back, timedelta) else _NUMBERS):
        raise _error(
            spec,
            f"lookback={back!r} cannot be taken from the incremental column {column!r}, which is "
            f"{kind}. Give a timedelta for dates and times, a whole number for numbers.",
        )


#: The type of the column that tells which transaction wrote a row.
_TRANSACTIONS = {"snapshot": "xid8", "horizon": "xid"}


def _check_position(spec: SyncSpec) -> None:
    """Refuse a column that cannot tell which transaction wrote a row."""
    mark = spec.watermark
    wanted = None if mark is None else _TRANSACTIONS.get(mark.kind)
    if mark is None or wanted is None or isinstance(spec.source.columns, Unknown):
        return
    kind = next(c.type for c in spec.source.columns if c.name == mark.column)
    if kind == wanted:
        return
    way_out = (
        "Give the source table such a column: ChangeTrackingPlugin, or `pgflow tracking TABLE`."
        if mark.kind == "snapshot"
        else "Deliver the table's own column xmin, without a cast."
    )
    raise _error(
        spec,
        f"watermark={mark.kind!r} needs a column of type {wanted}, and {mark.column!r} is {kind}. "
        + way_out,
    )


#: Types that tell an instant only where somebody knows the time zone.
_LOCAL = ("date", "timestamp without time zone")


def _check_event_time(spec: SyncSpec) -> None:
    """Refuse an event column that names no instant in the target."""
    event = spec.options.event_timestamp_column
    if event is None:
        return
    kind = spec.target.column(event).type
    if kind != "timestamp with time zone":
        raise _error(
            spec,
            f"event_timestamp_column={event!r} is {kind} in the target, "
            "which names no instant. Make it timestamp with time zone.",
        )


def check_instants(spec: SyncSpec, columns: Iterable[SourceColumn]) -> None:
    """Refuse an event column that names no instant in the source.

    Args:
        spec: What is planned.
        columns: The source's columns with their own types.

    Raises:
        SourceMismatch: What it means would depend on the session's time zone.
    """
    event = spec.options.event_timestamp_column
    found = next((SQLType.of(str(c.type)).base for c in columns if c.name == event), None)
    if found in _LOCAL:
        raise _error(
            spec,
            f"event_timestamp_column={event!r} is {found} in the source, so its instants would "
            "depend on the session's time zone. Say which one is meant in the source: "
            f"{event}::timestamp AT TIME ZONE 'UTC'.",
        )


def _check_equality(spec: SyncSpec) -> None:
    """Refuse keys that cannot be compared, and types whose own equality is out of sight."""
    for key in spec.keys.value:
        column = spec.target.column(key)
        if not column.comparable:
            raise _error(
                spec,
                f"the merge key {key!r} ({spec.keys.reason}) is {column.type}, a type without an "
                "equality. Name other columns by keys=.",
            )
    if spec.mode == "truncate":
        return
    for name in (*spec.keys.value, *spec.compare.value):
        column = spec.target.column(name)
        if column.hidden_equality is not None:
            raise _error(
                spec,
                f"{name!r} is {column.type}, whose equality is in schema "
                f"{column.hidden_equality}. The search_path lacks that schema, so another type's "
                "equality would decide. Put it on the search_path of the role or the connection.",
            )


def _check_identity(spec: SyncSpec) -> None:
    """An identity that the server insists on can be inserted, but never updated."""
    written = {"merge": spec.compare.value, "scd1": spec.values, "scd2": spec.values}
    fixed = [c for c in written.get(spec.mode, ()) if spec.target.column(c).always_identity]
    if fixed:
        raise _error(
            spec,
            f"the target's {_list(fixed)} is GENERATED ALWAYS AS IDENTITY, which no update can "
            f"write, and mode {spec.mode!r} updates. Leave it out of the source, or declare it BY "
            "DEFAULT: Identity(always=False).",
        )


def _check_scope(spec: SyncSpec) -> None:
    """The delta holds what the source delivers, so that is what a scope can be about."""
    if spec.scope is None or not spec.keys.value:
        return
    known = {*(c.name for c in spec.target.columns), *spec.target.system.names}
    lacking = sorted((columns_of(spec.scope, spec.owner) & known) - set(spec.delivered))
    if lacking:
        raise _error(
            spec,
            f"scope {spec.scope_name!r} uses {_list(lacking)}, which the source does not deliver, "
            "so nothing can tell whether a row belongs to it. Deliver the column.",
        )


def _settle_keys(spec: SyncSpec, names: list[str]) -> SyncSpec:
    if spec.mode != "append" or not spec.keys.value:
        return spec
    lacking = [key for key in spec.keys.value if key not in names]
    if not lacking:
        return spec
    if spec.options.incremental:
        raise MissingMergeKey(
            f"{spec.owner} -> {spec.target.label}: an incremental append reads the boundary rows "
            f"again and needs a key to know them, but the source does not deliver "
            f"{_list(lacking)} ({spec.keys.reason})."
        )
    reason = f"the source does not deliver {_list(lacking)}, so every row is appended"
    return replace(spec, keys=Decision((), reason))


def _settle_compare(spec: SyncSpec, names: list[str]) -> SyncSpec:
    have = set(names) - {spec.position_column}
    compared = tuple(c for c in spec.compare.value if c in have and c not in spec.keys.value)
    left_out = [c for c in spec.compare.value if c not in have]
    reason = spec.compare.reason
    if left_out:
        reason += f"; not delivered, so left alone: {', '.join(left_out)}"
    return replace(spec, compare=Decision(compared, reason, spec.compare.warning))


def _list(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _error(spec: SyncSpec, message: str) -> SourceMismatch:
    return SourceMismatch(message, pipeline=spec.owner, target=spec.target.label)
