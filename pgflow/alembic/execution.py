"""Steps run directly, without a migration file: for `create_all` and `pgflow migrate`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from pgflow.alembic import lock_waits, queues
from pgflow.alembic.concealment import concealed
from pgflow.alembic.operations import runs
from pgflow.alembic.sending import is_autocommit, send
from pgflow.alembic.settings import MigrationSettings, read_migration_settings
from pgflow.alembic.statement import Statement
from pgflow.alembic.step import Step
from pgflow.connections.registry import Connectable, engine
from pgflow.errors import OutsideTransaction

log = logging.getLogger(__name__)

Database: TypeAlias = Connection | Connectable


def execute(
    database: Database,
    steps: Iterable[Step],
    settings: MigrationSettings | None = None,
    *,
    lock_timeout: str | None = None,
    retries: int | None = None,
) -> None:
    """Run the steps of a migration.

    Args:
        database: A connection name, a URL or an engine: the work is committed, each part that
            fits into a transaction in one, and tried again when a lock was not granted. Or a
            connection, in whose transaction all is done once, and which its owner commits.
        steps: What was planned.
        settings: How migrations are run; by default what pgflow.toml says.
        lock_timeout: How long a statement waits for a lock, in the place of the setting.
        retries: How many further tries there are, in the place of the setting.

    Raises:
        LockNotGranted: No try got its locks; it names who holds them.
        OutsideTransaction: A step cannot run in the transaction of the given connection.
    """
    settings = read_migration_settings() if settings is None else settings
    parts = runs(statement for step in steps for statement in step.statements)
    timeout = settings.lock_timeout if lock_timeout is None else lock_timeout
    if isinstance(database, Connection):
        _inside(database, parts)
        return
    limit = settings.lock_retries if retries is None else retries
    for autocommit, part in parts:
        if autocommit:
            for unit in _units(part):
                limited = queues.limited(unit, replace(settings, lock_timeout=timeout))
                texts = [*(sql for _, sql in limited), *queues.RESETS]
                _patiently(engine(database), texts, limit, autocommit=True)
        else:
            before = [f"SET LOCAL lock_timeout = '{timeout}'"] if timeout != "0" else []
            _patiently(engine(database), [*before, *(each.sql for each in part)], limit)


def _inside(connection: Connection, parts: Iterable[tuple[bool, list[Statement]]]) -> None:
    own = bool(getattr(connection.connection.dbapi_connection, "autocommit", False))
    for autocommit, part in parts:
        if autocommit and not own:
            raise OutsideTransaction(
                f"{concealed(part[0].sql)[:200]!r} cannot run in the transaction of the "
                "connection that was given. Give an engine, a URL or the name of a connection."
            )
        _send(connection, [statement.sql for statement in part])


def _units(part: Iterable[Statement]) -> Iterator[list[Statement]]:
    """Part statements outside a transaction into those that are tried again by themselves.

    What clears the place for an index stays with it: a try that fails leaves an invalid one.
    """
    unit: list[Statement] = []
    for statement in part:
        unit.append(statement)
        if not statement.sql.startswith("DO "):
            yield unit
            unit = []
    if unit:
        yield unit


def _patiently(
    target: Engine, texts: Sequence[str], retries: int, *, autocommit: bool = False
) -> None:
    """Run statements in one transaction, or each outside of any, until the locks are granted."""
    for tries, pause in enumerate((*lock_waits.pauses(retries), None), 1):
        try:
            _run(target, texts, autocommit=autocommit)
        except DBAPIError as error:
            if not lock_waits.is_lock_failure(error):
                raise
            if pause is None:
                with target.connect() as connection:
                    raise lock_waits.not_granted(connection, error, tries) from error
            log.warning("A lock was not granted; the next try is in %.1f s: %s", pause, error.orig)
            time.sleep(pause)
        else:
            return


def _run(target: Engine, texts: Sequence[str], *, autocommit: bool) -> None:
    with target.connect() as connection:
        if autocommit:
            connection.execution_options(isolation_level="AUTOCOMMIT")
        elif is_autocommit(connection):
            connection.execution_options(isolation_level="READ COMMITTED")
        try:
            with connection.begin():
                _send(connection, texts)
        except BaseException:
            # What was set for the session must not meet the connection's next user.
            connection.invalidate()
            raise


def _send(connection: Connection, texts: Iterable[str]) -> None:
    for text in texts:
        send(connection, text)
