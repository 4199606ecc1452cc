"""A process that loads a target for the first time in steps; tests kill it on its way.

Arguments: what kind of target (see `pipeline`), the target's URL, the source's URL.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import sqlalchemy as sa

import pgflow
from pgflow.factories.backfill import Backfill
from pgflow.types import BigInt, Text, TimestampTZ

#: The column to go by, the first value, the first value after the last step, the step.
RANGES = {
    "append": ("id", "0", "4000", "200"),
    "merge": ("at", "2024-01-01", "2024-01-05", "4 hours"),
    "scd2": ("id", "0", "4000", "200"),
}


def pipeline(mode: str, target: str, source: str) -> Any:
    """Declare the pipeline: `append` has no key, so that nothing but the steps keeps rows apart."""

    class Keyless:
        id: BigInt
        at: TimestampTZ
        v: Text

    class Keyed:
        id: Annotated[BigInt, pgflow.pk()]
        at: TimestampTZ
        v: Text

    metadata = sa.MetaData()
    into = pgflow.table(schema="w", name="loaded", metadata=metadata)
    made = pgflow.Pipeline(
        "load",
        target=into(Keyless if mode == "append" else Keyed),
        source_table="w.events",
        source_connection=source,
        target_connection=target,
        mode=mode,
    )
    pgflow.create_all(metadata, connection=target)
    return made


def backfill(mode: str, target: str, source: str) -> Backfill:
    """Return the first load, as far as it has come."""
    column, begin, end, step = RANGES[mode]
    return Backfill(pipeline(mode, target, source), begin, end, step, column=column)


if __name__ == "__main__":
    for _ in backfill(*sys.argv[1:]).run():
        pass
