"""A source in another database: pgflow's copy beside `psql | psql`, and its memory."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Engine, NullPool, create_engine

import pgflow
from tests.benchmarks.cases import Case
from tests.benchmarks.client import lone
from tests.benchmarks.databases import Databases
from tests.benchmarks.declarations import DELIVERED, declare
from tests.benchmarks.script import run
from tests.benchmarks.server import dial

#: What is copied into: a truncated target, so that nothing but the copy and one INSERT is done.
CASE = Case("copy from another database", "truncate", "truncate.sql", filled=False)

_OUT = "COPY (SELECT * FROM bench.source) TO STDOUT (FORMAT binary)"
_COLUMNS = ", ".join(DELIVERED)
_TEMPORARY = f"CREATE TEMPORARY TABLE stage AS SELECT {_COLUMNS} FROM bench.target LIMIT 0"
_IN = f"COPY stage ({_COLUMNS}) FROM STDIN (FORMAT binary)"


def psql() -> str | None:
    """Return where psql is, or None."""
    # On the path Debian has a script that looks for the right one first.
    beside = sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"))
    return str(beside[-1]) if beside else shutil.which("psql")


def by_psql(program: str, source: URL, target: URL) -> float:
    """Pipe one psql into another, into a temporary table.

    Returns:
        Seconds.
    """
    begun = time.perf_counter()
    reading = subprocess.Popen(
        [program, "-qX", "-d", _dsn(source), "-c", _OUT], stdout=subprocess.PIPE
    )
    writing = subprocess.run(
        [program, "-qX", "-d", _dsn(target), "-c", _TEMPORARY, "-c", _IN],
        stdin=reading.stdout, check=True,
    )  # fmt: skip
    if reading.wait() or writing.returncode:
        raise RuntimeError("psql failed")
    return time.perf_counter() - begun


def by_pgflow(source: URL, target: URL) -> tuple[float, float]:
    """Sync once.

    Returns:
        Seconds of the copy into the stage, and of the whole sync.
    """
    there, here = (create_engine(url, poolclass=NullPool) for url in (source, target))
    result = pipeline(there, here).sync()
    done = result.targets[0].details["transfer"][0]
    return float(done["seconds"]), result.seconds


def pipeline(source: Engine, target: Engine) -> pgflow.Pipeline:
    """Declare the pipeline from one database to the other."""
    declared = declare(CASE, target)
    return pgflow.Pipeline(
        "bench",
        target=pgflow.target(declared.pipeline.sync_target.table, mode=CASE.mode),
        source_table="bench.source",
        source_connection=source,
        target_connection=target,
    )


@contextmanager
def prepared(databases: Databases) -> Iterator[tuple[URL, URL]]:
    """Provide a database with a source and one with an empty target."""
    with (
        databases.prepared(CASE) as template,
        databases.copy(template) as source,
        databases.empty() as target,
    ):
        with dial(target) as connection:
            run(connection, "rows.sql")
        engine = create_engine(target, poolclass=NullPool)
        pgflow.create_all(declare(CASE, engine).metadata, connection=engine)
        yield source, target


def seconds(databases: Databases, runs: int) -> tuple[float | None, float, float]:
    """Measure both, in turn.

    Returns:
        Median seconds of psql, of pgflow's copy, and of pgflow's whole sync; None without a psql.
    """
    program = psql()
    hand: list[float] = []
    ours: list[tuple[float, float]] = []
    with prepared(databases) as (source, target):
        by_pgflow(source, target)
        for _ in range(runs):
            if program is not None:
                hand.append(by_psql(program, source, target))
            ours.append(by_pgflow(source, target))
    copied, whole = (statistics.median(column) for column in zip(*ours, strict=True))
    return statistics.median(hand) if hand else None, copied, whole


def peak_memory(databases: Databases) -> tuple[float, float]:
    """Sync once in a process of its own.

    Returns:
        Its peak resident set before and after the sync, in megabytes.
    """
    with prepared(databases) as (source, target):
        before, after = lone("transfer", _text(source), _text(target)).split()
    return float(before), float(after)


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _dsn(url: URL) -> str:
    return _text(url.set(drivername="postgresql"))
