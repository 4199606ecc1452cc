"""Signs of life while runs go on, also when procrastinate has ceased to give them.

Procrastinate's worker falls silent as soon as it is told to stop, while its last runs still have
their grace. Others would take it for dead and run those firings again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from pgflow.schedule.extra import UNAVAILABLE

_log = logging.getLogger("pgflow.schedule")


class Heart:
    """Beats for a worker of the queue as long as it works.

    Args:
        beat: Notes in the queue that a worker lives.
        every: Seconds between two beats.

    Attributes:
        worker: The worker by its number in the queue; None before its first run.
    """

    def __init__(self, beat: Callable[[int], Awaitable[None]], every: float) -> None:
        self._beat = beat
        self._every = every
        self.worker: int | None = None

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beat until the block is left."""
        task = asyncio.create_task(self._keep_beating())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            if self.worker is None:
                continue
            try:
                await self._beat(self.worker)
            except UNAVAILABLE as error:
                _log.debug("the queue could not be told of a sign of life: %s", error)
