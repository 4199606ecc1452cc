"""pgflow's own tables: the history of runs, how far pipelines have read, what they put aside.

They live in one schema (`pgflow` unless configured otherwise) and are ordinary tables on the
user's MetaData, so that migrations create, change and move them together with everything else.

Their comments say which version of the layout they have. While a new version is rolled out, the
database is migrated first and programs follow, or the other way round: so a program works on
tables that are one version older or newer than its own. A layout may therefore add columns that
have defaults or take NULL, which writers of its version may not count on; what the next version no
longer writes, only the version after that may drop.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Identity,
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

from pgflow import idents
from pgflow.errors import OtherLayout

#: The schema of pgflow's own tables unless a `Config` names another.
SCHEMA = "pgflow"

#: Version of the layout below, stamped on the tables as their comment.
VERSION = 2

#: What a run can be. `abandoned` is a run whose process died.
STATUSES = ("running", "success", "failed", "abandoned")

#: Columns of `runs` that count rows, in the order in which results show them.
COUNTS = ("inserted", "updated", "closed", "deleted", "unchanged", "skipped", "rejected", "read")

#: Columns that a layout added: programs leave them alone in tables of an older one.
ADDED = {"rejected": 2, "details": 2}

_INFO_KEY = "pgflow_bookkeeping"
_WANTED_KEY = "pgflow_bookkeeping_schemas"
_MOVED_KEY = "pgflow_bookkeeping_moved_from"

_STAMP = re.compile(r"pgflow bookkeeping, layout ([0-9]{1,6}):")


@dataclass(frozen=True)
class Bookkeeping:
    """pgflow's own tables on one MetaData.

    Attributes:
        schema: Where they live.
        runs: One row for each run of a pipeline on a target.
        watermarks: One row for each incremental pipeline, target and scope.
        backfills: One row for each backfill: its range, its steps, and how far it came.
        quarantine: Rows that a check has kept out of their target.
        erasures: One row for each key that was erased; never the key itself.
    """

    schema: str
    runs: Table
    watermarks: Table
    backfills: Table
    quarantine: Table
    erasures: Table

    @property
    def tables(self) -> tuple[Table, ...]:
        """All of them."""
        return (self.runs, self.watermarks, self.backfills, self.quarantine, self.erasures)


def want(metadata: MetaData, schema: str, moved_from: str | None = None) -> None:
    """Note that a pipeline on this MetaData keeps its history in a schema.

    Args:
        metadata: The MetaData of the pipeline's target.
        schema: Where the pipeline expects pgflow's own tables.
        moved_from: The schema in which they were before, if a migration is to move them.
    """
    wanted: set[str] = metadata.info.setdefault(_WANTED_KEY, set())
    wanted.add(schema)
    if moved_from is not None:
        metadata.info.setdefault(_MOVED_KEY, {})[schema] = moved_from


def wanted(metadata: MetaData, default: str = SCHEMA) -> tuple[str, ...]:
    """Return the schemas in which pipelines keep their history; the default if there are none."""
    return tuple(sorted(metadata.info.get(_WANTED_KEY, ()))) or (default,)


def register(
    metadata: MetaData, schema: str = SCHEMA, moved_from: str | None = None
) -> Bookkeeping:
    """Put pgflow's own tables on a MetaData; calling it again returns the same ones.

    Args:
        metadata: The MetaData that migrations or `create_all` read.
        schema: The schema to keep them in.
        moved_from: The schema in which they were before; by default what pipelines say.

    Returns:
        The tables.
    """
    known: dict[str, Bookkeeping] = metadata.info.setdefault(_INFO_KEY, {})
    if schema not in known:
        known[schema] = Bookkeeping(
            schema,
            _runs(metadata, schema),
            _watermarks(metadata, schema),
            _backfills(metadata, schema),
            _quarantine(metadata, schema),
            _erasures(metadata, schema),
        )
    former = moved_from or metadata.info.get(_MOVED_KEY, {}).get(schema)
    if former is not None and former != schema:
        for table in known[schema].tables:
            table.info["renamed_from"] = idents.qualify(former, table.name)
    return known[schema]


def layout(comment: str | None) -> int | None:
    """Read the version of the layout from the comment of one of pgflow's own tables.

    Args:
        comment: The comment.

    Returns:
        The version, or None if the comment does not tell it.
    """
    found = _STAMP.match(comment or "")
    return None if found is None else int(found[1])


def check_layout(table: str, comment: str | None) -> None:
    """Refuse tables that are more than one version away from what this pgflow writes.

    A table that has lost its comment is taken as it is.

    Args:
        table: The table's qualified name, for the message.
        comment: Its comment.

    Raises:
        OtherLayout: It is older, or newer.
    """
    found = layout(comment)
    if found is None or abs(found - VERSION) <= 1:
        return
    if found < VERSION:
        why = (
            f"this pgflow writes layout {VERSION}, and layout {VERSION - 1} while a migration is "
            "under way. Migrate them: `alembic revision --autogenerate` and `alembic upgrade "
            "head`, or `pgflow migrate`."
        )
    else:
        why = (
            f"this pgflow knows layout {VERSION} and works on layout {VERSION + 1} at most: "
            "another program has migrated them. Upgrade pgflow: `pip install --upgrade pgflow`."
        )
    raise OtherLayout(
        f"pgflow's own table {table} has layout {found}, and {why}",
        table=table,
        found=found,
        expected=VERSION,
    )


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
        _instant("started_at"),
        Column("finished_at", DateTime(timezone=True)),
        Column("seconds", Double),
        Column("effective_at", DateTime(timezone=True)),
        Column("parameters", JSONB),
        *counts,
        Column("watermark_from", Text),
        Column("watermark_to", Text),
        Column("error_type", Text),
        Column("error", Text),
        Column("details", JSONB),
        PrimaryKeyConstraint("run_id", name="runs_pkey"),
        CheckConstraint(f"status IN ({statuses})", name="runs_status_check"),
        Index("runs_pipeline_started_at_idx", "pipeline", "started_at"),
        Index("runs_running_idx", "started_at", postgresql_where=text("status = 'running'::text")),
        schema=schema,
        comment=_comment("every run of a pipeline on a target"),
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
        _instant("updated_at"),
        Column("details", JSONB),
        PrimaryKeyConstraint("pipeline", "target", "scope", name="watermarks_pkey"),
        schema=schema,
        comment=_comment("how far incremental pipelines have read"),
    )


def _backfills(metadata: MetaData, schema: str) -> Table:
    return Table(
        "backfills",
        metadata,
        Column("pipeline", Text, nullable=False),
        Column("range_from", Text, nullable=False),
        Column("range_to", Text, nullable=False),
        Column("step", Text, nullable=False),
        Column("parameters", Text, nullable=False, server_default="{}"),
        Column("done_to", Text),
        Column("steps_done", BigInteger, nullable=False, server_default="0"),
        _instant("started_at"),
        _instant("updated_at"),
        Column("finished_at", DateTime(timezone=True)),
        PrimaryKeyConstraint(
            "pipeline", "range_from", "range_to", "step", "parameters", name="backfills_pkey"
        ),
        schema=schema,
        comment=_comment("how far each backfill came"),
    )


def _quarantine(metadata: MetaData, schema: str) -> Table:
    return Table(
        "quarantine",
        metadata,
        Column("quarantine_id", BigInteger, Identity(always=True), nullable=False),
        Column("run_id", Uuid, nullable=False),
        Column("pipeline", Text, nullable=False),
        Column("target", Text, nullable=False),
        Column("check_name", Text, nullable=False),
        Column("key", JSONB),
        Column("row", JSONB, nullable=False),
        _instant("rejected_at"),
        PrimaryKeyConstraint("quarantine_id", name="quarantine_pkey"),
        Index("quarantine_target_idx", "target"),
        Index("quarantine_run_id_idx", "run_id"),
        schema=schema,
        comment=_comment("rows that a check has kept out of their target"),
    )


def _erasures(metadata: MetaData, schema: str) -> Table:
    counts = ("versions", "quarantined", "samples")
    return Table(
        "erasures",
        metadata,
        Column("erasure_id", Uuid, nullable=False),
        Column("target", Text, nullable=False),
        _instant("erased_at"),
        Column("erased_by", Text, nullable=False, server_default=func.session_user()),
        *(Column(name, BigInteger, nullable=False, server_default="0") for name in counts),
        PrimaryKeyConstraint("erasure_id", name="erasures_pkey"),
        schema=schema,
        comment=_comment("keys that were erased, without their values"),
    )


def _instant(name: str) -> Column[datetime]:
    default = func.clock_timestamp()
    return Column(name, DateTime(timezone=True), nullable=False, server_default=default)


def _comment(purpose: str) -> str:
    return f"pgflow bookkeeping, layout {VERSION}: {purpose}"
