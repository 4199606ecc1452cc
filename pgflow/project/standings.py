"""How pipelines stand by the history: which failed last, and which have never run."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError

from pgflow import idents
from pgflow.connections.places import place
from pgflow.errors import HistoryOutOfReach, MissingTable
from pgflow.factories.pipeline import Pipeline
from pgflow.run.firings import SUBJECT
from pgflow.run.locks import run_lock
from pgflow.run.records import GRACE_SECONDS

#: The latest run for each of what comes first; no name but that of the table is put in. A table of
#: an older layout has no details. A run that another one of the same firing has made needless does
#: not count.
_LATEST = """
WITH latest AS (
SELECT DISTINCT ON (pipeline, target, scope, parameters) run_id
  FROM {runs} AS r
 WHERE pipeline = ANY(:pipelines)
   AND NOT (status = 'abandoned' AND EXISTS (
       SELECT FROM {runs} AS s
        WHERE s.pipeline = r.pipeline AND s.target = r.target AND s.status = 'success'
          AND to_jsonb(s) -> 'details' ->> :firing = to_jsonb(r) -> 'details' ->> :firing))
 ORDER BY pipeline, target, scope, parameters, started_at DESC, run_id
)
SELECT pipeline, target, scope, parameters, run_id, status, started_at, effective_at, error,
       (to_jsonb(r) -> 'details' ->> :firing)::timestamptz AS firing,
       status = 'running' AND started_at < clock_timestamp() - make_interval(secs => :grace)
       AS left_alone
  FROM {runs} AS r JOIN latest USING (run_id)
"""

#: How a run ends that has to be repeated.
UNFINISHED = frozenset({"failed", "abandoned"})


@dataclass(frozen=True)
class Standing:
    """The latest run of a pipeline on a target, in a scope, with certain parameters.

    Attributes:
        run_id: Its id.
        pipeline: The pipeline's name.
        target: The target's qualified name.
        scope: The part of the target that it was limited to, or None.
        parameters: The run parameters, as the history has them.
        status: How it ended. A run whose process is gone is `abandoned`, also before the history
            says so.
        started_at: When it began.
        effective_at: The instant of the run, where it has one.
        error: What went wrong, or None.
        firing: The instant at which a schedule asked for the run, or None.
        places: The target's place among those of its pipeline, from 0. It is there several times
            only if the pipeline has the same table of one database several times.
    """

    run_id: UUID
    pipeline: str
    target: str
    scope: str | None
    parameters: Mapping[str, Any]
    status: str
    started_at: datetime
    effective_at: datetime | None
    error: str | None
    firing: datetime | None = None
    places: tuple[int, ...] = ()

    @property
    def is_unfinished(self) -> bool:
        """Whether it failed, or its process died."""
        return self.status in UNFINISHED


def standings(pipelines: Iterable[Pipeline]) -> dict[str, tuple[Standing, ...]]:
    """Ask the histories of pipelines for their latest runs.

    Args:
        pipelines: The pipelines.

    Returns:
        For each name the latest run on each of its targets, in each scope and with each set of
        parameters; latest first.

    Raises:
        MissingTable: A database has no history.
        HistoryOutOfReach: A database cannot be reached; the error names its pipelines.
    """
    found: dict[str, list[Standing]] = {}
    for (engine, schema), targets in _histories(pipelines).items():
        names = sorted({name for name, _ in targets})
        with _connected(engine, names) as connection:
            for each in _latest(connection, schema, names):
                places = targets.get((each.pipeline, each.target))
                if places is not None:
                    own = replace(each, places=tuple(places))
                    found.setdefault(each.pipeline, []).append(own)
    return {
        name: tuple(sorted(each, key=lambda s: s.started_at, reverse=True))
        for name, each in found.items()
    }


def failed_last(found: Iterable[Standing]) -> tuple[Standing, ...]:
    """Return the runs that failed, of those that are the latest of their target and scope.

    Args:
        found: The standings of one pipeline, latest first.
    """
    latest: dict[tuple[tuple[int, ...], str | None], Standing] = {}
    for each in found:
        latest.setdefault((each.places, each.scope), each)
    return tuple(each for each in latest.values() if each.is_unfinished)


def _histories(
    pipelines: Iterable[Pipeline],
) -> dict[tuple[Engine, str], dict[tuple[str, str], list[int]]]:
    """Where runs are recorded: for each history the pipelines and targets, with their places."""
    found: dict[tuple[Engine, str], dict[tuple[str, str], list[int]]] = {}
    for pipeline in pipelines:
        for number, target in enumerate(pipeline.sync_targets):
            history = (target.target_engine(), target.config.utility_schema)
            own = found.setdefault(history, {})
            own.setdefault((pipeline.name, target.target_label), []).append(number)
    return found


@contextmanager
def _connected(engine: Engine, pipelines: list[str]) -> Iterator[Connection]:
    """Open a connection; where that fails, say what can be done without it."""
    try:
        connection = engine.connect()
    except OperationalError as error:
        named = ", ".join(map(repr, pipelines))
        without = " ".join(f"--exclude {shlex.quote(name)}" for name in pipelines)
        raise HistoryOutOfReach(
            f"how {named} {'has' if len(pipelines) == 1 else 'have'} run is not known, because the "
            f"database cannot be reached ({place(engine)}): {str(error.orig).strip()}\n"
            f"Leave out what is not known: {without}",
            pipelines=tuple(pipelines),
        ) from error
    with connection:
        yield connection


def _latest(connection: Connection, schema: str, pipelines: list[str]) -> list[Standing]:
    if not inspect(connection).has_table("runs", schema=schema):
        raise MissingTable(
            f"the database has no table {idents.qualify(schema, 'runs')} ({place(connection)}), so "
            "nobody knows what has run. Run alembic upgrade head or pgflow.create_all()."
        )
    # A colon would begin the name of a value.
    query = _LATEST.format(runs=idents.qualify(schema, "runs").replace(":", "\\:"))
    values = {"pipelines": pipelines, "grace": GRACE_SECONDS, "firing": SUBJECT}
    rows = [row._asdict() for row in connection.execute(text(query), values)]
    alive = _alive(connection) if any(row["left_alone"] for row in rows) else set()
    return [_standing(row, alive) for row in rows]


def _alive(connection: Connection) -> set[int]:
    """The advisory locks of the database: a run that lives holds one on its own id."""
    locks = text(
        "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks"
        " WHERE locktype = 'advisory' AND objsubid = 1 AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return set(connection.scalars(locks))


def _standing(row: Mapping[str, Any], alive: set[int]) -> Standing:
    died = row["left_alone"] and run_lock(row["run_id"]) not in alive
    return Standing(
        run_id=row["run_id"],
        pipeline=row["pipeline"],
        target=row["target"],
        scope=row["scope"],
        parameters=row["parameters"] or {},
        status="abandoned" if died else row["status"],
        started_at=row["started_at"],
        effective_at=row["effective_at"],
        error="the process ended before the run did" if died else row["error"],
        firing=row["firing"],
    )
