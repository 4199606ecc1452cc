"""Reading a slot: the keys that the log names, put into a temporary table, in flat memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from pgflow.errors import NoPosition, PgflowError
from pgflow.plan.changes import CHANGED, Changes, ChangesFeed
from pgflow.plan.sql import bind, raw, sql
from pgflow.plan.statement import Statement
from pgflow.run.positions.pgoutput import (
    UNCHANGED,
    Begin,
    Change,
    Message,
    Relation,
    Row,
    Truncate,
    read_message,
)
from pgflow.run.session import Answer, Session

#: Messages that are fetched, and keys that are written, at a time.
_CHUNK = 5_000

#: Seconds to wait for a transaction that is in the log, but not yet to be seen by others.
_PATIENCE = 30.0

_CURSOR = raw("pgflow_changes")
_HALF, _WHOLE = 2**31, 2**32

Key = tuple[str, ...]


@dataclass
class Log:
    """What a slot's messages come to for one table.

    Attributes:
        changes: The table, and which of its columns are keys.
        since: The place in the log before which an earlier run has read every commit. A slot that
            has let go of that does not tell it any more; one that has not, does.
        messages: How many messages were read.
        transactions: How many transactions were read.
        unseen: The low 32 bits of the numbers of those that may not be seen by others yet.
        nameless: Whether the log told of changes without naming their keys.
    """

    changes: Changes
    since: int = 0
    messages: int = 0
    transactions: int = 0
    unseen: set[int] = field(default_factory=set)
    nameless: bool = False
    _places: dict[int, tuple[int, ...]] = field(default_factory=dict)
    _known: bool = False  # whether the transaction was read by an earlier run
    _heard: dict[int, Relation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.nameless = self.nameless or self.changes.whole
        self._ours = frozenset(self.changes.relations)

    def keys(self, data: bytes) -> Iterator[Key]:
        """Read one message.

        Args:
            data: Its bytes.

        Yields:
            The keys that it says have changed.
        """
        message = read_message(data)
        if isinstance(message, Begin):
            self._known = message.committed < self.since
        if self._known:
            self._hear(message)
            return
        self.messages += 1
        if isinstance(message, Change | Truncate):
            self._recall(message)
        if isinstance(message, Begin):
            self.transactions += 1
            self.unseen.add(message.xid)
        elif isinstance(message, Relation):
            self._heard.pop(message.oid, None)
            if message.oid in self._ours:
                self._look(message)
        elif isinstance(message, Truncate):
            self.nameless = self.nameless or not self._ours.isdisjoint(message.oids)
        elif isinstance(message, Change) and message.oid in self._ours:
            yield from self._of(message)

    def _hear(self, message: Message | None) -> None:
        """Keep what a table looks like: the log says so once, with its first change."""
        if isinstance(message, Relation):
            self._heard[message.oid] = message

    def _recall(self, message: Change | Truncate) -> None:
        """Look at the tables of this message that were told of before what is read here."""
        for oid in (message.oid,) if isinstance(message, Change) else message.oids:
            relation = self._heard.pop(oid, None)
            if relation is not None:
                self.messages += 1
                if oid in self._ours:
                    self._look(relation)

    def _look(self, relation: Relation) -> None:
        """Find the keys; without them in the log, every row may have changed."""
        if set(self.changes.keys) <= relation.identity:
            places = tuple(relation.columns.index(key) for key in self.changes.keys)
            self._places[relation.oid] = places
        else:
            self._places.pop(relation.oid, None)
            self.nameless = True

    def _of(self, change: Change) -> Iterator[Key]:
        places = self._places.get(change.oid, ())
        if not places:
            return
        for row, other in ((change.old, change.new), (change.new, change.old)):
            if row is not None:
                yield tuple(self._value(row, other, place) for place in places)

    def _value(self, row: Row, other: Row | None, place: int) -> str:
        """A key's value; a large one that an update left alone stands in the old row only."""
        value = row[place]
        if value is UNCHANGED and other is not None:
            value = other[place]
        if not isinstance(value, str):
            self.nameless = True
            return ""
        return value


def read_changes(session: Session, statement: Statement) -> Answer:
    """Put the keys that a slot names into the table that waits for them.

    Args:
        session: The session, in the run's transaction.
        statement: The statement whose feed says which slot.

    Returns:
        What the run's details keep.

    Raises:
        NoPosition: A transaction stays in the log, unseen, for too long.
    """
    feed = statement.feed
    if not isinstance(feed, ChangesFeed) or feed.changes is None:
        raise PgflowError(f"{statement.purpose}: this statement reads no slot")
    if not feed.keeps:
        _forget(session, feed.changes.slot, feed.since)
    log, keys = Log(feed.changes, _place(feed.since)), set[Key]()
    cursor = sql("DECLARE {c} NO SCROLL CURSOR FOR\n", c=_CURSOR)
    session.run(cursor + statement.sql, "look at the source's log")
    fetch = sql("FETCH {n} FROM {c}", n=raw(str(_CHUNK)), c=_CURSOR)
    while rows := session.run(fetch, "read the source's log").rows:
        for row in rows:
            keys.update(log.keys(row["data"]))
        if len(keys) >= _CHUNK or log.nameless:
            _write(session, feed, set() if log.nameless else keys)
            keys.clear()
        if len(log.unseen) >= _CHUNK:
            _look_again(session, log)
    session.run(sql("CLOSE {c}", c=_CURSOR), "end reading the source's log")
    _await(session, log)
    if log.nameless:
        for each in feed.everything:
            session.run(each, "take every key for changed")
    else:
        _write(session, feed, keys)
    told = {"slot": feed.changes.slot, "messages": log.messages, "everything": log.nameless}
    return Answer(({**told, "transactions": log.transactions},), log.messages)


def _forget(session: Session, slot: str, since: str) -> None:
    """Let the slot go of what an earlier run has read, and committed."""
    text = sql(
        "SELECT pg_replication_slot_advance(slot_name, {since}::text::pg_lsn)\n"
        "  FROM pg_replication_slots WHERE slot_name = {slot}::text"
        " AND confirmed_flush_lsn < {since}::text::pg_lsn",
        slot=bind(slot, "slot"),
        since=bind(since, "since"),
    )
    session.run(text, "let the slot go of what was read before")


def _place(written: str) -> int:
    """Read a place in the log, which the server writes in two halves."""
    high, low = written.split("/")
    return int(high, 16) << 32 | int(low, 16)


def _write(session: Session, feed: ChangesFeed, keys: set[Key]) -> None:
    if not keys:
        return
    columns = [list(column) for column in zip(*keys, strict=True)]
    values = [sql("{v}::text[]", v=bind(column, "keys")) for column in columns]
    casts = ", ".join(f"k.k{i}::{kind}" for i, kind in enumerate(feed.types))
    names = ", ".join(f"k{i}" for i in range(len(columns)))
    text = sql("INSERT INTO {c} SELECT {casts} FROM unnest(", c=CHANGED, casts=raw(casts))
    for number, value in enumerate(values):
        text = text + (raw(", ") + value if number else value)
    session.run(text + raw(f") AS k ({names})"), "keep the keys that have changed")


def _await(session: Session, log: Log) -> None:
    """Wait until what was read is to be seen.

    A transaction stands in the log a moment before others see it, or longer where it waits for a
    standby. Its rows would not be found, and the slot would pass on.
    """
    deadline = time.monotonic() + _PATIENCE
    while log.unseen:
        _look_again(session, log)
        if not log.unseen:
            return
        if time.monotonic() > deadline:
            raise NoPosition(
                "a transaction has been in the source's log for a while, and is not to be seen "
                "yet: it waits for a synchronous standby. Nothing was written; run again when "
                "that is there."
            )
        time.sleep(0.01)


def _look_again(session: Session, log: Log) -> None:
    text = raw("SELECT pg_current_snapshot()::text AS snapshot")
    snapshot = str(session.run(text, "look which transactions are over").rows[0]["snapshot"])
    log.unseen = {each for each in log.unseen if is_running(snapshot, each)}


def is_running(snapshot: str, xid: int) -> bool:
    """Tell whether a snapshot does not see a transaction.

    Args:
        snapshot: `xmin:xmax:xip,...`, in 64 bits.
        xid: The low 32 bits of the transaction's number; it is less than two billion transactions
            away from the snapshot.
    """
    _oldest, following, running = snapshot.split(":")
    ahead = int(following)
    whole = ahead + (xid - ahead + _HALF) % _WHOLE - _HALF
    return whole >= ahead or str(whole) in running.split(",")
