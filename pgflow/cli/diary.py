"""Lines that bear the time of day, for commands whose output is read days later."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from pgflow.cli.failures import sentence
from pgflow.cli.output import Output


def timed(text: str) -> str:
    """Put the local time with its distance from UTC before a line.

    Args:
        text: The line.
    """
    return f"{datetime.now().astimezone().isoformat(timespec='seconds')} {text}"


def in_one_line(error: BaseException) -> str:
    """Say what went wrong in one line, as each line of a log bears its time.

    Args:
        error: What was raised.
    """
    lines = sentence(error).splitlines()
    return " ".join(line.strip() for line in lines if line.strip(" ^"))


class Diary(logging.Handler):
    """Writes lines with their time to standard error.

    Args:
        output: Where to.
    """

    def __init__(self, output: Output) -> None:
        super().__init__(logging.WARNING)
        self._output = output

    def tell(self, text: str) -> None:
        """Write a line."""
        self._output.note(timed(text))

    def emit(self, record: logging.LogRecord) -> None:
        """Write what a logger says."""
        self.tell(self.format(record))

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Write also what a logger says, unless the project has said where that goes."""
        logger = logging.getLogger(name)
        if logger.hasHandlers():
            yield
            return
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)
