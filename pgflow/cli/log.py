"""What pgflow logs while a command runs, where nobody has configured logging."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pgflow.cli.output import Output


@contextmanager
def brief_log(output: Output) -> Iterator[None]:
    """Have errors that pgflow logs told as a command tells errors: in debug mode with a traceback.

    Args:
        output: Where to.
    """
    former = logging.lastResort
    if not output.debug:
        logging.lastResort = _Brief(output, former)
    try:
        yield
    finally:
        logging.lastResort = former


class _Brief(logging.Handler):
    """Writes pgflow's records that have a traceback as sentences; others go on as they are."""

    def __init__(self, output: Output, former: logging.Handler | None) -> None:
        super().__init__(logging.WARNING)
        self._output, self._former = output, former

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record that no other handler has taken."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None or not record.name.startswith("pgflow."):
            if self._former is not None:
                self._former.handle(record)
            return
        from pgflow.cli.failures import sentence

        self._output.error(f"{record.getMessage()}: {sentence(error)}")
        self._output.note("  --debug shows the traceback")
