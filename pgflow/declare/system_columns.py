"""The columns that pgflow keeps about its rows, by the name that each has in one table."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class SystemColumns:
    """What pgflow's own columns of a table are called; None where the table has none.

    Attributes:
        loaded_at: When the row was last written.
        batch_id: The run that last wrote the row.
        changed_at: scd1: when a value last changed.
        deleted_at: merge, scd1: when the source stopped delivering the row.
        valid_from: scd2: the version's first instant.
        valid_to: scd2: the first instant after the version; NULL for the current one.
        is_current: scd2: whether the version is current.
        closed_batch_id: scd2: the run that closed the version.
        confirmed_at: scd2 with event time: when the version was last delivered unchanged.
        row_hash: The stored hash of the compared columns.
    """

    loaded_at: str | None = None
    batch_id: str | None = None
    changed_at: str | None = None
    deleted_at: str | None = None
    valid_from: str | None = None
    valid_to: str | None = None
    is_current: str | None = None
    closed_batch_id: str | None = None
    confirmed_at: str | None = None
    row_hash: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns that the table has."""
        values = (getattr(self, f.name) for f in fields(self))
        return tuple(value for value in values if value is not None)

    def with_more(self, more: SystemColumns) -> SystemColumns:
        """Take over the names that another owner of the same table adds."""
        if self == more:
            return self
        names = {f.name: getattr(more, f.name) or getattr(self, f.name) for f in fields(self)}
        return SystemColumns(**names)
