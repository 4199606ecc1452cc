"""The rows of a source in a temporary table of one connection, for the targets that follow."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from pgflow.errors import PgflowError, RunCancelled
from pgflow.plan.decision import Decision
from pgflow.plan.sql import Sql, bind, name, raw, sql
from pgflow.plan.statement import Statement
from pgflow.run.events import Observer, RunStarted
from pgflow.run.job import Job
from pgflow.run.recovery import retries
from pgflow.run.session import Session
from pgflow.run.sources.origin import OriginColumn

_log = logging.getLogger("pgflow.run")

#: A statement was cancelled, by whoever or by a timeout: nothing that may be tried another way.
_CANCELLED = "57014"

#: What is kept has gone, with the transaction or the connection that had it.
GONE = "what an earlier target read is gone, with its run or its connection"
#: What is kept may be older than what another run has read and written.
OLD = "another run has written the target since an earlier target read the source"
#: Nothing can be kept.
POOLED = "a pooler gives each transaction another server process, so that nothing can be kept"


@dataclass(frozen=True)
class Moment:
    """When and where something is about to be read.

    Attributes:
        at: The server's clock.
        pooled: Whether a pooler stands between, so that a session is nothing to rely on.
    """

    at: datetime
    pooled: bool


@dataclass(frozen=True)
class Offer:
    """What one target is given of what is kept.

    Attributes:
        source: The rows as the target's plan reads them; of a source that is elsewhere, as they
            go into the target's stage.
        proven: Whether no two of them share one of the target's merge keys.
        columns: The columns of a source that is elsewhere; empty for others.
        original: The same rows as the source itself gives them, if it is in this database.
    """

    source: Sql
    proven: bool = False
    columns: tuple[OriginColumn, ...] = ()
    original: Sql | None = None


@dataclass(frozen=True)
class Kept:
    """Rows that were read once.

    Attributes:
        since: A moment before they were read.
        reader: The place in the pipeline of the target that read them.
        name: The name of the temporary table.
        offers: What each of the targets that read it is given, by its place in the pipeline.
        refused: Why others read the source again, by theirs.
        path: How the rows came to the first of them.
        label: Where a source is that is not in the target's database; empty for one that is.
        zoned: Whether that is another PostgreSQL database, whose values a time zone can change.
    """

    since: datetime
    reader: int
    name: str = field(default_factory=lambda: f"pgflow_source_{uuid4().hex}")
    offers: Mapping[int, Offer] = field(default_factory=dict)
    refused: Mapping[int, str] = field(default_factory=dict)
    path: Decision[str] = field(default_factory=lambda: Decision("not known", ""))
    label: str = ""
    zoned: bool = False

    @property
    def relation(self) -> Sql:
        """The temporary table."""
        return name("pg_temp", self.name)


def moment(session: Session) -> Moment:
    """Look at the server's clock, and whether this is the server process that was connected to.

    Args:
        session: A session in a transaction.
    """
    text = raw("SELECT pg_backend_pid() AS process, clock_timestamp() AS at")
    row = session.run(text, "see when the source is read").rows[0]
    return Moment(row["at"], row["process"] != session.server_process)


def missing(session: Session, kept: Kept, job: Job) -> str:
    """Say why a target must not take what is kept; empty if it may.

    A run of the same pipeline that came in between has read the source later, and what it wrote
    must not be undone by older rows.

    Args:
        session: The target's session, under the target's lock.
        kept: What is kept.
        job: The target's job.
    """
    question = sql(
        "SELECT to_regclass({table}) IS NOT NULL AS there, EXISTS (\n"
        "    SELECT FROM {runs} WHERE pipeline = {pipeline} AND target = {target}\n"
        "       AND status = 'success' AND finished_at > {since}::timestamptz) AS overtaken",
        table=bind(str(kept.relation), "table"),
        runs=job.runs,
        pipeline=bind(job.pipeline, "pipeline"),
        target=bind(job.draft.target.label, "target"),
        since=bind(kept.since, "since"),
    )
    row = session.run(question, "look for the rows that an earlier target has read").rows[0]
    if not row["there"]:
        return GONE
    return OLD if row["overtaken"] else ""


def keeping(kept: Kept, rows: Sql, *, lasting: bool, measured: bool) -> tuple[Statement, ...]:
    """Return the statements that put rows into the temporary table.

    Args:
        kept: What the table is called.
        rows: The rows, to stand after FROM.
        lasting: Whether the table outlives the transaction.
        measured: Whether the planner is told what is in it.
    """
    make = sql(
        "CREATE TEMPORARY TABLE {table} ON COMMIT {end} AS SELECT * FROM {rows} AS s",
        table=kept.relation,
        end=raw("PRESERVE ROWS" if lasting else "DROP"),
        rows=rows,
    )
    found = (Statement("keep the source's rows for the targets that follow", make),)
    if not measured:
        return found
    analyze = sql("ANALYZE {t}", t=kept.relation)
    return (*found, Statement("tell the planner what is kept", analyze))


def keep(
    session: Session, statements: Sequence[Statement], observer: Observer, run: RunStarted
) -> str:
    """Put rows into the temporary table.

    Args:
        session: The session.
        statements: Those of `keeping`.
        observer: Who watches.
        run: The run.

    Returns:
        Why it could not be done; empty if it was.
    """
    failures: list[PgflowError] = []
    with attempted(session, failures=failures):
        for each in statements:
            observer.executing(run, each)
            answer = session.run(each.sql, each.purpose)
            observer.executed(run, each, max(0, answer.count))
    return f"its rows could not be kept: {_first(failures[0])}" if failures else ""


@contextmanager
def attempted(
    session: Session, *others: Session | None, failures: list[PgflowError] | None = None
) -> Iterator[None]:
    """Do what can be left undone: a failure leaves the transactions as they were before.

    What ends a run is raised: a lost connection, a cancelled statement, a conflict.

    Args:
        session: A session that is used.
        *others: More of them.
        failures: Gets the failure.
    """
    try:
        with ExitStack() as stack:
            for each in (session, *others):
                if each is not None:
                    stack.enter_context(each.connection.begin_nested())
            yield
    except PgflowError as error:
        if not _harmless(error):
            raise
        _log.debug("the source is not shared: %s", error)
        if failures is not None:
            failures.append(error)


def forget(session: Session, names: list[str]) -> None:
    """Drop temporary tables that are not wanted any more.

    Args:
        session: A session in a transaction, on the connection that has them.
        names: Their names; those that are gone already do not matter.
    """
    for each in names:
        text = sql("DROP TABLE IF EXISTS {t}", t=name("pg_temp", each))
        session.run(text, "drop the rows that were kept")


def _harmless(error: PgflowError) -> bool:
    if isinstance(error, RunCancelled) or retries.is_lost(error):
        return False
    sqlstate = getattr(error, "sqlstate", None) or ""
    return not (sqlstate == _CANCELLED or sqlstate.startswith(("40", "57P")))


def _first(error: PgflowError) -> str:
    told = getattr(error, "diagnostic", "") or str(error)
    return str(told).strip().splitlines()[0]
