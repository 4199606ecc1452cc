"""Reading the history of runs back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, MetaData, Table, inspect, literal, null, select

from pgflow import idents
from pgflow.bookkeeping import COUNTS, SCHEMA, STATUSES, register
from pgflow.connections.places import place
from pgflow.errors import InvalidOption, MissingTable, UnknownRun

#: What stands for columns that a table of an older layout does not have.
_ABSENT: Mapping[str, ColumnElement[Any]] = {"rejected": literal(0), "details": null()}

#: The first hexadecimal digits of a run's id, without the hyphens.
_DIGITS = re.compile(r"[0-9a-f]{4,32}")

#: How many ids an error lists.
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One run of a pipeline on one target, as the history has it.

    Attributes:
        run_id: Its id; what `_batch_id` of the rows that it wrote holds.
        pipeline: The pipeline's name.
        target: The target's qualified name.
        scope: The part of the target that it was limited to, or None.
        mode: The mode's name.
        status: `running`, `success`, `failed` or `abandoned`. A run whose process was killed
            stays `running` until the next run marks it.
        attempts: How often it was tried.
        started_at: When it began.
        finished_at: When it ended; None while it runs.
        seconds: How long it took.
        effective_at: The instant of the run, where it has one.
        parameters: The run parameters.
        inserted: See `SyncResult`, as for the other counts.
        updated: Rows changed in place.
        closed: Versions that were given an end.
        deleted: Keys that the source no longer delivers.
        unchanged: Rows that the target had already.
        skipped: Rows that were not applied.
        rejected: Rows that a check kept out of the target.
        read: Rows that the source delivered.
        watermark_from: Where an incremental run began to read.
        watermark_to: How far it read.
        error_type: The class of what went wrong, or None.
        error: What went wrong, or None.
        details: What else the run kept, by subject, or None.
    """

    run_id: UUID
    pipeline: str
    target: str
    scope: str | None
    mode: str
    status: str
    attempts: int
    started_at: datetime
    finished_at: datetime | None
    seconds: float | None
    effective_at: datetime | None
    parameters: Mapping[str, object] | None
    inserted: int
    updated: int
    closed: int
    deleted: int
    unchanged: int
    skipped: int
    rejected: int
    read: int
    watermark_from: str | None
    watermark_to: str | None
    error_type: str | None
    error: str | None
    details: Mapping[str, object] | None

    @property
    def counts(self) -> dict[str, int]:
        """All counts by name."""
        return {name: getattr(self, name) for name in COUNTS}

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as plain data; instants in ISO 8601."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def read_history(
    connection: Connection,
    pipeline: str | None = None,
    limit: int = 20,
    schema: str = SCHEMA,
    *,
    statuses: Sequence[str] = (),
    since: datetime | None = None,
) -> tuple[HistoryEntry, ...]:
    """Read the latest runs.

    Args:
        connection: A connection to the database that the targets are in.
        pipeline: The name of one pipeline; by default all.
        limit: How many runs at most.
        schema: Where pgflow's own tables are.
        statuses: Only runs with one of these; by default all.
        since: Only runs that began then or later; with a time zone.

    Returns:
        The runs, latest first.

    Raises:
        InvalidOption: The limit is less than one, a status is none, or `since` is no instant.
        MissingTable: The database does not have pgflow's own tables.
    """
    _check(limit, statuses, since)
    runs, columns = _readable(connection, schema)
    query = select(*columns).order_by(runs.c.started_at.desc(), runs.c.run_id).limit(limit)
    if pipeline is not None:
        query = query.where(runs.c.pipeline == pipeline)
    if statuses:
        query = query.where(runs.c.status.in_(statuses))
    if since is not None:
        query = query.where(runs.c.started_at >= since)
    return tuple(HistoryEntry(**row) for row in connection.execute(query).mappings())


def find_run(connection: Connection, run_id: UUID | str, schema: str = SCHEMA) -> HistoryEntry:
    """Read one run.

    Args:
        connection: A connection to the database that its target is in.
        run_id: Its id, or the first characters of it, four at least.
        schema: Where pgflow's own tables are.

    Returns:
        The run.

    Raises:
        InvalidOption: That is no beginning of an id.
        UnknownRun: No run has that id, or several have one that begins so.
        MissingTable: The database does not have pgflow's own tables.
    """
    digits = str(run_id).replace("-", "").lower()
    if not _DIGITS.fullmatch(digits):
        raise InvalidOption(
            f"{str(run_id)!r} is no id of a run. Give one as `pgflow history` shows it, or the "
            "first characters of it, four at least."
        )
    runs, columns = _readable(connection, schema)
    # A range of ids, not of texts, so that the primary key's index finds them.
    first, last = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
    query = select(*columns).where(runs.c.run_id.between(first, last)).limit(_SHOWN + 1)
    found = [HistoryEntry(**row) for row in connection.execute(query).mappings()]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UnknownRun(
            f"the history in {idents.qualify(schema, 'runs')} has no run {run_id}. Its database "
            "may be another one: name its connection."
        )
    shown = ", ".join(str(entry.run_id) for entry in found[:_SHOWN])
    more = ", and others" if len(found) > _SHOWN else ""
    raise UnknownRun(f"several runs have ids that begin with {run_id}: {shown}{more}. Give more.")


def _check(limit: int, statuses: Sequence[str], since: datetime | None) -> None:
    if limit < 1:
        raise InvalidOption(f"limit={limit!r} shows nothing; give a number from 1 on.")
    for status in statuses:
        if status not in STATUSES:
            raise InvalidOption(f"{status!r} is no status of a run: {', '.join(STATUSES)}.")
    if since is not None and since.utcoffset() is None:
        raise InvalidOption(f"since={since!r} has no time zone, so it names no instant.")


def _readable(connection: Connection, schema: str) -> tuple[Table, list[ColumnElement[Any]]]:
    """The table of runs, and what of it can be read: one of an older layout has less."""
    if not inspect(connection).has_table("runs", schema=schema):
        raise MissingTable(
            f"the database has no table {idents.qualify(schema, 'runs')} ({place(connection)}), so "
            "there is no history. Run alembic upgrade head or pgflow.create_all(), or name the "
            "connection and schema that have it."
        )
    runs = register(MetaData(), schema).runs
    have = {column["name"] for column in inspect(connection).get_columns("runs", schema=schema)}
    columns: list[ColumnElement[Any]] = [
        runs.c[f.name] if f.name in have else _ABSENT[f.name].label(f.name)
        for f in fields(HistoryEntry)
    ]
    return runs, columns


def recorded_pipelines(connection: Connection, schema: str = SCHEMA) -> tuple[str, ...]:
    """Return the names of all pipelines of which there is a run, in alphabetical order.

    Args:
        connection: As for `read_history`.
        schema: Where pgflow's own tables are.

    Raises:
        MissingTable: The database does not have pgflow's own tables.
    """
    runs, _ = _readable(connection, schema)
    names = connection.scalars(select(runs.c.pipeline).distinct()).all()
    return tuple(sorted(names))


def history_json(entries: Sequence[HistoryEntry]) -> str:
    """Return runs as a JSON array."""
    return json.dumps([entry.to_dict() for entry in entries], indent=2, ensure_ascii=False)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value
