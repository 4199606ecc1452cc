"""Several connections that read one table: each some of its pages, all of them at one instant.

A COPY into the target cannot be shared out, for there is one transaction. So the readers fill a
queue of a few blocks, and the one COPY drains it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue

import psycopg

from pgflow import idents
from pgflow.declare.sources import SourceTable
from pgflow.plan.sql import Sql, bind, name, raw, sql
from pgflow.run.remote.copying import Block, read_blocks
from pgflow.run.session import Session

#: Pages (of 8 kB) below which a table is read before a second connection is open.
WORTHWHILE = 1280

#: Ranges for each connection, so that none waits long for the last one.
_SHARES = 8

#: The first version whose scans by ctid read only the pages that are asked for.
_RANGE_SCANS = 140_000

#: What a binary COPY begins and ends with; between them stand nothing but rows.
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

#: Seconds after which a reader or its taker looks whether the other one has given up.
_PATIENCE = 0.1

_PARTS = (
    "SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,\n"
    "       coalesce(pg_relation_size(c.oid), 0)\n"
    "         / current_setting('block_size')::bigint AS pages,\n"
    "       c.relrowsecurity AS secured, coalesce(a.amname = 'heap', false) AS heap,\n"
    "       c.relkind = 'r' AND c.relhassubclass AS inherited,\n"
    "       has_table_privilege(c.oid, 'SELECT') AS may_read,\n"
    "       current_setting('server_version_num')::int AS version\n"
    "  FROM (SELECT {table}::regclass AS relid\n"
    "        UNION SELECT relid FROM pg_partition_tree({table}::regclass)) AS t\n"
    "  JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace\n"
    "  LEFT JOIN pg_am a ON a.oid = c.relam\n"
    " ORDER BY c.oid"
)


@dataclass(frozen=True)
class Shares:
    """A table shared out among connections.

    Attributes:
        workers: How many connections read it.
        ranges: What stands after FROM for each share; empty if one connection reads it all.
        reason: Why there are not as many as was asked for; empty if there are.
    """

    workers: int = 1
    ranges: tuple[Sql, ...] = ()
    reason: str = ""


def share_out(session: Session, source: Sql | SourceTable, workers: int, part: bool) -> Shares:
    """Share a source out among connections, if it is a table whose pages can be read apart.

    Args:
        session: The source's session.
        source: The source.
        workers: How many connections are asked for.
        part: Whether only rows from a position on are read.

    Returns:
        The shares.
    """
    if workers <= 1:
        return Shares()
    if not isinstance(source, SourceTable):
        return Shares(reason="the source is a query")
    if part:
        return Shares(reason="only a part of the table is read")
    table = bind(idents.qualify(*source.path), "table")
    found = session.run(sql(_PARTS, table=table), "look how big the source is").rows
    reason = _obstacle(found)
    if reason:
        return Shares(reason=reason)
    leaves = [row for row in found if row["kind"] == "r"]
    pages = sum(row["pages"] for row in leaves)
    if pages < WORTHWHILE:
        return Shares(reason="the table is small")
    step = max(1, -(-pages // (workers * _SHARES)))
    ranges = tuple(each for row in leaves for each in _ranges(row, step))
    return Shares(min(workers, len(ranges)), ranges)


def _obstacle(parts: Sequence[dict[str, object]]) -> str:
    """Say what forbids to read the pages of a table's parts one by one."""
    leaves = [part for part in parts if part["kind"] != "p"]
    if any(int(str(part["version"])) < _RANGE_SCANS for part in parts):
        return "the source's server is older than PostgreSQL 14"
    if not leaves or any(not part["heap"] or part["kind"] != "r" for part in leaves):
        return "the source is no plain table"
    if any(part["inherited"] for part in leaves):
        return "other tables inherit from the table"
    if any(part["secured"] for part in parts):
        return "the table has policies"
    if not all(part["may_read"] for part in leaves):
        return "the role may not read all of the table, or not its partitions one by one"
    return ""


def _ranges(part: dict[str, object], step: int) -> Iterator[Sql]:
    pages = int(str(part["pages"]))
    for first in range(0, max(pages, 1), step):
        last = first + step < pages
        until = raw(f" AND ctid < '({first + step},0)'::tid") if last else Sql()
        yield sql(
            "ONLY {r} WHERE ctid >= {first}{until}",
            r=name(str(part["schema"]), str(part["name"])),
            first=raw(f"'({first},0)'::tid"),
            until=until,
        )


def read_shares(readers: Sequence[Session], copies: Sequence[str]) -> Generator[Block, None, None]:
    """Read several streams of COPY at once, as if they were one.

    Args:
        readers: The sessions, each for a thread of its own.
        copies: The statements, each a binary COPY to the client.

    Yields:
        A header, blocks of rows in any order, a trailer.

    Raises:
        StatementFailed: One of them failed; the others are cancelled.
    """
    crew = _Crew(deque(copies), Queue(2 * len(readers)))
    threads = [
        threading.Thread(target=crew.work, args=(reader,), name="pgflow-reader", daemon=True)
        for reader in readers
    ]
    for thread in threads:
        thread.start()
    try:
        yield HEADER, 0
        yield from crew.blocks(threads)
        yield TRAILER, 0
    finally:
        crew.dismiss(readers, threads)


class _Crew:
    """Readers in threads of their own, and the queue between them and the one who writes."""

    def __init__(self, copies: deque[str], found: Queue[Block | BaseException]) -> None:
        self._copies = copies
        self._found = found
        self._over = threading.Event()

    def work(self, reader: Session) -> None:
        """Read one share after the other, until there is none left or nobody wants them."""
        try:
            while not self._over.is_set():
                try:
                    text = self._copies.popleft()
                except IndexError:
                    return
                with reader.copying(text, "read the source") as copy:
                    for block in rows_only(read_blocks(copy)):
                        self._pass_on(block)
        except BaseException as error:
            # The one who writes raises it; if nobody writes any more, it is of no interest.
            with suppress(_Dismissed):
                self._pass_on(error)

    def blocks(self, threads: Sequence[threading.Thread]) -> Iterator[Block]:
        """Yield what the readers bring, until all of them are done."""
        while True:
            # Asked first: what a reader has passed on before it ended is in the queue by then.
            going_on = any(thread.is_alive() for thread in threads)
            try:
                found = self._found.get(timeout=_PATIENCE if going_on else 0.001)
            except Empty:
                if going_on:
                    continue
                return
            if isinstance(found, BaseException):
                raise found
            yield found

    def dismiss(self, readers: Sequence[Session], threads: Sequence[threading.Thread]) -> None:
        """Have every reader end, whatever its server is doing, and wait for that."""
        self._over.set()
        while True:
            busy = [r for r, t in zip(readers, threads, strict=True) if t.is_alive()]
            if not busy:
                return
            for reader in busy:
                with suppress(psycopg.Error, OSError):
                    reader.driver.cancel_safe(timeout=2.0)
            for thread in threads:
                thread.join(_PATIENCE)

    def _pass_on(self, found: Block | BaseException) -> None:
        while not self._over.is_set():
            try:
                self._found.put(found, timeout=_PATIENCE)
            except Full:
                continue
            return
        raise _Dismissed


class _Dismissed(Exception):  # it is no error
    """Nobody wants the rows any more."""


def rows_only(blocks: Iterator[Block]) -> Iterator[Block]:
    """Take header and trailer off a binary COPY, so that several can be put together.

    Args:
        blocks: Its blocks; the trailer counts as a row.

    Yields:
        The blocks that hold rows.
    """
    held, rows = next(blocks)
    if not held.startswith(HEADER):
        raise ValueError("the source's server sends a binary COPY of another format")
    held = held[len(HEADER) :]
    for block, count in blocks:
        if len(block) >= len(TRAILER):
            if held:
                yield held, rows
            held, rows = block, count
        else:
            held, rows = held + block, rows + count
    if len(held) > len(TRAILER):
        yield held[: -len(TRAILER)], rows - 1
