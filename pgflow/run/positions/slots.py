"""Replication slots of pipelines: which there are, and whether what they hold is complete."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pgflow.declare.sources import SourceTable
from pgflow.errors import NoPosition, SourceMismatch, StalePosition
from pgflow.plan.changes import Changes
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, bind, name, raw, sql
from pgflow.run.session import Session

#: What the names of pgflow's slots and publications begin with.
PREFIX = "pgflow_"

#: Seconds to wait for the log to be on the disk; what is not there then comes with the next run.
_PATIENCE = 2.0

#: The state of a slot and of its publication, in one look. `made` is another text once either was
#: altered, or a partition taken away and brought back: writes in between are in no log.
_QUESTION = (
    "SELECT r.oid::bigint AS relation, r.relkind = 'r' AND EXISTS ("
    "SELECT FROM pg_inherits AS h WHERE h.inhparent = r.oid) AS inherited,\n"
    "       ARRAY(SELECT t.relid::oid::bigint FROM pg_partition_tree(r.oid) AS t"
    " UNION SELECT r.oid::bigint ORDER BY 1) AS parts,\n"
    "       s.slot_name IS NOT NULL AS there,\n"
    "       s.plugin::text AS plugin, s.database::text = current_database() AS here,"
    " s.wal_status::text AS wal_status,\n"
    "       s.confirmed_flush_lsn::text AS confirmed,"
    " s.confirmed_flush_lsn > {value}::text::pg_lsn AS ahead,\n"
    "       p.oid IS NOT NULL AS published,\n"
    "       coalesce(p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate"
    " AND NOT p.pubviaroot, false) AS complete,\n"
    "       EXISTS (SELECT FROM pg_publication_rel AS l WHERE l.prpubid = p.oid"
    " AND l.prrelid = r.oid AND l.prqual IS NULL AND l.prattrs IS NULL) AS listed,\n"
    "       concat_ws(' ', p.oid, p.xmin, (SELECT l.oid || ' ' || l.xmin FROM pg_publication_rel"
    " AS l WHERE l.prpubid = p.oid AND l.prrelid = r.oid),\n"
    "         (SELECT hashtextextended(string_agg(h.inhrelid || ' ' || h.xmin, ' '"
    " ORDER BY h.inhrelid), 0) FROM pg_inherits AS h\n"
    "           WHERE h.inhrelid IN (SELECT t.relid FROM pg_partition_tree(r.oid) AS t"
    " WHERE t.level > 0))) AS made\n"
    "  FROM (SELECT c.oid, c.relkind FROM pg_class AS c WHERE c.oid = to_regclass({table}::text))"
    " AS r\n"
    "  LEFT JOIN pg_replication_slots AS s ON s.slot_name = {slot}::text\n"
    "  LEFT JOIN pg_publication AS p ON p.pubname = {slot}::text"
)


def slot_name(database: str, pipeline: str, target: str, scope: str = "") -> str:
    """Name the slot, and the publication, of one target of a pipeline.

    Slots belong to the whole server, and their names take lower-case letters, digits and `_` only.

    Args:
        database: The source's database.
        pipeline: The pipeline's name.
        target: The target's qualified name.
        scope: The scope's text, or an empty string.
    """
    told = "\0".join((database, pipeline, target, scope))
    digest = hashlib.sha256(told.encode()).hexdigest()[:10]
    readable = re.sub(r"[^a-z0-9]+", "_", pipeline.lower()).strip("_")
    return f"{PREFIX}{readable[:40]}_{digest}"


def anew(slot: str, pipeline: str) -> str:
    """Say how to make a slot anew; what changed in between is in no log.

    Args:
        slot: The slot's name.
        pipeline: The pipeline that reads it.
    """
    return (
        f"`pgflow slots drop {slot}` and `pgflow slots create {pipeline}` make both anew; then "
        f"`pgflow watermark reset {pipeline}` has the next run read everything."
    )


def with_changes(
    session: Session, spec: SyncSpec, source: Sql | SourceTable | None, known: Mapping[str, Any]
) -> SyncSpec:
    """Find the slot of a pipeline that reads one, and make sure that it lacks nothing.

    Args:
        session: The target's session; the source is in its database.
        spec: What is planned; its watermark is complete.
        source: The source; None if it is elsewhere.
        known: What the stored position is bound to.

    Raises:
        NoPosition: The slot, or the publication that it reads, is not there.
        StalePosition: Changes since the stored position are gone.
        SourceMismatch: The source is no table.
    """
    mark = spec.watermark
    if mark is None or mark.kind != "slot":
        return spec
    source = _table(spec, source)
    bound = json.loads(mark.details or "{}")
    slot = slot_name(bound.pop("database_name"), spec.owner, spec.target.label, spec.scope_name)
    value = mark.value if isinstance(mark.value, str) else None
    found = _look(session, source, slot, value)
    _check_there(spec, slot, source, found)
    if value is not None:
        _check_complete(spec, slot, value, found, known)
    keys = tuple(source.source_column(key) for key in spec.keys.value)
    parts = tuple(found["parts"])
    # Rows come with a partition that is attached, and go with one that is dropped: no log says so.
    # Nor does it have what was written while the publication, or a partition, was another.
    same = (tuple(known.get("parts") or ()), known.get("made")) == (parts, found["made"])
    whole = value is not None and not same
    changes = Changes(slot, slot, parts, keys, whole=whole)
    # A whole reading may miss what is in the log already and not to be seen yet: the next run
    # begins where the slot does, not where the log was.
    now = found["confirmed"] if value is None else flushed(session)
    table = {"relation": found["relation"], "parts": list(parts), "made": found["made"]}
    details = json.dumps({**bound, "slot": slot, **table})
    return replace(spec, watermark=replace(mark, changes=changes, now=now, details=details))


def _table(spec: SyncSpec, source: Sql | SourceTable | None) -> SourceTable:
    if source is None:
        raise NoPosition(
            f"{spec.owner}: watermark='slot' reads a log in the target's own database, and the "
            "source is elsewhere. Use watermark='snapshot' or 'horizon' there, which lose nothing "
            "either."
        )
    if not isinstance(source, SourceTable):
        raise SourceMismatch(
            "a slot names the changed keys of one table, and the source is a query. Give the "
            "table by source_table=, and rename columns by column_map=.",
            pipeline=spec.owner,
            target=spec.target.label,
        )
    return source


def flushed(session: Session) -> str:
    """Say how far the server's log has come that can be read, which is what is on its disk.

    Where commits do not wait for the disk, their rows are seen a moment before: the log is waited
    for then, so that a run brings what was committed when it began.

    Args:
        session: A session on the source's database.
    """
    text = raw(
        "SELECT pg_current_wal_flush_lsn()::text AS flushed, pg_current_wal_insert_lsn()::text"
        " AS written, current_setting('synchronous_commit') = 'off' AS late"
    )
    found = session.run(text, "ask the source's server how far its log is").rows[0]
    again = sql(
        "SELECT pg_current_wal_flush_lsn()::text AS flushed,"
        " pg_current_wal_flush_lsn() < {w}::text::pg_lsn AS late",
        w=bind(found["written"], "written"),
    )
    deadline = time.monotonic() + _PATIENCE
    while found["late"] and time.monotonic() < deadline:
        found = session.run(again, "wait for the log to be on the disk").rows[0]
        if found["late"]:
            time.sleep(0.02)
    return str(found["flushed"])


def _look(session: Session, source: SourceTable, slot: str, value: str | None) -> dict[str, Any]:
    text = sql(
        _QUESTION,
        slot=bind(slot, "slot"),
        table=bind(str(name(*source.path)), "table"),
        value=bind(value, "watermark"),
    )
    rows = session.run(text, "look for the source's slot").rows
    return rows[0] if rows else {"there": False, "published": False}


def _check_there(spec: SyncSpec, slot: str, source: SourceTable, found: Mapping[str, Any]) -> None:
    way_out = f"`pgflow slots create {spec.owner}` makes it"
    if not found["there"]:
        raise NoPosition(
            f"{spec.owner}: there is no replication slot {slot}. {way_out}; it has the server "
            "keep its log for this pipeline. If the server was a standby or a backup before, "
            f"`pgflow watermark reset {spec.owner}` as well: changes may be lost."
        )
    if found["plugin"] != "pgoutput" or not found["here"]:
        raise NoPosition(
            f"{spec.owner}: the replication slot {slot} is not pgflow's: it is of another "
            f"database, or read by {found['plugin']}. Drop it; {way_out} anew."
        )
    if found["inherited"]:
        raise NoPosition(
            f"{spec.owner}: other tables inherit from {source.name}, whose changes the log keeps "
            "apart. Use watermark='snapshot' or 'horizon', which lose nothing either."
        )
    if not (found["published"] and found["complete"] and found["listed"]):
        raise NoPosition(
            f"{spec.owner}: the publication {slot} is gone, or does not have all changes of "
            f"{source.name}: whole rows, and inserts, updates, deletes and truncates. "
            f"{anew(slot, spec.owner)}"
        )
    if found["wal_status"] == "lost":
        raise StalePosition(
            f"{spec.owner}: the server has dropped log that the slot {slot} needed, because it "
            "held more than max_slot_wal_keep_size, or was idle for too long. "
            f"{anew(slot, spec.owner)}"
        )


def _check_complete(
    spec: SyncSpec,
    slot: str,
    value: str,
    found: Mapping[str, Any],
    known: Mapping[str, Any],
) -> None:
    way_out = f"`pgflow watermark reset {spec.owner}` has the next run read everything."
    if found["ahead"]:
        raise StalePosition(
            f"{spec.owner}: the slot {slot} begins at {found['confirmed']}, and this pipeline has "
            f"read to {value}: the slot was made anew, or somebody else reads it. {way_out}"
        )
    if known.get("relation") not in (None, found["relation"]):
        raise StalePosition(
            f"{spec.owner}: the source's table was made anew since the last run, and the log of "
            f"the new one may begin later than its rows. {way_out}"
        )
