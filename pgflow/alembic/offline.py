"""The statements of migrations on their way out of Alembic: into a script, or to the server.

In a script (`alembic upgrade --sql`) they are the same to the byte, but for the margin that they
have in a file. Alembic doubles `%` in it,
where the driver wants that of statements that it sends, and turns tabs into spaces, in the bodies
of functions as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from alembic.ddl import impl
from alembic.ddl.postgresql import PostgresqlImpl
from sqlalchemy import CursorResult, Executable, text
from sqlalchemy.schema import DDLElement

from pgflow.alembic.text import unindented

_LOCK_TIMEOUT = "pgflow lock_timeout"
_SENDER = "pgflow sender"

_Result: TypeAlias = "CursorResult[Any] | None"
#: Sends a statement, given its text, by calling what it is given.
Sender: TypeAlias = Callable[[str, Callable[[], _Result]], _Result]


def install() -> None:
    """Make Alembic use the class below for PostgreSQL, under whatever class is in use by now."""
    present = impl._impls["postgresql"]
    if not issubclass(present, ExactScript):
        # A class with `__dialect__` registers itself; a user's own class stays the base.
        type("PgflowImpl", (ExactScript, present), {"__dialect__": "postgresql"})


def limit_locks(implementation: impl.DefaultImpl, timeout: str) -> None:
    """Write into each transaction of a script how long its statements wait for locks.

    Args:
        implementation: What writes the script.
        timeout: How long; "0" for ever.
    """
    implementation.memo[_LOCK_TIMEOUT] = timeout


@contextmanager
def sending(implementation: impl.DefaultImpl, sender: Sender) -> Iterator[None]:
    """Let somebody else decide how often a statement is sent to the server.

    Args:
        implementation: What sends the statements.
        sender: Called with each of them.
    """
    implementation.memo[_SENDER] = sender
    try:
        yield
    finally:
        del implementation.memo[_SENDER]


class ExactScript(PostgresqlImpl):
    """Writes statements into a script as they would be sent, and sends them."""

    def _exec(
        self,
        construct: Executable | str,
        execution_options: Mapping[str, Any] | None = None,
        multiparams: Sequence[Mapping[str, Any]] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> CursorResult[Any] | None:
        if not self.as_sql or multiparams is not None or params:

            def send() -> CursorResult[Any] | None:
                return super(ExactScript, self)._exec(
                    construct, execution_options, multiparams, params or {}
                )

            sender: Sender | None = self.memo.get(_SENDER)
            return send() if sender is None else sender(str(construct), send)
        self.static_output(unindented(self._written(construct)).strip() + self.command_terminator)
        return None

    def emit_begin(self) -> None:
        """Write BEGIN, and how long its statements wait for locks."""
        super().emit_begin()
        timeout = self.memo.get(_LOCK_TIMEOUT, "0")
        if timeout != "0":
            self.static_output(f"SET LOCAL lock_timeout = '{timeout}'{self.command_terminator}")

    def _written(self, construct: Executable | str) -> str:
        element: Any = text(construct) if isinstance(construct, str) else construct
        # Under this style of parameters a dialect has no reason to double `%`.
        make: Any = type(self.dialect)
        dialect = make(paramstyle="named")
        compile_kwargs: dict[str, Any] = {}
        if self.literal_binds and not isinstance(element, DDLElement):
            compile_kwargs = {"literal_binds": True}
        return str(element.compile(dialect=dialect, compile_kwargs=compile_kwargs))
