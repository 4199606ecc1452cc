"""COPY out of one server and into another, in blocks of whole rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.waiting import Ready, Wait

from pgflow.run.events import Transferred
from pgflow.run.sources.origin import Tell

#: Bytes that are joined before they are passed on. A server sends each row as a message of its
#: own; passing every message on takes half as long again, and larger blocks gain nothing.
BLOCK = 65_536

#: Seconds between two reports of how far a transfer is.
_INTERVAL = 0.25

#: Bytes, and how many rows are in them.
Block = tuple[bytes, int]


def read_blocks(copy: psycopg.Copy) -> Iterator[Block]:
    """Read what a `COPY ... TO STDOUT` sends, row after row.

    Args:
        copy: The operation, just begun.

    Yields:
        Blocks of whole rows, each message of the server counted as one row.

    Raises:
        psycopg.Error: The server ended it with an error, or the connection broke.
    """
    connection = copy.connection
    protocol = connection.pgconn
    # One call into libpq a row, where Copy.read() takes a generator: that halves the time.
    receive = protocol.get_copy_data
    block, rows = bytearray(), 0
    while True:
        size, data = receive(1)
        if size > 0:
            block += data
            rows += 1
            if len(block) >= BLOCK:
                yield bytes(block), rows
                block.clear()
                rows = 0
        elif size == 0:
            connection.wait(_more(protocol))
        else:
            break
    _end(connection)
    yield bytes(block), rows


def write_blocks(
    blocks: Iterable[Block], write: Callable[[bytes], None], tell: Tell, *, extra: int = 0
) -> Transferred:
    """Pass blocks on, and tell now and then how far that is.

    Args:
        blocks: What to pass on.
        write: Takes the bytes.
        tell: Told how far it is.
        extra: How many of the counted rows are none: the trailer of a binary COPY is sent like one.

    Returns:
        How much it was.
    """
    begun = told = time.perf_counter()
    rows, size = -extra, 0
    for block, count in blocks:
        write(block)
        rows += count
        size += len(block)
        now = time.perf_counter()
        if now - told >= _INTERVAL:
            told = now
            tell(Transferred(rows, size, now - begun))
    return Transferred(max(0, rows), size, time.perf_counter() - begun)


def _more(protocol: Any) -> Generator[Wait, Ready | int, None]:
    """Wait until the server has sent more; psycopg waits, so that Ctrl-C cancels the server."""
    while not (yield Wait.R):
        continue
    protocol.consume_input()


def _end(connection: psycopg.Connection[Any]) -> None:
    """Read how the server ended the operation; the answer has arrived with the last row."""
    failed = None
    while (result := connection.pgconn.get_result()) is not None:
        if result.status != ExecStatus.COMMAND_OK:
            failed = failed or result
    if failed is not None:
        raise error_from_result(failed, encoding=connection.info.encoding)
