"""A plan: what is to be done in which order, with every decision's reason; frozen data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgflow.bookkeeping import COUNTS
from pgflow.errors import PgflowError
from pgflow.plan.decision import Decision
from pgflow.plan.sql import Sql

#: One row that a statement returned, by column name.
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Feed:
    """Rows that come from outside of the target's database.

    Attributes:
        label: Where they come from, as previews show it; never a password.
        sql: The statement that runs there, or None where the rows come from no database.
    """

    label: str
    sql: Sql | None = None


@dataclass(frozen=True)
class Report:
    """What a statement's rows come to.

    Attributes:
        details: What the run keeps of them, as plain data by subject.
        tallies: Numbers for the conditions of later statements, by name.
    """

    details: Mapping[str, Any] = field(default_factory=dict)
    tallies: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Statement:
    """One SQL statement of a plan.

    Attributes:
        purpose: What it is for, as previews and progress show it.
        sql: The statement; its values are bound.
        counts: The result count that its number of affected rows adds to, or None.
        tallies: Whether it returns one row whose columns add to the counts they are named for.
            Columns named otherwise are kept for `when=` and for the watermark.
        refuses: Turns returned rows into the error that stops the run; no rows, no error.
        when: Runs only if one of these tallied numbers is greater than zero; empty: always.
        instead: The plan's fallback takes over if one of these tallied numbers is greater than
            zero.
        feed: Where the rows of a `COPY ... FROM STDIN` come from; None for other statements.
        details: Whether what it returns is kept in the run's details, under this subject.
        warns: Turns returned rows into what the run wants its reader to know.
        reports: Turns returned rows into what the run keeps of them, also if it refuses them.
        apart: Its parts, each alone, for a statement with SQL that users wrote: it may not write
            anything, and if the server refuses it, its parts are tried to find the one to name.
    """

    purpose: str
    sql: Sql
    counts: str | None = None
    tallies: bool = False
    refuses: Callable[[Sequence[Row]], PgflowError | None] | None = None
    when: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    feed: Feed | None = None
    details: str = ""
    warns: Callable[[Sequence[Row]], Sequence[str]] | None = None
    reports: Callable[[Sequence[Row]], Report] | None = None
    apart: tuple[Statement, ...] = ()

    def __post_init__(self) -> None:
        if self.counts is not None and self.counts not in COUNTS:
            raise ValueError(f"counts={self.counts!r} is none of {', '.join(COUNTS)}")

    @property
    def text(self) -> str:
        """The SQL as the server gets it, with `$1, $2, ...` for bound values."""
        return self.sql.render()[0]

    @property
    def parameters(self) -> tuple[object, ...]:
        """The bound values, in the order of their numbers."""
        return tuple(bound.value for bound in self.sql.render()[1])

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """What previews call the bound values, in the order of their numbers."""
        return tuple(bound.name for bound in self.sql.render()[1])


@dataclass(frozen=True)
class Plan:
    """Everything that a run will do to one target.

    Attributes:
        target: The target's qualified name.
        mode: The mode's name.
        decisions: What was decided, by subject, each with its reason.
        prepare: Run once, before everything else and before the fast plan is tried: they put
            the source's rows into a stage, and look at them there.
        statements: In order; all of them run in one transaction.
        fallback: Run instead, from the start, when a statement meets a row that violates a
            unique or not-null constraint, or says that it must be: a fast plan that lets the
            target's own constraints check the batch, or only counts, falls back to one that can
            name the offending keys.
        hazards: What an operator should know before running it.
    """

    target: str
    mode: str
    decisions: Mapping[str, Decision[Any]] = field(default_factory=dict)
    prepare: tuple[Statement, ...] = ()
    statements: tuple[Statement, ...] = ()
    fallback: Plan | None = None
    hazards: tuple[str, ...] = ()

    def __str__(self) -> str:
        steps = (*self.prepare, *self.statements)
        return "\n\n".join(f"-- {s.purpose}\n{s.text};" for s in steps)
