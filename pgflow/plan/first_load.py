"""The load of an empty target: a plain INSERT, with the target's own constraints as the check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pgflow.plan import writes
from pgflow.plan.batch import batch_query, changes_watermark, extra_columns
from pgflow.plan.comparison import row_hash
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, name, raw, sql
from pgflow.plan.statement import Statement
from pgflow.plan.watermark import remember


def first_load(spec: SyncSpec, stamps: Mapping[str, Sql]) -> tuple[Statement, ...] | None:
    """Plan the load of an empty target: one INSERT, whose keys the target's index checks.

    Args:
        spec: What is planned.
        stamps: pgflow's own columns and their values.

    Returns:
        The statements, or None where the target is not known to be empty, has no unique index
        on the keys, or the run needs more than an INSERT can tell.
    """
    if not an_insert_will_do(spec):
        return None
    insert = writes.load(
        spec,
        with_hash(spec, stamps),
        batch_query(spec),
        purpose="load the empty target",
    )
    return tuple(s for s in (insert, remember_loaded(spec)) if s is not None)


def an_insert_will_do(spec: SyncSpec) -> bool:
    """Tell whether one INSERT loads the target, and the target's own index checks the keys."""
    facts = spec.facts
    if facts.target_empty is not True or facts.keys_indexed is not True:
        return False
    if spec.options.on_duplicate is not None or spec.scope is not None or extra_columns(spec):
        return False
    return spec.options.on_null_key != "match" and not changes_watermark(spec)


def with_hash(spec: SyncSpec, stamps: Mapping[str, Sql]) -> dict[str, Sql]:
    """Add the stored hash to the stamps of a first load."""
    column = spec.target.system.row_hash
    if column is None or spec.options.change_detection != "hash":
        return dict(stamps)
    return {**stamps, column: row_hash(spec, spec.compare.value, "batch")}


def remember_loaded(spec: SyncSpec) -> Statement | None:
    """Set the watermark to the greatest value that a first load has just written."""
    if spec.watermark is None or not spec.watermark.by_value:
        return remember(spec, Sql(), Sql())
    reached = sql(
        "(SELECT to_jsonb({column}) #>> '{{}}' FROM {target}"
        " WHERE {column} IS NOT NULL ORDER BY {column} DESC LIMIT 1)",
        column=name(spec.watermark.column),
        target=spec.target.relation,
    )
    statement = remember(spec, reached, Sql())
    if statement is None:
        return None
    # Nothing else reads how far the rows came, which the history is to say.
    text = statement.sql + raw("\nRETURNING value AS watermark")
    return replace(statement, sql=text, tallies=True)
