"""Results, failures and history as listings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime

from pgflow.bookkeeping import COUNTS
from pgflow.observe.histories import Histories
from pgflow.observe.history import HistoryEntry
from pgflow.observe.listing import Listing
from pgflow.run.result import Counts, SyncResult, TargetResult

_NUMERIC = frozenset({*COUNTS, "seconds", "attempts"})
#: Counts that only some pipelines can have: shown where any of them is not zero.
_RARE = frozenset({"rejected"})
_FAINT = frozenset(COUNTS) - {"inserted", "read"}
#: Where there is no room for all, these are not shown, or all of these below their row.
_MINOR = ("mode", "read", "unchanged", "seconds")
_BELOW = ("target",)

#: How much of a run's id a listing shows; enough to ask for the run.
_RUN_DIGITS = 8

NL = "\n"


def result_listing(results: Iterable[SyncResult]) -> Listing:
    """Show what runs did, one row for each target.

    Args:
        results: The results of pipelines, failed targets among them, and those not begun.

    Returns:
        The listing.
    """
    known = tuple(results)
    shown = _shown(target for result in known for target in result.targets)
    rows = [row for result in known for row in _result_rows(result, shown)]
    headings = ("pipeline", "target", "mode", "status", *shown, "seconds")
    return Listing(headings, tuple(rows), _NUMERIC, _FAINT, _MINOR, _BELOW)


def history_listing(entries: Iterable[HistoryEntry]) -> Listing:
    """Show runs, one row for each.

    Args:
        entries: What `read_history` returned.

    Returns:
        The listing; instants in UTC.
    """
    return histories_listing(Histories(tuple(("", entry) for entry in entries)), where=False)


def histories_listing(found: Histories, *, where: bool = True) -> Listing:
    """Show the runs of several databases, one row for each.

    Args:
        found: What `read_histories` returned.
        where: Whether a column says which database has the run.

    Returns:
        The listing; instants in UTC.
    """
    shown = _shown(entry for _, entry in found.entries)
    # What few runs have is shown where any has it.
    tellers = {"scope": _scope, "watermark": _mark}
    marks = tuple(n for n, tell in tellers.items() if any(tell(e) for _, e in found.entries))
    named = ("connection",) if where else ()
    headings = (
        *("started", *named, "pipeline", "target", "mode", "status"),
        *(*shown, "seconds", *marks, "run", "error"),
    )
    rows = tuple(
        _history_row(
            entry, shown, (label,) if where else (), tuple(tellers[n](entry) for n in marks)
        )
        for label, entry in found.entries
    )
    faint = _FAINT | {"error"}
    below = (*reversed(marks), *_BELOW)
    return Listing(headings, rows, _NUMERIC, faint, _MINOR, below, frozenset({"error"}))


def entry_text(entry: HistoryEntry, where: str = "") -> str:
    """Show everything that the history has of one run, a line for each thing.

    Args:
        entry: The run.
        where: What its database is called, if that is to be shown.

    Returns:
        Lines; instants in UTC. What is empty or zero is left out, and the error comes last, whole.
    """
    facts: dict[str, str] = {"connection": where} if where else {}
    for field in fields(entry):
        value = getattr(entry, field.name)
        if value is not None and value not in (0, "", {}) and field.name != "error":
            facts[field.name] = _fact(value)
    width = max(map(len, facts))
    blanks = "\n" + " " * (width + 2)
    lines = [f"{name:<{width}}  {blanks.join(text.split(NL))}" for name, text in facts.items()]
    return NL.join([*lines, *(["", entry.error] if entry.error else [])])


def counts_text(counts: Counts) -> str:
    """Say in words what was counted, leaving out what is zero."""
    return ", ".join(f"{n} {v:,}" for n, v in counts.counts.items() if v) or "nothing to do"


def instant(at: datetime | None) -> str:
    """Write an instant in UTC, to the second; empty for None."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""


def _shown(counted: Iterable[Counts | HistoryEntry]) -> tuple[str, ...]:
    """The counts that a listing has columns for."""
    rare = {name for each in counted for name in _RARE if each.counts[name]}
    return tuple(name for name in COUNTS if name not in _RARE or name in rare)


def _result_rows(result: SyncResult, shown: Sequence[str]) -> list[tuple[str, ...]]:
    if not result.targets:
        # The function did the work itself, so there are no counts to show.
        return [_row(result.pipeline, "", "", "success", None, result.seconds, shown)]
    return [_target_row(result.pipeline, target, shown) for target in result.targets]


def _scope(entry: HistoryEntry) -> str:
    """The part of the target that a run was limited to, on one line."""
    return " ".join((entry.scope or "").split())


def _mark(entry: HistoryEntry) -> str:
    """How far a run has read; of a backfill's step the range, as all of them look alike."""
    step = (entry.details or {}).get("backfill")
    if isinstance(step, Mapping):
        return f"backfill {step.get('from')} .. {step.get('to')}"
    return entry.watermark_to or ""


def _history_row(
    entry: HistoryEntry, shown: Sequence[str], where: tuple[str, ...], marks: tuple[str, ...]
) -> tuple[str, ...]:
    done = entry if entry.status == "success" else None
    row = _row(entry.pipeline, entry.target, entry.mode, entry.status, done, entry.seconds, shown)
    run = str(entry.run_id)[:_RUN_DIGITS]
    return (instant(entry.started_at), *where, *row, *marks, run, entry.error or "")


def _fact(value: object) -> str:
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, Mapping):
        return json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _target_row(pipeline: str, target: TargetResult, shown: Sequence[str]) -> tuple[str, ...]:
    done = target if target.status == "success" else None
    seconds = None if target.status == "not run" else target.seconds
    return _row(pipeline, target.target, target.mode, target.status, done, seconds, shown)


def _row(
    pipeline: str,
    target: str,
    mode: str,
    status: str,
    counts: Counts | HistoryEntry | None,
    seconds: float | None,
    shown: Sequence[str],
) -> tuple[str, ...]:
    """One row; what failed has written nothing, so it shows no counts."""
    numbers = [str(counts.counts[n]) if counts else "" for n in shown]
    spent = "" if seconds is None else f"{seconds:.2f}"
    return (pipeline, target, mode, status, *numbers, spent)
