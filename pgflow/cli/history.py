"""`pgflow history`, and what is below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import typer

from pgflow.cli.consent import consents_to_loss
from pgflow.cli.failures import FAILED, OK, exit_code, first_reason, sentence
from pgflow.cli.output import Output
from pgflow.connections.registry import engine
from pgflow.connections.settings import project_settings
from pgflow.declare.options import nearest
from pgflow.errors import InvalidOption, UnknownPipeline, UnknownRun
from pgflow.observe.histories import (
    Histories,
    Place,
    find_runs,
    pipelines_of,
    read_histories,
)
from pgflow.observe.report import entry_text, histories_listing, history_listing
from pgflow.project.databases import places
from pgflow.project.modules import listed_modules
from pgflow.project.project import Project
from pgflow.run.erasing.old_runs import Pruned, check_retention, prune_history


@dataclass(frozen=True)
class Where:
    """Which histories are asked.

    Attributes:
        connections: Those that were named.
        everywhere: Whether all databases of the project are.
        modules: What `--module` said.
        schema: Where pgflow's own tables are; None for what the project says, else `pgflow`.
    """

    connections: Sequence[str] = ()
    everywhere: bool = False
    modules: Sequence[str] | None = None
    schema: str | None = None

    def places(self, name: str | None = None) -> tuple[Place, ...]:
        """Return the places to ask: those that were named, or where a pipeline's targets are.

        Args:
            name: The pipeline's name, or None.
        """
        if self.connections:
            return tuple(self._place(each) for each in self.connections)
        if self.everywhere:
            found = places(Project.load(self.modules or None).pipelines.values())
        else:
            found = _places_of(name, self.modules)
        if self.schema is not None:
            found = tuple(dict.fromkeys(self._place(place.connection) for place in found))
        return found or (self._place("default"),)

    def _place(self, connection: Any) -> Place:
        return Place(connection) if self.schema is None else Place(connection, self.schema)


@dataclass(frozen=True)
class Filters:
    """Which runs are shown.

    Attributes:
        limit: How many at most.
        statuses: Only those with one of these; by default all.
        since: Only those that began then or later.
    """

    limit: int = 20
    statuses: Sequence[str] = ()
    since: datetime | None = None


@dataclass(frozen=True)
class Retention:
    """Which runs are to go.

    Attributes:
        name: The pipeline, or None for all.
        older_than: How long ago a run must have ended.
        keep_last: How many of the latest runs of each pipeline, target and scope stay.
        dry_run: Whether to count only.
    """

    name: str | None
    older_than: timedelta
    keep_last: int
    dry_run: bool

    def apply(self, place: Place, *, dry_run: bool) -> Pruned:
        """Delete them from one history, or count them."""
        return prune_history(
            place.connection,
            older_than=self.older_than,
            keep_last=self.keep_last,
            pipeline=self.name,
            schema=place.schema,
            dry_run=dry_run,
        )


def show_history(
    output: Output, name: str | None, where: Where, filters: Filters, *, as_json: bool
) -> int:
    """Write the latest runs.

    Args:
        output: Where to.
        name: The pipeline, or None for all.
        where: Which histories are asked.
        filters: Which runs are shown.
        as_json: Whether to write JSON.

    Returns:
        The exit code of what could not be read; what could be is shown all the same.

    Raises:
        UnknownPipeline: Neither the project nor a history knows the name.
    """
    asked = where.places(name)
    found = read_histories(
        asked, name, filters.limit, statuses=tuple(filters.statuses), since=filters.since
    )
    if name is not None and not found.entries and not found.problems:
        _refuse_unknown(name, asked, where.modules)
    if as_json:
        output.json(found.to_dicts())
    elif len(asked) > 1 and found.entries:
        output.listing(histories_listing(found))
    elif found.entries:
        output.listing(history_listing([entry for _, entry in found.entries]))
    elif not found.problems:
        such = " that you ask for" if filters.statuses or filters.since is not None else ""
        output.note(f"no run{f' of {name!r}' if name else ''}{such} is in the history")
    return _tell(output, found, alone=len(asked) == 1)


def show_run(output: Output, run_id: str, where: Where, *, as_json: bool) -> int:
    """Write everything that is known of one run.

    Args:
        output: Where to.
        run_id: Its id, or the beginning of it.
        where: Which histories are asked.
        as_json: Whether to write JSON.

    Raises:
        UnknownRun: No history that could be read has it.
    """
    asked = where.places()
    with _usage():
        found = find_runs(asked, run_id)
    if not found.entries:
        code = _tell(output, _without_strangers(found), alone=len(asked) == 1)
        strangers = [e for e in found.problems.values() if isinstance(e, UnknownRun)]
        if strangers:
            raise strangers[0]
        return code
    if as_json:
        output.json(found.to_dicts())
    else:
        texts = [entry_text(entry, label) for label, entry in found.entries]
        output.line("\n\n".join(texts))
    return OK


def prune(output: Output, where: Where, retention: Retention, *, yes: bool, as_json: bool) -> int:
    """Delete old runs, and say how many they were.

    Args:
        output: Where to.
        where: Which histories are pruned.
        retention: Which runs are to go.
        yes: Whether to ask nothing.
        as_json: Whether to write JSON.

    Returns:
        `FAILED` if the user says no, else the exit code of what could not be pruned.
    """
    with _usage():
        check_retention(retention.older_than, retention.keep_last)
    asked = _databases(where.places(retention.name))
    uncounted: dict[str, Exception] = {}
    if not (retention.dry_run or yes):
        counted, uncounted = _prune_each(asked, retention, dry_run=True)
        total = sum(each.count for _, each in counted)
        if total and not consents_to_loss(f"{total:,} runs would be deleted", "history prune"):
            output.note("Nothing was deleted.")
            return FAILED
        asked = tuple(place for place, _ in counted)  # only what was agreed to
    pruned, problems = _prune_each(asked, retention, dry_run=retention.dry_run)
    done = [(place.label, each) for place, each in pruned]
    alone = len(asked) + len(uncounted) == 1
    if as_json:
        output.json([{"connection": label, **each.to_dict()} for label, each in done])
    else:
        for label, each in done:
            output.line(str(each) if alone else f"{label}: {each}")
    return _tell(output, Histories(problems={**uncounted, **problems}), alone=alone)


def _prune_each(
    asked: Sequence[Place], retention: Retention, *, dry_run: bool
) -> tuple[list[tuple[Place, Pruned]], dict[str, Exception]]:
    """Prune every database that can be reached, and say what kept the others from it."""
    done: list[tuple[Place, Pruned]] = []
    problems: dict[str, Exception] = {}
    for place in asked:
        try:
            done.append((place, retention.apply(place, dry_run=dry_run)))
        except Exception as error:  # whatever a driver raises, the other databases are to be pruned
            problems[place.label] = error
    return done, problems


def connection_of(name: str | None, modules: Sequence[str] | None) -> Any:
    """Return the connection of a pipeline's first target.

    Args:
        name: The pipeline's name, or None.
        modules: What `--module` said.

    Returns:
        None without a name, and for a pipeline that the project does not have any more: its runs
        stay in the history.
    """
    found = _places_of(name, modules)
    return found[0].connection if found else None


def _refuse_unknown(name: str, asked: Sequence[Place], modules: Sequence[str] | None) -> None:
    """Tell a pipeline that has not run yet from one that is misspelt."""
    listed = modules or listed_modules(project_settings())
    declared = list(Project.load(modules or None).pipelines) if listed else []
    recorded = pipelines_of(asked)
    if name in declared or name in recorded:
        return
    known = list(dict.fromkeys([*declared, *recorded]))
    hint = nearest(name, known)
    where = " and ".join(repr(place.label) for place in asked)
    raise UnknownPipeline(
        f"neither the project nor the history in {where} has a pipeline {name!r}.{hint} They have: "
        f"{', '.join(known) or 'none'}. What a pipeline did elsewhere before it was removed is "
        "shown with --connection or --all-connections.",
        name=name,
        nearest=hint.removeprefix(" Did you mean ").strip("'?") or None,
    )


def _places_of(name: str | None, modules: Sequence[str] | None) -> tuple[Place, ...]:
    if name is None or not (modules or listed_modules(project_settings())):
        return ()
    pipeline = Project.load(modules or None).pipelines.get(name)
    return () if pipeline is None else places([pipeline])


def _databases(asked: Sequence[Place]) -> tuple[Place, ...]:
    """Leave out what names a database once more."""
    found = {(engine(place.connection).url, place.schema): place for place in reversed(asked)}
    return tuple(reversed(found.values()))


@contextmanager
def _usage() -> Iterator[None]:
    """An argument that is refused is a word on the command line that is wrong."""
    try:
        yield
    except InvalidOption as error:
        raise typer.BadParameter(str(error)) from None


def _without_strangers(found: Histories) -> Histories:
    """Leave out that a database does not have a run, which is no problem of the database."""
    problems = {n: e for n, e in found.problems.items() if not isinstance(e, UnknownRun)}
    return Histories(found.entries, problems)


def _tell(output: Output, found: Histories, *, alone: bool) -> int:
    """Say what could not be read; a command that asks one database says it as any other does."""
    for label, error in found.problems.items():
        if alone:
            raise error
        output.error(f"{label}: {sentence(error)}", error)
    return first_reason(exit_code(error) for error in found.problems.values())
