"""The server's own plans (EXPLAIN) for the statements of a plan; nothing is executed or written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pgflow.errors import StatementFailed
from pgflow.plan.sql import Sql, raw, sql
from pgflow.plan.statement import Plan, Statement
from pgflow.run.session import Session

#: A relation that is not there.
_UNDEFINED_TABLE = "42P01"

#: What EXPLAIN takes, by how our statements begin.
_PLANNED = re.compile(r"[\s(]*(?:SELECT|WITH|INSERT|UPDATE|DELETE|MERGE|VALUES|TABLE)\b")
_FILLED = re.compile(r"CREATE TEMPORARY TABLE \S+ (?:\([^()]*\) )?(?:ON COMMIT DROP )?AS\s")
_MADE = re.compile(r"\bpg_temp\.\w+")
_COPIED = re.compile(r"COPY \(")
_COPY_END = re.compile(r"\)\s*TO STDOUT(?:\s*\([^()]*\))?\s*")

#: For the savepoint in which it is set; nothing that is planned may write.
_READ_ONLY = "SET LOCAL transaction_read_only = on"


@dataclass(frozen=True)
class ServerPlan:
    """What a server would do for one statement.

    Attributes:
        lines: EXPLAIN's text; empty if it was not asked, or refused.
        data: EXPLAIN's answer as plain data, or None.
        missing: Why there is none; empty if there is one.
        feed: The same for the statement that feeds this one on another server, or None.
    """

    lines: tuple[str, ...] = ()
    data: Mapping[str, Any] | None = None
    missing: str = ""
    feed: ServerPlan | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "lines": list(self.lines),
            "data": None if self.data is None else dict(self.data),
            "missing": self.missing,
            "feed": None if self.feed is None else self.feed.to_dict(),
        }


def steps(plan: Plan) -> tuple[Statement, ...]:
    """Return every statement of a plan in the order in which previews show them."""
    instead = () if plan.fallback is None else plan.fallback.statements
    return (*plan.prepare, *plan.statements, *instead)


@dataclass(frozen=True)
class _Server:
    """A server that is asked.

    Attributes:
        session: The session on it.
        instant: The instant of the preview as it writes it, which is left out of the answers: two
            previews of one state shall not differ.
    """

    session: Session
    instant: str

    @classmethod
    def at(cls, session: Session, instant: Sql) -> _Server:
        text = sql("SELECT quote_literal({i}::timestamptz::text) AS text", i=instant)
        return cls(session, session.run(text, "write the instant").rows[0]["text"] or "")

    def hide(self, answer: Any) -> Any:
        """Put `$instant` in the place of the instant."""
        if isinstance(answer, str):
            return answer.replace(f"{self.instant}::timestamp with time zone", "$instant")
        if isinstance(answer, dict):
            return {key: self.hide(value) for key, value in answer.items()}
        return [self.hide(value) for value in answer] if isinstance(answer, list) else answer


def server_plans(
    session: Session, plan: Plan, instant: Sql, source: Session | None
) -> tuple[ServerPlan, ...]:
    """Ask for the plan of every statement that can be planned before the run.

    Args:
        session: The target's session, in a transaction.
        plan: The plan.
        instant: The instant of the preview.
        source: The session on the source's server, where the rows come from another PostgreSQL.

    Returns:
        One for each of `steps(plan)`.
    """
    here = _Server.at(session, instant)
    there = None if source is None else _Server.at(source, instant)
    return tuple(_of_statement(here, each, there) for each in steps(plan))


def _of_statement(here: _Server, statement: Statement, there: _Server | None) -> ServerPlan:
    own = _of(here, statement.sql)
    query = None if statement.feed is None else statement.feed.sql
    if query is None:
        return own
    if there is None:
        return replace(own, feed=ServerPlan(missing="only PostgreSQL is asked for its plan"))
    return replace(own, feed=_of(there, _copied(query)))


def _copied(copy: Sql) -> Sql:
    """The query of a COPY (query) TO STDOUT; whatever else it is as it stands."""
    first, last = copy.parts[:1], copy.parts[-1:]
    if not (first and isinstance(first[0], str) and isinstance(last[0], str)):
        return copy
    begin, end = _COPIED.match(first[0]), list(_COPY_END.finditer(last[0]))
    if begin is None or not end:
        return copy
    if len(copy.parts) == 1:
        return raw(first[0][begin.end() : end[-1].start()])
    middle = copy.parts[1:-1]
    return Sql((first[0][begin.end() :], *middle, last[0][: end[-1].start()]))


def _of(server: _Server, statement: Sql) -> ServerPlan:
    text = statement.render()[0]
    if not (_PLANNED.match(text) or _FILLED.match(text)):
        return ServerPlan(missing=f"EXPLAIN takes no {_command(text)}")
    session = server.session
    try:
        with session.connection.begin_nested() as savepoint:
            session.run(raw(_READ_ONLY), "read only")
            told = session.run(raw("EXPLAIN ") + statement, "ask for the plan").rows
            data = session.run(raw("EXPLAIN (FORMAT JSON) ") + statement, "ask for the plan").rows
            # Planning has locked what the statement would write; that lets go of it.
            savepoint.rollback()
    except StatementFailed as error:
        return ServerPlan(missing=_why(error, text))
    lines = tuple(server.hide(str(_first(row))) for row in told)
    return ServerPlan(lines, server.hide(_first(data[0])[0]))


def _command(text: str) -> str:
    """The command's name: its words in capitals."""
    words = text.split()
    return " ".join(words[: next((i for i, w in enumerate(words) if not w.isupper()), 1)])


def _why(error: StatementFailed, text: str) -> str:
    made = sorted(set(_MADE.findall(_FILLED.sub("", text, count=1))))
    if error.sqlstate == _UNDEFINED_TABLE and made:
        return f"it reads {' and '.join(made)}, which the run makes before"
    first = error.diagnostic.partition("\n")[0]
    return f"the server refuses: {first}"


def _first(row: Mapping[str, Any]) -> Any:
    return next(iter(row.values()))
