"""The source of the fault tests: two tables, six writers at once, and what holds of every commit.

Rows come in pairs: `2k` and `2k + 1` are written by one transaction with one value. Whoever sees
one of a pair without the other, or with another value, sees a state that never was.

`pairs` knows inserts, updates and deletes; `growing` no deletes. `u` is the beginning of the
writer's transaction, as many programs write it, and transactions commit in another order than they
begin. `e` is an instant of the row's own, later at each change.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field

import psycopg

#: So many writers write at once.
WRITERS = 6

#: Keys of `pairs` are below this, so that they are deleted and come back.
KEYS = 120

#: So many rows `growing` gets at most.
MOST = 1_200

#: How long a writer holds a transaction open at most, on purpose.
LONGEST_HOLD = 0.25

SCHEMA = """
CREATE SCHEMA src;
CREATE TABLE src.pairs (
    id bigint PRIMARY KEY, a text NOT NULL, u timestamptz NOT NULL DEFAULT now(),
    e timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE src.growing (
    id bigint PRIMARY KEY, a text NOT NULL, u timestamptz NOT NULL DEFAULT now(),
    e timestamptz NOT NULL DEFAULT clock_timestamp(),
    xid xid8 NOT NULL DEFAULT pg_current_xact_id());
CREATE INDEX ON src.growing (xid);
CREATE INDEX ON src.growing (u);
CREATE SEQUENCE src.numbers;
CREATE FUNCTION src.track() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN NEW.xid := pg_current_xact_id(); RETURN NEW; END';
CREATE TRIGGER track BEFORE INSERT OR UPDATE ON src.growing
    FOR EACH ROW EXECUTE FUNCTION src.track();
ALTER TABLE src.growing ENABLE ALWAYS TRIGGER track;
"""

_UPDATE = (
    "UPDATE src.{} SET a = %s, u = now(), e = greatest(clock_timestamp(), e + interval '1us')"
    " WHERE id IN (%s, %s)"
)
_INSERT = "INSERT INTO src.{} (id, a, e) SELECT id, %s, clock_timestamp() FROM unnest(%s) AS id"


@dataclass
class Written:
    """What the writers did."""

    committed: int = 0
    rolled_back: int = 0
    savepoints: int = 0
    broken: int = 0
    longest: float = 0.0
    problems: list[str] = field(default_factory=list)


class Writers:
    """Six threads that write until they are told to stop.

    Args:
        conninfo: The database.
        seed: What their choices follow from.
    """

    def __init__(self, conninfo: str, seed: int) -> None:
        self.conninfo = conninfo
        self.written = Written()
        self._over = threading.Event()
        self._guard = threading.Lock()
        self._threads = [
            threading.Thread(target=self._write, args=(random.Random(f"{seed} writer {n}"),))
            for n in range(WRITERS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let everybody finish the transaction that is open."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _write(self, chance: random.Random) -> None:
        connection: psycopg.Connection | None = None
        while not self._over.is_set():
            try:
                if connection is None or connection.closed:
                    connection = psycopg.connect(self.conninfo)
                self._transaction(connection, chance)
            except psycopg.OperationalError:
                # The server restarts, or two writers met in a deadlock.
                self._count("broken")
                self._leave(connection)
                self._over.wait(0.05)
            except psycopg.errors.UniqueViolation:
                self._count("rolled_back")  # somebody else has inserted the key
                self._leave(connection)
            except Exception as error:
                self.written.problems.append(f"a writer: {error!r}")
                return
            self._over.wait(chance.uniform(0.002, 0.03))
        if connection is not None:
            connection.close()

    def _leave(self, connection: psycopg.Connection | None) -> None:
        if connection is not None:
            try:
                connection.rollback()
            except psycopg.OperationalError:
                connection.close()

    def _transaction(self, connection: psycopg.Connection, chance: random.Random) -> None:
        begun = time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute("SELECT now()")  # what `u` will be
            if chance.random() < 0.3:
                time.sleep(chance.uniform(0, LONGEST_HOLD / 2))  # others overtake it
            for _ in range(chance.choice((1, 1, 1, 2, 3))):
                self._change(cursor, chance)
            if chance.random() < 0.2:
                time.sleep(chance.uniform(0, LONGEST_HOLD / 2))
        if chance.random() < 0.15:
            connection.rollback()
            self._count("rolled_back")
            return
        connection.commit()
        self._count("committed", time.monotonic() - begun)

    def _change(self, cursor: psycopg.Cursor, chance: random.Random) -> None:
        """Write a pair, some of it behind savepoints, some of it undone."""
        if chance.random() < 0.25:
            cursor.execute("SAVEPOINT s")
            self._pair(cursor, chance)
            if chance.random() < 0.5:
                cursor.execute("ROLLBACK TO SAVEPOINT s")
            cursor.execute("RELEASE SAVEPOINT s")
            self._count("savepoints")
        self._pair(cursor, chance)

    def _pair(self, cursor: psycopg.Cursor, chance: random.Random) -> None:
        value = f"{chance.getrandbits(40):010x}"
        if chance.random() < 0.5:
            self._grow(cursor, chance, value)
            return
        low = 2 * chance.randrange(KEYS // 2)
        cursor.execute("SELECT FROM src.pairs WHERE id = %s", [low])
        if not cursor.rowcount:
            cursor.execute(_INSERT.format("pairs"), [value, [low, low + 1]])
        elif chance.random() < 0.35:
            cursor.execute("DELETE FROM src.pairs WHERE id IN (%s, %s)", [low, low + 1])
        else:
            cursor.execute(_UPDATE.format("pairs"), [value, low, low + 1])

    def _grow(self, cursor: psycopg.Cursor, chance: random.Random, value: str) -> None:
        cursor.execute("SELECT coalesce(max(id), -1) FROM src.growing")
        (last,) = cursor.fetchone() or (-1,)
        if last < MOST and chance.random() < 0.3:
            cursor.execute("SELECT 2 * nextval('src.numbers')")
            (low,) = cursor.fetchone() or (0,)
            cursor.execute(_INSERT.format("growing"), [value, [low, low + 1]])
        elif last >= 0:
            low = 2 * chance.randrange(last // 2 + 1)
            cursor.execute(_UPDATE.format("growing"), [value, low, low + 1])

    def _count(self, what: str, seconds: float = 0.0) -> None:
        with self._guard:
            setattr(self.written, what, getattr(self.written, what) + 1)
            self.written.longest = max(self.written.longest, seconds)
