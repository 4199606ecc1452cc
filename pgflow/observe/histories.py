"""The histories of several databases in one answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection, Engine

from pgflow.bookkeeping import SCHEMA
from pgflow.connections.dsn import is_dsn
from pgflow.connections.registry import Connectable, describe, engine
from pgflow.errors import InvalidOption
from pgflow.observe.history import (
    HistoryEntry,
    find_run,
    read_history,
    recorded_pipelines,
)
from pgflow.run.remote.identity import Identity, ask
from pgflow.run.session import Session

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where a history is.

    Attributes:
        connection: The database: a connection's name, a URL or an engine.
        schema: Where pgflow's own tables are.
    """

    connection: Connectable = "default"
    schema: str = SCHEMA

    @property
    def label(self) -> str:
        """How answers call it: the connection's name, or where it leads; never a password."""
        known = self.connection
        if isinstance(known, str) and not is_dsn(known):
            return known
        found = known if isinstance(known, Engine) else engine(known)
        leads = describe(found)
        host = f"@{leads.host}" if leads.host else ""
        return f"{leads.database or 'database'}{host}"


@dataclass(frozen=True)
class Histories:
    """Runs of several databases, latest first.

    Attributes:
        entries: Each run with the label of the place that has it.
        problems: What kept a place from being read, by its label.
    """

    entries: tuple[tuple[str, HistoryEntry], ...] = ()
    problems: Mapping[str, Exception] = field(default_factory=dict)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the runs as plain data, each with its `connection`."""
        return [{"connection": label, **entry.to_dict()} for label, entry in self.entries]


def read_histories(
    places: Iterable[Place], pipeline: str | None = None, limit: int = 20, **filters: Any
) -> Histories:
    """Read the latest runs of several databases.

    Args:
        places: Where to read. Two that lead to one schema of one database are read once.
        pipeline: As for `read_history`.
        limit: How many runs at most, of all places together.
        **filters: As for `read_history`: `statuses`, `since`.

    Returns:
        The runs, latest first, and what could not be read.

    Raises:
        InvalidOption: An argument is refused by `read_history`.
    """

    def read(live: Connection, schema: str) -> tuple[HistoryEntry, ...]:
        return read_history(live, pipeline, limit, schema, **filters)

    answers, problems = _ask_all(places, read)
    found = [(label, entry) for label, entries in answers for entry in entries]
    found.sort(key=lambda each: (-each[1].started_at.timestamp(), str(each[1].run_id)))
    return Histories(tuple(found[:limit]), problems)


def pipelines_of(places: Iterable[Place]) -> tuple[str, ...]:
    """Return the names of all pipelines of which a database has a run.

    Args:
        places: Where to look; one that cannot be read is left out.
    """
    answers, _ = _ask_all(places, recorded_pipelines)
    return tuple(dict.fromkeys(name for _, names in answers for name in names))


def find_runs(places: Iterable[Place], run_id: UUID | str) -> Histories:
    """Look for one run in several databases.

    Args:
        places: Where to look.
        run_id: As for `find_run`.

    Returns:
        The run, once for each database that has it, and why the others do not.

    Raises:
        InvalidOption: That is no beginning of an id.
    """
    answers, problems = _ask_all(places, lambda live, schema: find_run(live, run_id, schema))
    return Histories(tuple(answers), problems)


def _ask_all(
    places: Iterable[Place], question: Callable[[Connection, str], T]
) -> tuple[list[tuple[str, T]], dict[str, Exception]]:
    """Ask every database once; one that cannot answer does not keep the others from it."""
    answers: list[tuple[str, T]] = []
    problems: dict[str, Exception] = {}
    seen: list[tuple[str, Identity]] = []
    for place in dict.fromkeys(places):
        label = _unused(_label(place), [*(each for each, _ in answers), *problems])
        try:
            with engine(place.connection).connect() as live:
                identity = ask(Session(live))
                if identity is not None:
                    if any(s == place.schema and not known.differs(identity) for s, known in seen):
                        continue
                    seen.append((place.schema, identity))
                answers.append((label, question(live, place.schema)))
        except InvalidOption:
            raise
        except Exception as error:  # whatever a driver raises, the other places are to be read
            problems[label] = error
    return answers, problems


def _label(place: Place) -> str:
    try:
        return place.label
    except Exception:  # asking the place itself tells what is wrong with it
        return "a connection"


def _unused(label: str, taken: list[str]) -> str:
    number = 2
    found = label
    while found in taken:
        found, number = f"{label} ({number})", number + 1
    return found
