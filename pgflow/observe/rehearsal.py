"""What a dry run found, as a listing: each target marked, with its counts or its error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pgflow.observe.listing import Listing
from pgflow.observe.report import result_listing
from pgflow.run.result import SyncResult

_MARKS = {"success": "✓", "failed": "✗"}


def rehearsal_listing(results: Iterable[SyncResult], not_run: Sequence[str] = ()) -> Listing:
    """Show what dry runs found, one row for each target.

    Args:
        results: The results of pipelines, failed targets among them.
        not_run: Names of pipelines that were not run.

    Returns:
        The listing of `result_listing`, with a mark before each row and its error behind it.
    """
    known = tuple(results)
    plain = result_listing(known, not_run)
    status = plain.headings.index("status")
    errors = [error for result in known for error in _errors(result)] + [""] * len(not_run)
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
    return ["" if each.error is None else str(each.error) for each in result.targets] or [""]
