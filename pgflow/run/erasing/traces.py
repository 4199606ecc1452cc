"""What runs have quoted of a key: sample keys in their details, and the texts of their errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pgflow.plan.sql import Sql, bind, name, raw, sql
from pgflow.run.erasing.erased_key import ErasedKey
from pgflow.run.session import Session

#: What stands in the place of an error's text that has quoted a key.
ERASED = "(erased: the text quoted a key that was forgotten)"

#: The name under which details keep keys, as a list of objects by column.
_SAMPLES = "sample_keys"


def erase(session: Session, schema: str, targets: Sequence[str], erased: ErasedKey) -> int:
    """Remove a key from what the history of runs quotes.

    Args:
        session: A session in the erasure's transaction.
        schema: Where pgflow's own tables are.
        targets: The names under which runs know the table.
        erased: The key.

    Returns:
        How many keys and texts were removed.
    """
    runs = name(schema, "runs")
    return _samples(session, runs, targets, erased) + _errors(session, runs, targets, erased)


def _samples(session: Session, runs: Sql, targets: Sequence[str], erased: ErasedKey) -> int:
    text = sql(
        "SELECT run_id, details FROM {runs} WHERE target = ANY ({targets}::text[])"
        " AND details @? 'strict $.**.sample_keys' FOR UPDATE",
        runs=runs,
        targets=bind(list(targets), "targets"),
    )
    rows = session.run(text, "read the sample keys of runs").rows
    lists = [(row, keys) for row in rows for keys in _lists(row["details"])]
    places = erased.matching([key for _, keys in lists for key in keys])
    at, changed = 0, {}
    for row, keys in lists:
        kept = [key for place, key in enumerate(keys, at) if place not in places]
        at += len(keys)
        if len(kept) < len(keys):
            keys[:] = kept
            changed[row["run_id"]] = row["details"]
    for run_id, details in changed.items():
        _write(session, runs, run_id, "details", json.dumps(details), "jsonb")
    return len(places)


def _errors(session: Session, runs: Sql, targets: Sequence[str], erased: ErasedKey) -> int:
    text = sql(
        "SELECT run_id, error FROM {runs} WHERE target = ANY ({targets}::text[]) AND {quoted}",
        runs=runs,
        quoted=erased.might_be_quoted_in(raw("error")),
        targets=bind(list(targets), "targets"),
    )
    rows = session.run(text, "read the errors of runs").rows
    quoting = [row["run_id"] for row in rows if erased.quoted_in(row["error"])]
    for run_id in quoting:
        _write(session, runs, run_id, "error", ERASED, "text")
    return len(quoting)


def _write(session: Session, runs: Sql, run_id: object, column: str, value: str, kind: str) -> None:
    text = sql(
        "UPDATE {runs} SET {column} = {value}::{kind} WHERE run_id = {run_id}::uuid",
        runs=runs,
        kind=raw(kind),
        column=name(column),
        value=bind(value, column),
        run_id=bind(run_id, "run_id"),
    )
    session.run(text, "take a key out of a run's record")


def _lists(found: Any) -> Iterator[list[Any]]:
    """Every list of sample keys in a run's details, wherever it is."""
    if isinstance(found, list):
        for each in found:
            yield from _lists(each)
    elif isinstance(found, dict):
        for subject, value in found.items():
            if subject == _SAMPLES and isinstance(value, list):
                yield value
            else:
                yield from _lists(value)
