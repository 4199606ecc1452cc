"""Making, listing and dropping the slots of pipelines; nothing here is done without being asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from pgflow.bookkeeping import SCHEMA
from pgflow.connections.places import place
from pgflow.declare.sources import SourceTable
from pgflow.errors import SlotRefused
from pgflow.plan.sql import Sql, bind, name, raw, sql
from pgflow.run.positions.slots import PREFIX, anew
from pgflow.run.positions.watermarks import read_watermarks
from pgflow.run.session import Session

_SERVER = raw(
    "SELECT current_setting('wal_level') AS wal_level, pg_is_in_recovery() AS standby,\n"
    "       current_setting('max_slot_wal_keep_size') AS keeps,\n"
    "       (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user)"
    " AS may_replicate"
)

_TABLE = (
    "SELECT c.relreplident::text AS identity, c.relkind::text AS kind,"
    " c.relkind = 'r' AND EXISTS ("
    "SELECT FROM pg_inherits AS h WHERE h.inhparent = c.oid) AS inherited,"
    " c.relpersistence::text AS persistence,\n"
    "       coalesce((SELECT array_agg(a.attname::text) FROM pg_index AS i"
    " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)\n"
    "         WHERE i.indrelid = c.oid AND CASE c.relreplident WHEN 'd' THEN i.indisprimary"
    " ELSE i.indisreplident END), '{{}}') AS columns\n"
    "  FROM pg_class AS c WHERE c.oid = to_regclass({table}::text)"
)

_SLOTS = (
    "SELECT s.slot_name::text AS name, s.database::text AS database, s.active,\n"
    "       s.database::text = current_database() AS here, s.wal_status::text AS wal_status,\n"
    "       s.confirmed_flush_lsn::text AS position,\n"
    "       (pg_current_wal_lsn() - s.confirmed_flush_lsn)::bigint AS lag_bytes,\n"
    "       (pg_current_wal_lsn() - s.restart_lsn)::bigint AS kept_bytes\n"
    "  FROM pg_replication_slots AS s\n"
    " WHERE s.slot_type = 'logical' AND starts_with(s.slot_name::text, {prefix}::text)\n"
    " ORDER BY s.slot_name"
)

_PAIR = (
    "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = {slot}::text) AS slot,\n"
    "       EXISTS (SELECT FROM pg_publication WHERE pubname = {slot}::text) AS publication,\n"
    "       EXISTS (SELECT FROM pg_publication AS p JOIN pg_publication_rel AS l"
    " ON l.prpubid = p.oid\n"
    "                WHERE p.pubname = {slot}::text AND l.prrelid = to_regclass({table}::text)"
    " AND l.prqual IS NULL AND l.prattrs IS NULL\n"
    "                  AND p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate"
    " AND NOT p.pubviaroot) AS complete"
)


@dataclass(frozen=True)
class SlotState:
    """A replication slot as the server has it, and what pgflow knows of its reader.

    Attributes:
        name: The slot's name.
        database: Its database.
        here: Whether that is the connection's own.
        active: Whether somebody is reading it right now.
        position: Up to where it was read, as a place in the log.
        lag_bytes: How much log was written since.
        kept_bytes: How much log the server keeps for it.
        wal_status: `reserved`, `extended`, `unreserved`, or `lost`, when changes are gone.
        pipeline: The pipeline that reads it; None if none has yet.
        read_at: When that was; None if not yet, or not since a person moved the position.
    """

    name: str
    database: str
    here: bool
    active: bool
    position: str | None
    lag_bytes: int | None
    kept_bytes: int | None
    wal_status: str | None
    pipeline: str | None = None
    read_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; instants in ISO 8601."""
        at = self.read_at.isoformat() if self.read_at else None
        return {**vars(self), "read_at": at}


def list_slots(connection: Connection, schema: str = SCHEMA) -> tuple[SlotState, ...]:
    """List pgflow's replication slots on a server.

    Args:
        connection: A connection to the database that the pipelines read.
        schema: Where pgflow's own tables are.

    Raises:
        MissingTable: The database does not have pgflow's own tables.
    """
    readers = {
        str(mark.details["slot"]): mark
        for mark in read_watermarks(connection, None, schema)
        if mark.details.get("slot")
    }
    session = Session(connection)
    text = sql(_SLOTS, prefix=bind(PREFIX, "prefix"))
    found = []
    for row in session.run(text, "list the replication slots").rows:
        reader = readers.get(row["name"])
        state = SlotState(**row)
        if reader is not None:
            read_at = None if reader.run_id is None else reader.updated_at
            state = replace(state, pipeline=reader.pipeline, read_at=read_at)
        found.append(state)
    return tuple(found)


def check_server(connection: Connection, *, unlimited_wal: bool) -> None:
    """Refuse a server on which a slot cannot be, or would be dangerous.

    Args:
        connection: A connection to the source's database.
        unlimited_wal: Whether a slot may fill the server's disk.

    Raises:
        SlotRefused: Its settings or the role do not allow it.
    """
    row = Session(connection).run(_SERVER, "look at the server's settings").rows[0]
    if row["standby"]:
        raise SlotRefused("the server is a standby; make the slot on the primary.")
    if row["wal_level"] != "logical":
        raise SlotRefused(
            f"the server has wal_level = {row['wal_level']}, and its log says too little. Set "
            "wal_level = logical, and restart the server."
        )
    if not row["may_replicate"]:
        raise SlotRefused(
            "this role may not read the server's log. A superuser can allow it: ALTER ROLE ... "
            "REPLICATION."
        )
    if row["keeps"] == "-1" and not unlimited_wal:
        raise SlotRefused(
            "the server has max_slot_wal_keep_size = -1: for a slot that nobody reads it keeps "
            "its log until the disk is full, and then stops. Set a limit, such as "
            "max_slot_wal_keep_size = '50GB' (no restart is needed), or say --unlimited-wal."
        )


def check_table(connection: Connection, source: SourceTable, keys: tuple[str, ...]) -> None:
    """Refuse a table whose changes do not name the pipeline's keys.

    Args:
        connection: A connection to the source's database.
        source: The table.
        keys: Its columns that the merge keys come from.

    Raises:
        SlotRefused: There is no such table, or its writers would be hindered.
    """
    text = sql(_TABLE, table=bind(str(name(*source.path)), "table"))
    rows = Session(connection).run(text, "look at the source table").rows
    if not rows:
        raise SlotRefused(f"the database has no table {source.name} ({place(connection)}).")
    (row,) = rows
    if row["kind"] not in "rp" or row["persistence"] != "p":
        raise SlotRefused(f"{source.name} is no table whose changes the server logs.")
    if row["inherited"]:
        raise SlotRefused(
            f"other tables inherit from {source.name}, and the log keeps their changes apart. Use "
            "watermark='snapshot' or 'horizon', which lose nothing either."
        )
    if row["identity"] == "f":
        return
    if not row["columns"]:
        raise SlotRefused(
            f"{source.name} has no replica identity, so once its changes are published, nobody "
            "could update or delete its rows. Give it a primary key, or ALTER TABLE ... REPLICA "
            "IDENTITY USING INDEX."
        )
    missing = [key for key in keys if key not in row["columns"]]
    if missing:
        raise SlotRefused(
            f"{source.name}: the merge key {missing[0]!r} is not among the columns by which the "
            f"log names a row ({', '.join(row['columns'])}). Choose these by keys=, or ALTER "
            "TABLE ... REPLICA IDENTITY FULL."
        )


def find_slot(
    connection: Connection, named: Callable[[str], str], source: SourceTable, pipeline: str
) -> tuple[str, bool, bool]:
    """Look for a slot and for its publication in a database.

    Args:
        connection: A connection to it.
        named: Gives the slot's name for the database's.
        source: The table that is published.
        pipeline: The pipeline that reads the slot.

    Returns:
        The database's name, whether the slot is there, and whether there is a publication without
        it, which an earlier attempt has left.

    Raises:
        SlotRefused: The slot is there, and its publication is not, or lacks changes.
    """
    session = Session(connection)
    asked = raw("SELECT current_database()::text AS name")
    database = str(session.run(asked, "ask for the database's name").rows[0]["name"])
    slot = named(database)
    text = sql(_PAIR, slot=bind(slot, "slot"), table=bind(str(name(*source.path)), "table"))
    found = session.run(text, "look for the slot").rows[0]
    if found["slot"] and not found["complete"]:
        # A publication that is made now is not there for the log that the slot holds already.
        raise SlotRefused(
            f"{pipeline}: the slot {slot} is there, and its publication is gone, or does not have "
            f"all changes of {source.name}. {anew(slot, pipeline)}"
        )
    return database, found["slot"], found["publication"] and not found["slot"]


def check_own(connection: Connection, slot: str) -> bool:
    """Refuse to touch a slot that is not pgflow's, or whose publication is elsewhere.

    Args:
        connection: A connection to the slot's database.
        slot: The slot's name.

    Returns:
        Whether there is such a slot.

    Raises:
        SlotRefused: It is somebody else's, or of another database.
    """
    if not slot.startswith(PREFIX):
        raise SlotRefused(f"{slot} is not pgflow's: the names of its slots begin with {PREFIX}.")
    text = sql(
        "SELECT plugin::text AS plugin, database::text AS database,"
        " database = current_database() AS here\n"
        "  FROM pg_replication_slots WHERE slot_name = {slot}::text",
        slot=bind(slot, "slot"),
    )
    rows = Session(connection).run(text, "look for the slot").rows
    if rows and (rows[0]["plugin"] != "pgoutput" or not rows[0]["here"]):
        raise SlotRefused(
            f"{slot} is of database {rows[0]['database']!r} and read by {rows[0]['plugin']}. Name "
            "the connection to that database (--connection); drop by hand what pgflow did not make."
        )
    return bool(rows)


def creation(slot: str, source: SourceTable) -> tuple[Sql, ...]:
    """Return the statements that make a publication and a slot; each runs in its own transaction.

    Args:
        slot: The name of both.
        source: The table.
    """
    return (
        sql(
            "CREATE PUBLICATION {slot} FOR TABLE {table}",
            slot=name(slot),
            table=name(*source.path),
        ),
        sql(
            "SELECT pg_create_logical_replication_slot({slot}::text, 'pgoutput')",
            slot=raw("'" + slot.replace("'", "''") + "'"),
        ),
    )


def removal(slot: str) -> tuple[Sql, ...]:
    """Return the statements that drop a slot, if it is there, and its publication.

    Args:
        slot: The name of both.
    """
    quoted = raw("'" + slot.replace("'", "''") + "'")
    return (
        sql(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
            " WHERE slot_name = {slot}",
            slot=quoted,
        ),
        sql("DROP PUBLICATION IF EXISTS {slot}", slot=name(slot)),
    )
