"""The pipelines that are to survive, and what must hold of each target at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

import pgflow
from pgflow.plan import counted
from pgflow.plugins import ColumnPKPlugin
from pgflow.run.positions.slot_making import creation
from pgflow.run.positions.slots import slot_name

#: How far before its watermark the `value` pipeline starts: longer than any transaction here.
LOOKBACK = timedelta(seconds=30)

_ALL = "SELECT id, a FROM src.{}"

#: The same from a source of which nobody can prove that it has each key once.
_UNPROVEN = "SELECT id + 0 AS id, a FROM src.pairs"

#: Writers may have deleted everything.
_EMPTY = {"on_empty_source": "allow"}


@dataclass(frozen=True)
class Case:
    """One pipeline.

    Attributes:
        name: Its name and its target's.
        source: `pairs` or `growing`.
        mode: Its mode.
        query: What it reads.
        options: Its options.
        alive: The condition for rows that mirror the source.
        explained: SQL for the number of rows that the success counts of all runs add up to.
        by_batch: Counts that must be the number of rows with the run's id in a column, run by run.
    """

    name: str
    source: str
    mode: str
    query: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    alive: str = "true"
    explained: str = "sum(inserted)"
    by_batch: dict[str, str] = field(default_factory=dict)
    event: bool = False

    @property
    def versions(self) -> bool:
        """Whether the target keeps versions."""
        return self.mode == "scd2"

    @property
    def follows_log(self) -> bool:
        """Whether it reads a replication slot."""
        return self.options.get("watermark") == "slot"

    @property
    def given(self) -> str | pgflow.SourceTable:
        """Its source: a query, or the table whose log it follows."""
        if self.follows_log:
            return pgflow.SourceTable(f"src.{self.source}")
        return self.query or _ALL.format(self.source)

    @property
    def mirrors_values(self) -> bool:
        """Whether a row of the target has the source's present value; append keeps the first."""
        return self.mode != "append"


_VERSIONS = {"inserted": "_batch_id", "closed": "_closed_batch_id"}

CASES = (
    Case(
        "merge_hard",
        "pairs",
        "merge",
        options={"handle_deletes": "hard", **_EMPTY},
        explained="sum(inserted) - sum(deleted)",
    ),
    Case(
        "copied",
        "pairs",
        "merge",
        options={"handle_deletes": "hard", "force_path": "copy", **_EMPTY},
        explained="sum(inserted) - sum(deleted)",
    ),
    Case(
        "scd1_soft",
        "pairs",
        "scd1",
        options={"handle_deletes": "soft", **_EMPTY},
        alive="_deleted_at IS NULL",
    ),
    Case(
        "scd2_soft",
        "pairs",
        "scd2",
        options={"handle_deletes": "soft", **_EMPTY},
        alive="is_current",
        by_batch=_VERSIONS,
    ),
    Case(
        "merge_counted",
        "pairs",
        "merge",
        _UNPROVEN,
        {"handle_deletes": "hard", **_EMPTY},
        explained="sum(inserted) - sum(deleted)",
    ),
    Case(
        "scd2_counted",
        "pairs",
        "scd2",
        _UNPROVEN,
        {"handle_deletes": "soft", **_EMPTY},
        alive="is_current",
        by_batch=_VERSIONS,
    ),
    Case(
        "truncated",
        "pairs",
        "truncate",
        explained="sum(inserted) - sum(deleted)",
        options=_EMPTY,
    ),
    Case("appended", "growing", "append", by_batch={"inserted": "_batch_id"}),
    Case(
        "by_value",
        "growing",
        "merge",
        "SELECT id, a, u FROM src.growing",
        {"incremental_column": "u", "lookback": LOOKBACK},
    ),
    Case(
        "by_snapshot",
        "growing",
        "merge",
        "SELECT id, a, xid FROM src.growing",
        {"watermark": "snapshot"},
    ),
    Case(
        "scd2_by_snapshot",
        "growing",
        "scd2",
        "SELECT id, a, xid FROM src.growing",
        {"watermark": "snapshot"},
        alive="is_current",
        by_batch=_VERSIONS,
    ),
    Case(
        "by_horizon",
        "growing",
        "merge",
        "SELECT id, a, xmin FROM src.growing",
        {"watermark": "horizon"},
    ),
    Case(
        "by_slot",
        "pairs",
        "merge",
        options={"watermark": "slot", "handle_deletes": "hard", **_EMPTY},
        explained="sum(inserted) - sum(deleted)",
    ),
    Case(
        "scd2_by_slot",
        "pairs",
        "scd2",
        options={"watermark": "slot", "handle_deletes": "soft", **_EMPTY},
        alive="is_current",
        by_batch=_VERSIONS,
    ),
    Case(
        "by_event",
        "growing",
        "scd2",
        "SELECT id, a, e FROM src.growing",
        {"event_timestamp_column": "e"},
        alive="is_current",
        event=True,
    ),
)


class Targets:
    """The declared targets with their pipelines.

    Args:
        url: The database.
    """

    def __init__(self, url: str) -> None:
        # Large sources without a key are compared in another way; here small ones are, too.
        counted.ENOUGH = 0
        self.engine = pgflow.engine(url)
        self.metadata = sa.MetaData()
        self.tables: dict[str, Any] = {}
        self.pipelines: dict[str, Any] = {}
        for case in CASES:
            columns = [sa.Column("a", sa.Text, nullable=False)]
            if case.event:
                columns.append(sa.Column("e", sa.DateTime(timezone=True), nullable=False))
            if "incremental_column" in case.options:
                columns.append(sa.Column("u", sa.DateTime(timezone=True)))
            self.tables[case.name] = pgflow.SimpleTable(
                case.name,
                "tgt",
                self.metadata,
                columns,
                plugins=[ColumnPKPlugin(sa.Column("id", sa.BigInteger))],
            )
            self.pipelines[case.name] = pgflow.Pipeline(
                case.name,
                target=self.tables[case.name],
                source=case.given,
                connection=url,
                mode=case.mode,
                **case.options,
            )

    def create(self) -> None:
        """Create everything that is declared, and the slots."""
        pgflow.create_all(self.metadata, connection=self.engine)
        for case in CASES:
            if case.follows_log:
                self._make_slot(case)

    def _make_slot(self, case: Case) -> None:
        database = self.engine.url.database or ""
        slot = slot_name(database, case.name, f"tgt.{case.name}")
        for statement in creation(slot, pgflow.SourceTable(f"src.{case.source}")):
            with self.engine.begin() as connection:
                connection.exec_driver_sql(str(statement))
