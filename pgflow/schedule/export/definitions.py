"""What other schedulers need to know of pipelines: names, schedules, and who comes before whom."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pgflow import idents
from pgflow.declare.schedule import Schedule
from pgflow.errors import CannotExport
from pgflow.factories.pipeline import Pipeline
from pgflow.project.order import dependencies
from pgflow.schedule.due import scheduled

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Definition:
    """One pipeline, as others run it.

    Attributes:
        name: Its name.
        label: A name of letters, digits, `_`, `.` and `-`, for files and tasks.
        schedule: When it runs.
        after: Labels of pipelines of the same schedule whose targets it reads.
        doc: What it is for, in one line.
    """

    name: str
    label: str
    schedule: Schedule
    after: tuple[str, ...]
    doc: str


@dataclass(frozen=True)
class Place:
    """Where the project stands on the machine that is to run it.

    Attributes:
        directory: The directory of `pgflow.toml`.
        command: The `pgflow` command.
        modules: What `--module` said.
    """

    directory: Path
    command: str
    modules: tuple[str, ...] = ()

    def words(self, *words: str) -> tuple[str, ...]:
        """Return the words of a command.

        Args:
            *words: Those after `pgflow`.
        """
        modules = (f"--module={each}" for each in self.modules)
        return (self.command, *words[:1], *modules, *words[1:])


def definitions(pipelines: Iterable[Pipeline]) -> tuple[Definition, ...]:
    """Read what others need to know.

    Args:
        pipelines: In the project's order; those without a schedule are left out.

    Returns:
        One definition for each, in the same order.

    Raises:
        NotScheduled: None has a schedule.
        CannotExport: Two names become one where only letters and digits are allowed.
    """
    found = scheduled(pipelines)
    labels = _labels([pipeline.name for pipeline, _ in found])
    before = dependencies(pipeline for pipeline, _ in found)
    schedules = {pipeline.name: schedule for pipeline, schedule in found}
    return tuple(
        Definition(
            pipeline.name,
            labels[pipeline.name],
            schedule,
            tuple(
                labels[each]
                for each in before.get(pipeline.name, ())
                if _together(schedules[each], schedule)
            ),
            pipeline.doc,
        )
        for pipeline, schedule in found
    )


def groups(given: Iterable[Definition]) -> tuple[tuple[Definition, ...], ...]:
    """Put definitions of one schedule together, in order.

    Args:
        given: The definitions.
    """
    found: dict[tuple[str, ...], list[Definition]] = {}
    for each in given:
        schedule = each.schedule
        key = (schedule.cron, schedule.timezone, schedule.catch_up)
        found.setdefault(key, []).append(each)
    return tuple(tuple(group) for group in found.values())


def title(group: tuple[Definition, ...], number: int, of: int) -> str:
    """Name a group: by its pipeline, or by its number.

    Args:
        group: The definitions of one schedule.
        number: Which group it is, from 1.
        of: How many there are.
    """
    if len(group) == 1:
        return f"pgflow_{group[0].label}"
    return "pgflow" if of == 1 else f"pgflow_{number}"


def _together(one: Schedule, other: Schedule) -> bool:
    return (one.cron, one.timezone, one.catch_up) == (other.cron, other.timezone, other.catch_up)


def _labels(names: Iterable[str]) -> Mapping[str, str]:
    labels: dict[str, str] = {}
    for name in names:
        label = idents.fit(_UNSAFE.sub("_", name).strip(".-") or "_")
        for other, taken in labels.items():
            if taken.lower() == label.lower():
                raise CannotExport(
                    f"pipelines {other!r} and {name!r} would both be called {label!r} where only "
                    "letters, digits, '_', '.' and '-' are allowed. Rename one of them, or export "
                    "them into different directories.",
                    pipeline=name,
                )
        labels[name] = label
    return labels
