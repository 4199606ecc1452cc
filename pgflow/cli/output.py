"""Standard output for results, standard error for everything else; plain when piped."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from rich.console import Console

    from pgflow.observe.listing import Listing
    from pgflow.observe.preview_text import Line


class Output:
    """Where a command writes to.

    A reader that goes away (`pgflow list | head -1`) ends no command: what is left to write is
    dropped, and the exit code still says how the command went.

    Args:
        color: Whether terminals get colours; `NO_COLOR` switches them off too.
        debug: Whether errors come with their traceback.
    """

    def __init__(self, *, color: bool = True, debug: bool = False) -> None:
        self.color = color and not os.environ.get("NO_COLOR")
        self.debug = debug
        self.failed = False

    def line(self, text: str = "") -> None:
        """Write a line to standard output."""
        _write(sys.stdout, text)

    def note(self, text: str) -> None:
        """Write a line to standard error; if that cannot be, no run fails for it."""
        with contextlib.suppress(OSError):
            _write(sys.stderr, text)

    def json(self, data: object) -> None:
        """Write plain data as JSON to standard output."""
        self.line(json.dumps(data, indent=2, ensure_ascii=False, default=str))

    def listing(self, listing: Listing) -> None:
        """Write a listing: laid out for a terminal, else as aligned text that is never cut off."""
        if _is_terminal(sys.stdout):
            from rich.console import Console

            listing.show(Console(file=sys.stdout, color_system=self._colors, highlight=False))
        else:
            self.line(str(listing))

    def styled(self, lines: Iterable[Line]) -> None:
        """Write lines whose pieces have styles, which only a terminal shows; none is cut off."""
        if not (self.color and _is_terminal(sys.stdout)):
            from pgflow.observe.preview_text import plain

            for text in plain(lines):
                self.line(text)
            return
        from rich.console import Console
        from rich.text import Text

        from pgflow.observe.listing import printable

        console = Console(file=sys.stdout, highlight=False)
        for line in lines:
            pieces = ((printable(text, keep="\t"), style) for text, style in line)
            console.print(Text.assemble(*pieces), soft_wrap=True)

    def error(
        self, text: str, cause: BaseException | None = None, *, whose: str = "pgflow: "
    ) -> None:
        """Write a sentence about a failure, and in debug mode the traceback before it."""
        if self.debug and cause is not None:
            from pgflow.connections.secrets import conceal

            self.note(conceal(_traceback(cause)))  # it quotes the lines of the user's own code
        self.note(f"{whose}{text}")
        if not self.debug and cause is not None and _has_more_to_say(cause):
            self.note("  --debug shows the traceback")

    @property
    def console(self) -> Console | None:
        """A console for live progress; None unless standard error is a terminal that can."""
        if not _is_terminal(sys.stderr) or os.environ.get("TERM") in ("dumb", "unknown"):
            return None
        from rich.console import Console

        return Console(stderr=True, color_system=self._colors)

    @property
    def _colors(self) -> Literal["auto"] | None:
        """What rich may style with: whatever the terminal can, or nothing at all."""
        return "auto" if self.color else None


def _traceback(error: BaseException) -> str:
    """The traceback of an error; of several targets that failed, one for each."""
    from pgflow.errors import TargetsFailed

    targets = getattr(error.result, "targets", ()) if isinstance(error, TargetsFailed) else ()
    failed = [each for each in targets if each.error is not None]
    if len(failed) < 2:
        return "".join(traceback.format_exception(error)).rstrip()
    told = [f"{each.target}: {''.join(traceback.format_exception(each.error))}" for each in failed]
    return "\n".join(told).rstrip()


def _has_more_to_say(error: BaseException) -> bool:
    """Whether nobody foresaw the error, so that only its traceback may tell what went wrong."""
    from pgflow.errors import ModuleFailed, PgflowError, TargetsFailed

    found = error.__cause__ if isinstance(error, (ModuleFailed, TargetsFailed)) else error
    # What the database says is told whole.
    return found is not None and not isinstance(found, PgflowError) and not hasattr(found, "orig")


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def _write(stream: TextIO, text: str) -> None:
    # Imported here, as --help needs nothing of it.
    from pgflow.observe.listing import printable

    try:
        stream.write(printable(text) + "\n")
        stream.flush()
    except OSError as error:
        _abandon(stream)
        if not isinstance(error, BrokenPipeError):
            raise


def _abandon(stream: TextIO) -> None:
    """Let further writes, also the interpreter's last flush, go nowhere."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, stream.fileno())
    os.close(devnull)
