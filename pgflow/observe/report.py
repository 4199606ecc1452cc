"""Results, failures and history as listings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from pgflow.bookkeeping import COUNTS
from pgflow.observe.history import HistoryEntry
from pgflow.observe.listing import Listing
from pgflow.run.result import Counts, SyncResult, TargetResult

_NUMERIC = frozenset({*COUNTS, "seconds", "attempts"})
#: Counts that only some pipelines can have: shown where any of them is not zero.
_RARE = frozenset({"rejected"})
_FAINT = frozenset(COUNTS) - {"inserted", "read"}
_MINOR = ("mode", "read", "seconds")


def result_listing(results: Iterable[SyncResult], not_run: Sequence[str] = ()) -> Listing:
    """Show what runs did, one row for each target.

    Args:
        results: The results of pipelines, failed targets among them.
        not_run: Names of pipelines that were not run.

    Returns:
        The listing.
    """
    known = tuple(results)
    shown = _shown(target for result in known for target in result.targets)
    rows = [row for result in known for row in _result_rows(result, shown)]
    rows += [_row(name, "", "", "not run", None, None, shown) for name in not_run]
    headings = ("pipeline", "target", "mode", "status", *shown, "seconds")
    return Listing(headings, tuple(rows), _NUMERIC, _FAINT, _MINOR)


def history_listing(entries: Iterable[HistoryEntry]) -> Listing:
    """Show runs, one row for each.

    Args:
        entries: What `read_history` returned.

    Returns:
        The listing; instants in UTC.
    """
    entries = tuple(entries)
    shown = _shown(entries)
    headings = ("started", "pipeline", "target", "mode", "status", *shown, "seconds", "error")
    rows = tuple(
        (
            instant(entry.started_at),
            *_row(
                entry.pipeline,
                entry.target,
                entry.mode,
                entry.status,
                entry if entry.status == "success" else None,
                entry.seconds,
                shown,
            ),
            entry.error or "",
        )
        for entry in entries
    )
    faint = _FAINT | {"error"}
    minor = ("mode", "target", "read", "seconds", "unchanged")
    return Listing(headings, rows, _NUMERIC, faint, minor, frozenset({"error"}))


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


def _target_row(pipeline: str, target: TargetResult, shown: Sequence[str]) -> tuple[str, ...]:
    done = target if target.status == "success" else None
    return _row(pipeline, target.target, target.mode, target.status, done, target.seconds, shown)


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
