"""What a run did: counts, and the plan that was run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from pgflow.bookkeeping import COUNTS
from pgflow.plan.statement import Plan
from pgflow.run.failures import reason

#: The subject under which a target's details name the earlier target that read its rows.
READ_BY = "read_by"

#: So many warnings are shown by `str()`; a result has them all.
_WARNINGS = 3


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Rows by what became of them.

    Attributes:
        inserted: Rows added; for scd2 versions opened.
        updated: Rows changed in place; for scd2 versions corrected at their own instant.
        closed: scd2: versions that were given an end.
        deleted: Keys that the source no longer delivers and that were deleted, closed or marked;
            for truncate the rows that were replaced.
        unchanged: Rows that the target had already.
        skipped: Rows that were not applied: older than the target's, or, for append, present
            with other values.
        rejected: Rows that a check kept out of the target.
        read: Rows that the source delivered, repeated ones included.
    """

    inserted: int = 0
    updated: int = 0
    closed: int = 0
    deleted: int = 0
    unchanged: int = 0
    skipped: int = 0
    rejected: int = 0
    read: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{n: getattr(self, n) + getattr(other, n) for n in COUNTS})

    @property
    def counts(self) -> dict[str, int]:
        """All counts by name."""
        return {n: getattr(self, n) for n in COUNTS}


@dataclass(frozen=True, kw_only=True)
class TargetResult(Counts):
    """What a run did to one target.

    Attributes:
        target: The target's qualified name.
        mode: The mode's name.
        status: `success` or `failed`. Targets after a failure that halts have no result; commands
            show them as `not run`.
        run_id: The row in the history; what `_batch_id` of written rows holds. None for a failure
            before there was a run.
        seconds: Wall time.
        effective_at: The instant of the run, where it has one.
        plan: The plan that ran; None if it failed before there was one.
        error: What went wrong, or None.
        warnings: What the run wants its reader to know.
        returned: What the function returned, where it did the work itself.
        details: What else is worth knowing of the run, as plain data by subject.
    """

    target: str
    mode: str
    run_id: UUID | None
    status: str = "success"
    seconds: float = 0.0
    effective_at: datetime | None = None
    plan: Plan | None = None
    error: BaseException | None = None
    warnings: tuple[str, ...] = ()
    returned: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """What went wrong, in the words of whoever knows best; empty if nothing did."""
        return "" if self.error is None else reason(self.error)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, without the plan."""
        return {
            "target": self.target,
            "mode": self.mode,
            "status": self.status,
            "run_id": str(self.run_id) if self.run_id else None,
            "seconds": round(self.seconds, 3),
            "effective_at": self.effective_at.isoformat() if self.effective_at else None,
            "error": self.reason or None,
            "warnings": list(self.warnings),
            "details": dict(self.details),
            **self.counts,
        }


@dataclass(frozen=True, kw_only=True)
class SyncResult(Counts):
    """What `sync()` or `dry_run()` did; the counts add up those of all targets.

    Rows that were read once for several targets count once under `read`.

    Attributes:
        pipeline: The pipeline's name.
        targets: One result for each target, in order.
        seconds: Wall time.
        dry_run: Whether everything was rolled back.
    """

    pipeline: str
    targets: tuple[TargetResult, ...] = ()
    seconds: float = 0.0
    dry_run: bool = False

    @classmethod
    def of(
        cls, pipeline: str, targets: tuple[TargetResult, ...], seconds: float, dry_run: bool
    ) -> SyncResult:
        """Add up the results of a pipeline's targets."""
        total = sum((Counts(**t.counts) for t in targets), Counts())
        taken = sum(t.read for t in targets if READ_BY in t.details)
        counts: dict[str, Any] = {**total.counts, "read": total.read - taken}
        return cls(pipeline=pipeline, targets=targets, seconds=seconds, dry_run=dry_run, **counts)

    @property
    def ok(self) -> bool:
        """Whether every target succeeded."""
        return all(t.status == "success" for t in self.targets)

    @property
    def run_id(self) -> UUID | None:
        """The first target's run; None where the function did the work itself."""
        return self.targets[0].run_id if self.targets else None

    @property
    def returned(self) -> Mapping[str, Any]:
        """What the function returned, where it did the work itself."""
        return self.targets[0].returned if self.targets else {}

    @property
    def plan(self) -> Plan | None:
        """The plan that ran on the first target."""
        return self.targets[0].plan if self.targets else None

    @property
    def mode(self) -> str:
        """The first target's mode."""
        return self.targets[0].mode if self.targets else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data."""
        return {
            "pipeline": self.pipeline,
            "dry_run": self.dry_run,
            "seconds": round(self.seconds, 3),
            **self.counts,
            "targets": [t.to_dict() for t in self.targets],
        }

    def to_json(self) -> str:
        """Return the result as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {v}" for n, v in self.counts.items() if v) or "nothing to do"
        kind = "dry run" if self.dry_run else "sync"
        said = f"{self.pipeline}: {kind} in {self.seconds:.2f} s: {counts}"
        several = len(self.targets) > 1
        warnings = [
            f"{target.target}: {each}" if several else each
            for target in self.targets
            for each in target.warnings
        ]
        if not warnings:
            return said
        noun = "warning" if len(warnings) == 1 else "warnings"
        lines = [f"{said}; {len(warnings)} {noun}"]
        lines += [f"  warning: {each.splitlines()[0]}" for each in warnings[:_WARNINGS] if each]
        if len(warnings) > _WARNINGS:
            lines.append(f"  and {len(warnings) - _WARNINGS} more: see .targets[...].warnings")
        return "\n".join(lines)
