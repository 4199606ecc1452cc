"""What tests of event time share: days, a table with an event column, and one-line batches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pgflow.testing import assert_scd2

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    """The instant at which a day of the tests begins."""
    return EPOCH + timedelta(days=number)


@dataclass
class Events:
    """A history table `w.t (id, a, u)` that is filled by event time from `w.s`."""

    world: Any
    table: Any
    pipeline: Any

    def sync(self, *rows: tuple[int, Any, float], run: float | None = None) -> dict[str, int]:
        """Deliver exactly these rows (id, a, day), and return the counts that are not zero."""
        self.world.run("TRUNCATE w.s")
        for key, value, at in rows:
            self.world.run("INSERT INTO w.s (id, a, u) VALUES (%s, %s, %s)", key, value, day(at))
        return self.again(run=run)

    def again(self, run: float | None = None) -> dict[str, int]:
        """Deliver once more what was delivered."""
        result = self.pipeline.sync(effective_at=None if run is None else day(run))
        with self.world.engine.connect() as connection:
            assert_scd2(connection, self.table)
        return {name: count for name, count in result.counts.items() if count}

    def history(self, key: int = 1, *more: str) -> list[tuple[Any, ...]]:
        """The versions of a key: value, first and last day, and more columns as they are."""
        number = "extract(epoch FROM {} - '2024-01-01 00:00+00') / 86400"
        columns = ["a", number.format("valid_from"), number.format("valid_to"), *more]
        rows = self.world.run(
            f"SELECT {', '.join(columns)} FROM w.t WHERE id = %s ORDER BY valid_from", key
        )
        return [(row[0], *map(_plain, row[1:3]), *row[3:]) for row in rows]

    def confirmed(self, key: int = 1) -> list[int | None]:
        """On which day each version of a key was last delivered."""
        rows = self.world.run(
            "SELECT extract(epoch FROM _confirmed_at - '2024-01-01 00:00+00') / 86400"
            " FROM w.t WHERE id = %s ORDER BY valid_from",
            key,
        )
        return [_plain(row[0]) for row in rows]


def _plain(value: Any) -> Any:
    return None if value is None else int(value)


def events(world: Any, *columns: Any, source: str = "", **options: Any) -> Events:
    """Declare the table, with more columns if wanted, and the pipeline that fills it."""
    given = columns or (sa.Column("a", sa.Text),)
    declared = {k: options.pop(k) for k in ("system_columns", "key") if k in options}
    table = world.table("t", *given, sa.Column("u", sa.DateTime(timezone=True)), **declared)
    pipeline = world.pipe(
        table,
        source or "SELECT id, a, u FROM w.s",
        mode="scd2",
        event_timestamp_column="u",
        **options,
    )
    return Events(world, table, pipeline)
