"""What must hold while a campaign goes on, and when it is over."""

from __future__ import annotations

import time
from typing import Any

import psycopg
from psycopg import sql

from pgflow.errors import BrokenHistory
from pgflow.testing import assert_scd2
from tests.faults.targets import CASES, LOOKBACK, Case, Targets

_TORN = """
SELECT {name}, count(*) FROM (
    SELECT id / 2 FROM tgt.{table} WHERE {alive} GROUP BY id / 2
    HAVING count(*) <> 2 OR count(DISTINCT a) <> 1) AS torn"""


def torn(connection: psycopg.Connection) -> list[str]:
    """Find pairs of which a target has one half, or two values: states that never were."""
    parts = [
        sql.SQL(_TORN).format(
            name=sql.Literal(case.name),
            table=sql.Identifier(case.name),
            alive=sql.SQL(case.alive),
        )
        for case in CASES
    ]
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        found = connection.execute(sql.SQL(" UNION ALL ").join(parts)).fetchall()
    return [f"a reader saw {count} torn pairs in {name}" for name, count in found if count]


def reckon(
    connection: psycopg.Connection, targets: Targets, longest: float
) -> tuple[list[str], dict[str, int]]:
    """Sync once more, now that nobody writes, and look for what is wrong.

    Args:
        connection: A connection to the database.
        targets: All targets.
        longest: Seconds of the longest transaction of a writer.

    Returns:
        Problems in sentences, and the number of runs by status.
    """
    problems = []
    if longest >= LOOKBACK.total_seconds():
        problems.append(f"a writer's transaction took {longest:.1f} s, longer than the lookback")
    problems += _survivors(connection)
    connection.execute("UPDATE pgflow.runs SET started_at = started_at - interval '1 minute'")
    for case in CASES:
        targets.pipelines[case.name].sync()
        problems += _idle(case, targets.pipelines[case.name].sync())
    for case in CASES:
        problems += [f"{case.name}: {problem}" for problem in _check(connection, case, targets)]
    problems += torn(connection)
    rows = connection.execute("SELECT status, count(*) FROM pgflow.runs GROUP BY 1").fetchall()
    statuses = {f"runs {status}": count for status, count in rows}
    if "runs running" in statuses:
        problems.append("a run of a dead process still stands as running")
    return problems, statuses


def _survivors(connection: psycopg.Connection) -> list[str]:
    """The server ends what it does for processes that are gone."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = connection.execute(
            "SELECT left(query, 200) FROM pg_stat_activity WHERE application_name LIKE 'pgflow %'"
        ).fetchall()
        if not found:
            return []
        time.sleep(0.1)
    return [f"{len(found)} server processes work on for the dead: {found[:3]}"]


def _idle(case: Case, result: Any) -> list[str]:
    """A second sync of a source that does not change writes nothing."""
    wrote = result.inserted + result.updated + result.closed + result.deleted
    if wrote and case.mode != "truncate":
        return [f"{case.name}: a second sync wrote again: {result.counts}"]
    return []


def _check(connection: psycopg.Connection, case: Case, targets: Targets) -> list[str]:
    problems = []
    target, source = sql.Identifier("tgt", case.name), sql.Identifier("src", case.source)
    columns = sql.SQL("id, a" if case.mirrors_values else "id")
    mirror = sql.SQL("SELECT {c} FROM {t} WHERE {alive}").format(
        c=columns, t=target, alive=sql.SQL(case.alive)
    )
    original = sql.SQL("SELECT {c} FROM {s}").format(c=columns, s=source)
    for one, other, what in (
        (original, mirror, "rows of the source are missing or old"),
        (mirror, original, "rows are too many, or never were"),
    ):
        query = sql.SQL("{} EXCEPT ALL {}").format(one, other)
        found = connection.execute(query).fetchall()
        if found:
            problems.append(f"{len(found)} {what}: {sorted(found)[:5]}")
    if case.versions:
        problems += _history(targets, case)
    return problems + _record(connection, case, target)


def _history(targets: Targets, case: Case) -> list[str]:
    try:
        with targets.engine.connect() as looking:
            assert_scd2(looking, targets.tables[case.name])
    except BrokenHistory as error:
        return [str(error)]
    return []


def _record(connection: psycopg.Connection, case: Case, target: sql.Composable) -> list[str]:
    """The history explains the target: its rows come from successful runs, which count them."""
    problems = []
    runs = "SELECT run_id FROM pgflow.runs WHERE pipeline = %s AND status = 'success'"
    for column in {"_batch_id", *case.by_batch.values()}:
        strays = connection.execute(
            sql.SQL(
                "SELECT DISTINCT {c}::text FROM {t} WHERE {c} IS NOT NULL AND {c} NOT IN ("
                + runs
                + ")"
            ).format(c=sql.Identifier(column), t=target),
            [case.name],
        ).fetchall()
        if strays:
            problems.append(f"{column} names runs that did not succeed: {strays[:5]}")
    told, there = connection.execute(
        sql.SQL(
            "SELECT (SELECT " + case.explained + " FROM pgflow.runs WHERE pipeline = %s"
            " AND status = 'success'), (SELECT count(*) FROM {t})"
        ).format(t=target),
        [case.name],
    ).fetchone() or (None, None)
    if told != there:
        problems.append(f"the runs tell of {told} rows, and {there} are there")
    for count, column in case.by_batch.items():
        problems += _each_run(connection, case, target, count, column)
    return problems


def _each_run(
    connection: psycopg.Connection, case: Case, target: sql.Composable, count: str, column: str
) -> list[str]:
    found = connection.execute(
        sql.SQL(
            "SELECT r.run_id::text, r.{count}, coalesce(t.n, 0) FROM pgflow.runs AS r LEFT JOIN"
            " (SELECT {column} AS run_id, count(*) AS n FROM {t} GROUP BY 1) AS t USING (run_id)"
            " WHERE r.pipeline = %s AND r.status = 'success' AND r.{count} <> coalesce(t.n, 0)"
        ).format(count=sql.Identifier(count), column=sql.Identifier(column), t=target),
        [case.name],
    ).fetchall()
    return [f"run {r} tells of {told} {count}, and {there} are there" for r, told, there in found]
