"""Where rows go: a table and the options for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from pgflow.declare.data_check import DataCheck
from pgflow.declare.lookups import Lookup
from pgflow.declare.options import Scope, SyncOptions
from pgflow.declare.spelling import spelt
from pgflow.errors import InvalidOption


@dataclass(frozen=True)
class Target:
    """One target of a pipeline.

    Attributes:
        table: A class under `@pgflow.table`, or a table factory.
        options: What was said about this target; the pipeline's options fill the rest.
        target_connection: A connection for this target alone.
        mode_reason: Who said which mode.
    """

    table: Any
    options: SyncOptions = field(default_factory=SyncOptions)
    target_connection: Any = None
    mode_reason: str = field(default="", compare=False)


@spelt
def target(
    table: Any,
    *,
    mode: str | None = None,
    target_connection: Any = None,
    keys: Sequence[str] | None = None,
    compare_columns: Sequence[str] | None = None,
    update_columns: Sequence[str] | None = None,
    event_timestamp_column: str | None = None,
    keep_confirmations: bool | None = None,
    ttl: timedelta | None = None,
    handle_deletes: Literal["soft", "hard"] | None = None,
    scope: Scope | None = None,
    order_by: str | None = None,
    on_duplicate: Literal["error", "first", "last"] | None = None,
    on_null_key: Literal["error", "match"] | None = None,
    on_empty_source: Literal["error", "allow"] | None = None,
    max_delete_ratio: float | None = None,
    change_detection: Literal["values", "exact", "hash"] | None = None,
    replace: Literal["truncate", "delete"] | None = None,
    schema_mode: Literal["strict", "ignore_extra", "evolve"] | None = None,
    incremental_column: str | None = None,
    lookback: timedelta | int | None = None,
    watermark: Literal["value", "snapshot", "horizon", "slot"] | None = None,
    on_null_watermark: Literal["read", "skip", "error"] | None = None,
    lookups: Sequence[Lookup] | Lookup | None = None,
    checks: Sequence[DataCheck] | DataCheck | None = None,
    sample_keys: bool | None = None,
    lock_timeout: timedelta | None = None,
    force_path: Literal["same_db", "copy"] | None = None,
    transfer_workers: int | None = None,
) -> Target:
    """Describe one target of a pipeline, with options of its own.

    Args:
        table: A class under `@pgflow.table`, or a table factory.
        mode: How rows go in; wins over the pipeline's mode, which wins over the table's.
        target_connection: A connection name, URL or engine for this target alone.
        keys: See `SyncOptions`, as for everything that follows.
        compare_columns: Columns whose change counts (scd1, scd2).
        update_columns: Columns that are compared and written (merge).
        event_timestamp_column: The column of each row's own instant (scd2).
        keep_confirmations: Whether versions keep when they were last delivered (scd2).
        ttl: How long a version stays open without being delivered (scd2).
        handle_deletes: None, `"soft"` or `"hard"`.
        scope: Limits the run to a part of the target.
        order_by: The column that says which row is newer.
        on_duplicate: `"error"`, or `"first"` or `"last"` of several rows with one key.
        on_null_key: `"error"` or `"match"`.
        on_empty_source: `"error"` or `"allow"`.
        max_delete_ratio: The share of rows above which deleting aborts.
        change_detection: `"values"`, `"exact"` or `"hash"`.
        replace: `"truncate"` or `"delete"`.
        schema_mode: `"strict"`, `"ignore_extra"` or `"evolve"`.
        incremental_column: Read from the last seen value of this column on.
        lookback: How far before that value to start.
        watermark: How the position is kept.
        on_null_watermark: `"read"`, `"skip"` or `"error"`: rows whose incremental column is NULL.
        lookups: Columns that get the version of a dimension.
        checks: What must hold of the rows that the source delivers.
        sample_keys: Whether errors, results and the history may name keys.
        lock_timeout: How long to wait for another run on the target.
        force_path: `"same_db"` or `"copy"`.
        transfer_workers: How many connections read a source table of another database.

    Returns:
        A target for `targets=[...]`.

    Raises:
        InvalidOption: A value is unknown or malformed.
    """
    if isinstance(table, Target):
        raise InvalidOption("target() is given a target(...); say all of its options in one call.")
    given = {k: v for k, v in locals().items() if k not in {"table", "target_connection"}}
    return Target(table, SyncOptions(**given), target_connection)


def several(given: Sequence[Any] | None, owner: str) -> list[Any]:
    """Take what `targets=` lists.

    Args:
        given: Tables and targets, or None.
        owner: The pipeline, for the message.

    Returns:
        Them in a list.

    Raises:
        InvalidOption: It is no list.
    """
    if isinstance(given, str) or (given is not None and not isinstance(given, Sequence)):
        raise InvalidOption(f"{owner}: targets= takes a list; a single one is given by target=.")
    return list(given or ())
