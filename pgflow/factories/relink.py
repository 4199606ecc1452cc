"""Linking facts once more, when dimension rows arrived late or a history was corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Table

from pgflow.declare.body import bind_parameters
from pgflow.declare.instant import check_instant
from pgflow.declare.lookups import Lookup
from pgflow.declare.sources import Query
from pgflow.declare.targets import Target
from pgflow.emit.history import system_columns_of
from pgflow.errors import CannotRelink, DeclarationError
from pgflow.factories.pipeline import Pipeline
from pgflow.factories.sync_target import SyncTarget
from pgflow.plan.link import Link
from pgflow.plan.relinking import Limits, refuse_inserts, rows_to_link
from pgflow.plan.sql import name
from pgflow.plugins.lookup import LookupPlugin
from pgflow.plugins.sync_keys import LINKS, MERGE_KEYS, STATEMENTS, ExtraStatement
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.plugin import Plugin, contributes
from pgflow.run.events import Observer
from pgflow.run.result import SyncResult


def relink(
    pipeline: Pipeline,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    unresolved: bool = False,
    dry_run: bool = False,
    observer: Observer | None = None,
    **parameters: Any,
) -> SyncResult:
    """Look up again what the rows of a pipeline's targets refer to, and write what differs.

    For facts that were loaded before their dimension rows, and after corrections of a history.
    It is a run like any other, in mode `merge` from the target into itself, named
    `<pipeline>: relink`: under the target's lock, counted, and in the history. `updated` counts
    the rows whose link changed. Rows outside the pipeline's scope, and rows that are marked as
    deleted, stay as they are.

    Args:
        pipeline: The pipeline with `lookups=`.
        since: Only rows whose instant is not before this one.
        until: Only rows whose instant is before this one: with `since`, big tables are linked in
            parts.
        unresolved: Only rows that have NULL or the unknown member in a looked-up column.
        dry_run: Whether everything is rolled back.
        observer: Who watches the run.
        **parameters: The run parameters, which a scope may use.

    Returns:
        What was done; targets without lookups are left out.

    Raises:
        CannotRelink: A target lacks what it takes: lookups, a merge key, the columns by which
            they are looked up; or its mode does not update rows in place.
        DeclarationError: The first argument is no pipeline.
        InvalidInstant: `since` or `until` is no datetime with a time zone.
        MissingParameter: The scope needs a parameter, or there is none of that name.
        PgflowError: The run failed and was rolled back.
    """
    if not isinstance(pipeline, Pipeline):
        raise DeclarationError(
            f"relink() takes a pipeline, not {pipeline!r}. Give what @pgflow.pipeline or "
            "pgflow.Pipeline(...) made."
        )
    for option, at in (("since", since), ("until", until)):
        check_instant(at, f"relink({option}={at!r})")
    targets = [target for target in pipeline.sync_targets if _lookups(target)]
    if not targets:
        raise CannotRelink(
            f"pipeline {pipeline.name!r} has no lookups=, so there is nothing to link.",
            target=pipeline.target_label,
        )
    values, limits = _values(pipeline, targets, parameters), Limits(since, until, unresolved)
    again = [_again(pipeline, target, limits, values) for target in targets]
    results = [
        each.dry_run(observer=observer) if dry_run else each.sync(observer=observer)
        for each in again
    ]
    return SyncResult.of(
        again[0].name,
        tuple(target for result in results for target in result.targets),
        sum(result.seconds for result in results),
        dry_run,
    )


@contributes(STATEMENTS)
class _NoInsertsPlugin(Plugin):
    """Have no row come back that was deleted while it was linked."""

    def run(self, ctx: FactoryContext) -> None:
        """Look at what the run has found, once it has."""
        ctx.contribute(STATEMENTS, ExtraStatement(refuse_inserts, origin="relink"))


def _lookups(target: SyncTarget) -> tuple[Lookup, ...]:
    plugins = (plugin for plugin in target.plugins if isinstance(plugin, LookupPlugin))
    return tuple(lookup for plugin in plugins for lookup in plugin.lookups)


def _again(
    pipeline: Pipeline, target: SyncTarget, limits: Limits, values: Mapping[str, object]
) -> Pipeline:
    """Make a pipeline from a table into itself that writes looked-up columns alone.

    It has no scope of its own: that of another run with the same text would be another lock.
    """
    declared, links = target.sync_target, target.ctx[LINKS]
    options = declared.options
    keys = _checked(target, links, f"relink of pipeline {pipeline.name!r}")
    limits = replace(
        limits,
        scope=target.job(values).draft.scope,
        deleted_at=system_columns_of(target.target_table).deleted_at,
    )
    again = Pipeline(
        f"{pipeline.name}: relink",
        target=Target(declared.table),
        source=_rows(target.target_table, links, limits),
        connection=_first(declared.target_connection, pipeline.spec.target_connection),
        config=target.config,
        extra_plugins=[_NoInsertsPlugin()],
        mode="merge",
        keys=keys,
        update_columns=tuple(link.into for link in links),
        lookups=_lookups(target),
        on_null_key=options.on_null_key,
        sample_keys=options.sample_keys,
        lock_timeout=options.lock_timeout,
        on_failure=pipeline.spec.on_failure,
    )
    again.watch = pipeline.watch
    return again


def _values(
    pipeline: Pipeline, targets: Sequence[SyncTarget], parameters: Mapping[str, Any]
) -> dict[str, object]:
    """Read the run parameters, which only a scope takes."""
    body = pipeline.spec.body
    scoped = any(target.sync_target.options.scope is not None for target in targets)
    known = body.parameters if scoped and body is not None else ()
    return bind_parameters(known, parameters, f"relink of pipeline {pipeline.name!r}")


def _first(given: Any, otherwise: Any) -> Any:
    return otherwise if given is None else given


def _checked(target: SyncTarget, links: Sequence[Link], owner: str) -> tuple[str, ...]:
    """Return the merge key, if the rows can be linked again in place."""
    label, table = target.target_label, target.target_table
    mode, keys = target.sync_target.options.mode, target.ctx[MERGE_KEYS].value
    problem = None
    if mode == "truncate":
        problem = "mode 'truncate' replaces all rows: run the pipeline again"
    elif mode == "scd2":
        problem = (
            "mode 'scd2' keeps versions, which are not changed afterwards: join them to the "
            "dimension by pgflow.as_of() instead"
        )
    elif target.sync_target.options.change_detection == "hash":
        problem = (
            "change_detection='hash' keeps a hash of what the source delivered, and only the "
            "source can tell it: run the pipeline again"
        )
    elif not keys:
        problem = "nothing tells its rows apart. Declare a key: keys=, natural_key() or pk()"
    for link in links:
        lacking = [column for column in link.needs if column not in table.columns]
        if lacking:
            problem = problem or (
                f"it does not keep {', '.join(lacking)}, by which {link.into!r} is looked up. Add "
                "such columns to the table; the pipeline fills them from its source"
            )
    if problem is not None:
        raise CannotRelink(f"{owner}: {label} cannot be linked again: {problem}.", target=label)
    return keys


def _rows(table: Table, links: Sequence[Link], limits: Limits) -> Query:
    """Select what a source would deliver: every column but those that are looked up."""
    left_out = {*(link.into for link in links), *system_columns_of(table).names}
    columns = [c.name for c in table.columns if c.name not in left_out and c.computed is None]
    found = rows_to_link(name(table.schema, table.name), columns, links, limits)
    params: dict[str, object] = {}
    text = []
    for part in found.parts:
        if isinstance(part, str):
            text.append(part)
            continue
        params[f"pgflow_{len(params)}"] = part.value
        text.append(f":pgflow_{len(params) - 1}")
    return Query("".join(text), params)
