"""The splice: rows that come late, or several at once, are put at their place in history.

For each key that has such rows, what history says from the first of them on is taken apart into
points; the events are put among them, where one at a known instant replaces what was known; and
the points are read off in order: a version begins where the values differ from those of the
point before. What comes out is compared with what is there, and the differences are kept.

Versions are never joined or removed: a version's beginning stays one, so that whatever refers
to the version keeps its meaning. It moves only if an event with the same values comes before it.
"""

from __future__ import annotations

from pgflow.plan.comparison import comparable, differ, match
from pgflow.plan.delta import DELTA
from pgflow.plan.history.event_delta import SPLICED
from pgflow.plan.history.event_time import (
    begins,
    ends,
    ends_missing,
    event_column,
    keeps_confirmations,
    payload,
    sighted,
)
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, join, name, names, raw, sql
from pgflow.plan.statement import Statement

#: The temporary table; named with its schema, so that no search path can hide it.
VERSIONS = raw("pg_temp.pgflow_versions")


def splice(spec: SyncSpec, carried: tuple[str, ...]) -> Statement:
    """Create the table of versions that begin, end, move or change.

    Args:
        spec: What is planned.
        carried: Target columns whose value goes into a version that is cut out of another.

    Returns:
        One statement. In its table `pgflow_row` is the beginning of a version that is there,
        or NULL for a new one; `pgflow_at` and `pgflow_until` are what its limits shall be.
    """
    ctes = [
        _events(spec),
        _touched(spec),
        _known(spec, carried),
        _marks(spec),
        _points(spec),
        _ordered(spec),
        _runs(spec),
        _parts(spec),
        _versions(spec),
        _heads(spec),
    ]
    text = sql(
        "CREATE TEMPORARY TABLE {versions} ON COMMIT DROP AS\nWITH {ctes}\n{result}",
        versions=VERSIONS,
        ctes=join(", ", ctes),
        result=_result(spec, carried),
    )
    return Statement("put late and repeated rows at their place in history", text, when=SPLICED)


def _keys(spec: SyncSpec, alias: str | None = None) -> Sql:
    return names(spec.keys.value, of=alias)


def _payload(spec: SyncSpec, alias: str | None = None) -> Sql:
    return join("", (sql(", {c}", c=name(alias, c)) for c in payload(spec)))


def _by_instant(spec: SyncSpec) -> Sql:
    return sql("(PARTITION BY {k} ORDER BY pgflow_at, pgflow_place)", k=_keys(spec))


def _events(spec: SyncSpec) -> Sql:
    """The rows, each instant of a key once; those that differ have been refused."""
    return sql(
        "events AS MATERIALIZED (\n"
        "  SELECT DISTINCT ON ({keys}, {at}) {keys}, {at} AS pgflow_at{payload}\n"
        "    FROM {delta} WHERE pgflow_op IN ('late', 'several') ORDER BY {keys}, {at}\n)",
        keys=_keys(spec),
        at=name(event_column(spec)),
        payload=_payload(spec),
        delta=DELTA,
    )


def _touched(spec: SyncSpec) -> Sql:
    return sql(
        "touched AS MATERIALIZED (\n"
        "  SELECT {keys}, min(pgflow_at) AS pgflow_first, max(pgflow_at) AS pgflow_last\n"
        "    FROM events GROUP BY {keys}\n)",
        keys=_keys(spec),
    )


def _known(spec: SyncSpec, carried: tuple[str, ...]) -> Sql:
    """Versions that an event can touch: those that are not over when the first one is."""
    plain = [_without_domain(spec, c) for c in (*spec.keys.value, *payload(spec), *carried)]
    return sql(
        "known AS MATERIALIZED (\n"
        "  SELECT {columns}, t.{begins} AS pgflow_from, t.{ends} AS pgflow_to,\n"
        "         {sighted} AS pgflow_sighted\n"
        "    FROM touched AS k JOIN {target} AS t ON {match}\n"
        "   WHERE t.{ends} IS NULL OR t.{ends} > k.pgflow_first\n)",
        columns=join(", ", plain),
        begins=name(begins(spec)),
        ends=name(ends(spec)),
        sighted=sighted(spec, "t"),
        target=spec.history,
        match=match(spec, "t", "k"),
    )


def _without_domain(spec: SyncSpec, column: str) -> Sql:
    """A target column without its domain: rows of a domain compare only with their like."""
    found = next((c for c in spec.target.columns if c.name == column), None)
    if found is None or not found.domain:
        return name("t", column)
    kind = raw(found.type)
    return sql("t.{c}::{kind} AS {c}", c=name(column), kind=kind)


def _marks(spec: SyncSpec) -> Sql:
    """What history says by itself: where versions begin, and where they were last confirmed."""
    marks = sql(
        "marks AS MATERIALIZED (\n"
        "  SELECT {keys}, pgflow_from AS pgflow_at, pgflow_from, pgflow_to, pgflow_sighted{payload}"
        "\n    FROM known",
        keys=_keys(spec),
        payload=_payload(spec),
    )
    if keeps_confirmations(spec):
        event = event_column(spec)
        dated = (raw("pgflow_sighted") if c == event else name(c) for c in payload(spec))
        marks += sql(
            "\n  UNION ALL\n"
            "  SELECT {keys}, pgflow_sighted, NULL, NULL, NULL{payload}\n"
            "    FROM known WHERE pgflow_sighted > pgflow_from\n"
            "     AND (pgflow_to IS NULL OR pgflow_sighted < pgflow_to)",
            keys=_keys(spec),
            payload=join("", (sql(", {c}", c=c) for c in dated)),
        )
    return marks + raw("\n)")


def _points(spec: SyncSpec) -> Sql:
    """Events and marks together, and ends without a successor; such an end comes first."""
    nulls = raw(", NULL" * len(payload(spec)))
    branches = [
        _events_and_marks(spec),
        sql(
            "  SELECT {keys}, pgflow_to, 0, false, false, NULL, NULL, NULL{nulls}\n"
            "    FROM known AS o WHERE pgflow_to IS NOT NULL AND NOT EXISTS (\n"
            "      SELECT FROM known AS n WHERE {match} AND n.pgflow_from = o.pgflow_to)",
            keys=_keys(spec),
            match=match(spec, "o", "n"),
            nulls=nulls,
        ),
    ]
    if ends_missing(spec):
        branches.append(_reopened(spec))
    return sql("points AS (\n{b}\n)", b=join("\n  UNION ALL\n", branches))


def _events_and_marks(spec: SyncSpec) -> Sql:
    """An event takes the place of a mark at its instant, unless it only repeats a beginning."""
    values = join(
        "",
        (
            sql(",\n         CASE WHEN x.pgflow_taken THEN e.{c} ELSE m.{c} END AS {c}", c=name(c))
            for c in payload(spec)
        ),
    )
    keys = (sql("coalesce(e.{k}, m.{k}) AS {k}", k=name(key)) for key in spec.keys.value)
    return sql(
        "  SELECT {keys},\n"
        "         coalesce(e.pgflow_at, m.pgflow_at) AS pgflow_at, 1 AS pgflow_place,\n"
        "         e.pgflow_at IS NOT NULL AS pgflow_event, x.pgflow_taken,\n"
        "         m.pgflow_from, m.pgflow_to, m.pgflow_sighted{values}\n"
        "    FROM events AS e FULL JOIN marks AS m ON {match} AND e.pgflow_at = m.pgflow_at\n"
        "    CROSS JOIN LATERAL (SELECT e.pgflow_at IS NOT NULL\n"
        "      AND (m.pgflow_from IS NULL OR {differ}) AS pgflow_taken OFFSET 0) AS x",
        keys=join(", ", keys),
        values=values,
        match=match(spec, "e", "m"),
        differ=differ(spec, spec.compare.value, "m", "e"),
    )


def _reopened(spec: SyncSpec) -> Sql:
    """A key that was closed and is delivered again is alive, from its end on at the earliest."""
    return sql(
        "  SELECT {keys}, h.pgflow_end, 2, true, true, NULL, NULL, NULL{payload}\n"
        "    FROM (SELECT {plain}, max(pgflow_to) AS pgflow_end FROM known\n"
        "           GROUP BY {plain} HAVING bool_and(pgflow_to IS NOT NULL)) AS h\n"
        "    JOIN touched AS k ON {of_touched} AND k.pgflow_last < h.pgflow_end\n"
        "    JOIN events AS e ON {of_events} AND e.pgflow_at = k.pgflow_last",
        keys=_keys(spec, "e"),
        payload=_payload(spec, "e"),
        plain=_keys(spec),
        of_touched=match(spec, "h", "k"),
        of_events=match(spec, "k", "e"),
    )


def _ordered(spec: SyncSpec) -> Sql:
    """Where the values break: at ends, after them, and where they differ from those before."""
    return sql(
        "ordered AS (\n"
        "  SELECT *, pgflow_place <> 1 OR coalesce(lag(pgflow_place) OVER w, 0) = 0\n"
        "         OR {differs} AS pgflow_breaks\n"
        "    FROM points WINDOW w AS {by_instant}\n)",
        differs=differs_from_before(spec),
        by_instant=_by_instant(spec),
    )


def differs_from_before(spec: SyncSpec) -> Sql:
    """Say that a row's compared values are not those of the row before it, in window `w`."""
    if not spec.compare.value:
        return raw("false")
    if spec.options.change_detection == "exact":
        row = sql("ROW({c})::record", c=names(spec.compare.value))
        return sql("lag({row}) OVER w OPERATOR(pg_catalog.*<>) {row}", row=row)
    values = join(", ", (comparable(spec, column, None) for column in spec.compare.value))
    return sql("lag(ROW({v})::record) OVER w IS DISTINCT FROM ROW({v})::record", v=values)


def _runs(spec: SyncSpec) -> Sql:
    return sql(
        "runs AS (\n  SELECT *, count(*) FILTER (WHERE pgflow_breaks) OVER {w} AS pgflow_run\n"
        "    FROM ordered\n)",
        w=_by_instant(spec),
    )


def _parts(spec: SyncSpec) -> Sql:
    """Within a run of equal values each version that is there stays one; the first one grows."""
    return sql(
        "parts AS (\n  SELECT *, greatest(1, count(pgflow_from) OVER ("
        "PARTITION BY {keys}, pgflow_run ORDER BY pgflow_at)) AS pgflow_part\n    FROM runs\n)",
        keys=_keys(spec),
    )


def _versions(spec: SyncSpec) -> Sql:
    """Gather what each version consists of: its row, if there is one, and what changes there.

    An event counts where it opens, moves or corrects a version; one that reopens a key counts
    there and not at its own place.
    """
    return sql(
        "versions AS (\n"
        "  SELECT *, row_number() OVER (p ORDER BY pgflow_at) AS pgflow_before,\n"
        "         max(pgflow_from) OVER p AS pgflow_row, max(pgflow_to) OVER p AS pgflow_end,\n"
        "         max(pgflow_sighted) OVER p AS pgflow_seen,\n"
        "         max(pgflow_at) OVER p AS pgflow_last,\n"
        "         bool_or(pgflow_taken AND pgflow_from IS NOT NULL) OVER p AS pgflow_writes,\n"
        "         pgflow_event AND NOT (pgflow_place = 1 AND bool_or(pgflow_place = 2) OVER k\n"
        "           AND pgflow_at = max(pgflow_at) FILTER (WHERE pgflow_event"
        " AND pgflow_place = 1) OVER k) AS pgflow_effect\n"
        "    FROM parts WINDOW p AS (PARTITION BY {keys}, pgflow_run, pgflow_part),\n"
        "         k AS (PARTITION BY {keys})\n)",
        keys=_keys(spec),
    )


def _heads(spec: SyncSpec) -> Sql:
    """The first point of each version gives it its values, the next one's its end."""
    return sql(
        "heads AS (\n"
        "  SELECT *, lead(pgflow_at) OVER {w} AS pgflow_until\n"
        "    FROM (SELECT *, sum((pgflow_effect AND (pgflow_taken AND pgflow_from IS NOT NULL\n"
        "             OR pgflow_before = 1 AND pgflow_from IS NULL))::int)\n"
        "             OVER (PARTITION BY {keys}, pgflow_run, pgflow_part) AS pgflow_effects\n"
        "            FROM versions) AS counted\n"
        "   WHERE pgflow_before = 1\n)",
        w=_by_instant(spec),
        keys=_keys(spec),
    )


def _result(spec: SyncSpec, carried: tuple[str, ...]) -> Sql:
    """Keep the versions that are new, or not as they were."""
    base = Sql()
    if carried:
        base = sql(
            "\n  LEFT JOIN known AS o ON v.pgflow_row IS NULL AND {match}\n"
            "   AND o.pgflow_from < v.pgflow_at"
            " AND (o.pgflow_to IS NULL OR o.pgflow_to > v.pgflow_at)",
            match=match(spec, "o", "v"),
        )
    confirms = raw("false")
    if keeps_confirmations(spec):
        confirms = raw("v.pgflow_row IS NOT NULL AND v.pgflow_last IS DISTINCT FROM v.pgflow_seen")
    return sql(
        "SELECT * FROM (\n"
        "  SELECT {keys}{payload}{carried}, v.pgflow_row, v.pgflow_at, v.pgflow_until,\n"
        "         v.pgflow_end, v.pgflow_last, v.pgflow_effects,\n"
        "         v.pgflow_row IS NOT NULL AND v.pgflow_until IS DISTINCT FROM v.pgflow_end"
        " AS pgflow_ends,\n"
        "         v.pgflow_writes OR v.pgflow_at <> v.pgflow_row AS pgflow_writes,\n"
        "         {confirms} AS pgflow_confirms\n"
        "    FROM heads AS v{base}\n   WHERE v.pgflow_place > 0\n) AS found\n"
        " WHERE pgflow_row IS NULL OR pgflow_ends OR pgflow_writes OR pgflow_confirms",
        keys=_keys(spec, "v"),
        payload=_payload(spec, "v"),
        carried=join("", (sql(", {c}", c=name("o", c)) for c in carried)),
        confirms=confirms,
        base=base,
    )
