"""`pgflow history`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgflow.cli.failures import OK
from pgflow.cli.output import Output
from pgflow.connections.registry import connect
from pgflow.connections.settings import project_settings
from pgflow.observe.history import read_history
from pgflow.observe.report import history_listing
from pgflow.project.modules import listed_modules
from pgflow.project.project import Project


def show_history(
    output: Output,
    name: str | None,
    modules: Sequence[str] | None,
    *,
    limit: int,
    connection: str | None,
    schema: str,
    as_json: bool,
) -> int:
    """Write the latest runs.

    Args:
        output: Where to.
        name: The pipeline, or None for all.
        modules: What `--module` said.
        limit: How many runs at most.
        connection: The connection to ask; by default that of the pipeline, else `default`.
        schema: Where pgflow's own tables are.
        as_json: Whether to write JSON.
    """
    asked = connection or connection_of(name, modules) or "default"
    with connect(asked) as live:
        entries = read_history(live, name, limit, schema)
    if as_json:
        output.json([entry.to_dict() for entry in entries])
    elif entries:
        output.listing(history_listing(entries))
    else:
        output.note(f"no run{f' of {name!r}' if name else ''} is in the history")
    return OK


def connection_of(name: str | None, modules: Sequence[str] | None) -> Any:
    """Return the connection of a pipeline's first target.

    Args:
        name: The pipeline's name, or None.
        modules: What `--module` said.

    Returns:
        None without a name, and for a pipeline that the project does not have any more: its runs
        stay in the history.
    """
    if name is None or not (modules or listed_modules(project_settings())):
        return None
    pipeline = Project.load(modules or None).pipelines.get(name)
    if pipeline is None:
        return None
    spec = pipeline.spec
    own = spec.targets[0].target_connection
    return spec.target_connection if own is None else own
