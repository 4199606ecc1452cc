"""Where a source's server is in its own time, and whether a stored position is of that same time.

Transaction numbers and places in the log mean something on one server only, as long as it lives
one life: a restored backup or a promoted standby gives the same numbers to other transactions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pgflow import bookkeeping
from pgflow.declare.sources import SourceTable
from pgflow.errors import NoPosition, OtherLayout, SourceMismatch, StalePosition
from pgflow.plan.spec import SyncSpec, Watermark
from pgflow.plan.sql import Sql, bind, name, raw, sql
from pgflow.run import catalogue
from pgflow.run.job import Job
from pgflow.run.positions.slots import with_changes
from pgflow.run.session import Session

#: A `::text` for each: what is kept is compared to the letter. The name of the log's current file
#: begins with the timeline, which the control file learns only at the next checkpoint.
_QUESTION = raw(
    "SELECT pg_current_snapshot()::text AS snapshot, r.standby,\n"
    "       pg_current_xact_id_if_assigned()::text::bigint AS own,\n"
    "       (SELECT system_identifier::text FROM pg_control_system()) AS server,\n"
    "       CASE WHEN NOT r.standby THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END"
    " AS timeline,\n"
    "       d.oid::text AS database, d.datname AS database_name\n"
    "  FROM (SELECT pg_is_in_recovery() AS standby) AS r,\n"
    "       pg_database AS d WHERE d.datname = current_database()"
)


@dataclass(frozen=True)
class Position:
    """Where a server is, before a run reads anything from it.

    Attributes:
        snapshot: Which transactions had ended, as `xmin:xmax:xip`.
        own: The number of the transaction that asks, if it has one.
        standby: Whether the server follows another one.
        server: The identifier that it got when it was initialised.
        timeline: Which of its lives this is; None on a standby.
        database: The database's number.
        database_name: Its name.
    """

    snapshot: str
    own: int | None
    standby: bool
    server: str
    timeline: str | None
    database: str
    database_name: str

    @property
    def unended(self) -> str:
        """The snapshot, in which the transaction that asks is no more over than any other.

        Snapshots leave out their own: it may write on after the source was read.
        """
        begin, end, running = self.snapshot.split(":")
        if self.own is None or not self.oldest <= self.own < self.next:
            return self.snapshot
        numbers = {self.own, *(int(each) for each in running.split(",") if each)}
        return f"{begin}:{end}:{','.join(str(each) for each in sorted(numbers))}"

    @property
    def oldest(self) -> int:
        """The number below which every transaction had ended."""
        return int(self.snapshot.split(":")[0])

    @property
    def next(self) -> int:
        """The first number that no ended transaction had."""
        return int(self.snapshot.split(":")[1])

    @property
    def identity(self) -> dict[str, str | None]:
        """What numbers of this server are bound to."""
        return {"server": self.server, "timeline": self.timeline, "database": self.database}


def read_position(session: Session) -> Position:
    """Ask a server where it is.

    Args:
        session: A session on the source's database; what it reads later is at least as new as
            this. Where all of its statements see one snapshot, it is exactly this.
    """
    row = session.run(_QUESTION, "ask the source's server where it is").rows[0]
    return Position(**row)


def with_watermark(
    session: Session,
    spec: SyncSpec,
    job: Job,
    origin: Session | None = None,
    relation: Sql | None = None,
    source: Sql | SourceTable | None = None,
) -> SyncSpec:
    """Complete the watermark of an incremental pipeline: where it was, and where the source is.

    Args:
        session: The target's session, in the run's transaction and under its lock.
        spec: What is planned; the source's columns are known.
        job: The job.
        origin: The session on the source's database, where that is another one.
        relation: There, the source in parentheses.
        source: The source as it was given, where it is in the target's database.

    Raises:
        StalePosition: The stored position is of another server, or of another life of this one.
        NoPosition: The source's server is a standby, or its rows have the numbers of another.
    """
    if spec.watermark is None:
        return spec
    if spec.watermark.kind == "window":
        kind = _type_of(spec, spec.watermark.column)
        return replace(spec, watermark=replace(spec.watermark, type=kind))
    table = name(job.bookkeeping, "watermarks")
    stored = _stored(session, spec, table)
    known = stored if stored and stored["column_name"] == spec.watermark.label else {}
    mark = replace(
        spec.watermark,
        table=table,
        value=known.get("value"),
        type=_type_of(spec, spec.watermark.column),
    )
    if not mark.by_value:
        _require_details(session, job)
        where, read = (session, spec.source.relation) if origin is None else (origin, relation)
        table_id = 0
        if mark.kind != "slot" and read is not None:
            table_id = numbered_table(where, spec, mark, read)
        mark = _located(mark, spec, known, read_position(where), table_id)
    spec = replace(spec, watermark=mark)
    return with_changes(session, spec, source, known.get("details") or {})


def check_position(
    owner: str, kind: str, value: str, bound: Mapping[str, Any], now: Position
) -> None:
    """Refuse a stored position that means nothing where the source is now.

    Args:
        owner: The pipeline, for the message.
        kind: What kind of position it is.
        value: The position.
        bound: What it was bound to when it was stored.
        now: Where the source's server is.

    Raises:
        StalePosition: It is of another server, database or timeline, or of the future.
    """
    way_out = (
        f"Rows may have come and gone that no run has seen. `pgflow watermark reset {owner}` has "
        "the next run read everything."
    )
    for key, noun in _BOUND.items():
        then, current = bound.get(key), now.identity[key]
        if then != current:
            raise StalePosition(
                f"{owner}: its position was taken on {noun} {then}, and the source is on {noun} "
                f"{current} now{_WHY[key]}. {way_out}"
            )
    reached = {"snapshot": lambda: value.split(":")[1], "horizon": lambda: value}.get(kind)
    if reached is not None and now.next < int(reached()):
        raise StalePosition(
            f"{owner}: its position is at transaction {reached()}, and the source's server is only "
            f"at {now.next}: it was set back, by a backup or a snapshot of its disk. {way_out}"
        )


def check_table(owner: str, bound: Mapping[str, Any], now: int) -> None:
    """Refuse a position of another table: its rows may have been written before.

    Args:
        owner: The pipeline, for the message.
        bound: What the position was bound to when it was stored.
        now: The table's number in the catalogue.

    Raises:
        StalePosition: It was another table.
    """
    if bound.get("relation", now) != now:
        raise StalePosition(
            f"{owner}: the source's table was made anew since the last run, or is another one "
            "now, and its rows may have been written before they came there. `pgflow watermark "
            f"reset {owner}` has the next run read everything."
        )


def numbered_table(session: Session, spec: SyncSpec, mark: Watermark, relation: Sql) -> int:
    """Find the table that numbers the source's rows.

    Args:
        session: The session on the source's database.
        spec: What is planned.
        mark: The watermark.
        relation: The source in parentheses.

    Returns:
        The table's number in the catalogue.

    Raises:
        SourceMismatch: The column is no table's.
        NoPosition: Its numbers are not those of this server's transactions, or rows can appear
            later than their numbers say.
    """
    fields = session.describe(relation, f"read the source of {spec.owner}")
    found = next((f.table for f in fields if f.name == mark.column), None)
    if found is None:
        raise SourceMismatch(
            f"watermark={mark.kind!r} goes by {mark.column!r}, the column that tells which "
            f"transaction wrote a row, and the source does not deliver it. {_DELIVER[mark.kind]}",
            pipeline=spec.owner,
            target=spec.target.label,
        )
    if not found:
        # Of two numbers the greater one may have been seen, and the other one not.
        raise SourceMismatch(
            f"{mark.column!r} tells which transaction wrote a row, so it must be a table's own "
            "column: no expression, and of no UNION. Deliver the column of the table whose "
            "changes count.",
            pipeline=spec.owner,
            target=spec.target.label,
        )
    text = sql(
        "SELECT c.relkind::text AS kind, c.relhassubclass AS has_parts FROM pg_class AS c"
        " WHERE c.oid = {t}::bigint::oid",
        t=bind(found, "table"),
    )
    rows = session.run(text, "look at the table that numbers the rows").rows
    kind, has_parts = rows[0]["kind"], rows[0]["has_parts"]
    if kind == "m" and mark.kind == "snapshot":
        raise NoPosition(
            f"{spec.owner}: {mark.column!r} is a column of a materialized view, which shows rows "
            "only when it is refreshed, long after the transactions that it names. Read the "
            "tables under it, or use watermark='horizon'."
        )
    whole = kind == "m" or (kind == "r" and not has_parts)
    if not whole and catalogue.reads_elsewhere(session, relation):
        raise NoPosition(
            f"{spec.owner}: the source reads a foreign table, whose rows have the numbers of "
            f"another server's transactions, so watermark={mark.kind!r} would lose rows. Declare "
            "that server as a connection and read it by source_connection=."
        )
    return found


_DELIVER = {
    "snapshot": "Select it; a table that has no such column gets it by `pgflow tracking "
    "schema.table`, or by ChangeTrackingPlugin.",
    "horizon": "Select xmin, which every table has, or give the table by source_table=.",
}
_BOUND = {"server": "server", "database": "database", "timeline": "timeline"}
_WHY = {
    "server": " (the connection leads elsewhere, or the server was upgraded or loaded anew)",
    "database": " (the connection leads elsewhere, or the database was made anew)",
    "timeline": " (a standby was promoted, or a backup restored)",
}


def _located(
    mark: Watermark, spec: SyncSpec, known: Mapping[str, Any], now: Position, table_id: int
) -> Watermark:
    if now.standby:
        raise NoPosition(
            f"{spec.owner}: the source's server is a standby, which does not know which "
            f"transactions are still running, so watermark={mark.kind!r} would lose rows. Read "
            "from the primary, or use watermark='value' with lookback=."
        )
    if known.get("value") is not None:
        check_position(spec.owner, mark.kind, known["value"], known["details"] or {}, now)
        if table_id:
            check_table(spec.owner, known["details"] or {}, table_id)
    reached = {"snapshot": now.unended, "horizon": str(now.oldest)}
    bound: dict[str, Any] = dict(now.identity)
    if table_id:
        bound["relation"] = table_id
    if mark.kind == "slot":
        bound["database_name"] = now.database_name
    return replace(mark, now=reached.get(mark.kind), ahead=now.next, details=json.dumps(bound))


def _stored(session: Session, spec: SyncSpec, table: Sql) -> dict[str, Any]:
    """The row of the bookkeeping; tables of the layout before have no details."""
    text = sql(
        "SELECT w.column_name, w.value, to_jsonb(w) -> 'details' AS details FROM {table} AS w\n"
        " WHERE pipeline = {pipeline} AND target = {target} AND scope = {scope}",
        table=table,
        pipeline=bind(spec.owner, "pipeline"),
        target=bind(spec.target.label, "target"),
        scope=bind(spec.scope_name, "scope"),
    )
    rows = session.run(text, "read the watermark").rows
    return rows[0] if rows else {}


def _require_details(session: Session, job: Job) -> None:
    table = job.own_tables[-1]
    found = bookkeeping.layout(catalogue.comments(session, table)[table])
    needed = bookkeeping.ADDED["details"]
    if found is not None and found < needed:
        raise OtherLayout(
            f"{job.pipeline}: pgflow's own table {table} has layout {found}, and positions of this "
            f"kind need layout {needed}. Migrate it: `alembic revision --autogenerate` and "
            "`alembic upgrade head`, or `pgflow migrate`.",
            table=table,
            found=found,
            expected=needed,
        )


def _type_of(spec: SyncSpec, column: str) -> str:
    columns = spec.source.columns
    found = columns if isinstance(columns, tuple) else ()
    return next((str(c.type) for c in found if c.name == column), "text")
