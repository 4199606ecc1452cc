"""What a pipeline is declared to be, whichever way it was declared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pgflow.declare.body import Body
from pgflow.declare.sources import Source
from pgflow.declare.targets import Target
from pgflow.errors import DeclarationError, InvalidOption

_NAME = re.compile(r"[^\x00-\x1f\x7f]+\Z")


@dataclass(frozen=True)
class PipelineSpec:
    """A declared pipeline.

    Attributes:
        name: Its name, unique among the pipelines of a project.
        targets: Where rows go, each with complete options.
        source: Where rows come from; None if the body says it.
        body: The function, if there is one; a source that it returns wins over `source`.
        schedule: When it runs, as a cron expression, or None.
        source_connection: The connection of the source, where it is not the target's.
        target_connection: The connection of the targets.
        continue_on_failure: Whether later targets run after one has failed.
        tags: Labels for selecting pipelines.
    """

    name: str
    targets: tuple[Target, ...]
    source: Source | None = None
    body: Body | None = None
    schedule: str | None = None
    source_connection: Any = None
    target_connection: Any = "default"
    continue_on_failure: bool = False
    tags: tuple[str, ...] = ()
    info: Mapping[str, object] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.match(self.name):
            raise DeclarationError(f"{self.name!r} cannot be the name of a pipeline.")
        if not self.targets:
            raise DeclarationError(
                f"pipeline {self.name!r} has no target; pass target= or targets=[...]."
            )
        if self.source is None and self.body is None:
            raise DeclarationError(
                f"pipeline {self.name!r} has no source declaration: pass source= or "
                "source_table=, or write a function that returns SQL."
            )
        check_schedule(self.schedule, f"pipeline {self.name!r}")

    def describe(self) -> dict[str, Any]:
        """Return the declaration as plain values, equal for equal pipelines."""
        return {
            "name": self.name,
            "targets": [
                {"options": t.options.given(), "connection": t.target_connection}
                for t in self.targets
            ],
            "source": self.source,
            "schedule": self.schedule,
            "source_connection": self.source_connection,
            "target_connection": self.target_connection,
            "continue_on_failure": self.continue_on_failure,
            "tags": self.tags,
        }


def check_schedule(schedule: str | None, owner: str) -> None:
    """Refuse a schedule that is no cron expression of five fields.

    Args:
        schedule: The expression, or None.
        owner: Who declared it, for the message.

    Raises:
        InvalidOption: It cannot be read.
    """
    if schedule is None:
        return
    from croniter import croniter

    fields = schedule.split() if isinstance(schedule, str) else []
    if len(fields) != 5 or not croniter.is_valid(schedule):
        raise InvalidOption(
            f"{owner}: schedule={schedule!r} is no cron expression. Write five fields: minute, "
            "hour, day of month, month, day of week, as in '0 * * * *' for every full hour."
        )
