"""Origins: where rows come from that are not in the target's database, and how they get there.

An origin first says which columns it has; then, for a plan, how its rows are to be copied into the
stage; and at last it copies them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pgflow.plan.decision import UNKNOWN, Decision, Unknown
from pgflow.plan.spec import SourceColumn, SyncSpec, TargetColumn
from pgflow.plan.sql import Sql, join, name, raw, sql
from pgflow.plan.staging import STAGE
from pgflow.plan.statement import Feed, Statement
from pgflow.run.events import Transferred
from pgflow.run.session import Answer, Session

#: The subject under which a run's details keep what a transfer brought.
TRANSFER = "transfer"


@dataclass(frozen=True)
class OriginColumn:
    """A column of a source that is elsewhere.

    Attributes:
        name: Its name; for a column of the target, the target's.
        type: Its own type as the target's server spells it, or UNKNOWN where the source has no
            types: then its values are read as text.
        stage: The type of the stage's column that it is copied into, as SQL; usually the target
            column's. Where it differs from that, the mode's plan casts it.
        length: The n of varchar(n) and char(n), if every value keeps to it.
        selected: Whether SQL delivers it, which names it; not so rows and files.
    """

    name: str
    type: str | Unknown = UNKNOWN
    stage: str = "text"
    length: int | None = None
    selected: bool = True


@dataclass(frozen=True)
class Loading:
    """How an origin's rows are copied into the stage.

    Attributes:
        feed: Where they come from, as previews show it.
        options: The options of `COPY pgflow_stage (...) FROM STDIN (options)`.
        workers: How many connections read the source.
        reason: Why there are not as many as was asked for; empty if there are.
    """

    feed: Feed
    options: Sql = raw("FORMAT binary")  # noqa: RUF009  # frozen
    workers: int = 1
    reason: str = "only tables of other PostgreSQL databases are shared out"


#: Told now and then how far a transfer is.
Tell = Callable[[Transferred], None]


@runtime_checkable
class Origin(Protocol):
    """A source that is not in the target's database.

    The runner calls `columns`, `proves_unique`, `loading` and, for a run, `feed`, in that order and
    once each; then, whatever happened, `close`. A run that is tried again gets a new origin.
    """

    @property
    def label(self) -> str:
        """Where the rows come from, for people; never a password."""

    @property
    def path(self) -> Decision[str]:
        """How rows get from here to the target, and why."""

    @property
    def session(self) -> Session | None:
        """The session on the source's server, where that is PostgreSQL."""

    @property
    def relation(self) -> Sql | None:
        """The source as that server reads it, once `columns` has been asked; None for others."""

    def columns(
        self, session: Session, spec: SyncSpec, declared: Sequence[TargetColumn]
    ) -> Sequence[OriginColumn]:
        """Say which columns there are, without reading a row.

        Args:
            session: The target's session, in the run's transaction.
            spec: What is planned; its target's columns are those that the database has.
            declared: The target's columns as they were declared: what a source table is asked for.

        Raises:
            SourceMismatch: A column is of a type that the target's column does not take.
        """

    def proves_unique(self, spec: SyncSpec) -> bool:
        """Tell whether no two of its rows can share a merge key; False where nothing proves it."""

    def loading(self, spec: SyncSpec) -> Loading:
        """Say how the rows are to be copied.

        Args:
            spec: What is planned; with the position of an incremental pipeline in its
                `watermark`: only rows from there on, and those without a value, are to come.
        """

    def feed(self, session: Session, statement: Statement, tell: Tell) -> Answer:
        """Copy the rows into the stage; `statement` is the COPY that `loading` described.

        Returns:
            `transfer_answer(...)`.
        """

    def close(self) -> None:
        """Let go of whatever it holds; the target's session goes on."""


def transfer_answer(origin: Origin, done: Transferred, **more: Any) -> Answer:
    """Put together what a feed returns, which the run's details keep.

    Args:
        origin: The origin.
        done: All that was transferred.
        **more: What else is worth keeping, as plain data.
    """
    details = {
        "path": origin.path.value,
        "source": origin.label,
        "rows": done.rows,
        "bytes": done.bytes,
        "seconds": round(done.seconds, 3),
    }
    return Answer(({**details, **more},), done.rows)


def own_columns(columns: Sequence[OriginColumn]) -> tuple[SourceColumn, ...]:
    """Return the columns with their own types, as they are checked against the target."""
    return tuple(SourceColumn(c.name, c.type, c.length) for c in columns)


def staged_columns(columns: Sequence[OriginColumn]) -> tuple[SourceColumn, ...]:
    """Return the columns with the types that the stage has, as the modes read them."""
    return tuple(SourceColumn(c.name, c.stage, c.length) for c in columns)


def fill(columns: Sequence[OriginColumn], loading: Loading) -> tuple[Statement, ...]:
    """Return the statements that make the stage and copy the rows into it."""
    typed = (sql("{n} {t}", n=name(c.name), t=raw(c.stage)) for c in columns)
    create = sql(
        "CREATE TEMPORARY TABLE {stage} (\n  {columns}\n) ON COMMIT DROP",
        stage=STAGE,
        columns=join(",\n  ", typed),
    )
    copy = sql(
        "COPY {stage} ({columns}) FROM STDIN ({options})",
        stage=STAGE,
        columns=join(", ", (name(c.name) for c in columns)),
        options=loading.options,
    )
    return (
        Statement("make a stage for the source's rows", create),
        Statement(
            "copy the source's rows into the stage", copy, feed=loading.feed, details=TRANSFER
        ),
    )
