"""Migrations run with patience: the last line of env.py."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, TypeVar

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pgflow import idents
from pgflow.alembic import lock_waits, offline, queues, turns
from pgflow.alembic.concealment import concealed
from pgflow.alembic.repetition import Repetition
from pgflow.alembic.settings import current_settings
from pgflow.errors import LockNotGranted

log = logging.getLogger(__name__)

_T = TypeVar("_T")


def run_migrations(
    *, lock_timeout: str | None = None, retries: int | None = None, **arguments: Any
) -> None:
    """Run migrations in env.py, giving up soon on a lock that is not granted, and trying again.

    It takes the place of `with context.begin_transaction(): context.run_migrations()`, online and
    offline. A try that fails for want of a lock, or by a deadlock, is rolled back; the next one
    begins where the database then stands.

    Args:
        lock_timeout: How long a statement waits for a lock; by default what `configure()` says.
        retries: How many further tries there are; by default what `configure()` says.
        **arguments: Handed to every `upgrade()` or `downgrade()`.

    Raises:
        LockNotGranted: No try got its locks; it names who holds them.
    """
    settings = current_settings()
    timeout = settings.lock_timeout if lock_timeout is None else lock_timeout
    migrations = context.get_context()
    connection = migrations.connection
    if migrations.as_sql or connection is None:
        offline.limit_locks(migrations.impl, timeout)
        _run(arguments)
        return
    # Nothing but moving along revisions may be done twice: autogenerate would write twice.
    moves = "destination_rev" in migrations.opts and not connection.in_transaction()
    limit = (settings.lock_retries if retries is None else retries) if moves else 0
    with _alone(migrations, connection) if moves else nullcontext():
        patiently(migrations, connection, lambda: _run(arguments), timeout=timeout, retries=limit)


def patiently(
    migrations: MigrationContext,
    connection: Connection,
    run: Callable[[], None],
    *,
    timeout: str,
    retries: int,
) -> None:
    """Run migrations as `run_migrations` does, whatever environment they are run in.

    Args:
        migrations: Alembic's context.
        connection: Its connection.
        run: Runs the migrations, transactions included.
        timeout: How long a statement that stops others waits for a lock.
        retries: How many further tries there are.

    Raises:
        LockNotGranted: No try got its locks.
    """
    ledger = _Ledger(migrations, connection, timeout, retries)
    with ledger.kept(), offline.sending(migrations.impl, ledger.send):
        try:
            _try(run, ledger, retries)
        except BaseException:
            if not ledger.is_outer:
                with suppress(SQLAlchemyError):  # the connection may be what has failed
                    ledger.clear()
            raise


def _alone(migrations: MigrationContext, connection: Connection) -> AbstractContextManager[None]:
    """Wait until nobody else moves along the revisions of the same version table."""
    table = idents.qualify(migrations.version_table_schema, migrations.version_table)
    return turns.turn(connection.engine, table)


def _run(arguments: dict[str, Any]) -> None:
    with context.begin_transaction():
        context.run_migrations(**arguments)


def _try(run: Callable[[], None], ledger: _Ledger, retries: int) -> None:
    for tries, pause in enumerate((*lock_waits.pauses(retries), None), 1):
        try:
            run()
        except DBAPIError as error:
            if not lock_waits.is_lock_failure(error):
                raise
            failure = error
        else:
            return
        if ledger.is_outer:
            # The transaction belongs to somebody else, who has to end it.
            raise failure
        ledger.clear()
        if ledger.kept_statement is not None or pause is None:
            raise _final(ledger, failure, tries) from failure
        _tell(pause, failure)
        time.sleep(pause)


def _tell(pause: float, failure: DBAPIError) -> None:
    log.warning("A lock was not granted; the next try is in %.1f s: %s", pause, failure.orig)


def _final(ledger: _Ledger, failure: DBAPIError, tries: int) -> LockNotGranted:
    kept = ledger.kept_statement
    why = ""
    if kept is not None:
        why = (
            f"There is no further try, because {' '.join(concealed(kept).split())[:100]!r} of the "
            "same migration is committed already and cannot be done twice: look what is missing, "
            "and complete it by hand."
        )
    elif _is_autocommit(ledger.connection):
        why = "What was done before it is kept; all of it can be done twice."
    return lock_waits.not_granted(ledger.connection, failure, tries, why)


class _Ledger:
    """Knows what of the running migration is committed, and limits each transaction's waits.

    Args:
        migrations: Alembic's context, which tells when a migration is finished.
        connection: The connection on which migrations run.
        timeout: How long a statement in a transaction waits for a lock.
        retries: How often a statement outside of any transaction is sent again.
    """

    def __init__(
        self, migrations: MigrationContext, connection: Connection, timeout: str, retries: int
    ) -> None:
        self._migrations = migrations
        self._version_table = migrations.version_table
        self.connection = connection
        self.is_outer = connection.in_transaction()
        #: A statement of the unfinished migration that is committed and cannot be repeated.
        self.kept_statement: str | None = None
        self._timeout = timeout
        self._retries = retries
        self._pending: list[str] = []
        self._repetition = Repetition()
        if self.is_outer:
            self._begun(connection)

    @contextmanager
    def kept(self) -> Iterator[_Ledger]:
        """Listen to the connection while migrations run."""
        migrations = self._migrations
        listeners: dict[str, Callable[..., Any]] = {
            "begin": self._begun,
            "commit": self._committed,
            "rollback": self._rolled_back,
            "after_cursor_execute": self._executed,
        }
        before = migrations.on_version_apply_callbacks
        migrations.on_version_apply_callbacks = (*before, self._finished)
        for name, listener in listeners.items():
            event.listen(self.connection, name, listener)
        try:
            yield self
        finally:
            for name, listener in listeners.items():
                event.remove(self.connection, name, listener)
            migrations.on_version_apply_callbacks = before

    def send(self, statement: str, send: Callable[[], _T]) -> _T:
        """Send a statement, again and again if it is one that may not wait for its lock.

        Outside a transaction it need not wait for the whole migration to be tried again, which
        may have read a big table by then.

        Args:
            statement: Its text.
            send: What sends it.

        Raises:
            LockNotGranted: It did not get its lock.
        """
        if not _is_autocommit(self.connection) or not queues.stops_others(statement):
            return send()
        for tries, pause in enumerate((*lock_waits.pauses(self._retries), None), 1):
            try:
                return send()
            except DBAPIError as error:
                if not lock_waits.is_lock_failure(error):
                    raise
                if pause is None:
                    raise _final(self, error, tries) from error
                _tell(pause, error)
                time.sleep(pause)
        raise AssertionError("the last try neither returned nor raised")

    def clear(self) -> None:
        """Take back what a failed autocommit block has set for the session."""
        self.connection.rollback()
        self.connection.exec_driver_sql("RESET lock_timeout")
        self.connection.exec_driver_sql("RESET statement_timeout")
        self.connection.commit()  # a rollback would take the resets back
        self._pending.clear()

    def _begun(self, connection: Connection) -> None:
        if not _is_autocommit(connection) and self._timeout != "0":
            # SQLAlchemy is not yet in its transaction, so the driver must be asked directly.
            cursor = connection.connection.cursor()
            cursor.execute(f"SET LOCAL lock_timeout = '{self._timeout}'")
            cursor.close()

    def _executed(
        self,
        connection: Connection,
        cursor: object,  # noqa: ARG002 (SQLAlchemy's signature)
        statement: str,
        *_: object,
    ) -> None:
        if _is_autocommit(connection):
            self._keep(statement)
        else:
            self._pending.append(statement)

    def _committed(self, connection: Connection) -> None:  # noqa: ARG002
        for statement in self._pending:
            self._keep(statement)
        self._pending.clear()

    def _rolled_back(self, connection: Connection) -> None:  # noqa: ARG002
        self._pending.clear()

    def _finished(self, **_: object) -> None:
        self._pending.clear()
        self._repetition = Repetition()
        self.kept_statement = None

    def _is_repeatable(self, statement: str) -> bool:
        # Alembic looks for its own table in every try.
        own = "CREATE TABLE" in statement and self._version_table in statement
        return own or self._repetition.allows(statement)

    def _keep(self, statement: str) -> None:
        if self.kept_statement is None and not self._is_repeatable(statement):
            self.kept_statement = statement


def _is_autocommit(connection: Connection) -> bool:
    return bool(getattr(connection.connection.dbapi_connection, "autocommit", False))
