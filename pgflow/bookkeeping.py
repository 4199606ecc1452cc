"""pgflow's own tables: the history of runs, and how far incremental pipelines have read.

They live in one schema (`pgflow` unless configured otherwise) and are ordinary tables on the
user's MetaData, so that migrations create them together with everything else.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

#: The schema of pgflow's own tables unless a `Config` names another.
SCHEMA = "pgflow"

#: Version of the layout below, stamped on the tables as their comment.
VERSION = 1

#: What a run can be. `abandoned` is a run whose process died.
STATUSES = ("running", "success", "failed", "abandoned")

#: Columns of `runs` that count rows, in the order in which results show them.
COUNTS = ("inserted", "updated", "closed", "deleted", "unchanged", "skipped", "read")

_INFO_KEY = "pgflow_bookkeeping"
_WANTED_KEY = "pgflow_bookkeeping_schemas"


@dataclass(frozen=True)
class Bookkeeping:
    """pgflow's own tables on one MetaData.

    Attributes:
        schema: Where they live.
        runs: One row for each run of a pipeline on a target.
        watermarks: One row for each incremental pipeline, target and scope.
    """

    schema: str
    runs: Table
    watermarks: Table


def want(metadata: MetaData, schema: str) -> None:
    """Note that a pipeline on this MetaData keeps its history in a schema.

    Args:
        metadata: The MetaData of the pipeline's target.
        schema: Where the pipeline expects pgflow's own tables.
    """
    wanted: set[str] = metadata.info.setdefault(_WANTED_KEY, set())
    wanted.add(schema)


def wanted(metadata: MetaData, default: str = SCHEMA) -> tuple[str, ...]:
    """Return the schemas in which pipelines keep their history; the default if there are none."""
    return tuple(sorted(metadata.info.get(_WANTED_KEY, ()))) or (default,)


def register(metadata: MetaData, schema: str = SCHEMA) -> Bookkeeping:
    """Put pgflow's own tables on a MetaData; calling it again returns the same ones.

    Args:
        metadata: The MetaData that migrations or `create_all` read.
        schema: The schema to keep them in.

    Returns:
        The tables.
    """
    known: dict[str, Bookkeeping] = metadata.info.setdefault(_INFO_KEY, {})
    if schema not in known:
        known[schema] = Bookkeeping(schema, _runs(metadata, schema), _watermarks(metadata, schema))
    return known[schema]


def _runs(metadata: MetaData, schema: str) -> Table:
    counts = [Column(name, BigInteger, nullable=False, server_default="0") for name in COUNTS]
    statuses = ", ".join(f"'{status}'" for status in STATUSES)
    return Table(
        "runs",
        metadata,
        Column("run_id", Uuid, nullable=False),
        Column("pipeline", Text, nullable=False),
        Column("target", Text, nullable=False),
        Column("scope", Text),
        Column("mode", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("attempts", Integer, nullable=False, server_default="1"),
        Column(
            "started_at",
            DateTime(timezone=True),
            nullable=False,
            server_default=func.clock_timestamp(),
        ),
        Column("finished_at", DateTime(timezone=True)),
        Column("seconds", Double),
        Column("effective_at", DateTime(timezone=True)),
        Column("parameters", JSONB),
        *counts,
        Column("watermark_from", Text),
        Column("watermark_to", Text),
        Column("error_type", Text),
        Column("error", Text),
        PrimaryKeyConstraint("run_id", name="runs_pkey"),
        CheckConstraint(f"status IN ({statuses})", name="runs_status_check"),
        Index("runs_pipeline_started_at_idx", "pipeline", "started_at"),
        Index("runs_running_idx", "started_at", postgresql_where=text("status = 'running'::text")),
        schema=schema,
        comment=f"pgflow bookkeeping, layout {VERSION}: every run of a pipeline on a target",
    )


def _watermarks(metadata: MetaData, schema: str) -> Table:
    return Table(
        "watermarks",
        metadata,
        Column("pipeline", Text, nullable=False),
        Column("target", Text, nullable=False),
        Column("scope", Text, nullable=False, server_default=""),
        Column("column_name", Text, nullable=False),
        Column("value", Text),
        Column("run_id", Uuid, nullable=False),
        Column(
            "updated_at",
            DateTime(timezone=True),
            nullable=False,
            server_default=func.clock_timestamp(),
        ),
        PrimaryKeyConstraint("pipeline", "target", "scope", name="watermarks_pkey"),
        schema=schema,
        comment=f"pgflow bookkeeping, layout {VERSION}: how far incremental pipelines have read",
    )
