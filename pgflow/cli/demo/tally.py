"""What runs changed, added up over the days of the demo."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy import Connection, Table, func, select

from pgflow.factories.pipeline import Pipeline
from pgflow.observe.listing import Listing
from pgflow.run.result import SyncResult

#: What changes rows; `replaced` is what truncate writes again in the place of a row.
CHANGES = ("inserted", "updated", "closed", "deleted")

#: Columns of the table at the end, which fits a terminal of 80 columns. No pipeline of the demo
#: deletes, but truncate, for which see below.
_SHOWN = ("inserted", "updated", "closed", "replaced")


def changes(result: SyncResult) -> Counter[str]:
    """Count what a run did.

    Truncate deletes and inserts all rows, also where nothing new has come. A row in the place of
    another counts as replaced here, so that inserted rows are those by which the table grew.

    Args:
        result: The result of a pipeline with one target.

    Returns:
        The result's counts, and `replaced`.
    """
    counted = Counter(result.counts)
    if result.mode == "truncate":
        again = min(counted["inserted"], counted["deleted"])
        counted.subtract({"inserted": again, "deleted": again})
        counted["replaced"] = again
    return counted


def in_words(counted: Counter[str]) -> str:
    """Say what became of the rows that were read, leaving out what is zero."""
    names = (*CHANGES, "replaced", "unchanged", "skipped")
    return ", ".join(f"{name} {counted[name]:,}" for name in names if counted[name]) or "no rows"


@dataclass
class Tally:
    """What the runs of one pipeline came to.

    Attributes:
        pipeline: The pipeline.
        counted: Their counts.
        seconds: The time that they took.
    """

    pipeline: Pipeline
    counted: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, result: SyncResult) -> Counter[str]:
        """Add a run.

        Returns:
            The counts of this run alone.
        """
        counted = changes(result)
        self.counted.update(counted)
        self.seconds += result.seconds
        return counted

    @property
    def table(self) -> Table:
        """The pipeline's target."""
        return self.pipeline.target_table


def listing(tallies: list[Tally], connection: Connection) -> Listing:
    """Show what was loaded.

    Args:
        tallies: One for each pipeline.
        connection: Where the rows are counted.
    """
    headings = ("warehouse", "mode", "rows", *_SHOWN, "seconds")
    rows = tuple(_row(tally, connection) for tally in tallies)
    return Listing(headings, rows, numeric=frozenset(headings[2:]))


def _row(tally: Tally, connection: Connection) -> tuple[str, ...]:
    rows = connection.execute(select(func.count()).select_from(tally.table)).scalar_one()
    return (
        tally.table.name,
        tally.pipeline.spec.targets[0].options.mode or "",
        f"{rows:,}",
        *(f"{tally.counted[name]:,}" for name in _SHOWN),
        f"{tally.seconds:.2f}",
    )
