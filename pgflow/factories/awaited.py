"""What a pipeline does, for asyncio: in a thread, and cancelled with the task that awaits it."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, Protocol

from pgflow.errors import UnsuitableTransaction
from pgflow.observe.preview import Preview
from pgflow.run.aio import in_thread
from pgflow.run.events import Observer
from pgflow.run.recovery.cancellation import cancellable
from pgflow.run.result import SyncResult


class _Blocking(Protocol):
    """A pipeline, as its runs are called by code that is not async."""

    @property
    def name(self) -> str: ...

    def sync(
        self,
        *,
        effective_at: datetime | None,
        observer: Observer | None,
        firing: datetime | None,
        **parameters: Any,
    ) -> SyncResult: ...

    def dry_run(
        self, *, effective_at: datetime | None, observer: Observer | None, **parameters: Any
    ) -> SyncResult: ...

    def preview(self, *, analyze: bool, **parameters: Any) -> Preview: ...


class AwaitedRuns:
    """What a pipeline does as coroutines; nothing in them blocks the event loop."""

    async def sync_async(
        self: _Blocking,
        *,
        effective_at: datetime | None = None,
        connection: None = None,
        observer: Observer | None = None,
        firing: datetime | None = None,
        **parameters: Any,
    ) -> SyncResult:
        """Run the pipeline in a thread, and wait for it without blocking the event loop.

        If the task is cancelled, the server's statement is cancelled as well, and the task ends
        when the run is rolled back. A run that was just committing may have succeeded; the history
        tells.

        Args:
            effective_at: As for `sync`.
            connection: A run in a thread joins no transaction; anything but None is refused.
            observer: Who watches the run; called in the run's thread.
            firing: As for `sync`.
            **parameters: The run parameters.

        Returns:
            What was done.

        Raises:
            UnsuitableTransaction: A connection was given.
            PgflowError: As for `sync`.
            asyncio.CancelledError: The task was cancelled.
        """
        _refuse(self.name, "sync", connection)
        run = partial(
            self.sync,
            effective_at=effective_at,
            observer=observer,
            firing=firing,
            **parameters,
        )
        return await in_thread(run)

    async def dry_run_async(
        self: _Blocking,
        *,
        effective_at: datetime | None = None,
        connection: None = None,
        observer: Observer | None = None,
        **parameters: Any,
    ) -> SyncResult:
        """Do the same, and roll everything back; every target is tried.

        Args:
            effective_at: As for `sync_async`.
            connection: As for `sync_async`.
            observer: As for `sync_async`.
            **parameters: As for `sync_async`.

        Returns:
            The counts that the next run would have.

        Raises:
            UnsuitableTransaction: A connection was given.
            PgflowError: As for `dry_run`.
            asyncio.CancelledError: The task was cancelled.
        """
        _refuse(self.name, "dry_run", connection)
        run = partial(self.dry_run, effective_at=effective_at, observer=observer, **parameters)
        return await in_thread(run)

    async def preview_async(
        self: _Blocking, *, analyze: bool = False, **parameters: Any
    ) -> Preview:
        """Say what a run would do, and why; see `preview`.

        If the task is cancelled, so is what the server is asked.

        Args:
            analyze: As for `preview`.
            **parameters: The run parameters.

        Returns:
            Every decision with its reason and every statement.

        Raises:
            PgflowError: As for `preview`.
            asyncio.CancelledError: The task was cancelled.
        """

        def look() -> Preview:
            with cancellable():
                return self.preview(analyze=analyze, **parameters)

        return await in_thread(look)


def _refuse(name: str, method: str, connection: object) -> None:
    if connection is not None:
        raise UnsuitableTransaction(
            f"pipeline {name!r}: {method}_async(connection=...) is refused. The run works in a "
            "thread of its own, a connection is for one thread at a time, and a task that is "
            "cancelled could leave the transaction half done. Join a transaction by "
            f"{method}(connection=...), all of it in one thread: `await asyncio.to_thread(...)` "
            "around the whole transaction."
        )
