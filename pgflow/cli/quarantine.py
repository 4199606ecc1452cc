"""`pgflow quarantine`: shows the rows that checks have kept out, and deletes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pgflow.cli.consent import consents_to_loss
from pgflow.cli.failures import FAILED, OK
from pgflow.cli.history import connection_of
from pgflow.cli.output import Output
from pgflow.connections.registry import connect
from pgflow.connections.settings import project_settings
from pgflow.observe.listing import Listing
from pgflow.observe.report import instant
from pgflow.project.modules import listed_modules
from pgflow.project.project import Project
from pgflow.run.erasing.quarantine import RejectedRow, purge_quarantine, read_quarantine


def show_quarantine(
    output: Output,
    name: str | None,
    modules: Sequence[str] | None,
    *,
    limit: int,
    connection: str | None,
    schema: str,
    as_json: bool,
) -> int:
    """Write rejected rows, latest first.

    Args:
        output: Where to.
        name: The pipeline, or None for all.
        modules: What `--module` said.
        limit: How many rows at most.
        connection: The connection to ask; by default that of the pipeline, else `default`.
        schema: Where pgflow's own tables are.
        as_json: Whether to write JSON.

    Raises:
        UnknownPipeline: There is no row of that name, and the project has no such pipeline.
    """
    with connect(connection or connection_of(name, modules) or "default") as live:
        rows = read_quarantine(live, name, limit, schema)
    if name and not rows and (modules or listed_modules(project_settings())):
        Project.load(modules or None).pipeline(name)
    if as_json:
        output.json([row.to_dict() for row in rows])
    elif rows:
        output.listing(_listing(rows))
    else:
        output.note(f"no row{f' of {name!r}' if name else ''} is in quarantine")
    return OK


def purge(
    output: Output,
    name: str | None,
    modules: Sequence[str] | None,
    *,
    days: int | None,
    connection: str | None,
    schema: str,
    yes: bool,
) -> int:
    """Delete rejected rows, all or the old ones, and say how many they were.

    Args:
        output: Where to.
        name: The pipeline, or None for all.
        modules: What `--module` said.
        days: Only rows that are older; None asks, as the newest may be nowhere else.
        connection: The connection; by default that of the pipeline, else `default`.
        schema: Where pgflow's own tables are.
        yes: Whether to ask nothing.

    Returns:
        `FAILED` if the user says no.
    """
    before = None if days is None else datetime.now(UTC) - timedelta(days=days)
    with connect(connection or connection_of(name, modules) or "default") as live:
        count = purge_quarantine(live, name, before, schema)
        if count and days is None and not yes:
            live.rollback()
            if not consents_to_loss(f"{_rows(count)} would be deleted", "quarantine purge"):
                output.note("Nothing was deleted.")
                return FAILED
            count = purge_quarantine(live, name, before, schema)
        live.commit()
    output.line(f"deleted {_rows(count)}")
    return OK


def _rows(count: int) -> str:
    return f"{count} {'row' if count == 1 else 'rows'} of the quarantine"


def _listing(rows: Sequence[RejectedRow]) -> Listing:
    headings = ("rejected", "pipeline", "target", "check", "key", "row")
    cells = tuple(
        (
            instant(row.rejected_at),
            row.pipeline,
            row.target,
            row.check_name,
            ", ".join(f"{column}={value}" for column, value in (row.key or {}).items()),
            json.dumps(row.to_dict()["row"], ensure_ascii=False),
        )
        for row in rows
    )
    return Listing(headings, cells, below=("check", "target"), wrapping=frozenset({"row"}))
