"""Work that is measured in an interpreter of its own: `python -m tests.benchmarks.lone ...`."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Column, MetaData, create_engine

import pgflow
from pgflow.plugins import ColumnPKPlugin
from tests.benchmarks.cases import named
from tests.benchmarks.declarations import declare
from tests.benchmarks.transfer import pipeline

_MANY = 1000
_KILOBYTE = 1024
# Linux counts the peak in kilobytes, macOS in bytes.
_UNIT = 1 if sys.platform == "darwin" else _KILOBYTE


def tables() -> list[pgflow.SimpleTable]:
    """Declare many tables of ten columns with a key, a natural key, a check and an index."""
    metadata = MetaData()
    return [_table(number, metadata) for number in range(_MANY)]


def _table(number: int, metadata: MetaData) -> pgflow.SimpleTable:
    columns = [Column(f"value_{i}", sa.Integer) for i in range(8)]
    items = [
        Column("code", sa.Text, nullable=False),
        *columns,
        pgflow.Unique("code"),
        pgflow.Check("{value_0} > 0"),
        pgflow.Index(None, "{value_1}"),
    ]
    key = ColumnPKPlugin(Column("id", sa.BigInteger))
    return pgflow.SimpleTable(f"table_{number}", "bench", metadata, items, plugins=[key])


def pipelines(targets: list[pgflow.SimpleTable]) -> list[pgflow.Pipeline]:
    """Declare a pipeline to each table."""
    return [
        pgflow.Pipeline(f"fill_{number}", target=target, source_table="source.rows", mode="scd2")
        for number, target in enumerate(targets)
    ]


def sync(case: str, url: str) -> tuple[float, float]:
    """Sync once.

    Returns:
        The peak of resident memory before and after, in megabytes.
    """
    engine = create_engine(url)
    pipeline = declare(named(case), engine).pipeline
    before = _peak()
    pipeline.sync()
    engine.dispose()
    return before, _peak()


def transfer(source: str, target: str) -> tuple[float, float]:
    """Sync once from another database.

    Returns:
        The peak of resident memory before and after, in megabytes.
    """
    there, here = create_engine(source), create_engine(target)
    declared = pipeline(there, here)
    before = _peak()
    declared.sync()
    return before, _peak()


def _peak() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        # What the kernel counts for getrusage() goes on from the process that started this one.
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) / _KILOBYTE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT / _KILOBYTE**2


def main(what: str, *arguments: str) -> str:
    """Do one piece of work and return what the parent process reads."""
    if what == "sync":
        return "{:.1f} {:.1f}".format(*sync(*arguments))
    if what == "transfer":
        return "{:.1f} {:.1f}".format(*transfer(*arguments))
    # To import them is a line of its own.
    _ = pgflow.SimpleTable, pgflow.Pipeline
    begun = time.process_time()
    targets = tables()
    if what == "pipelines":
        begun = time.process_time()
        pipelines(targets)
    return str(time.process_time() - begun)


if __name__ == "__main__":
    sys.stdout.write(main(*sys.argv[1:]) + "\n")
