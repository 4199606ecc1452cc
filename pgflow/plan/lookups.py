"""Lookups of dimension versions: the rows of a stage get the version valid at their instant.

It is done once for the whole batch, in one statement, so that what is counted, what is refused and
what is written are the same rows, linked to the same state of the dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from pgflow.errors import BrokenHistory, MissingMember, PgflowError, UnresolvedLookup
from pgflow.plan.link import Link
from pgflow.plan.samples import SAMPLE, spell
from pgflow.plan.spec import Stage, SyncSpec
from pgflow.plan.sql import Sql, bind, join, name, names, raw, sql
from pgflow.plan.staging import STAGE
from pgflow.plan.statement import Row, Statement
from pgflow.plan.watermark import since

#: What the stage is called while its rows are linked into another one.
_UNLINKED = raw("pg_temp.pgflow_unlinked")

#: What is the matter with rows, in the words of warnings and errors.
_SPOKEN = {
    "unknown": "with a key that it does not have",
    "early": "from before the first version of their key",
    "gap": "from when no version of their key was valid",
    "blank": "without a key",
    "undated": "without an instant",
}
_GIVEN = {
    "error": "refused",
    "null": "NULL",
    "member": "the unknown member",
    "first_version": "the first version",
    "last_version": "the version before",
}


def link(spec: SyncSpec) -> SyncSpec:
    """Have the rows linked to their dimensions, in a stage, before the mode looks at them.

    Args:
        spec: What is planned; its source may be staged already.

    Returns:
        The same without lookups; else with a stage whose rows have the looked-up columns.
    """
    if not spec.links:
        return spec
    filled, source = _unlinked(spec)
    statements = [
        *filled,
        *(s for each in spec.links for s in _member_exists(spec, each)),
        _create(spec, source),
        _linked_once(spec),
        *(s for number, each in enumerate(spec.links, 1) for s in _look(spec, each, number)),
        *_tidy(spec),
    ]
    reason = spec.source.stage.reason + "; " if spec.source.stage else ""
    stage = Stage(
        f"{reason}lookups: {', '.join(each.into for each in spec.links)}", tuple(statements)
    )
    linked = replace(spec.source, relation=STAGE, cheap=True, reads_target=False, stage=stage)
    watermark = spec.watermark and replace(spec.watermark, applied=True)
    return replace(spec, source=linked, watermark=watermark)


def _unlinked(spec: SyncSpec) -> tuple[tuple[Statement, ...], Sql]:
    """The rows to link: those of a stage, which is renamed, or those of the source."""
    if spec.source.stage is None:
        return (), spec.source.relation
    away = Statement(
        "put the stage aside, to link its rows",
        sql("ALTER TABLE {stage} RENAME TO pgflow_unlinked", stage=STAGE),
    )
    return (*spec.source.stage.fill, away), _UNLINKED


def _create(spec: SyncSpec, source: Sql) -> Statement:
    numbered = tuple(enumerate(spec.links, 1))
    limit = Sql() if spec.source.stage is not None else since(spec.watermark)
    text = sql(
        "CREATE TEMPORARY TABLE {stage} ON COMMIT DROP AS\n"
        "SELECT {columns}, pgflow_row, {values}\n"
        "  FROM (\n"
        "  SELECT s.*, {found}\n"
        "    FROM (SELECT s.*, row_number() OVER () AS pgflow_row FROM {source} AS s{limit}) AS s\n"
        "    {joins}\n"
        ") AS q",
        stage=STAGE,
        columns=_columns(spec),
        values=join(",\n       ", (_value(each, n) for n, each in numbered)),
        found=join(",\n         ", (_outcome(each, n) for n, each in numbered)),
        source=source,
        limit=limit,
        joins=join("\n    ", (_join(each, n) for n, each in numbered)),
    )
    return Statement("link the rows to the versions of their dimensions", text)


def _columns(spec: SyncSpec) -> Sql:
    """The source's own columns, without what the lookups add."""
    if spec.arriving is None:
        return raw("q.*")
    return names(spec.arriving, of="q")


def _alias(number: int) -> Sql:
    return raw(f"d{number}")


def _key(pairs: Sequence[tuple[str, str]], alias: Sql) -> Sql:
    return join(
        " AND ",
        (sql("{d}.{key} = s.{column}", d=alias, key=name(k), column=name(c)) for c, k in pairs),
    )


def _join(each: Link, number: int) -> Sql:
    alias = _alias(number)
    return sql(
        "LEFT JOIN {dimension} AS {d} ON {key}"
        " AND {d}.{began} <= s.{at} AND ({d}.{ended} > s.{at} OR {d}.{ended} IS NULL)",
        dimension=each.relation,
        d=alias,
        key=_key(each.pairs, alias),
        began=name(each.valid_from),
        ended=name(each.valid_to),
        at=name(each.at),
    )


def _outcome(each: Link, number: int) -> Sql:
    """What was found; why nothing was is asked for those rows alone."""
    blank = join(" OR ", (sql("s.{c} IS NULL", c=name(column)) for column, _ in each.pairs))
    return sql(
        "{d}.{select} AS {value},\n"
        "         CASE WHEN {d}.{began} IS NOT NULL THEN 'found'\n"
        "              WHEN {blank} THEN 'blank'\n"
        "              WHEN s.{at} IS NULL THEN 'undated'\n"
        "              ELSE (SELECT CASE WHEN min(v.{began}) IS NULL THEN 'unknown'\n"
        "                                WHEN min(v.{began}) > s.{at} THEN 'early'\n"
        "                                ELSE 'gap' END\n"
        "                      FROM {dimension} AS v WHERE {key}) END AS {outcome}",
        d=_alias(number),
        select=name(each.select),
        value=raw(f"pgflow_value_{number}"),
        began=name(each.valid_from),
        blank=blank,
        at=name(each.at),
        dimension=each.relation,
        key=_key(each.pairs, raw("v")),
        outcome=raw(f"pgflow_link_{number}"),
    )


def _value(each: Link, number: int) -> Sql:
    """The version's value, or what stands in for it."""
    outcome, value = raw(f"pgflow_link_{number}"), raw(f"pgflow_value_{number}")
    cases = [sql("WHEN 'found' THEN {value}", value=value)]
    for which, action in each.actions.items():
        instead = _instead(each, action)
        if instead is not None:
            cases.append(sql("WHEN {w} THEN {instead}", w=raw(f"'{which}'"), instead=instead))
    return sql(
        "CASE {outcome} {cases} END AS {into}, {outcome}",
        outcome=outcome,
        cases=join(" ", cases),
        into=name(each.into),
    )


def _instead(each: Link, action: str) -> Sql | None:
    if action == "member":
        return _member(each)
    if action not in ("first_version", "last_version"):
        return None
    key = join(
        " AND ", (sql("v.{key} = q.{column}", key=name(k), column=name(c)) for c, k in each.pairs)
    )
    until = sql(" AND v.{began} <= q.{at}", began=name(each.valid_from), at=name(each.at))
    first = action == "first_version"
    return sql(
        "(SELECT v.{select} FROM {dimension} AS v WHERE {key}{until}"
        " ORDER BY v.{began}{direction} LIMIT 1)",
        select=name(each.select),
        dimension=each.relation,
        key=key,
        until=Sql() if first else until,
        began=name(each.valid_from),
        direction=raw("" if first else " DESC"),
    )


def _member(each: Link) -> Sql:
    if not isinstance(each.member, dict):
        return bind(each.member, "unknown member")
    conditions = (
        sql("v.{key} = {value}", key=name(key), value=bind(value, key))
        for key, value in each.member.items()
    )
    return sql(
        "(SELECT v.{select} FROM {dimension} AS v WHERE {conditions} ORDER BY v.{began} LIMIT 1)",
        select=name(each.select),
        dimension=each.relation,
        conditions=join(" AND ", conditions),
        began=name(each.valid_from),
    )


def _member_exists(spec: SyncSpec, each: Link) -> tuple[Statement, ...]:
    """An unknown member that is a row of the dimension must be there."""
    member = each.member
    if not isinstance(member, dict):
        return ()
    text = sql("SELECT 1 AS absent WHERE {member} IS NULL", member=_member(each))

    def refuse(found: Sequence[Row]) -> PgflowError | None:
        if not found:
            return None
        spelt = ", ".join(f"{key}={value!r}" for key, value in member.items())
        return MissingMember(
            f"lookup {each.into!r}: {each.label} has no row {spelt}, which is to be the unknown "
            "member. Load it, for instance by a UNION in the dimension's source.",
            pipeline=spec.owner,
            target=spec.target.label,
        )

    return (Statement(f"look for the unknown member of {each.label}", text, refuses=refuse),)


def _look(spec: SyncSpec, each: Link, number: int) -> tuple[Statement, ...]:
    """Count what was found; then name keys that were not, and refuse or warn."""
    outcome = raw(f"pgflow_link_{number}")
    counts = join(
        ",\n       ",
        (
            sql("count(*) FILTER (WHERE {o} = {w}) AS {a}", o=outcome, w=raw(f"'{w}'"), a=raw(w))
            for w in ("found", *each.actions)
        ),
    )
    counted = Statement(
        f"count what lookup {each.into!r} found",
        sql(
            "SELECT count(*) AS rows,\n       {counts}\n  FROM {stage}", counts=counts, stage=STAGE
        ),
        details=f"lookup {each.into}",
    )
    named = Statement(
        f"name the keys that lookup {each.into!r} did not find",
        _samples(each, outcome),
        refuses=partial(_refuse, spec, each),
        warns=partial(_warn, spec, each),
    )
    return counted, named


def _samples(each: Link, outcome: Sql) -> Sql:
    columns = [column for column, _ in each.pairs]
    keys = join(", ", (sql("{c}::text AS {c}", c=name(c)) for c in columns))
    return sql(
        "SELECT missed.pgflow_outcome, missed.pgflow_rows, samples.*\n"
        "  FROM (SELECT {o} AS pgflow_outcome, count(*) AS pgflow_rows FROM {stage}"
        " WHERE {o} <> 'found' GROUP BY 1) AS missed\n"
        " CROSS JOIN LATERAL (SELECT DISTINCT {keys} FROM {stage}"
        " WHERE {o} = missed.pgflow_outcome ORDER BY {positions} LIMIT {limit}) AS samples\n"
        " ORDER BY missed.pgflow_outcome, {order}",
        o=outcome,
        stage=STAGE,
        keys=keys,
        positions=raw(", ".join(str(n + 1) for n in range(len(columns)))),
        order=join(", ", (name("samples", c) for c in columns)),
        limit=raw(str(SAMPLE)),
    )


def _linked_once(spec: SyncSpec) -> Statement:
    """No row may have become several, which happens where versions of a dimension overlap."""
    text = sql(
        "SELECT count(*) AS linked, max(pgflow_row) AS rows FROM {stage}"
        " HAVING count(*) <> max(pgflow_row)",
        stage=STAGE,
    )

    def refuse(found: Sequence[Row]) -> PgflowError | None:
        if not found:
            return None
        dimensions = ", ".join(sorted({each.label for each in spec.links}))
        return BrokenHistory(
            f"{spec.owner} -> {spec.target.label}: {found[0]['rows']} rows became "
            f"{found[0]['linked']} by lookups in {dimensions}: versions of one key overlap there. "
            "pgflow.testing.assert_scd2() names the keys, and NoOverlapPlugin forbids it."
        )

    return Statement("make sure that no row was linked twice", text, refuses=refuse)


def _refuse(spec: SyncSpec, each: Link, found: Sequence[Row]) -> PgflowError | None:
    bad = [row for row in found if each.actions[row["pgflow_outcome"]] == "error"]
    if not bad:
        return None
    return UnresolvedLookup(
        f"lookup {each.into!r} in {each.label}: {_spelt(spec, each, bad)}. Load the dimension "
        "first, or say what such rows get: missing='null' or 'member', early='first_version', "
        "gap='last_version'.",
        pipeline=spec.owner,
        target=spec.target.label,
    )


def _warn(spec: SyncSpec, each: Link, found: Sequence[Row]) -> tuple[str, ...]:
    if all(row["pgflow_outcome"] == "blank" for row in found):
        return ()
    return (f"lookup {each.into!r} in {each.label}: {_spelt(spec, each, found)}",)


def _spelt(spec: SyncSpec, each: Link, found: Sequence[Row]) -> str:
    """Say of each kind how many rows there are, what they got, and up to five of their keys."""
    kinds = dict.fromkeys(str(row["pgflow_outcome"]) for row in found)
    spelt = []
    for kind in kinds:
        rows = [row for row in found if row["pgflow_outcome"] == kind]
        keys = [{column: row[column] for column, _ in each.pairs} for row in rows]
        named = spell(spec, keys)
        named = "" if kind == "blank" else f" {named}" if named[0] == "(" else f" ({named})"
        given = _GIVEN[each.actions[kind]]
        spelt.append(f"{rows[0]['pgflow_rows']} {_SPOKEN[kind]}{named}: {given}")
    return "; ".join(spelt)


def _tidy(spec: SyncSpec) -> tuple[Statement, ...]:
    """Leave the stage as the source would have filled it, plus the looked-up columns."""
    numbers = range(1, len(spec.links) + 1)
    gone = ", ".join(f"DROP pgflow_link_{number}" for number in numbers)
    bare = Statement(
        "leave out what was only counted",
        sql("ALTER TABLE {stage} DROP pgflow_row, {gone}", stage=STAGE, gone=raw(gone)),
    )
    measure = Statement("tell the planner what is in the stage", sql("ANALYZE {s}", s=STAGE))
    if spec.source.stage is None:
        return bare, measure
    drop = Statement("drop the rows without links", sql("DROP TABLE {u}", u=_UNLINKED))
    return bare, drop, measure
