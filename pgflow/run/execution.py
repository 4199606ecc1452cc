"""Executing a plan's statements in order, counting as they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pgflow.bookkeeping import COUNTS
from pgflow.errors import StatementFailed
from pgflow.plan.spec import SyncSpec
from pgflow.plan.statement import Plan, Row, Statement
from pgflow.run.events import Observer, RunStarted
from pgflow.run.session import Session

#: Not-null and unique violations: what a fast plan leaves the target's constraints to find.
_CONSTRAINTS = frozenset({"23502", "23505"})


@dataclass
class Execution:
    """What a plan did.

    Attributes:
        plan: The plan that was executed to its end.
        counts: Rows by what became of them.
        tallies: Every number that a statement reported, by name.
        returned: What a function returned that did the work itself.
    """

    plan: Plan
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    tallies: dict[str, Any] = field(default_factory=dict)
    returned: Mapping[str, Any] = field(default_factory=dict)

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

    def balance(self) -> None:
        """Derive what no statement counted: a load reads what it inserts, the rest is unchanged."""
        counts = self.counts
        if "read" not in self.tallies:
            counts["read"] = counts["inserted"]
        if "unchanged" not in self.tallies:
            touched = counts["inserted"] + counts["updated"] + counts["skipped"]
            collapsed = int(self.tallies.get("collapsed") or 0)
            counts["unchanged"] = max(0, counts["read"] - collapsed - touched)


def execute(session: Session, plan: Plan, observer: Observer, run: RunStarted) -> Execution:
    """Execute a plan, or its fallback where the fast one meets a constraint.

    Args:
        session: The session, in the run's transaction.
        plan: The plan.
        observer: Who watches.
        run: The run.

    Returns:
        What was done.

    Raises:
        PgflowError: A statement refused the batch, or the server refused a statement.
    """
    if plan.fallback is None:
        return _execute(session, plan, observer, run)
    try:
        with session.connection.begin_nested():
            return _execute(session, plan, observer, run)
    except StatementFailed as error:
        if error.sqlstate not in _CONSTRAINTS:
            raise
    return _execute(session, plan.fallback, observer, run)


def done_by_itself(draft: SyncSpec, returned: Mapping[str, Any]) -> Execution:
    """Take the counts of a function that did the work itself."""
    done = Execution(Plan(draft.target.label, draft.mode), returned=returned)
    done.counts.update({n: int(v) for n, v in returned.items() if n in done.counts})
    return done


def _execute(session: Session, plan: Plan, observer: Observer, run: RunStarted) -> Execution:
    done = Execution(plan)
    for statement in plan.statements:
        if not done.wants(statement):
            continue
        observer.executing(run, statement)
        answer = session.run(statement.sql, statement.purpose)
        if statement.refuses is not None:
            error = statement.refuses(answer.rows)
            if error is not None:
                raise error
        if statement.tallies and answer.rows:
            done.tally(_numbers(answer.rows[0]))
        if statement.counts is not None:
            done.counts[statement.counts] += max(0, answer.count)
    done.balance()
    return done


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}
