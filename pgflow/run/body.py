"""Calling a pipeline's function: with lazy connections that cannot commit, sync or async."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.engine import Connection

from pgflow.declare.body import Body
from pgflow.errors import UnsuitableTransaction

_FORBIDDEN = frozenset(
    {"begin", "begin_twophase", "close", "commit", "detach", "invalidate", "rollback"}
)


class BodyConnection:
    """The connection that a pipeline's function gets.

    It opens on first use, and everything of SQLAlchemy's `Connection` works but ending the
    transaction: that is the run's own.

    Args:
        open_connection: Gives the run's connection.
    """

    def __init__(self, open_connection: Callable[[], Connection]) -> None:
        self._open = open_connection

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
    """
    if not body.is_async:
        return body.function(*connections, **values)

    def run() -> Any:
        return asyncio.run(body.function(*connections, **values))

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(run).result()
