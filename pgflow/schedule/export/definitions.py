"""What other schedulers need to know of pipelines: names, schedules, and who comes before whom."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pgflow import idents
from pgflow.declare.schedule import Schedule
from pgflow.errors import CannotExport
from pgflow.factories.pipeline import Pipeline
from pgflow.project.order import dependencies
from pgflow.schedule.due import scheduled

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")

#: The signs of a cron expression in a name.
_SPOKEN = str.maketrans({"*": "x", "/": "by", ",": ".", "#": "nth"})


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
    """Where the project stands, and how pgflow is called there.

    Attributes:
        directory: The directory of `pgflow.toml`.
        command: The `pgflow` command.
        modules: What `--module` said.
        written: Where the files are written; in the project's directory if nothing is said.
        begin: What fired before this instant is not made up for.
    """

    directory: Path
    command: str
    modules: tuple[str, ...] = ()
    written: Path | None = None
    begin: datetime = datetime(2024, 1, 1, tzinfo=UTC)

    @property
    def depth(self) -> int:
        """How many directories the files lie below the project; 0 if they lie elsewhere."""
        written = self.written or self.directory
        if not written.is_relative_to(self.directory):
            return 0
        return len(written.relative_to(self.directory).parts)

    def words(self, *words: str) -> tuple[str, ...]:
        """Return the words of a command, without the first one, which is pgflow itself.

        Args:
            *words: Those after `pgflow`.
        """
        modules = (f"--module={each}" for each in self.modules)
        return (*words[:1], *modules, *words[1:])


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
                if _key(schedules[each]) == _key(schedule)
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
        found.setdefault(_key(each.schedule), []).append(each)
    return tuple(tuple(group) for group in found.values())


def title(group: tuple[Definition, ...]) -> str:
    """Name a group by its schedule, so that it keeps its name when others come and go.

    Args:
        group: The definitions of one schedule.
    """
    schedule = group[0].schedule
    parts = ["_".join(schedule.cron.split()).translate(_SPOKEN)]
    if schedule.timezone != "UTC":
        parts.append(schedule.timezone.replace("/", "-").replace("+", "plus"))
    if schedule.catch_up != "latest":
        parts.append(schedule.catch_up)
    return idents.fit("_".join(["pgflow", *parts]))


def _key(schedule: Schedule) -> tuple[str, ...]:
    return (*schedule.cron.split(), schedule.timezone, schedule.catch_up)


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
