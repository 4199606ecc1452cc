"""Which database a connection has reached, asked from the server: addresses may lie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pgflow.errors import StatementFailed
from pgflow.plan.sql import raw
from pgflow.run.session import Session

_QUESTION = raw(
    "SELECT d.oid::bigint AS oid, d.datname::text AS database, pg_postmaster_start_time() AS begun,"
    " pg_is_in_recovery() AS standby, current_user::text AS role,"
    " current_setting('search_path') AS path,"
    " has_function_privilege('pg_control_system()', 'EXECUTE') AS may_ask\n"
    "  FROM pg_database AS d WHERE d.datname = current_database()"
)


@dataclass(frozen=True)
class Identity:
    """What a server says of itself and of the session.

    Attributes:
        system: The identifier of its cluster; None where the role may not ask for it.
        begun: When this server was started, to the microsecond. Copies of a cluster, standbys and
            clones alike, have the same identifier, but they were not started in one instant.
        oid: The database's number in the cluster.
        database: Its name.
        standby: Whether the server replays another one's log.
        role: As whom statements run.
        path: Where unqualified names are looked for.
    """

    system: int | None
    begun: datetime
    oid: int
    database: str
    standby: bool
    role: str
    path: str

    def differs(self, other: Identity) -> str:
        """Say what makes this another database than the other one; empty if it is the same."""
        if None not in (self.system, other.system) and self.system != other.system:
            return "another server"
        if self.begun != other.begun:
            return "a standby of the target's server" if self.standby else "another server"
        if self.oid != other.oid:
            return "another database of the same server"
        return ""

    def reads_differently(self, other: Identity) -> str:
        """Say why one query may come to other rows in the same database; empty if it cannot."""
        if self.role != other.role:
            return f"as another role, {self.role!r} and not {other.role!r}"
        if self.path != other.path:
            return f"with another search_path, {self.path} and not {other.path}"
        return ""


def ask(session: Session) -> Identity | None:
    """Ask a server who it is.

    Args:
        session: A session in a transaction.

    Returns:
        Its answer, or None if it does not know the question, as servers that only speak
        PostgreSQL's protocol do not.
    """
    try:
        with session.connection.begin_nested():
            row = dict(session.run(_QUESTION, "ask which database this is").rows[0])
            system = None
            if row.pop("may_ask"):
                text = raw("SELECT system_identifier AS id FROM pg_control_system()")
                system = int(session.run(text, "ask which server this is").rows[0]["id"])
    except StatementFailed as error:
        if error.sqlstate is None or error.sqlstate.startswith(("08", "57")):
            raise
        return None
    return Identity(system, row["begun"], *(row[k] for k in _REST))


_REST = ("oid", "database", "standby", "role", "path")
