"""`pgflow watermark` and `pgflow tracking`."""

from __future__ import annotations

from collections.abc import Sequence

from pgflow.cli.failures import OK
from pgflow.cli.history import connection_of
from pgflow.cli.output import Output
from pgflow.cli.selection import select
from pgflow.connections.registry import connect
from pgflow.connections.settings import project_settings
from pgflow.declare.sources import SourceTable
from pgflow.emit.change_tracking import ChangeTracking
from pgflow.observe.listing import Listing
from pgflow.observe.report import instant
from pgflow.project.modules import listed_modules
from pgflow.project.project import Project
from pgflow.run.positions.watermarks import MovedWatermark, StoredWatermark, read_watermarks

_HEADINGS = ("pipeline", "target", "scope", "kind", "column", "position", "moved", "by")


def show_watermarks(
    output: Output,
    name: str | None,
    modules: Sequence[str] | None,
    *,
    connection: str | None,
    schema: str,
    as_json: bool,
) -> int:
    """Write how far incremental pipelines have read.

    Args:
        output: Where to.
        name: The pipeline, or None for all.
        modules: What `--module` said.
        connection: The connection to ask; by default that of the pipeline, else `default`.
        schema: Where pgflow's own tables are.
        as_json: Whether to write JSON.

    Raises:
        UnknownPipeline: Nothing is stored under the name, and the project has no such pipeline.
    """
    with connect(connection or connection_of(name, modules) or "default") as live:
        found = read_watermarks(live, name, schema)
    if name and not found and (modules or listed_modules(project_settings())):
        Project.load(modules or None).pipeline(name)
    if as_json:
        output.json([each.to_dict() for each in found])
    elif found:
        rows = tuple(_row(each) for each in found)
        faint, below = frozenset({"scope"}), ("by", "kind", "column", "moved", "target", "scope")
        output.listing(Listing(_HEADINGS, rows, faint=faint, below=below))
    else:
        output.note(f"no watermark{f' of {name!r}' if name else ''} is there yet")
    return OK


def move_watermarks(
    output: Output,
    names: Sequence[str],
    modules: Sequence[str] | None,
    given: dict[str, object],
    *,
    value: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Set or reset the watermarks of pipelines.

    Args:
        output: Where to write what was done.
        names: The pipelines.
        modules: What `--module` said.
        given: What `--param` said.
        value: The new position; None to begin again.
        dry_run: Whether everything is rolled back.
        as_json: Whether to write JSON.
    """
    moved: list[MovedWatermark] = []
    for chosen in select(names, False, modules, given):
        moved += chosen.pipeline.set_watermark(value, dry_run=dry_run, **chosen.values)
    if as_json:
        output.json([_plain(each) for each in moved])
    else:
        for each in moved:
            before, after = _position(each.before), _position(each.after)
            output.line(f"{each.pipeline} -> {each.target}: {before} -> {after}")
    if dry_run:
        output.note("dry run: everything was rolled back")
    return OK


def print_tracking(output: Output, table: str, column: str, *, undo: bool) -> int:
    """Write the SQL that has a table track its changes, or no longer.

    Args:
        output: Where to.
        table: `schema.table`.
        column: The column that holds the transactions' numbers.
        undo: Whether to write what takes it away.
    """
    tracking = ChangeTracking(*SourceTable(table).path, column)
    if not undo:
        output.line(_ABOUT)
    for statement in tracking.end_sql if undo else tracking.begin_sql:
        output.line(f"{statement};")
    return OK


_ABOUT = """\
-- Run these one by one, as the table's owner, and not in one transaction: the index is built while
-- others write. The other statements wait for writers and hold them up for a moment only; no row
-- is rewritten. A partitioned table takes no CONCURRENTLY: leave the word out there."""


def _row(mark: StoredWatermark) -> tuple[str, ...]:
    by = mark.run_id or mark.details.get("set_by") or mark.details.get("reset_by") or ""
    moved = instant(mark.updated_at)
    position = "" if mark.value is None else mark.value
    column = mark.column
    return (mark.pipeline, mark.target, mark.scope, mark.kind, column, position, moved, str(by))


def _position(mark: StoredWatermark | None) -> str:
    return "the beginning" if mark is None or mark.value is None else mark.value


def _plain(moved: MovedWatermark) -> dict[str, object]:
    return {
        "pipeline": moved.pipeline,
        "target": moved.target,
        "before": moved.before.value if moved.before else None,
        "after": moved.after.value if moved.after else None,
    }
