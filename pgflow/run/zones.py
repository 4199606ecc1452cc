"""The time zone that times without one are read in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pgflow.plan.decision import Unknown
from pgflow.plan.readings import local_columns, local_times
from pgflow.plan.spec import SourceColumn, SyncSpec
from pgflow.plan.sql import raw
from pgflow.run.session import Session


def with_local_times(
    session: Session, spec: SyncSpec, columns: Sequence[SourceColumn] | Unknown
) -> SyncSpec:
    """Note which columns mean what the session's time zone makes of them.

    Args:
        session: The target's session, whose time zone a source in PostgreSQL gets, too.
        spec: What is planned.
        columns: The source's columns with their own types.

    Returns:
        The spec with its hazards.
    """
    if isinstance(columns, Unknown) or not local_columns(spec, columns):
        return spec
    question = raw("SELECT current_setting('TimeZone') AS zone")
    zone = session.run(question, "ask for the session's time zone").rows[0]["zone"]
    return replace(spec, hazards=(*spec.hazards, *local_times(spec, columns, zone)))
