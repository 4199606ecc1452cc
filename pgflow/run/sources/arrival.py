"""Facts about a source that is elsewhere: its columns, its position, and the stage it is put in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pgflow.plan.decision import Decision
from pgflow.plan.fit import fit
from pgflow.plan.spec import SourceShape, SyncSpec
from pgflow.plan.staging import STAGE, staged
from pgflow.run.job import Job
from pgflow.run.lookups import with_links
from pgflow.run.positions.positions import with_watermark
from pgflow.run.session import Session
from pgflow.run.sources.origin import (
    Loading,
    Origin,
    OriginColumn,
    fill,
    own_columns,
    staged_columns,
)
from pgflow.run.zones import with_local_times


def from_elsewhere(session: Session, spec: SyncSpec, job: Job, origin: Origin) -> SyncSpec:
    """Let a plan read the stage that an origin's rows will be copied into.

    Args:
        session: The target's session.
        spec: What is planned; its target's columns are known.
        job: The job.
        origin: Where the rows come from.

    Returns:
        The spec with the stage as its source, checked against the target.

    Raises:
        SourceMismatch: The source does not fit the target.
    """
    columns = origin.columns(session, spec, job.draft.target.columns)
    found = replace(
        spec, source=SourceShape(STAGE, own_columns(columns), selected=_selected(columns))
    )
    found = with_watermark(session, found, job, origin.session, origin.relation)
    # From here on the types are those of the stage, which the plan reads. The column that tells
    # transactions does not get there.
    both = zip(own_columns(columns), staged_columns(columns), strict=True)
    read = tuple(own if own.name == found.position_column else there for own, there in both)
    shape = replace(found.source, columns=read)
    found = fit(with_links(session, replace(found, source=shape)))
    if origin.session is not None:
        found = with_local_times(session, found, own_columns(columns))
    if found.keys.value and origin.proves_unique(found):
        proof = Decision(True, "the source's planner proves that it has each key once")
        found = replace(found, source=replace(found.source, unique=proof))
    data = [c for c in columns if c.name != found.position_column]
    loading = origin.loading(found)
    return staged(found, fill(data, loading), _reason(origin, found, loading))


def _selected(columns: Sequence[OriginColumn]) -> bool:
    return all(column.selected for column in columns)


def _reason(origin: Origin, spec: SyncSpec, loading: Loading) -> str:
    """Say where the rows come from; and who reads them, where somebody has asked for several."""
    reason = f"the rows come from {origin.label}"
    if (spec.options.transfer_workers or 1) == 1:
        return reason
    if loading.workers == 1:
        return f"{reason}, read by one connection: {loading.reason}"
    return f"{reason}, read by {loading.workers} connections"
