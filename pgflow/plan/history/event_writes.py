"""Writing history by event time: ends first, then corrections, then the versions that begin.

In this order no statement, and no row of one, ever meets a constraint on the way: a version is
shortened before another one takes its place, and a beginning moves only back into time that was
free or that has just become so.
"""

from __future__ import annotations

from pgflow.plan import writes
from pgflow.plan.comparison import match
from pgflow.plan.delta import DELTA
from pgflow.plan.history.event_delta import SPLICED
from pgflow.plan.history.event_splice import VERSIONS
from pgflow.plan.history.event_time import (
    begins,
    closing,
    ends,
    event_column,
    keeps_confirmations,
    payload,
    run_instant,
    seen,
)
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, join, name, names, raw, sql
from pgflow.plan.stamps import hash_stamp, loaded
from pgflow.plan.statement import Statement


def write_alone(
    spec: SyncSpec, carried: tuple[str, ...], deletes: bool
) -> tuple[Statement | None, ...]:
    """Write the rows that are alone with their key and not late.

    Args:
        spec: What is planned.
        carried: Target columns whose value goes into the next version.
        deletes: Whether versions end that nobody delivers.

    Returns:
        The statements, in order.
    """
    event = name("d", event_column(spec))
    stamps = {**loaded(spec), **seen(spec, event), begins(spec): event}
    return (
        _undo(spec) if deletes else None,
        _correct(spec, event),
        _close(spec, event, deletes),
        writes.insert(
            spec,
            ("insert", "update"),
            {**stamps, **hash_stamp(spec, "")},
            carried=carried,
            purpose="open the versions that begin",
        ),
        _confirm(spec, event) if keeps_confirmations(spec) else None,
    )


def write_spliced(spec: SyncSpec, carried: tuple[str, ...]) -> tuple[Statement | None, ...]:
    """Write what the splice has found.

    Args:
        spec: What is planned.
        carried: Target columns whose value goes into a version that is cut out of another.

    Returns:
        The statements, in order; they run only if there was a splice.
    """
    return (
        Statement(
            "tell the planner how many versions that touches",
            sql("ANALYZE {v}", v=VERSIONS),
            when=SPLICED,
        ),
        _tally(),
        _shorten(spec),
        _confirm_spliced(spec) if keeps_confirmations(spec) else None,
        _rewrite(spec),
        _open_spliced(spec, carried),
    )


def _current(spec: SyncSpec) -> Sql:
    return sql("t.{valid_to} IS NULL", valid_to=name(ends(spec)))


def _undo(spec: SyncSpec) -> Statement:
    purpose = "remove versions that end where they began"
    return writes.delete(spec, "undo", only=_current(spec), purpose=purpose)


def _correct(spec: SyncSpec, event: Sql) -> Statement:
    values = {column: name("d", column) for column in spec.values}
    return writes.update(
        spec,
        "correct",
        {**values, **loaded(spec), **seen(spec, event), **hash_stamp(spec, "d")},
        only=_current(spec),
        purpose="correct versions that began at the row's instant",
    )


def _close(spec: SyncSpec, event: Sql, deletes: bool) -> Statement:
    at = event
    if deletes:
        at = sql(
            "CASE d.pgflow_op WHEN 'delete' THEN {run} ELSE {event} END",
            run=run_instant(spec),
            event=event,
        )
    return writes.update(
        spec,
        "update",
        {**closing(spec, at), **(_unseen(spec) if deletes else {})},
        also=("delete",) if deletes else (),
        counts="closed",
        only=_current(spec),
        reads=("pgflow_op", event_column(spec)),
        purpose="close the versions that end",
    )


def _unseen(spec: SyncSpec) -> dict[str, Sql]:
    """A delete at the instant of a confirmation wins, as it does at that of a beginning."""
    if not keeps_confirmations(spec):
        return {}
    return seen(
        spec,
        sql(
            "CASE WHEN d.pgflow_op = 'delete' AND {seen} >= {run} THEN {begins} ELSE {seen} END",
            seen=name("t", spec.target.system.confirmed_at),
            run=run_instant(spec),
            begins=name("t", begins(spec)),
        ),
    )


def _confirm(spec: SyncSpec, event: Sql) -> Statement:
    return writes.update(
        spec,
        "confirm",
        seen(spec, event),
        counts=None,
        only=_current(spec),
        reads=(event_column(spec),),
        purpose="keep when versions were delivered again",
    )


def _tally() -> Statement:
    """Count what the splice does: a row of the batch counts once, whatever it makes of history."""
    text = sql(
        "SELECT count(*) FILTER (WHERE pgflow_ends AND pgflow_end IS NULL) AS closed,\n"
        "       count(*) FILTER (WHERE pgflow_row IS NOT NULL AND (pgflow_writes\n"
        "         OR pgflow_ends AND pgflow_end IS NOT NULL)) AS updated,\n"
        "       (SELECT max(pgflow_read) - max(pgflow_collapsed) - count(*) FILTER (\n"
        "           WHERE pgflow_op IN ('insert', 'update', 'correct')) FROM {delta})\n"
        "         - coalesce(sum(pgflow_effects), 0) AS unchanged\n"
        "  FROM {versions}",
        delta=DELTA,
        versions=VERSIONS,
    )
    return Statement("count what that changes", text, tallies=True, when=SPLICED)


def _update(spec: SyncSpec, assignments: dict[str, Sql], which: str, purpose: str) -> Statement:
    """Update versions by key and beginning."""
    text = sql(
        "UPDATE {target} AS t\n   SET {assignments}\n"
        "  FROM (SELECT * FROM {versions} WHERE pgflow_row IS NOT NULL AND {which}"
        " ORDER BY {keys}) AS v\n"
        " WHERE {match} AND t.{begins} = v.pgflow_row{scope}",
        target=spec.target.relation,
        assignments=join(
            ", ", (sql("{c} = {v}", c=name(c), v=value) for c, value in assignments.items())
        ),
        versions=VERSIONS,
        which=raw(which),
        keys=names(spec.keys.value),
        match=match(spec, "t", "v"),
        begins=name(begins(spec)),
        scope=writes.in_scope(spec, None),
    )
    return Statement(purpose, text, when=SPLICED)


def _shorten(spec: SyncSpec) -> Statement:
    written = closing(spec, name("v", "pgflow_until"))
    return _update(spec, written, "pgflow_ends", "end versions where a late one begins")


def _confirm_spliced(spec: SyncSpec) -> Statement:
    written = seen(spec, name("v", "pgflow_last"))
    return _update(spec, written, "pgflow_confirms", "keep when versions were delivered again")


def _rewrite(spec: SyncSpec) -> Statement:
    written = {column: name("v", column) for column in payload(spec)}
    return _update(
        spec,
        {**written, **loaded(spec), begins(spec): name("v", "pgflow_at")},
        "pgflow_writes",
        "correct versions, and move beginnings that were earlier",
    )


def _open_spliced(spec: SyncSpec, carried: tuple[str, ...]) -> Statement:
    columns = [*spec.delivered, *carried]
    stamps = {
        **loaded(spec),
        **hash_stamp(spec, "v"),
        **seen(spec, name("v", "pgflow_last")),
        begins(spec): name("v", "pgflow_at"),
        ends(spec): name("v", "pgflow_until"),
    }
    text = sql(
        "INSERT INTO {target} ({columns}){overriding}\nSELECT {values}\n  FROM {versions} AS v\n"
        " WHERE pgflow_row IS NULL\n ORDER BY {keys}, pgflow_at",
        target=spec.target.relation,
        columns=names([*columns, *stamps]),
        overriding=writes.overriding(spec),
        values=join(", ", [*(name("v", c) for c in columns), *stamps.values()]),
        versions=VERSIONS,
        keys=names(spec.keys.value, of="v"),
    )
    return Statement("insert versions at their place", text, counts="inserted", when=SPLICED)
