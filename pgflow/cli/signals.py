"""SIGTERM on the command line: it ends a command as Ctrl-C does, with an exit code of its own.

Schedulers and containers end processes by SIGTERM. Left alone it would end this one on the spot,
and its runs would stay `running` in the history until another run finds them abandoned.
"""

from __future__ import annotations

import signal
from types import FrameType

#: Ctrl-C.
INTERRUPTED = 130
#: SIGTERM.
TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


def end_as_interrupted() -> None:
    """Let SIGTERM break in wherever Ctrl-C would; a handler that somebody else set is kept."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _break_in)


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Return the exit code of a command that was interrupted.

    Args:
        interrupt: What broke in.
    """
    return TERMINATED if isinstance(interrupt, Terminated) else INTERRUPTED


def _break_in(_number: int, _frame: FrameType | None) -> None:
    raise Terminated("The run was terminated (SIGTERM).")
