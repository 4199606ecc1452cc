"""What is measured: each case is one sync by pgflow and one hand-written script beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

#: Rows of source and target by the name of the size.
SIZES = {"small": 50_000, "full": 1_000_000}

#: How many closed versions an scd2 key has beside its current one.
OLD_VERSIONS = 4


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        name: What the table of results calls it.
        mode: pgflow's mode.
        script: The hand-written SQL, a file in `sql/`.
        changed: Percent of the source's rows that differ from the target's.
        missing: Percent of the target's keys that the source lacks.
        fresh: Percent of rows that the source has beyond the target's.
        proven: Whether the source has a primary key, so that nobody need look for repeated keys.
        filled: Whether the target holds rows before the run.
        options: The pipeline's options beside the mode.
    """

    name: str
    mode: str
    script: str
    changed: int = 0
    missing: int = 0
    fresh: int = 0
    proven: bool = True
    filled: bool = True
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def keyed(self) -> bool:
        """Whether the target has a key."""
        return self.script not in ("append.sql",)

    @property
    def written(self) -> int:
        """How many percent of the target's rows a run writes."""
        if not self.filled or self.mode == "truncate":
            return 100
        rows = self.changed + self.missing + self.fresh
        # A version is written and another one closed, beside all the old ones.
        return rows * 2 // (OLD_VERSIONS + 1) if self.history else rows

    @property
    def history(self) -> bool:
        """Whether the target keeps versions."""
        return self.mode == "scd2"

    @property
    def dated(self) -> bool:
        """Whether versions begin at the rows' own instants."""
        return "event_timestamp_column" in self.options


def _changes(mode: str, proven: bool) -> list[Case]:
    kind = "" if proven else ", source without key"
    script = f"{mode}.sql" if proven else f"{mode}_unproven.sql"
    return [
        Case(f"{mode}, {percent} % changed{kind}", mode, script, percent, proven=proven)
        for percent in (0, 1, 10, 100)
    ]


#: Every case, in the order in which they run.
CASES: tuple[Case, ...] = (
    Case("append", "append", "append.sql", filled=False),
    Case("append, keyed, 10 % new", "append", "append_keyed.sql", fresh=10),
    Case("truncate", "truncate", "truncate.sql", changed=1),
    Case("merge, first load", "merge", "merge_first.sql", filled=False),
    *_changes("merge", proven=True),
    *_changes("merge", proven=False),
    Case(
        "merge, 1 % changed, 1 % deleted",
        "merge",
        "merge_deletes.sql",
        changed=1,
        missing=1,
        options=MappingProxyType({"handle_deletes": "hard"}),
    ),
    Case("scd1, 1 % changed", "scd1", "scd1.sql", changed=1),
    Case("scd2, first load", "scd2", "scd2_first.sql", filled=False),
    *_changes("scd2", proven=True),
    *_changes("scd2", proven=False),
    Case(
        "scd2, 1 % changed, 1 % deleted",
        "scd2",
        "scd2_deletes.sql",
        changed=1,
        missing=1,
        options=MappingProxyType({"handle_deletes": "soft"}),
    ),
    *(
        Case(
            f"scd2 by event time, {percent} % changed",
            "scd2",
            "scd2_events.sql",
            changed=percent,
            options=MappingProxyType({"event_timestamp_column": "updated"}),
        )
        for percent in (1, 10, 100)
    ),
)


def named(name: str) -> Case:
    """Return one case."""
    return next(case for case in CASES if case.name == name)


def chosen(words: list[str]) -> list[Case]:
    """Return the cases whose name has one of the words, or all without words."""
    return [case for case in CASES if not words or any(word in case.name for word in words)]
