"""Executing a plan's statements in order, counting as they say."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pgflow.bookkeeping import COUNTS
from pgflow.errors import InvalidBody, InvalidCheck, PgflowError, SourceMismatch, StatementFailed
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import raw
from pgflow.plan.statement import Plan, Report, Row, Statement
from pgflow.run.events import Observer, RunStarted
from pgflow.run.job import Job
from pgflow.run.session import Answer, Session

#: Not-null and unique violations: what a fast plan leaves the target's constraints to find.
_CONSTRAINTS = frozenset({"23502", "23505"})


#: Classes of errors that a statement's own text or the rows cause, and another try does not mend.
_OF_THE_TEXT = ("0A", "21", "22", "25", "2F", "38", "39", "42", "P0", "XX")


#: Brings the rows of a statement that has a feed, and says how many they were.
Feeder = Callable[[Session, Statement], Answer]


class _GaveWay(Exception):  # no error: the other plan goes on
    """A fast plan has met what only its fallback can tell more about."""


@dataclass
class Execution:
    """What a plan did.

    Attributes:
        plan: The plan that was executed to its end.
        counts: Rows by what became of them.
        tallies: Every number that a statement reported, by name.
        returned: What a function returned that did the work itself.
        details: What statements returned that say so, by subject.
        warnings: What statements want the run's reader to know.
    """

    plan: Plan
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    tallies: dict[str, Any] = field(default_factory=dict)
    returned: Mapping[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def watermark(self) -> str | None:
        """How far the source was read, where the plan said so."""
        value = self.tallies.get("watermark")
        return None if value is None else str(value)

    def wants(self, statement: Statement) -> bool:
        """Whether a statement's condition holds."""
        return not statement.when or any(self.tallies.get(n) for n in statement.when)

    def tally(self, row: Row) -> None:
        """Take the numbers of a row by their names."""
        self.tallies.update(row)
        for name, value in row.items():
            if name in self.counts:
                self.counts[name] += int(value or 0)

    def take(self, report: Report) -> None:
        """Keep what a statement's rows came to."""
        self.details.update(report.details)
        self.tallies.update(report.tallies)

    def balance(self) -> None:
        """Derive what no statement counted: a load reads what it inserts, the rest is unchanged."""
        counts = self.counts
        if "read" not in self.tallies:
            counts["read"] = counts["inserted"]
        if "unchanged" not in self.tallies:
            touched = counts["inserted"] + counts["updated"] + counts["skipped"]
            collapsed = int(self.tallies.get("collapsed") or 0)
            counts["unchanged"] = max(0, counts["read"] - collapsed - touched)
        # Rejected rows have left the stage before anything counted it.
        counts["read"] += counts["rejected"]


def execute(
    session: Session, plan: Plan, observer: Observer, run: RunStarted, feeder: Feeder | None = None
) -> Execution:
    """Execute a plan, or its fallback where the fast one meets a constraint or gives way.

    Args:
        session: The session, in the run's transaction.
        plan: The plan.
        observer: Who watches.
        run: The run.
        feeder: Brings the rows of statements that have a feed.

    Returns:
        What was done.

    Raises:
        PgflowError: A statement refused the batch, or the server refused a statement.
    """
    prepared = Execution(plan)
    try:
        _run(session, plan.prepare, prepared, observer, run, feeder)
        if plan.fallback is None:
            return _execute(session, plan, prepared, observer, run)
        try:
            with session.connection.begin_nested():
                return _execute(session, plan, prepared, observer, run)
        except _GaveWay:
            pass
        except StatementFailed as error:
            if error.sqlstate not in _CONSTRAINTS:
                raise
        return _execute(session, plan.fallback, prepared, observer, run)
    except PgflowError as error:
        # What was found out about the rows is worth knowing above all if the run failed.
        error.details = {**prepared.details, **(error.details or {})} or None
        raise


def done_by_itself(job: Job, draft: SyncSpec, returned: Mapping[str, Any]) -> Execution:
    """Take the counts of a function that did the work itself.

    Raises:
        InvalidCheck: Nobody has seen the rows that it was to have checked.
        SourceMismatch: Nobody has seen the rows that were to be looked up.
    """
    if job.checked:
        raise InvalidCheck(
            f"{job.pipeline} -> {draft.target.label}: its function did the work itself, so its "
            "rows passed no check. What it did through its connection was rolled back. Return the "
            "rows, a query or a table instead, or leave the checks out."
        )
    if draft.links:
        raise SourceMismatch(
            f"{job.pipeline} -> {draft.target.label}: its function did the work itself, so "
            f"{', '.join(repr(each.into) for each in draft.links)} was not looked up. What it did "
            "through its connection was rolled back. Return the rows, a query or a table instead, "
            "or leave lookups= out.",
            pipeline=draft.owner,
            target=draft.target.label,
        )
    done = Execution(Plan(draft.target.label, draft.mode), returned=returned)
    for name in done.counts:
        done.counts[name] = _count(job, name, returned.get(name, 0))
    return done


def _count(job: Job, name: str, value: object) -> int:
    with suppress(TypeError):
        if (count := operator.index(value)) >= 0:  # type: ignore[arg-type]  # else a TypeError
            return count
    raise InvalidBody(
        f"pipeline {job.pipeline!r}: its function did the work itself and returned {name!r} as "
        f"{value!r}. A count is a whole number, not below 0. What the function did through its "
        "connection was rolled back."
    )


def _execute(
    session: Session, plan: Plan, prepared: Execution, observer: Observer, run: RunStarted
) -> Execution:
    done = Execution(
        plan,
        dict(prepared.counts),
        dict(prepared.tallies),
        details=dict(prepared.details),
        warnings=list(prepared.warnings),
    )
    _run(session, plan.statements, done, observer, run, None)
    done.balance()
    return done


def _run(
    session: Session,
    statements: Iterable[Statement],
    done: Execution,
    observer: Observer,
    run: RunStarted,
    feeder: Feeder | None,
) -> None:
    for statement in statements:
        if not done.wants(statement):
            continue
        observer.executing(run, statement)
        answer = _answer(session, statement, feeder)
        observer.executed(run, statement, max(0, answer.count))
        if any((answer.rows[0][n] or 0) > 0 for n in statement.instead):
            raise _GaveWay
        if statement.reports is not None:
            done.take(statement.reports(answer.rows))
        if statement.refuses is not None:
            error = statement.refuses(answer.rows)
            if error is not None:
                raise error
        if statement.tallies and answer.rows:
            done.tally(_numbers(answer.rows[0]))
        if statement.counts is not None:
            done.counts[statement.counts] += max(0, answer.count)
        if statement.details:
            done.details[statement.details] = [dict(row) for row in answer.rows]
        if statement.warns is not None:
            done.warnings += statement.warns(answer.rows)


def _answer(session: Session, statement: Statement, feeder: Feeder | None) -> Answer:
    if statement.apart:
        return _read(session, statement)
    if statement.feed is None:
        return session.run(statement.sql, statement.purpose)
    if feeder is None:
        raise PgflowError(f"nobody here can bring the rows of {statement.feed.label}")
    return feeder(session, statement)


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def _read(session: Session, statement: Statement) -> Answer:
    """Run a statement that may not write; if it fails, let the part of it fail that did."""
    try:
        return _without_writing(session, statement)
    except StatementFailed as error:
        if (error.sqlstate or "")[:2] not in _OF_THE_TEXT or len(statement.apart) < 2:
            raise
        failed = error
    for part in statement.apart:
        _without_writing(session, part)
    raise failed


def _without_writing(session: Session, statement: Statement) -> Answer:
    """The end of the savepoint lets the transaction write again."""
    with session.connection.begin_nested():
        session.run(raw("SET LOCAL transaction_read_only = on"), "read only")
        return session.run(statement.sql, statement.purpose)
