"""systemd: a timer and a service for each pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC

from croniter import croniter

from pgflow.declare.schedule import Schedule
from pgflow.errors import CannotExport
from pgflow.schedule.export.clocks import irregular, steady
from pgflow.schedule.export.definitions import Definition, Place

_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_LABEL = "pgflow-{}"

_TIMER = """# Written by `pgflow export systemd`.
[Unit]
Description=Schedule of the pgflow pipeline {name}

[Timer]
{calendar}Persistent={persistent}
AccuracySec=1s
Unit={label}.service

[Install]
WantedBy=timers.target
"""

_SERVICE = """# Written by `pgflow export systemd`.
[Unit]
Description=pgflow pipeline {name}{doc}
{after}
[Service]
Type=oneshot
WorkingDirectory={directory}
ExecStart={command}
"""


def systemd(given: Sequence[Definition], place: Place) -> Mapping[str, str]:
    """Write units.

    Args:
        given: The pipelines.
        place: Where the project is.

    Returns:
        Texts of files by name.

    Raises:
        CannotExport: A schedule cannot be said exactly as calendar events of systemd.
    """
    files: dict[str, str] = {}
    for each in given:
        label = _LABEL.format(each.label)
        files[f"{label}.timer"] = _timer(each, label)
        files[f"{label}.service"] = _service(each, place)
    return files


def calendar_events(each: Definition) -> tuple[str, ...]:
    """Say a schedule as systemd's calendar events, any of which lets the timer elapse.

    Args:
        each: The pipeline.

    Raises:
        CannotExport: It cannot be said exactly.
    """
    schedule = steady(each.schedule)
    fields, nth = croniter.expand(schedule.cron)
    minutes, hours, days, months, weekdays = fields
    if nth or "l" in days or "l" in weekdays:
        raise CannotExport(
            f"pipeline {each.name!r}: its schedule {each.schedule.cron!r} means a last or an n-th "
            "day, which calendar events of systemd cannot say. Let a timer call `pgflow run-due` "
            "every few minutes instead.",
            pipeline=each.name,
        )
    time = f"{_listed(hours)}:{_listed(minutes)}:00"
    month, zone = _listed(months), schedule.timezone
    every_day = f"*-{month}-*"
    some_days = f"*-{month}-{_listed(days)}"
    on = ",".join(_DAYS[number] for number in sorted({int(d) % 7 for d in weekdays if d != "*"}))
    if not on:
        regular = [f"{some_days} {time} {zone}"]
    elif days == ["*"]:
        regular = [f"{on} {every_day} {time} {zone}"]
    else:  # in cron either of the two is enough
        regular = [f"{some_days} {time} {zone}", f"{on} {every_day} {time} {zone}"]
    return (*regular, *_on_changes(schedule))


def _on_changes(schedule: Schedule) -> Iterator[str]:
    """Say when systemd has to look on days on which clocks change; on others nothing is due then.

    A skipped time does not elapse for systemd, and of two alike only the first one does.
    """
    found = {f"{each.astimezone(UTC):*-%m-* %H:%M}:00 UTC" for each in irregular(schedule)}
    yield from sorted(found)


def _timer(each: Definition, label: str) -> str:
    return _TIMER.format(
        name=_plain(each.name),
        calendar="".join(f"OnCalendar={event}\n" for event in calendar_events(each)),
        persistent="false" if each.schedule.catch_up == "none" else "true",
        label=label,
    )


def _service(each: Definition, place: Place) -> str:
    words = (place.command, *place.words("run-due", "--retry", "--", each.name))
    after = " ".join(f"{_LABEL.format(label)}.service" for label in each.after)
    return _SERVICE.format(
        name=_plain(each.name),
        doc=f": {_plain(each.doc)}" if each.doc else "",
        # Both, as timers of one instant may elapse one after the other.
        after=f"Wants={after}\nAfter={after}\n" if after else "",
        directory=_path(str(place.directory)),
        command=" ".join(_word(word) for word in words),
    )


def _listed(values: Sequence[int | str]) -> str:
    if list(values) == ["*"]:
        return "*"
    return ",".join(f"{int(value):02}" for value in sorted(values, key=int))


def _plain(text: str) -> str:
    """Text for a description, in which `%` begins a specifier."""
    return text.replace("%", "%%").replace("\\", "\\\\")


def _path(text: str) -> str:
    return text.replace("%", "%%")


def _word(text: str) -> str:
    """A word of a command as systemd takes it apart."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{quoted}"'
