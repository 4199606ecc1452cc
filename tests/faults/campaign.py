"""A campaign of faults against syncing processes, and the reckoning at its end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from pgflow.connections.cluster import Cluster
from tests.faults.reckoning import reckon, torn
from tests.faults.source import SCHEMA, Writers
from tests.faults.targets import Targets

#: So many processes sync at once.
SYNCING = 2

#: What the server of a campaign is started with. Acknowledged commits survive its crashes.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "wal_level": "logical",
    "max_slot_wal_keep_size": "1GB",
}


@dataclass(frozen=True)
class Order:
    """How much is to happen.

    Attributes:
        seed: What every choice follows from.
        kills: How often a syncing process is killed with -9.
        terminations: How often a run's server process is ended.
        interrupts: How often a syncing process gets Ctrl-C.
        restarts: How often the server is restarted, every other time without a chance to finish.
    """

    seed: int
    kills: int
    terminations: int
    interrupts: int
    restarts: int

    def faults(self, chance: random.Random) -> list[str]:
        """All of them in an order by chance."""
        found = (
            ["kill"] * self.kills
            + ["terminate"] * self.terminations
            + ["interrupt"] * self.interrupts
            + ["restart"] * self.restarts
        )
        chance.shuffle(found)
        return found


@dataclass
class Outcome:
    """What happened, and what is wrong.

    Attributes:
        problems: Sentences, none if all is well.
        happened: Events by name.
        statuses: Runs by status.
    """

    problems: list[str] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return ", ".join(
            f"{count} {what}" for what, count in [*self.happened.items(), *self.statuses.items()]
        )


class Campaign:
    """One server, one source with six writers, all pipelines, and faults.

    Args:
        order: How much is to happen.
        cluster: A server of its own, created and not started.
        place: A directory for the report of the syncing processes.
    """

    def __init__(self, order: Order, cluster: Cluster, place: Path) -> None:
        self.order = order
        self.cluster = cluster
        self.report = place / "problems.txt"
        self.chance = random.Random(order.seed)
        self.outcome = Outcome()
        self.alive: list[int] = []
        self._crash = False

    def run(self) -> Outcome:
        """Do all of it."""
        self.cluster.start(SETTINGS)
        try:
            url = self.cluster.url()
            self.conninfo = f"host={url.query['host']} port={url.query['port']} user={url.username}"
            self.url = url.render_as_string(hide_password=False)
            with self._connection() as connection:
                connection.execute(SCHEMA)
            self.targets = Targets(self.url)
            self.targets.create()
            self._attack()
            self._reckon()
            self.targets.engine.dispose()
        finally:
            self.cluster.stop(immediate=True)
        return self.outcome

    def _attack(self) -> None:
        writers = Writers(self.conninfo, self.order.seed)
        with self._nest() as nest, self._reader():
            writers.start()
            try:
                for fault in self.order.faults(self.chance):
                    while len(self.alive) < SYNCING:
                        self.alive.append(self._hatch(nest))
                    time.sleep(self.chance.uniform(0.0, 0.8))
                    getattr(self, f"_{fault}")()
                    self.outcome.happened[fault] += 1
            finally:
                for pid in self.alive:
                    _send(pid, signal.SIGKILL)
                writers.stop()
        written = writers.written
        self.outcome.problems += written.problems
        self.outcome.happened["commits of writers"] = written.committed
        self.outcome.happened["rollbacks of writers"] = written.rolled_back
        self.outcome.happened["savepoints of writers"] = written.savepoints
        self.longest = written.longest

    def _reckon(self) -> None:
        if self.report.exists():
            self.outcome.problems.append(f"a syncing process: {self.report.read_text()}")
        with self._connection() as connection:
            problems, statuses = reckon(connection, self.targets, self.longest)
        self.outcome.problems += problems
        self.outcome.statuses.update(statuses)
        faulty = self.cluster.log.read_text().count("was terminated by signal 11")
        self.outcome.happened["segmentation faults of the server"] += faulty

    # -- faults -----------------------------------------------------------------------

    def _kill(self) -> None:
        _send(self.alive.pop(self.chance.randrange(len(self.alive))), signal.SIGKILL)

    def _interrupt(self) -> None:
        """Press Ctrl-C, and see that the process ends by itself."""
        pid = self.alive.pop(self.chance.randrange(len(self.alive)))
        _send(pid, signal.SIGINT)
        deadline = time.monotonic() + 30
        while _lives(pid):
            if time.monotonic() > deadline:
                self.outcome.problems.append("a process went on for half a minute after Ctrl-C")
                _send(pid, signal.SIGKILL)
                return
            time.sleep(0.01)

    def _terminate(self) -> None:
        """End the server process of a run that is at work at this moment."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError), self._connection() as connection:
                found = connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity"
                    " WHERE application_name LIKE 'pgflow %' ORDER BY random() LIMIT 1) AS run"
                ).fetchall()
                if found == [(True,)]:
                    return
        self.outcome.problems.append("no run was at work for twenty seconds")

    def _restart(self) -> None:
        self._crash = not self._crash
        self.cluster.stop(immediate=self._crash)
        self.outcome.happened["crashes of the server"] += self._crash
        self.cluster.start(SETTINGS)

    # -- parts ------------------------------------------------------------------------

    def _connection(self) -> psycopg.Connection:
        """Connect, also where the server has to recover first: it may crash unasked, too."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return psycopg.connect(self.conninfo, autocommit=True)
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    @contextlib.contextmanager
    def _nest(self) -> Iterator[subprocess.Popen[str]]:
        words = ["-m", "tests.faults.syncing", self.url, str(self.order.seed), str(self.report)]
        with subprocess.Popen(
            [sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as nest:
            assert nest.stdin is not None
            assert nest.stdout is not None
            assert nest.stdout.readline() == "ready\n"
            yield nest
            nest.stdin.close()

    def _hatch(self, nest: subprocess.Popen[str]) -> int:
        assert nest.stdin is not None
        assert nest.stdout is not None
        nest.stdin.write("\n")
        nest.stdin.flush()
        return int(nest.stdout.readline())

    @contextlib.contextmanager
    def _reader(self) -> Iterator[None]:
        """Look at all targets again and again: nobody must ever see half of a run."""
        over = threading.Event()

        def read() -> None:
            connection = None
            while not over.wait(0.05):
                try:
                    if connection is None or connection.closed:
                        connection = self._connection()
                    self.outcome.problems += torn(connection)
                    self.outcome.happened["looks at all targets"] += 1
                except psycopg.OperationalError:
                    pass  # the server restarts
            if connection is not None:
                connection.close()

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _send(pid: int, sent: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sent)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
