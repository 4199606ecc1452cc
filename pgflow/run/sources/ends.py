"""The two ends of an attempt: the target's connection, and the source's where it is another."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, cast

from sqlalchemy.engine import Connection, Engine

from pgflow.connections.registry import Connectable, describe, engine
from pgflow.declare.sources import Query, SourceTable
from pgflow.errors import InvalidOption, UnsuitablePath
from pgflow.plan.decision import Decision
from pgflow.plan.sql import Sql
from pgflow.plan.statement import Statement
from pgflow.run.body import BodyConnection
from pgflow.run.job import Job
from pgflow.run.own_transaction import OwnTransactions
from pgflow.run.recovery.cancellation import Cancellation
from pgflow.run.remote.identity import ask
from pgflow.run.remote.transfer import PostgresOrigin
from pgflow.run.remote.visit import SourceSession, visit
from pgflow.run.session import Answer, Session
from pgflow.run.sources.delivery import Delivery
from pgflow.run.sources.foreign import foreign_origin, require_file
from pgflow.run.sources.origin import Origin, Tell

#: The path that needs no transfer.
HERE = "same_db"
#: The path from one PostgreSQL database into another.
COPY = "copy"


@dataclass(frozen=True)
class Located:
    """A source with the place where it is read.

    Attributes:
        source: A query or table in the target's own database, rows from elsewhere, or the counts
            of a function that did the work itself.
        path: How rows get to the target, and why.
        used: Whether the function has used a connection, or may yet, while its rows are read.
    """

    source: Sql | SourceTable | Origin | Mapping[str, Any]
    path: Decision[str]
    used: bool = False


@dataclass
class _End:
    """A connection that a source may be read on, and how rows get from it to the target."""

    connection: Connection
    path: Decision[str]
    session: SourceSession | None = None
    label: str = ""
    engine: Engine | None = None


class Ends:
    """Both ends of one attempt; a context manager that lets go of the source's.

    The source's connection is opened when the pipeline's function uses it, or when the source is
    read; after the transfer, or at the end, it is given back.

    Args:
        job: What is to be done.
        target: The session of the run's own transaction.
        cancellation: Whether the run is to end.
        title: The run, for the source's server: application name and statements' comment.
    """

    def __init__(
        self, job: Job, target: Session, cancellation: Cancellation, title: tuple[str, str]
    ) -> None:
        self._job = job
        self._target = target
        self._cancellation = cancellation
        self._title = title
        self._stack = ExitStack()
        self._known: dict[Engine, _End] = {}
        self._used = False
        self._own = OwnTransactions(job.pipeline)

    def __enter__(self) -> Ends:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._own.release()
        self._stack.__exit__(kind, error, traceback)

    def close(self) -> None:
        """Let go of the source's end; the run does the rest on the target's."""
        self._own.release()
        self._known.clear()
        self._stack.close()

    def locate(self) -> Located:
        """Call the pipeline's function, where there is one, and find out where its source is.

        Raises:
            UnsuitableTransaction: The function has ended a transaction that is the run's.
            UnsuitablePath: `force_path=` asks for what cannot be.
        """
        delivery = self._job.source(
            BodyConnection(self._for_source, self._job.source_connection),
            BodyConnection(self._for_target),
        )
        used = self._used or isinstance(delivery.given, Origin)
        self._own.check()
        return replace(self._located(delivery), used=used)

    def check(self) -> None:
        """Look again whether the function has ended a transaction, as it may while it makes rows.

        Raises:
            UnsuitableTransaction: It has.
        """
        self._own.check()

    def feed(self, origin: Origin, tell: Tell, session: Session, statement: Statement) -> Answer:
        """Copy an origin's rows into the stage, and look afterwards what was done meanwhile.

        Args:
            origin: The origin.
            tell: Told how far it is.
            session: The target's session.
            statement: The COPY.

        Returns:
            What the origin answers.

        Raises:
            UnsuitableTransaction: As `check()` does.
        """
        answer = origin.feed(session, statement, tell)
        self.check()
        return answer

    def _for_source(self) -> Connection:
        self._used = True
        return self._own.watch(self._body_end().connection)

    def _for_target(self) -> Connection:
        self._used = True
        return self._own.watch(self._target.connection)

    def _located(self, delivery: Delivery) -> Located:
        if isinstance(delivery.given, Mapping):
            return Located(delivery.given, Decision("function", "the function did the work itself"))
        if isinstance(delivery.given, Origin):
            origin = self._keep(delivery.given)
            return Located(origin, origin.path)
        return self._reached(delivery)

    def _reached(self, delivery: Delivery) -> Located:
        given = delivery.connection
        named = self._job.source_connection if given is None else BodyConnection.name_of(given)
        found = None if named is None else engine(cast(Connectable, named))
        if found is not None and found.dialect.name != "postgresql":
            connect = partial(self._foreign_connection, found)
            origin = self._keep(foreign_origin(found, connect, delivery, self._cancellation))
            return Located(origin, origin.path)
        _check_told(delivery)
        end = self._end(named, found)
        source = delivery.relation()
        if end.session is None:
            return Located(source, end.path)
        origin = self._keep(
            PostgresOrigin(
                end.session, source, end.label, end.path, self.close, partial(self._beside, end)
            )
        )
        return Located(origin, end.path)

    def _beside(self, end: _End, snapshot: str) -> SourceSession:
        """Open another connection to a source, which sees the same instant."""
        if end.engine is None:
            raise TypeError("the source is in the target's own database")
        beside = visit(
            end.engine,
            self._target,
            self._cancellation,
            self._title,
            end.label,
            apart=True,
            snapshot=snapshot,
        )
        return self._stack.enter_context(beside)

    def _keep(self, origin: Origin) -> Origin:
        self._stack.callback(origin.close)
        return origin

    def _body_end(self) -> _End:
        """The source's end as the pipeline declares it, for its function."""
        named = self._job.source_connection
        found = None if named is None else engine(cast(Connectable, named))
        if found is not None and found.dialect.name != "postgresql":
            return self._foreign(found)
        return self._end(named, found)

    def _foreign(self, found: Engine) -> _End:
        if found not in self._known:
            require_file(found)
            connection = self._stack.enter_context(found.connect())
            self._known[found] = _End(connection, Decision("rows", "another kind of database"))
        return self._known[found]

    def _foreign_connection(self, found: Engine) -> Connection:
        return self._foreign(found).connection

    def _end(self, named: object | None, found: Engine | None) -> _End:
        own = self._target.connection.engine
        if found is None:
            found = own
        if found not in self._known:
            self._known[found] = self._decide(named, found, own)
        return self._known[found]

    # -- which path -------------------------------------------------------------------

    def _decide(self, named: object | None, found: Engine, own: Engine) -> _End:
        force = self._job.draft.options.force_path
        shared = found.pool is own.pool
        if shared and force != COPY:
            reason = "source and target share one connection"
            return _End(self._target.connection, Decision(HERE, reason))
        label = _label(named, found)
        opened = ExitStack()
        session = opened.enter_context(
            visit(found, self._target, self._cancellation, self._title, label, apart=shared)
        )
        try:
            path = self._path(session, label, force)
        except BaseException:
            opened.close()
            raise
        if path.value == HERE:
            opened.close()
            return _End(self._target.connection, path)
        self._stack.push(opened)
        return _End(session.connection, path, session, label, found)

    def _path(self, session: SourceSession, label: str, force: str | None) -> Decision[str]:
        mine, theirs = ask(self._target), ask(session)
        if mine is None or theirs is None:
            differs = "perhaps another database: a server did not say which it is"
        else:
            differs = theirs.differs(mine)
        if force == HERE and differs:
            raise UnsuitablePath(
                f"{self._job.pipeline}: force_path='same_db' has the target's server read the "
                f"source, but {label} is {differs}. Leave force_path= out, and the rows are copied."
            )
        if force is not None:
            return Decision(force, f"force_path={force!r}")
        if differs:
            return Decision(COPY, f"the source is {differs}")
        other = theirs.reads_differently(mine) if mine and theirs else ""
        if other:
            return Decision(COPY, f"the same database, but {other}")
        return Decision(HERE, "source and target connection are the same database")


def _check_told(delivery: Delivery) -> None:
    """Refuse what only another kind of database needs to be told: here it would change nothing."""
    told = delivery.given
    if not isinstance(told, (Query, SourceTable)):
        return
    for option in ("types", "time_zone"):
        if getattr(told, option):
            raise InvalidOption(
                f"{delivery.owner}: {option}= is for sources that are not PostgreSQL, and this one "
                "is. Its columns have types of their own; cast in the query, for instance "
                "(at AT TIME ZONE 'Europe/Berlin') AS at."
            )


def _label(named: object | None, found: Engine) -> str:
    where = str(describe(found))
    plain = isinstance(named, str) and "/" not in named and "=" not in named
    return f"{named!r} ({where})" if plain else where
