"""The tables and pipelines of the benchmark, as a user of pgflow declares them."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Column, Engine, MetaData

import pgflow
from pgflow.plugins import ColumnPKPlugin
from tests.benchmarks.cases import Case

#: What the source delivers, key first.
DELIVERED = ("id", "name", "email", "amount", "updated", "active", "quantity", "day")


@dataclass(frozen=True)
class Declared:
    """A case's target and pipeline.

    Attributes:
        metadata: What `create_all` creates.
        pipeline: The pipeline from `bench.source` to `bench.target`.
    """

    metadata: MetaData
    pipeline: pgflow.Pipeline


def columns() -> list[Column[object]]:
    """Return the columns beside the key."""
    return [
        Column("name", sa.Text, nullable=False),
        Column("email", sa.Text),
        Column("amount", sa.Numeric(12, 2)),
        Column("updated", sa.DateTime(timezone=True)),
        Column("active", sa.Boolean),
        Column("quantity", sa.Integer),
        Column("day", sa.Date),
    ]


def declare(case: Case, engine: Engine) -> Declared:
    """Declare a case's target and pipeline.

    Args:
        case: The case.
        engine: The pipeline's connection.

    Returns:
        Both, on a MetaData of their own.
    """
    metadata = MetaData()
    key: Column[object] = Column("id", sa.BigInteger)
    target = (
        pgflow.SimpleTable(
            "target", "bench", metadata, columns(), plugins=[ColumnPKPlugin(key)], mode=case.mode
        )
        if case.keyed
        else pgflow.TableFactory("target", "bench", metadata, [key, *columns()], mode=case.mode)
    )
    pipeline = pgflow.Pipeline(
        "bench",
        target=target,
        source=f"SELECT {', '.join(DELIVERED)} FROM bench.source",
        mode=case.mode,
        connection=engine,
        **case.options,
    )
    return Declared(metadata, pipeline)
