"""A failed run, as it is told to the function that a pipeline or a project names for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from pgflow.run.result import SyncResult, TargetResult

#: Where nobody has configured logging, this one reaches standard error: who watches is to know.
_log = logging.getLogger("pgflow.observe")


@dataclass(frozen=True)
class Failure:
    """A run that failed for good: after its last attempt, and after the history was told.

    Attributes:
        pipeline: The pipeline's name.
        result: What is known of the run; its `error` is never None.
    """

    pipeline: str
    result: TargetResult

    @property
    def target(self) -> str:
        """The target's qualified name."""
        return self.result.target

    @property
    def run_id(self) -> UUID | None:
        """The run, as the history has it; None if it could not even begin."""
        return self.result.run_id

    @property
    def error(self) -> BaseException:
        """What went wrong."""
        return self.result.error or RuntimeError("the run failed")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        kind = type(self.error).__name__
        return {"pipeline": self.pipeline, "error_type": kind, **self.result.to_dict()}

    def __str__(self) -> str:
        return f"{self.pipeline} -> {self.target} failed: {self.result.reason}"


def in_one(result: SyncResult, say: Callable[[TargetResult], str] | None = None) -> str:
    """Say in one message what went wrong on a pipeline's targets.

    Args:
        result: What the pipeline did; one of its targets failed at least.
        say: Says what went wrong on one of them; by default in the words of its error.

    Returns:
        A sentence; with several failed targets a line for each, unless all say the same.
    """
    groups: dict[str, list[str]] = {}
    for each in result.targets:
        if each.error is not None:
            reason = each.reason if say is None else say(each)
            owners = (f"{result.pipeline} -> {each.target}: ", f"{result.pipeline}: ")
            for name in (*owners, f"pipeline {result.pipeline!r}: "):
                reason = reason.removeprefix(name)
            groups.setdefault(reason, []).append(each.target)
    failed = f"pipeline {result.pipeline!r} failed on "
    told = [f"{', '.join(targets)}: {reason}" for reason, targets in groups.items()]
    if len(told) == 1:
        return failed + told[0]
    named = ", ".join(target for targets in groups.values() for target in targets)
    return failed + named + ":" + "".join(f"\n  {each}" for each in told)


#: What is called for a failed run.
Hook: TypeAlias = Callable[[Failure], object]


def tell(hook: Hook, failure: Failure) -> None:
    """Call a hook; what it raises is logged and noted on the run's own error, which comes first.

    Args:
        hook: The hook.
        failure: The failed run.
    """
    try:
        hook(failure)
    except Exception as error:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        failure.error.add_note(f"on_failure could not be told: {what}")
        _log.exception("on_failure raised for %s -> %s", failure.pipeline, failure.target)
