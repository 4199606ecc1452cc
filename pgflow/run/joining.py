"""A run inside the caller's transaction: what that must be, and how it is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection

from pgflow.errors import UnsuitableTransaction
from pgflow.plan.sql import bind, join, name, raw, sql
from pgflow.run.session import Session

#: What a run sets for its transaction; a joined one gives the caller's own values back.
_SETTINGS = (
    "application_name",
    "row_security",
    "jit",
    "max_parallel_workers_per_gather",
    "client_min_messages",
    "client_connection_check_interval",
    "random_page_cost",
)


def require_read_committed(session: Session, connection: Connection) -> None:
    """Refuse a transaction in which a run could not keep its promises.

    Args:
        session: The session on the connection.
        connection: The caller's connection.

    Raises:
        UnsuitableTransaction: There is no transaction, or its isolation is stricter.
    """
    found = _unsuitable(session, connection)
    if found is not None:
        raise UnsuitableTransaction(
            f"connection= is in {found}; a run joins only a READ COMMITTED transaction that the "
            "caller has begun. Without one its statements would not stand or fall together, and "
            "in a stricter one it would not see what the run before it wrote while it waited for "
            "the lock."
        )


def _unsuitable(session: Session, connection: Connection) -> str | None:
    # In autocommit SQLAlchemy speaks of a transaction too, but the server knows of none.
    if session.autocommit:
        return "AUTOCOMMIT"
    if not connection.in_transaction():
        return "no transaction"
    text = raw("SELECT current_setting('transaction_isolation') AS level")
    level = str(session.run(text, "look at the transaction").rows[0]["level"]).upper()
    return None if level == "READ COMMITTED" else level


@contextmanager
def behind_savepoint(session: Session, *, undone: bool) -> Iterator[None]:
    """Do in the caller's transaction what can fail by itself, and leave only the data there.

    Args:
        session: The session.
        undone: Whether the data goes as well.
    """
    with session.connection.begin_nested() as savepoint:
        before = settings(session)
        yield
        leave(session, before)
        if undone:
            savepoint.rollback()


def settings(session: Session) -> dict[str, str]:
    """Read what a run will set, to give to `leave` at its end."""
    columns = (sql("current_setting({n}) AS {a}", n=bind(n, n), a=name(n)) for n in _SETTINGS)
    text = sql("SELECT {columns}", columns=join(", ", columns))
    return session.run(text, "read the transaction's settings").rows[0]


def leave(session: Session, before: dict[str, str]) -> None:
    """Take away what the run has put into the caller's transaction beside the data."""
    session.run(raw("SET LOCAL client_min_messages = warning"), "silence notices")
    session.run(
        raw(
            "DROP TABLE IF EXISTS pg_temp.pgflow_delta, pg_temp.pgflow_stage,"
            " pg_temp.pgflow_unlinked, pg_temp.pgflow_rejected, pg_temp.pgflow_versions,"
            " pg_temp.pgflow_changed, pg_temp.pgflow_passed"
        ),
        "drop the temporary tables",
    )
    restored = (
        sql("set_config({n}, {v}, true)", n=bind(n, n), v=bind(v, n)) for n, v in before.items()
    )
    session.run(sql("SELECT {r}", r=join(", ", restored)), "restore the transaction's settings")
