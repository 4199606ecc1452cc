"""What a pipeline is declared to be, whichever way it was declared."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgflow.declare.body import Body
from pgflow.declare.hook import check_hook
from pgflow.declare.schedule import Schedule, check_parameter
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
        timing: When it runs by itself, or None.
        source_connection: The connection of the source, where it is not the target's.
        target_connection: The connection of the targets.
        continue_on_failure: Whether later targets run after one has failed.
        tags: Labels for selecting pipelines.
        on_failure: Called for each target whose run failed, or None.
    """

    name: str
    targets: tuple[Target, ...]
    source: Source | None = None
    body: Body | None = None
    timing: Schedule | None = None
    source_connection: Any = None
    target_connection: Any = "default"
    continue_on_failure: bool = False
    tags: Sequence[str] = ()
    on_failure: Callable[[Any], object] | None = None
    info: Mapping[str, object] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tags", _tags(self.tags, f"pipeline {self.name!r}"))
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
        if self.timing is not None:
            check_parameter(self.body, f"pipeline {self.name!r}")
        if not isinstance(self.continue_on_failure, bool):
            raise InvalidOption(
                f"pipeline {self.name!r}: continue_on_failure={self.continue_on_failure!r} must be "
                "True or False."
            )
        check_hook(self.on_failure, f"pipeline {self.name!r}")

    @property
    def schedule(self) -> str | None:
        """The schedule as people read it: its cron expression, and a zone that is not UTC."""
        return None if self.timing is None else str(self.timing)

    def describe(self) -> dict[str, Any]:
        """Return the declaration as plain values, equal for equal pipelines."""
        return {
            "name": self.name,
            "targets": [
                {"options": t.options.given(), "connection": t.target_connection}
                for t in self.targets
            ],
            "source": self.source,
            "schedule": None if self.timing is None else self.timing.describe(),
            "source_connection": self.source_connection,
            "target_connection": self.target_connection,
            "continue_on_failure": self.continue_on_failure,
            "tags": self.tags,
            "on_failure": self.on_failure,
        }


def _tags(given: Sequence[str], owner: str) -> tuple[str, ...]:
    """Take a sequence of names; a text would become a tag for each of its letters."""
    listed = isinstance(given, Collection) and not isinstance(given, (str, Mapping))
    if not listed or not all(isinstance(tag, str) and tag for tag in given):
        raise InvalidOption(f"{owner}: tags={given!r} must be a list of names: tags=['daily'].")
    return tuple(given)
