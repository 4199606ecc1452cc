"""Retention: old runs leave the history, a few at a time, but none that somebody still needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, inspect
from sqlalchemy.engine import Connection

from pgflow import idents
from pgflow.bookkeeping import ADDED, SCHEMA, VERSION
from pgflow.connections.places import place
from pgflow.connections.registry import Connectable, engine
from pgflow.errors import InvalidOption, MissingTable
from pgflow.plan.sql import Sql, bind, name, raw, sql
from pgflow.run.session import Session

#: Younger runs are never deleted: one whose commit got no answer, or a firing that waits in a
#: queue, may still be looked for.
LEAST_AGE = timedelta(days=1)

#: How many runs one transaction deletes. Nobody waits for long for so few rows.
BATCH = 1000

_NIL = UUID(int=0)

#: Runs that stay, however old: of each pipeline, target and scope the latest ones, the latest
#: success, and that of the latest firing of a schedule; and whatever else names a run by its id.
_NEEDED = (
    "SELECT run_id FROM (SELECT run_id, status, firing,\n"
    "    row_number() OVER latest AS place,\n"
    "    row_number() OVER (PARTITION BY pipeline, target, coalesce(scope, ''), status\n"
    "                       ORDER BY started_at DESC, run_id) AS of_status,\n"
    "    row_number() OVER (PARTITION BY pipeline, target, coalesce(scope, '')\n"
    "                       ORDER BY firing DESC NULLS LAST, started_at DESC) AS of_firing\n"
    "  FROM (SELECT *, {firing} AS firing FROM {runs}) AS r WHERE {chosen}\n"
    "  WINDOW latest AS (PARTITION BY pipeline, target, coalesce(scope, '')\n"
    "                    ORDER BY started_at DESC, run_id)) AS numbered\n"
    " WHERE place <= {keep}::bigint OR (status = 'success' AND of_status = 1)\n"
    "    OR (firing IS NOT NULL AND of_firing = 1)\n"
    " UNION SELECT run_id FROM {watermarks}"
)

_OLD = (
    "status <> 'running' AND started_at < {before}::timestamptz"
    " AND coalesce(finished_at, started_at) < {before}::timestamptz AND {chosen}"
)

_FREE = (
    "r.run_id <> ALL ({needed}::uuid[])"
    " AND NOT EXISTS (SELECT FROM {quarantine} AS q WHERE q.run_id = r.run_id)"
)


@dataclass(frozen=True)
class Pruned:
    """What became of old runs.

    Attributes:
        before: The instant before which a run is old.
        deleted: How many were deleted, by pipeline.
        kept: How many are old too, but needed, or just held by somebody else.
        dry_run: Whether nothing was deleted; `deleted` is then what would have been.
    """

    before: datetime
    deleted: Mapping[str, int] = field(default_factory=dict)
    kept: int = 0
    dry_run: bool = False

    @property
    def count(self) -> int:
        """How many were deleted in all."""
        return sum(self.deleted.values())

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "before": self.before.isoformat(),
            "deleted": self.count,
            "kept": self.kept,
            "pipelines": dict(self.deleted),
            "dry_run": self.dry_run,
        }

    def __str__(self) -> str:
        did = "would delete" if self.dry_run else "deleted"
        runs = "run" if self.count == 1 else "runs"
        others = "other is" if self.kept == 1 else "others are"
        return (
            f"{did} {self.count:,} {runs} from before {self.before:%Y-%m-%d %H:%M} UTC; "
            f"{self.kept:,} {others} still needed"
        )


@dataclass(frozen=True)
class _Order:
    """Which runs are to go."""

    schema: str
    before: datetime
    keep_last: int
    pipeline: str | None
    layout: int

    def old(self) -> Sql:
        return sql(_OLD, before=bind(self.before, "before"), chosen=self._chosen())

    def needed(self) -> Sql:
        known = self.layout >= ADDED["details"]
        return sql(
            _NEEDED,
            firing=raw("details ->> 'firing'" if known else "NULL::text"),
            runs=name(self.schema, "runs"),
            watermarks=name(self.schema, "watermarks"),
            chosen=self._chosen(),
            keep=bind(self.keep_last, "keep_last"),
        )

    def free(self, needed: Sequence[UUID]) -> Sql:
        quarantine = name(self.schema, "quarantine")
        return sql(_FREE, needed=bind(list(needed), "needed"), quarantine=quarantine)

    def _chosen(self) -> Sql:
        if self.pipeline is None:
            return raw("true")
        return sql("pipeline = {p}::text", p=bind(self.pipeline, "pipeline"))


def prune_history(
    connection: Connectable = "default",
    *,
    older_than: timedelta,
    keep_last: int = 1,
    pipeline: str | None = None,
    schema: str = SCHEMA,
    dry_run: bool = False,
    batch: int = BATCH,
) -> Pruned:
    """Delete old runs from the history, in short transactions of their own.

    Runs that are going on stay, and so do, of each pipeline, target and scope, the latest run, the
    latest success and that of the latest firing of a schedule, and every run that a watermark or a
    row in quarantine names. Syncs may go on meanwhile.

    Args:
        connection: The database: a connection's name, a URL or an engine.
        older_than: How long ago a run must have ended; at least a day.
        keep_last: How many of the latest runs of each pipeline, target and scope stay.
        pipeline: Only runs of this one.
        schema: Where pgflow's own tables are.
        dry_run: Whether to count only.
        batch: How many runs one transaction deletes.

    Returns:
        How many were deleted, and how many old ones stay.

    Raises:
        InvalidOption: An argument would delete what may still be needed, or nothing.
        MissingTable: The database does not have pgflow's own tables.
    """
    check_retention(older_than, keep_last)
    if batch < 1:
        raise InvalidOption(f"batch={batch!r} deletes nothing; give a number from 1 on.")
    with _open(engine(connection)) as live:
        layout = _layout(live, schema)
        before = _read(live, "SELECT clock_timestamp() AS at")[0]["at"].astimezone(UTC) - older_than
        order = _Order(schema, before, keep_last, pipeline, layout)
        with live.begin():
            found = Session(live).run(order.needed(), "look which runs are needed").rows
        needed = [row["run_id"] for row in found]
        deleted = _count(live, order, needed)
        if not dry_run:
            deleted = {each: sum(_delete(live, order, each, needed, batch)) for each in deleted}
            deleted = {each: count for each, count in deleted.items() if count}
        kept = _left(live, order) - (sum(deleted.values()) if dry_run else 0)
    return Pruned(before, deleted, kept, dry_run)


def check_retention(older_than: timedelta, keep_last: int) -> None:
    """Refuse to delete what may still be needed.

    Args:
        older_than: How long ago a run must have ended.
        keep_last: How many of the latest runs of each pipeline, target and scope stay.

    Raises:
        InvalidOption: That is too little.
    """
    if older_than < LEAST_AGE:
        raise InvalidOption(
            f"older_than={older_than} is less than a day. Runs of the last day may still be "
            "looked for, by a run that was committing when its connection broke, say."
        )
    if keep_last < 1:
        raise InvalidOption(
            f"keep_last={keep_last!r} would delete the run that tells how a pipeline stands; give "
            "a number from 1 on."
        )


def _open(found: Engine) -> Connection:
    # Each statement is to see what others have committed, whatever the database's default is.
    return found.connect().execution_options(isolation_level="READ COMMITTED")


def _layout(live: Connection, schema: str) -> int:
    """The layout of the history, as far as it matters here."""
    with live.begin():
        inspector = inspect(live)
        for table in ("runs", "watermarks", "quarantine"):
            if not inspector.has_table(table, schema=schema):
                raise MissingTable(
                    f"the database has no table {idents.qualify(schema, table)} "
                    f"({place(live)}). Migrate it: `alembic revision --autogenerate` and "
                    "`alembic upgrade head`, or `pgflow migrate`; or name the connection "
                    "and schema that have it."
                )
        columns = {column["name"] for column in inspector.get_columns("runs", schema=schema)}
    return VERSION if "details" in columns else ADDED["details"] - 1


def _read(live: Connection, text: str) -> tuple[dict[str, Any], ...]:
    with live.begin():
        return Session(live).run(raw(text), "read the clock").rows


def _count(live: Connection, order: _Order, needed: Sequence[UUID]) -> dict[str, int]:
    text = sql(
        "SELECT pipeline, count(*) AS runs FROM {runs} AS r WHERE {old} AND {free}\n"
        " GROUP BY pipeline ORDER BY pipeline",
        runs=name(order.schema, "runs"),
        old=order.old(),
        free=order.free(needed),
    )
    with live.begin():
        rows = Session(live).run(text, "count old runs").rows
    return {row["pipeline"]: row["runs"] for row in rows}


def _left(live: Connection, order: _Order) -> int:
    text = sql(
        "SELECT count(*) AS runs FROM {runs} WHERE {old}",
        runs=name(order.schema, "runs"),
        old=order.old(),
    )
    with live.begin():
        return int(Session(live).run(text, "count what is left").rows[0]["runs"])


def _delete(
    live: Connection, order: _Order, pipeline: str, needed: Sequence[UUID], batch: int
) -> Iterator[int]:
    """Delete the old runs of one pipeline, from the oldest on, and say how many each time."""
    after, last = datetime.min.replace(tzinfo=UTC), _NIL
    while True:
        text = sql(
            "SELECT run_id, started_at FROM {runs} AS r\n"
            " WHERE pipeline = {pipeline}::text AND {old} AND {free}\n"
            "   AND (started_at, run_id) > ({after}::timestamptz, {last}::uuid)\n"
            # Whoever holds a row, to erase a key from it say, is not waited for.
            " ORDER BY started_at, run_id LIMIT {batch}::bigint FOR UPDATE OF r SKIP LOCKED",
            runs=name(order.schema, "runs"),
            pipeline=bind(pipeline, "pipeline"),
            old=order.old(),
            free=order.free(needed),
            after=bind(after, "after"),
            last=bind(last, "last"),
            batch=bind(batch, "batch"),
        )
        with live.begin():
            session = Session(live)
            rows = session.run(text, "find old runs").rows
            if not rows:
                return
            gone = sql(
                "DELETE FROM {runs} WHERE run_id = ANY ({ids}::uuid[])",
                runs=name(order.schema, "runs"),
                ids=bind([row["run_id"] for row in rows], "run_ids"),
            )
            session.run(gone, "delete old runs")
        yield len(rows)
        after, last = rows[-1]["started_at"], rows[-1]["run_id"]
