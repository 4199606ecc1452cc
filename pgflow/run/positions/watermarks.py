"""Positions of incremental pipelines as people see and change them, outside of any run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.engine import Connection

from pgflow import idents
from pgflow.bookkeeping import SCHEMA
from pgflow.connections.places import place
from pgflow.errors import InvalidPosition, MissingTable, StatementFailed
from pgflow.plan.decision import Unknown
from pgflow.plan.spec import SyncSpec, Watermark
from pgflow.plan.sql import Sql, bind, name, raw, sql
from pgflow.run import facts, locks
from pgflow.run.job import Job
from pgflow.run.session import Session

#: How the bookkeeping writes positions that are no values: `snapshot(xid)`.
_LABEL = re.compile(r"(snapshot|horizon|slot)\((.*)\)\Z", re.DOTALL)

#: How types end whose values name instants, whatever their precision.
_INSTANT = " with time zone"

#: The run of a position that a person has set.
_NO_RUN = UUID(int=0)


@dataclass(frozen=True)
class StoredWatermark:
    """How far an incremental pipeline has read, as the bookkeeping has it.

    Attributes:
        pipeline: The pipeline's name.
        target: The target's qualified name.
        scope: The scope's text, or an empty string.
        kind: `value`, `snapshot`, `horizon` or `slot`.
        column: The incremental column; empty for a slot.
        value: The position as text; None if the next run reads everything.
        updated_at: When it was moved last.
        run_id: The run that moved it last; None if a person did.
        details: What it is bound to, and who has set or reset it last.
    """

    pipeline: str
    target: str
    scope: str
    kind: str
    column: str
    value: str | None
    updated_at: datetime
    run_id: UUID | None
    details: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; instants in ISO 8601."""
        return {
            **vars(self),
            "updated_at": self.updated_at.isoformat(),
            "run_id": str(self.run_id) if self.run_id else None,
            "details": dict(self.details),
        }


def read_watermarks(
    connection: Connection, pipeline: str | None = None, schema: str = SCHEMA
) -> tuple[StoredWatermark, ...]:
    """Read how far incremental pipelines have read.

    Args:
        connection: A connection to the database that the targets are in.
        pipeline: The name of one pipeline; by default all.
        schema: Where pgflow's own tables are.

    Returns:
        One position for each pipeline, target and scope, in that order.

    Raises:
        MissingTable: The database does not have pgflow's own tables.
    """
    session, table = Session(connection), idents.qualify(schema, "watermarks")
    there = sql("SELECT to_regclass({t}::text) IS NOT NULL AS there", t=bind(table, "table"))
    if not session.run(there, "look for the watermarks").rows[0]["there"]:
        raise MissingTable(
            f"the database has no table {table} ({place(connection)}), so there are no "
            "watermarks. Run alembic upgrade head or pgflow.create_all(), or name the "
            "connection and schema that have it."
        )
    text = sql(
        "SELECT w.pipeline, w.target, w.scope, w.column_name, w.value, w.updated_at, w.run_id,\n"
        "       to_jsonb(w) -> 'details' AS details\n"
        "  FROM {table} AS w WHERE {pipeline}::text IS NULL OR w.pipeline = {pipeline}::text\n"
        " ORDER BY w.pipeline, w.target, w.scope",
        table=name(schema, "watermarks"),
        pipeline=bind(pipeline, "pipeline"),
    )
    return tuple(_stored(row) for row in session.run(text, "read the watermarks").rows)


@dataclass(frozen=True)
class MovedWatermark:
    """What became of the position of one target.

    Attributes:
        pipeline: The pipeline's name.
        target: The target's qualified name.
        before: The position that was there, or None.
        after: The one that is there now, or None.
    """

    pipeline: str
    target: str
    before: StoredWatermark | None
    after: StoredWatermark | None


def move_watermark(
    connection: Connection,
    job: Job,
    value: str | datetime | None,
    spec: SyncSpec | None = None,
    *,
    forward: bool = False,
) -> MovedWatermark:
    """Set or reset the position of one target, under its lock; the caller commits.

    Args:
        connection: A connection in a transaction on the target's database.
        job: The target's job.
        value: The new position; None has the next run read everything.
        spec: For a new position: what a run would be planned from, with the type of the column.
        forward: Whether a position that is further already stays.

    Returns:
        The position before and after.

    Raises:
        InvalidPosition: The value is none of the column's type, or this kind cannot be set to it.
        TargetLocked: A run holds the target.
    """
    session = Session(connection, owner=job.pipeline)
    layout = facts.require_tables(session, job)
    locks.lock_target(session, job, lambda _holders: None)
    before = stored_watermark(connection, job)
    mark = job.draft.watermark
    moved = MovedWatermark(job.pipeline, job.draft.target.label, before, before)
    if mark is None or (value is None and before is None):
        return moved
    bound: dict[str, Any] = {}
    if value is not None and spec is not None and spec.watermark is not None:
        value, bound = _checked(session, spec, spec.watermark, value)
        if forward and not _is_further(session, spec.watermark, value, before):
            return moved
    text = None if value is None else str(value)
    _write(session, job, mark, text, bound, before, with_details=layout > 1)
    return replace(moved, after=stored_watermark(connection, job))


def _checked(
    session: Session, spec: SyncSpec, mark: Watermark, value: str | datetime
) -> tuple[str | None, dict[str, Any]]:
    """Have the server read a value; `now` is the only new position of the other kinds.

    A time without a zone is one of UTC, as in a backfill, whatever the session's zone is.
    """
    if not mark.by_value:
        if value != "now" or mark.now is None:
            raise InvalidPosition(
                f"{spec.owner}: a {mark.kind} is where the source's server was at some moment; "
                "nobody can make one up. Set it to 'now' to read only what is written from now "
                "on, or reset it to read everything."
            )
        return mark.now, json.loads(mark.details or "{}")
    kind = "text" if isinstance(mark.type, Unknown) else mark.type
    if isinstance(value, datetime):
        if value.utcoffset() is None and kind.endswith(_INSTANT):
            raise InvalidPosition(
                f"{spec.owner}: {value!r} has no time zone, so it names no instant, and column "
                f"{mark.column!r} is {kind}. Give for instance datetime(2024, 1, 1, "
                "tzinfo=timezone.utc)."
            )
        value = value.isoformat()
    text = sql(
        "SELECT to_jsonb({value}::text::{kind}) #>> '{{}}' AS value",
        value=bind(value, "value"),
        kind=raw(kind),
    )
    trial = session.connection.begin_nested()
    try:
        session.run(raw("SET LOCAL TimeZone = 'UTC'"), "read times in UTC")
        read = session.run(text, "read the new position").rows[0]["value"]
    except StatementFailed as error:
        raise InvalidPosition(
            f"{spec.owner}: {value!r} cannot be a position in column {mark.column!r}, which is "
            f"{kind}: {_first_line(error)}"
        ) from error
    finally:
        trial.rollback()  # The session has its own zone again.
    return str(read), {}


def _is_further(
    session: Session, mark: Watermark, value: object, before: StoredWatermark | None
) -> bool:
    if before is None or before.value is None:
        return True
    text = sql(
        "SELECT {value}::text::{kind} > {before}::text::{kind} AS further",
        value=bind(value, "value"),
        before=bind(before.value, "before"),
        kind=raw("text" if isinstance(mark.type, Unknown) else mark.type),
    )
    return bool(session.run(text, "compare the positions").rows[0]["further"])


def _write(
    session: Session,
    job: Job,
    mark: Watermark,
    value: str | None,
    bound: Mapping[str, Any],
    before: StoredWatermark | None,
    *,
    with_details: bool,
) -> None:
    if mark.kind == "slot" and before is not None and "slot" in before.details:
        bound = {"slot": before.details["slot"], **bound}  # It still has this reader.
    who = sql(
        "jsonb_build_object({verb}::text, session_user, 'at', clock_timestamp(),"
        " 'before', {before}::text) || {bound}::jsonb",
        verb=bind("reset_by" if value is None else "set_by", "verb"),
        before=bind(before.value if before else None, "before"),
        bound=bind(json.dumps(dict(bound)), "details"),
    )
    text = sql(
        "INSERT INTO {table} (pipeline, target, scope, column_name, value, run_id{more})\n"
        "SELECT {owner}::text, {target}::text, {scope}::text, {column}::text, {value}::text,"
        " {run}::uuid{details}\n"
        "ON CONFLICT (pipeline, target, scope) DO UPDATE SET column_name = excluded.column_name,\n"
        "       value = excluded.value, run_id = excluded.run_id,"
        " updated_at = clock_timestamp(){also}",
        table=name(job.bookkeeping, "watermarks"),
        owner=bind(job.pipeline, "pipeline"),
        target=bind(job.draft.target.label, "target"),
        scope=bind(job.draft.scope_name, "scope"),
        column=bind(mark.label, "column"),
        value=bind(value, "value"),
        run=bind(_NO_RUN, "run_id"),
        more=raw(", details") if with_details else Sql(),
        details=raw(", ") + who if with_details else Sql(),
        also=raw(", details = excluded.details") if with_details else Sql(),
    )
    session.run(text, "move the watermark")


def stored_watermark(connection: Connection, job: Job) -> StoredWatermark | None:
    """Read the position of one target; None if there is none."""
    wanted = (job.draft.target.label, job.draft.scope_name)
    found = read_watermarks(connection, job.pipeline, job.bookkeeping)
    return next((w for w in found if (w.target, w.scope) == wanted), None)


def _stored(row: Mapping[str, Any]) -> StoredWatermark:
    label = _LABEL.match(row["column_name"])
    kind, column = (label[1], label[2]) if label else ("value", row["column_name"])
    return StoredWatermark(
        pipeline=row["pipeline"],
        target=row["target"],
        scope=row["scope"],
        kind=kind,
        column=column,
        value=row["value"],
        updated_at=row["updated_at"],
        run_id=None if row["run_id"] == _NO_RUN else row["run_id"],
        details=row["details"] or {},
    )


def _first_line(error: StatementFailed) -> str:
    return str(error.__cause__ or error).strip().splitlines()[0]
