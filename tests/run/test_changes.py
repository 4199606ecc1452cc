"""What the log says: its messages read from their bytes, and numbers of transactions compared."""

from __future__ import annotations

import struct

import pytest

from pgflow.errors import UnreadableChange
from pgflow.plan.changes import Changes
from pgflow.run.positions.changes import Log, is_running
from pgflow.run.positions.pgoutput import Change, Relation, Truncate, read_message


def relation(oid: int, *columns: tuple[str, bool]) -> bytes:
    """A table's description, of columns that identify a row or do not."""
    head = b"R" + struct.pack(">I", oid) + b"w\0s\0d" + struct.pack(">H", len(columns))
    return head + b"".join(
        struct.pack(">B", key) + name.encode() + b"\0" + struct.pack(">Ii", 25, -1)
        for name, key in columns
    )


def row(*values: str | None) -> bytes:
    """A row of texts and NULLs; `~` stands for a large value that was left alone."""
    found = struct.pack(">H", len(values))
    for value in values:
        if value is None:
            found += b"n"
        elif value == "~":
            found += b"u"
        else:
            found += b"t" + struct.pack(">I", len(value.encode())) + value.encode()
    return found


def change(kind: bytes, oid: int, rest: bytes) -> bytes:
    """A message about a row."""
    return kind + struct.pack(">I", oid) + rest


def log(*messages: bytes, keys: tuple[str, ...] = ("k",)) -> tuple[Log, list[tuple[str, ...]]]:
    """What messages come to for the table 7."""
    made = Log(Changes("slot", "slot", (7,), keys))
    return made, [key for message in messages for key in made.keys(message)]


TABLE = relation(7, ("v", False), ("k", True))


def test_each_message_names_its_keys() -> None:
    """Inserts, updates, deletes and changed keys are told; other tables are not looked at."""
    made, keys = log(
        TABLE,
        relation(8, ("k", True)),
        change(b"I", 7, b"N" + row("a", "1")),
        change(b"U", 7, b"N" + row("~", "2")),
        change(b"U", 7, b"K" + row(None, "3") + b"N" + row("b", "4")),
        change(b"D", 7, b"K" + row(None, "5")),
        change(b"I", 8, b"N" + row("99")),
        b"C" + bytes(25),
    )
    assert (sorted(keys), made.nameless) == ([("1",), ("2",), ("3",), ("4",), ("5",)], False)


def test_a_large_key_that_was_left_alone_is_in_the_old_row() -> None:
    """A key that is kept elsewhere is taken from the row before; without one every key counts."""
    _, keys = log(TABLE, change(b"U", 7, b"O" + row("a", "long") + b"N" + row("b", "~")))
    assert set(keys) == {("long",)}
    made, _ = log(TABLE, change(b"U", 7, b"N" + row("b", "~")))
    assert made.nameless


@pytest.mark.parametrize(
    "messages",
    [
        (TABLE, b"T" + struct.pack(">IBI", 1, 0, 7)),
        (relation(7, ("v", False), ("k", False)), change(b"I", 7, b"N" + row("a", "1"))),
        (relation(7, ("v", True), ("other", True)), change(b"D", 7, b"K" + row("a", "1"))),
    ],
)
def test_without_names_every_key_counts(messages: tuple[bytes, ...]) -> None:
    """A TRUNCATE, and a table that does not tell the merge keys, have everything read."""
    made, _ = log(*messages)
    assert made.nameless


def test_a_truncate_of_others_is_theirs() -> None:
    """Only the own table's counts."""
    made, _ = log(TABLE, b"T" + struct.pack(">IBI", 1, 0, 8))
    assert not made.nameless


@pytest.mark.parametrize(
    "message",
    [b"", b"Q123", b"B12", TABLE[:-3], change(b"I", 7, b"N" + row("abc")[:-1]),
     change(b"I", 7, b"N" + struct.pack(">H", 1) + b"x"), change(b"U", 7, b"Q" + row("a"))],
)  # fmt: skip
def test_what_is_no_message_stops_the_run(message: bytes) -> None:
    """A message that is cut off, or of a kind nobody knows, is never passed over."""
    with pytest.raises(UnreadableChange, match="cannot be read"):
        read_message(message)


def test_messages_say_what_they_are() -> None:
    """The parser keeps numbers, names and identities apart."""
    assert read_message(TABLE) == Relation(7, ("v", "k"), frozenset({"k"}))
    assert read_message(change(b"D", 7, b"O" + row("é", None))) == Change(7, ("é", None), None)
    assert read_message(b"T" + struct.pack(">IBII", 2, 3, 7, 8)) == Truncate((7, 8))


@pytest.mark.parametrize(
    ("snapshot", "xid", "running"),
    [
        ("10:12:10", 10, True),
        ("10:12:10", 11, False),
        ("10:12:10", 12, True),
        ("10:12:10", 9, False),
        (f"{2**32 - 2}:{2**32 + 3}:{2**32 - 2},{2**32 + 1}", 2**32 - 2, True),
        (f"{2**32 - 2}:{2**32 + 3}:{2**32 - 2},{2**32 + 1}", 1, True),
        (f"{2**32 - 2}:{2**32 + 3}:{2**32 - 2},{2**32 + 1}", 2, False),
        (f"{2**32 - 2}:{2**32 + 3}:", 2**32 - 1, False),
        (f"{2**33}:{2**33}:", 0, True),
    ],
)
def test_numbers_of_32_bits_are_read_around_the_snapshot(
    snapshot: str, xid: int, running: bool
) -> None:
    """The log has half of a transaction's number; the snapshot gives it the other half."""
    assert is_running(snapshot, xid) is running
