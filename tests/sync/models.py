"""What each mode has to do, in plain Python: the definition that the model tests hold it to.

A batch is a list of rows. `None` is NULL. Instants are plain numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any


class Refused(Exception):
    """The batch cannot be applied; nothing changes."""


def append(rows: list[Any], batch: list[Any], keyed: bool) -> list[Any]:
    """Add every row; with a key, only rows whose key is not there yet."""
    if not keyed:
        return rows + batch
    known = {row[0] for row in rows}
    return rows + [row for row in dict(batch).items() if row[0] not in known]


def truncate(_rows: list[Any], batch: list[Any]) -> list[Any]:
    """Have the batch and nothing else."""
    return batch


@dataclass
class Row:
    """A row of merge or scd1: its value, when it last changed, when it was found deleted."""

    value: Any
    changed: int | None = None
    deleted: int | None = None


def upsert(rows: dict[Any, Row], batch: dict[Any, Any], run: int, deletes: str | None) -> None:
    """Have the newest value of every key; delete or mark keys that are gone."""
    for key, value in batch.items():
        known = rows.get(key)
        if known is None or known.value != value or known.deleted is not None:
            rows[key] = Row(value, run)
    for key in [key for key in rows if key not in batch]:
        if deletes == "hard":
            del rows[key]
        elif deletes == "soft" and rows[key].deleted is None:
            rows[key].deleted = run


@dataclass
class Version:
    """A version of a key: valid from `start` on and before `end`, delivered last at `seen`."""

    value: Any
    start: int
    end: int | None = None
    seen: int = 0
    known: bool = False


History = dict[Any, list[Version]]


def follow(history: History, batch: dict[Any, Any], run: int) -> None:
    """scd2: a value that is not the current one begins at the run's instant."""
    for key, value in batch.items():
        versions = history.setdefault(key, [])
        current = versions[-1] if versions and versions[-1].end is None else None
        if current is not None and current.value == value:
            continue
        if current is not None and current.start == run:
            current.value = value
            continue
        if current is not None:
            current.end = run
        versions.append(Version(value, run, seen=run))


def splice(versions: list[Version], events: dict[int, Any], alive: bool) -> list[Version]:
    """scd2 by event time, for one key: read history off the points in their order.

    An event replaces what was known at its instant. An end stays an end. A version that is there
    keeps its row, which moves only if an event with the same value comes before it. If delivery
    means that the key is alive, it is again from its end on, with the newest event's value.
    """
    points: dict[int, tuple[Any, bool]] = {}
    for version in versions:
        points[version.start] = (version.value, True)
        if version.seen > version.start:
            points[version.seen] = (version.value, False)
    for at, value in events.items():
        points[at] = (value, points.get(at, (None, False))[1])
    order = [(at, 1, *point) for at, point in points.items()]
    starts = {version.start for version in versions}
    ends = [v.end for v in versions if v.end is not None and v.end not in starts]
    order += [(end, 0, None, False) for end in ends]
    if alive and versions and versions[-1].end is not None and max(events) < max(ends):
        order.append((max(ends), 2, events[max(events)], False))
    found: list[Version] = []
    for at, kind, value, known in sorted(order, key=lambda point: point[:2]):
        open_ = found[-1] if found and found[-1].end is None else None
        if open_ is not None and kind == 1 and open_.value == value and not (known and open_.known):
            open_.seen, open_.known = at, open_.known or known
            continue
        if open_ is not None:
            open_.end = at
        if kind > 0:
            found.append(Version(value, at, seen=at, known=known))
    return found


def end_missing(history: History, batch: Iterable[Any], run: int, ttl: int | None) -> None:
    """Close what nobody delivers; with `ttl`, only what was not seen for longer than that."""
    for key in set(history) - set(batch):
        versions = history[key]
        if not versions or versions[-1].end is not None:
            continue
        last = versions[-1]
        if ttl is not None and last.seen >= run - ttl:
            continue
        if last.seen > run:
            raise Refused
        if last.start == run:
            versions.pop()
            continue
        last.end = run
        if last.seen == run:
            last.seen = last.start


def forget_confirmations(history: History) -> None:
    """Without `keep_confirmations` only the beginning of a version is kept."""
    for key, versions in history.items():
        history[key] = [replace(version, seen=version.start) for version in versions]
