"""The history of runs as a SQLAlchemy model, for queries that nobody has foreseen."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import MetaData, event
from sqlalchemy.orm import Mapped, registry

from pgflow import idents
from pgflow.bookkeeping import COUNTS, SCHEMA, register
from pgflow.errors import ReadOnlyHistory


class RunRecord:
    """A run of a pipeline on a target. `run_model()` gives the class to query.

    Attributes:
        run_id: Its id; what `_batch_id` of the rows that it wrote holds.
        pipeline: The pipeline's name.
        target: The target's qualified name.
        scope: The part of the target that it was limited to, or None.
        mode: The mode's name.
        status: `running`, `success`, `failed` or `abandoned`.
        attempts: How often it was tried.
        started_at: When it began.
        finished_at: When it ended; None while it runs.
        seconds: How long it took.
        effective_at: The instant of the run, where it has one.
        parameters: The run parameters.
        inserted: See `SyncResult`, as for the other counts.
        updated: Rows changed in place.
        closed: Versions that were given an end.
        deleted: Keys that the source no longer delivers.
        unchanged: Rows that the target had already.
        skipped: Rows that were not applied.
        rejected: Rows that a check kept out of the target.
        read: Rows that the source delivered.
        watermark_from: Where an incremental run began to read.
        watermark_to: How far it read.
        error_type: The class of what went wrong, or None.
        error: What went wrong, or None.
        details: What else the run kept, by subject, or None.
    """

    run_id: Mapped[UUID]
    pipeline: Mapped[str]
    target: Mapped[str]
    scope: Mapped[str | None]
    mode: Mapped[str]
    status: Mapped[str]
    attempts: Mapped[int]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    seconds: Mapped[float | None]
    effective_at: Mapped[datetime | None]
    parameters: Mapped[dict[str, Any] | None]
    inserted: Mapped[int]
    updated: Mapped[int]
    closed: Mapped[int]
    deleted: Mapped[int]
    unchanged: Mapped[int]
    skipped: Mapped[int]
    rejected: Mapped[int]
    read: Mapped[int]
    watermark_from: Mapped[str | None]
    watermark_to: Mapped[str | None]
    error_type: Mapped[str | None]
    error: Mapped[str | None]
    details: Mapped[dict[str, Any] | None]

    @property
    def counts(self) -> dict[str, int]:
        """All counts by name."""
        return {name: getattr(self, name) for name in COUNTS}

    def __repr__(self) -> str:
        return f"<run {self.run_id} of {self.pipeline!r} on {self.target}: {self.status}>"


def run_model(schema: str = SCHEMA) -> type[RunRecord]:
    """Map the history of runs, for queries; it is on no MetaData of yours, and cannot be written.

    Args:
        schema: Where pgflow's own tables are.

    Returns:
        A mapped class; the same one whenever it is asked for with this schema.
    """
    return _mapped(idents.truncate(schema))


@cache
def _mapped(schema: str) -> type[RunRecord]:
    model: type[RunRecord] = type("Run", (RunRecord,), {"__doc__": RunRecord.__doc__})
    # Mapped by hand, on a MetaData of its own: a class with a `.metadata`, or a table beside the
    # user's, would have migrations find pgflow's own tables twice.
    registry().map_imperatively(model, register(MetaData(), schema).runs)
    for moment in ("before_insert", "before_update", "before_delete"):
        event.listen(model, moment, _refuse)
    return model


def _refuse(_mapper: object, _connection: object, run: object) -> None:
    raise ReadOnlyHistory(
        f"{run!r} was to be written through its model. Only runs write the history; "
        "`pgflow history prune` deletes what is old."
    )
