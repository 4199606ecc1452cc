"""Showing on a terminal what goes on when it takes longer than a second."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pgflow.observe.progress import PATIENCE

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status


class Activity:
    """A line on the terminal while a `with` block runs, if it runs long enough.

    Args:
        console: The terminal, or None to show nothing.
        what: What goes on.
    """

    def __init__(self, console: Console | None, what: str) -> None:
        self._console = console
        self._what = what
        self._lock = threading.Lock()
        self._status: Status | None = None
        self._timer = threading.Timer(PATIENCE, self._show)
        self._timer.daemon = True
        self._over = False

    def __enter__(self) -> Activity:
        if self._console is not None:
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            self._over = True
            if self._status is not None:
                self._status.stop()

    def _show(self) -> None:
        """Begin the line; called by the timer, in its own thread."""
        with self._lock:
            if self._over or self._console is None:
                return
            self._status = self._console.status(self._what)
            self._status.start()
