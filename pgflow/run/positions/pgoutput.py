"""The messages of PostgreSQL's own logical decoding, `pgoutput` version 1, read from their bytes.

Laid out in the manual under "Logical Replication Message Formats".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pgflow.errors import UnreadableChange


@dataclass(frozen=True)
class Begin:
    """A transaction begins.

    Attributes:
        committed: Where in the log its commit stands.
        xid: The low 32 bits of its number.
    """

    committed: int
    xid: int


@dataclass(frozen=True)
class Relation:
    """What a table looked like when the changes that follow were written.

    Attributes:
        oid: Its number in the catalogue.
        columns: Its columns, in the order in which rows have them.
        identity: Those that belong to its replica identity.
    """

    oid: int
    columns: tuple[str, ...]
    identity: frozenset[str]


#: A row's values by place: text, None for NULL, `UNCHANGED` for one that is kept elsewhere.
Row = tuple[object, ...]

#: A large value that an update did not touch; the log does not repeat it.
UNCHANGED = object()


@dataclass(frozen=True)
class Change:
    """A row was inserted, updated or deleted.

    Attributes:
        oid: The table.
        old: What identified the row before, where it was deleted or that changed.
        new: The row now; None where it was deleted.
    """

    oid: int
    old: Row | None
    new: Row | None


@dataclass(frozen=True)
class Truncate:
    """Tables were emptied.

    Attributes:
        oids: The tables.
    """

    oids: tuple[int, ...]


#: A message that says something about keys; commits, types and origins do not.
Message = Begin | Relation | Change | Truncate

#: Messages that change no key: commit, origin, type, and what programs emit themselves.
_IGNORED = frozenset(b"COYM")


class _Reader:
    """Takes values off the front of a message."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 1

    def take(self, layout: str) -> tuple[int, ...]:
        found = struct.unpack_from(f">{layout}", self.data, self.at)
        self.at += struct.calcsize(f">{layout}")
        return found

    def text(self) -> str:
        end = self.data.index(b"\0", self.at)
        found = self.data[self.at : end].decode()
        self.at = end + 1
        return found

    def byte(self) -> bytes:
        self.at += 1
        return self.data[self.at - 1 : self.at]

    def row(self) -> Row:
        (count,) = self.take("H")
        return tuple(self._value() for _ in range(count))

    def _value(self) -> object:
        kind = self.byte()
        if kind == b"n":
            return None
        if kind == b"u":
            return UNCHANGED
        if kind != b"t":
            raise ValueError(f"a value of kind {kind!r}")
        (length,) = self.take("I")
        value = self.data[self.at : self.at + length]
        if len(value) != length:
            raise ValueError("a value that is cut off")
        self.at += length
        return value.decode()


def read_message(data: bytes) -> Message | None:
    """Read one message.

    Args:
        data: Its bytes, as the server gives them.

    Returns:
        What it says; None if it says nothing about rows.

    Raises:
        UnreadableChange: It is none of the messages of version 1, or cut off.
    """
    try:
        return _read(data)
    except (ValueError, struct.error, IndexError) as error:
        raise UnreadableChange(
            f"the source's log holds a message that cannot be read ({error}): {data[:40]!r}. "
            "Nothing was written; reset the watermark to read the whole source instead."
        ) from error


def _read(data: bytes) -> Message | None:
    kind, reader = data[:1], _Reader(data)
    if kind == b"B":
        committed, _, xid = reader.take("QqI")
        return Begin(committed, xid)
    if kind == b"R":
        return _relation(reader)
    if kind == b"I":
        (oid,), _ = reader.take("I"), _expect(reader, b"N")
        return Change(oid, None, reader.row())
    if kind == b"U":
        return _update(reader)
    if kind == b"D":
        (oid,), _ = reader.take("I"), _expect(reader, b"KO")
        return Change(oid, reader.row(), None)
    if kind == b"T":
        count, _options = reader.take("IB")
        return Truncate(reader.take(f"{count}I"))
    if kind and kind in bytes(_IGNORED):
        return None
    raise ValueError(f"a message of kind {kind!r}")


def _relation(reader: _Reader) -> Relation:
    (oid,) = reader.take("I")
    reader.text(), reader.text()
    reader.byte()
    (count,) = reader.take("H")
    columns, identity = [], set()
    for _ in range(count):
        (flags,) = reader.take("B")
        column = reader.text()
        reader.take("Ii")
        columns.append(column)
        if flags & 1:
            identity.add(column)
    return Relation(oid, tuple(columns), frozenset(identity))


def _update(reader: _Reader) -> Change:
    (oid,), old = reader.take("I"), None
    mark = reader.byte()
    if mark in (b"K", b"O"):
        old = reader.row()
        mark = reader.byte()
    if mark != b"N":
        raise ValueError(f"an update with {mark!r}")
    return Change(oid, old, reader.row())


def _expect(reader: _Reader, wanted: bytes) -> bytes:
    found = reader.byte()
    if not found or found not in wanted:
        raise ValueError(f"{found!r} in place of {wanted!r}")
    return found
