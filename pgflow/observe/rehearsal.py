"""What a dry run found, as a listing: each target marked, with its counts or its error."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pgflow.observe.listing import Listing
from pgflow.observe.report import result_listing
from pgflow.run.result import SyncResult

_MARKS = {"success": "✓", "failed": "✗"}


def rehearsal_listing(results: Iterable[SyncResult]) -> Listing:
    """Show what dry runs found, one row for each target.

    Args:
        results: As for `result_listing`.

    Returns:
        The listing of `result_listing`, with a mark before each row and its error behind it.
    """
    known = tuple(results)
    plain = result_listing(known)
    status = plain.headings.index("status")
    errors = [error for result in known for error in _errors(result)]
    rows = (
        (_MARKS.get(row[status], ""), *row, error)
        for row, error in zip(plain.rows, errors, strict=True)
    )
    return replace(
        plain,
        headings=("ok", *plain.headings, "error"),
        rows=tuple(rows),
        faint=plain.faint | {"error"},
        wrapping=frozenset({"error"}),
    )


def _errors(result: SyncResult) -> list[str]:
    """One text for each row of the result; a function that did the work itself has one row."""
    return [each.reason for each in result.targets] or [""]
