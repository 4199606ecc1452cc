"""Calling a pipeline's function: with lazy connections that cannot commit, sync or async."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.engine import Connection

from pgflow.declare.body import Body
from pgflow.errors import UnsuitableTransaction
from pgflow.run.aio import OwnLoop

_FORBIDDEN = frozenset(
    {"begin", "begin_twophase", "close", "commit", "detach", "invalidate", "rollback"}
)


class BodyConnection:
    """The connection that a pipeline's function gets.

    It opens on first use, and everything of SQLAlchemy's `Connection` works but ending the
    transaction: that is the run's own.

    Args:
        open_connection: Gives the run's connection.
        named: What names this end, for a `Query(sql, connection=conn)`; None for the target's.
    """

    def __init__(
        self, open_connection: Callable[[], Connection], named: object | None = None
    ) -> None:
        self._open = open_connection
        self._named = named

    @staticmethod
    def name_of(given: object) -> object | None:
        """Return what names a connection; of a function's own, what names its end."""
        return given._named if isinstance(given, BodyConnection) else given

    def __getattr__(self, name: str) -> Any:
        if name in _FORBIDDEN:
            raise UnsuitableTransaction(
                f"a pipeline's function must not call {name}() on its connection: the run commits "
                "its own transaction, all or nothing. Open a connection of your own with "
                "pgflow.connect() for work that must stand alone."
            )
        return getattr(self._open(), name)

    def __repr__(self) -> str:
        return "<pgflow connection of the running pipeline>"


def call(body: Body, connections: tuple[BodyConnection, ...], values: Mapping[str, object]) -> Any:
    """Call a pipeline's function.

    Args:
        body: The function and its signature.
        connections: As many as it takes.
        values: Its run parameters.

    Returns:
        What it returned; an `async def` function is run to its end, in a thread of its own where
        an event loop is running already.

    Raises:
        RunCancelled: The run was cancelled while an `async def` function waited for something.
    """
    returned = body.function(*connections, **values)
    if not inspect.isawaitable(returned):
        return returned
    with OwnLoop() as loop:
        return loop.run(returned)
