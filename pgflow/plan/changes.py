"""Changes from a source's log: the keys that it names, and the rows that they have now.

The log says which keys were written or deleted. What the rows look like is read from the table
itself, in one statement, so that values that the log leaves out, of columns that were added since
or of types that it spells in its own way, arrive as they are. A key without a row was deleted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pgflow.plan.decision import Unknown
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, bind, join, name, names, raw, sql
from pgflow.plan.staging import STAGE, staged
from pgflow.plan.statement import Feed, Statement

#: The keys that the log names; named with its schema, so that no search path can hide it.
CHANGED = raw("pg_temp.pgflow_changed")


@dataclass(frozen=True)
class Changes:
    """Where the changes of one table are read.

    Attributes:
        slot: The replication slot.
        publication: The publication that the slot's reader asks for.
        relations: The numbers in the catalogue of the table and of its partitions.
        keys: The table's columns that the merge keys come from, in their order.
        whole: Whether every key counts as changed, because partitions have come or gone, or the
            publication was altered.
    """

    slot: str
    publication: str
    relations: tuple[int, ...]
    keys: tuple[str, ...]
    whole: bool = False


@dataclass(frozen=True)
class ChangesFeed(Feed):
    """The keys that a slot names.

    Attributes:
        changes: Where they are read.
        since: How far was read before, which the slot may forget.
        keeps: Whether the slot forgets nothing all the same, because this is a rehearsal.
        types: The types of the keys.
        everything: Statements that take every key for changed, where the log cannot name them: it
            tells of a TRUNCATE without keys.
    """

    changes: Changes | None = None
    since: str = "0/0"
    keeps: bool = False
    types: tuple[str, ...] = ()
    everything: tuple[Sql, ...] = ()


def reads_changes(spec: SyncSpec) -> bool:
    """Whether a run reads the log; the first one reads the whole source."""
    mark = spec.watermark
    if mark is None or mark.kind != "slot" or mark.value is None:
        return False
    return not isinstance(mark.value, Unknown)


def stage_changes(spec: SyncSpec) -> SyncSpec:
    """Have the rows of changed keys staged, and only these keys looked at in the target.

    Args:
        spec: What is planned; its watermark is a slot that has been read before.

    Returns:
        The same, with the stage as its source, limited to the changed keys: of those, keys that
        the stage lacks were deleted.
    """
    keys, source = spec.keys.value, spec.source.relation
    fill = (
        Statement(
            "make room for the keys that have changed",
            sql(
                "CREATE TEMPORARY TABLE {changed} ON COMMIT DROP AS\n"
                "SELECT {keys}\n  FROM {source} AS s LIMIT 0",
                changed=CHANGED,
                keys=names(keys, of="s"),
                source=source,
            ),
        ),
        _read_log(spec),
        Statement("tell the planner how few keys they are", sql("ANALYZE {c}", c=CHANGED)),
        Statement(
            "put the rows of these keys into a stage",
            sql(
                "CREATE TEMPORARY TABLE {stage} ON COMMIT DROP AS\nSELECT *\n  FROM {source} AS s\n"
                " WHERE ({keys}) IN (SELECT {of_changed} FROM {changed} AS c)",
                stage=STAGE,
                source=source,
                keys=names(keys, of="s"),
                of_changed=names(keys, of="c"),
                changed=CHANGED,
            ),
        ),
    )
    spec = staged(spec, fill, "only the rows whose keys the source's log names")
    # Everything may be gone of what has changed.
    options = replace(spec.options, on_empty_source="allow")
    return replace(spec, options=options, scope=_scope(spec))


def _read_log(spec: SyncSpec) -> Statement:
    """Look at the changes without taking them: a run that fails finds them again."""
    mark, keys = spec.watermark, spec.keys.value
    if mark is None or not isinstance(mark.changes, Changes):
        raise TypeError(f"{spec.owner}: no slot is known")  # run/positions/slots.py has found one
    changes, columns = mark.changes, spec.source.columns
    known = () if isinstance(columns, Unknown) else columns
    types = {column.name: str(column.type) for column in known}
    into = sql("INSERT INTO {changed} ({keys})\n", changed=CHANGED, keys=names(keys))
    of_target = join(
        ", ", (sql("t.{k}::{kind}", k=name(key), kind=raw(types[key])) for key in keys)
    )
    feed = ChangesFeed(
        f"slot {changes.slot}",
        changes=changes,
        since=str(mark.value),
        keeps=spec.rehearsal,
        types=tuple(types[key] for key in keys),
        everything=(
            into + sql("SELECT {k} FROM {s} AS s", k=names(keys, of="s"), s=spec.source.relation),
            into + sql("SELECT {k} FROM {t} AS t", k=of_target, t=spec.target.relation),
        ),
    )
    look = sql(
        "SELECT data FROM pg_logical_slot_peek_binary_changes({slot}::text,"
        " {until}::text::pg_lsn, NULL,\n"
        "       'proto_version', '1', 'publication_names', quote_ident({publication}::text))",
        slot=bind(changes.slot, "slot"),
        until=bind(mark.now, "until"),
        publication=bind(changes.publication, "publication"),
    )
    purpose = "take over the keys that the source's log names"
    return Statement(purpose, look, feed=feed, details="changes")


def _scope(spec: SyncSpec) -> Sql:
    """Only the target's rows of changed keys, and of the caller's own scope."""
    keys = spec.keys.value
    casts = (
        sql("c.{key}::{kind}", key=name(key), kind=raw(spec.target.column(key).type))
        for key in keys
    )
    condition = sql(
        "({keys}) IN (SELECT {casts} FROM {changed} AS c)",
        keys=names(keys),
        casts=join(", ", casts),
        changed=CHANGED,
    )
    if spec.scope is None:
        return raw("(") + condition + raw(")")
    return sql("({changed} AND {scope})", changed=condition, scope=spec.scope)
