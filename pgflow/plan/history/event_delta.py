"""The delta of event time: what each delivered row means beside its key's current version.

Nearly every row is alone with its key and not older than the current version, so one look at
that version says everything. Keys with several rows, and rows that come late, are marked for
the splice, which looks at their history.
"""

from __future__ import annotations

from pgflow.plan.batch import batch_ctes
from pgflow.plan.comparison import differ, match, missing
from pgflow.plan.delta import (
    DELTA,
    DeltaShape,
    changes_cte,
    conflicts,
    fillers,
    reached,
    repeated_cte,
    size_cte,
)
from pgflow.plan.history.event_time import (
    begins,
    ends,
    ends_missing,
    event_column,
    keeps_confirmations,
    run_instant,
    sighted,
)
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, bind, join, name, names, raw, sql
from pgflow.plan.stamps import changed, hash_stamp, hashes
from pgflow.plan.statement import Statement

#: insert: a key without a current version. update: a change after the current version began.
#: correct: a change at the very instant at which it began. confirm: no change, but a newer
#: sighting. late: a row older than what is known. several: one of several rows of a key.
#: undated, unbounded: a row without an instant, or at the end of time.
OPERATIONS = (
    "insert",
    "update",
    "correct",
    "confirm",
    "late",
    "several",
    "early",
    "undated",
    "unbounded",
)
#: delete: a current version that nobody delivers. undo: one that would end where it began.
DELETES = ("delete", "undo")
#: Rows that the splice takes; `reappearing` counts those that are found to be late afterwards.
SPLICED = ("late", "several", "reappearing")


def find_events(spec: SyncSpec, carried: tuple[str, ...]) -> Statement:
    """Create the delta table.

    Args:
        spec: What is planned.
        carried: Target columns whose value goes into the next version.

    Returns:
        One statement, the only one that reads the source.
    """
    shape = _shape(spec, carried)
    ctes = [*batch_ctes(spec), changes_cte(spec, shape), size_cte(spec)]
    branches = [_alone(spec), _tally(spec, shape)]
    if not spec.source.unique.value:
        ctes += [repeated_cte(spec), _several(spec)]
        branches += [_together(spec, shape), _conflicts(spec, shape)]
    text = sql(
        "CREATE TEMPORARY TABLE {delta} ON COMMIT DROP AS\nWITH {ctes}\n{branches}",
        delta=DELTA,
        ctes=join(", ", ctes),
        branches=join("\nUNION ALL\n", branches),
    )
    return Statement("read the source and find what is new, changed or gone", text)


def find_reappearing(spec: SyncSpec) -> Statement:
    """Mark new rows of keys whose closed history reaches beyond them: they are late."""
    text = sql(
        "WITH marked AS (\n"
        "  UPDATE {delta} AS d SET pgflow_op = 'late'\n"
        "   WHERE pgflow_op = 'insert' AND EXISTS (\n"
        "     SELECT FROM {target} AS t WHERE {match} AND t.{valid_to} > d.{event})\n"
        "  RETURNING 1\n)\nSELECT count(*) AS reappearing FROM marked",
        delta=DELTA,
        target=spec.history,
        match=match(spec, "t", "d"),
        valid_to=name(ends(spec)),
        event=name(event_column(spec)),
    )
    purpose = "find rows that are older than the end of their key's history"
    return Statement(purpose, text, tallies=True, when=("insert",))


def drop_known(spec: SyncSpec) -> Statement:
    """Drop keys whose rows all say what history says already, as when a log is read once more.

    Such a row lies in a version with its values, and not after what is kept of its sightings.
    """
    known = [sql("NOT ({differs})", differs=differ(spec, spec.compare.value, "t", "d"))]
    if keeps_confirmations(spec):
        known.append(sql("d.{at} <= {s}", at=name(event_column(spec)), s=sighted(spec, "t")))
    closed = Sql()
    if ends_missing(spec):
        closed = sql(
            "\n        OR NOT EXISTS (\n"
            "          SELECT FROM {history} AS c WHERE {match} AND c.{ends} IS NULL)",
            history=spec.history,
            match=match(spec, "c", "d"),
            ends=name(ends(spec)),
        )
    text = sql(
        "WITH telling AS MATERIALIZED (\n"
        "  SELECT {keys} FROM {delta} AS d WHERE pgflow_op IN ('late', 'several')\n"
        "   AND (NOT EXISTS (SELECT FROM {history} AS t WHERE {match} AND t.{begins} <= d.{at}\n"
        "         AND (t.{ends} IS NULL OR t.{ends} > d.{at}) AND {known}){closed})\n"
        "   GROUP BY {keys}\n"
        ")\nDELETE FROM {delta} AS d WHERE pgflow_op IN ('late', 'several')\n"
        "   AND NOT EXISTS (SELECT FROM telling AS r WHERE {told})",
        keys=names(spec.keys.value, of="d"),
        delta=DELTA,
        history=spec.history,
        match=match(spec, "t", "d"),
        begins=name(begins(spec)),
        ends=name(ends(spec)),
        at=name(event_column(spec)),
        known=join(" AND ", known),
        closed=closed,
        told=match(spec, "r", "d"),
    )
    return Statement("drop rows that history knows already", text, when=SPLICED)


def _shape(spec: SyncSpec, carried: tuple[str, ...]) -> DeltaShape:
    """Say what a row means that is alone with its key."""
    at, began = name("b", event_column(spec)), name("t", begins(spec))
    deletes, new, differs = ends_missing(spec), missing(spec, "t"), changed(spec)
    late = sql("{at} < {began}", at=at, began=began)
    # A row without a key looks missing itself; it is new, and refused as one.
    cases = [*_without_instant(at, new), (new, "insert")]
    cases += _gone(spec) if deletes else []
    cases += [*_without_instant(at, raw("true")), (late, "late")]
    keep = [missing(spec, "b")] if deletes else []
    keep += [sql("isfinite({at}) IS NOT TRUE", at=at), new, late, differs]
    if keeps_confirmations(spec):
        newer = sql("{at} > {sighted}", at=at, sighted=sighted(spec, "t"))
        within = sql("{at} <= {s} AND {s} > {began}", at=at, s=sighted(spec, "t"), began=began)
        keep.append(newer)
        cases += [
            (sql("NOT ({differs}) AND {newer}", differs=differs, newer=newer), "confirm"),
            (sql("NOT ({differs})", differs=differs), "same"),
            (within, "late"),
        ]
    else:
        cases.append((sql("NOT ({differs})", differs=differs), "same"))
    cases.append((sql("{at} = {began}", at=at, began=began), "correct"))
    return DeltaShape(
        cases=tuple(cases),
        keep=join(" OR ", keep),
        live=sql("{valid_to} IS NULL", valid_to=name(ends(spec))),
        target_columns=_looked_at(spec),
        carried=carried,
        deletes=deletes,
        computed=tuple(hash_stamp(spec, "b", computed=True).items()),
    )


def _without_instant(at: Sql, condition: Sql) -> list[tuple[Sql, str]]:
    return [
        (sql("{c} AND {at} IS NULL", c=condition, at=at), "undated"),
        (sql("{c} AND NOT isfinite({at})", c=condition, at=at), "unbounded"),
    ]


def _looked_at(spec: SyncSpec) -> tuple[str, ...]:
    system = spec.target.system
    more = (system.confirmed_at, system.row_hash if hashes(spec) else None)
    return (begins(spec), *spec.compare.value, *(c for c in more if c is not None))


def _gone(spec: SyncSpec) -> list[tuple[Sql, str]]:
    """A current version that nobody delivers; with `ttl`, what was seen lately stays open."""
    gone, at, newest = missing(spec, "b"), run_instant(spec), sighted(spec, "t")
    cases = [
        (sql("{gone} AND {newest} > {at}", gone=gone, newest=newest, at=at), "early"),
        (sql("{gone} AND {f} = {at}", gone=gone, f=name("t", begins(spec)), at=at), "undo"),
        (gone, "delete"),
    ]
    if spec.options.ttl is None:
        return cases
    young = sql(
        "{gone} AND {newest} >= {at} - {ttl}::interval",
        gone=gone,
        newest=newest,
        at=at,
        ttl=bind(spec.options.ttl, "ttl"),
    )
    return [(young, "kept"), *cases]


def _alone(spec: SyncSpec) -> Sql:
    """Changes of keys that have one row, and versions that nobody delivers."""
    text = sql(
        "SELECT c.*, NULL::bigint AS pgflow_read, NULL::bigint AS pgflow_collapsed,\n"
        "       NULL::text AS pgflow_watermark\n  FROM changes AS c"
    )
    if spec.source.unique.value:
        return text
    alone = "\n WHERE NOT EXISTS (SELECT FROM repeated AS r WHERE {match})"
    return text + sql(alone, match=match(spec, "r", "c"))


def _several(spec: SyncSpec) -> Sql:
    return sql(
        "several AS MATERIALIZED (\n"
        "  SELECT * FROM batch AS b WHERE EXISTS (SELECT FROM repeated AS r WHERE {match})\n)",
        match=match(spec, "r", "b"),
    )


def _together(spec: SyncSpec, shape: DeltaShape) -> Sql:
    """Every row of a key that has several: only all of them in order tell what happened."""
    at = name("b", event_column(spec))
    columns = [name("b", column) for column in spec.delivered]
    columns += [raw("NULL") for _ in shape.carried]
    columns += [value for _, value in shape.computed]
    return sql(
        "SELECT CASE WHEN {at} IS NULL THEN 'undated' WHEN NOT isfinite({at}) THEN 'unbounded'\n"
        "            ELSE 'several' END, {columns}, NULL, NULL, NULL\n  FROM several AS b",
        at=at,
        columns=join(", ", columns),
    )


def _conflicts(spec: SyncSpec, shape: DeltaShape) -> Sql:
    """Keys for which one instant of the batch has rows that differ."""
    by = (*spec.keys.value, event_column(spec))
    return conflicts(spec, raw("several AS b"), by, _at_instant(spec, shape))


def _at_instant(spec: SyncSpec, shape: DeltaShape) -> Sql:
    """The delta's columns of a conflict: its key and its instant, and NULLs."""
    known = (*spec.keys.value, event_column(spec))
    columns = [name(c) if c in known else raw("NULL") for c in spec.delivered]
    columns += [raw("NULL")] * (len(shape.carried) + len(shape.computed))
    return join(", ", columns)


def _tally(spec: SyncSpec, shape: DeltaShape) -> Sql:
    """One row that counts the batch and remembers how far it reaches."""
    collapsed, read = raw("0"), raw("delivered")
    if not spec.source.unique.value:
        collapsed = sql(
            "(SELECT count(*) FROM several) - (SELECT count(*) FROM (\n"
            "    SELECT DISTINCT {keys}, {event} FROM several) AS instants)",
            keys=names(spec.keys.value),
            event=name(event_column(spec)),
        )
    if spec.options.on_duplicate is not None:
        read = raw("(SELECT count(*) FROM delivered)")
        collapsed = sql("{read} - size.delivered + {c}", read=read, c=collapsed)
    return sql(
        "SELECT 'tally', {fillers}, {read}, {collapsed}, {watermark}\n  FROM size",
        fillers=fillers(spec, shape),
        read=read,
        collapsed=collapsed,
        watermark=reached(spec),
    )
