"""What pgflow writes beside the data: when, by which run, and the stored hash."""

from __future__ import annotations

from pgflow.plan.comparison import differ, row_hash
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, name, raw, sql


def hashes(spec: SyncSpec) -> bool:
    """Whether the target keeps a hash that comparisons use."""
    return spec.options.change_detection == "hash" and spec.target.system.row_hash is not None


def changed(spec: SyncSpec) -> Sql:
    """Say that a delivered row differs from the target's, by values or by the stored hash.

    A target row without a hash (from before hashes were kept) is compared by its values.
    """
    values = differ(spec, spec.compare.value, "t", "b")
    if not hashes(spec):
        return values
    return sql(
        "CASE WHEN t.{stored} IS NULL THEN {values} ELSE t.{stored} <> {hash} END",
        stored=name(spec.target.system.row_hash),
        values=values,
        hash=row_hash(spec, spec.compare.value, "b"),
    )


def hash_stamp(spec: SyncSpec, alias: str, *, computed: bool = False) -> dict[str, Sql]:
    """The hash column: computed from the batch once, then read from the delta."""
    if not hashes(spec):
        return {}
    column = spec.target.system.row_hash or ""
    if computed:
        return {column: row_hash(spec, spec.compare.value, alias)}
    return {column: name(alias or None, column)}


def loaded(spec: SyncSpec) -> dict[str, Sql]:
    """The columns that say when and by which run a row was written."""
    system = spec.target.system
    stamps = {}
    if system.loaded_at is not None:
        stamps[system.loaded_at] = raw("now()")
    if system.batch_id is not None:
        stamps[system.batch_id] = sql("{run}::uuid", run=spec.batch_id)
    return stamps
