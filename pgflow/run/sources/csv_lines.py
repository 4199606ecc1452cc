"""Bytes of a file of text, in UTF-8, taken line by line or many lines at once."""

from __future__ import annotations

import io
import re
from typing import IO

from pgflow.run.sources.reader import BadShape

#: Bytes that are read at once.
_CHUNK = 1 << 17

#: A record of this many bytes is taken for one whose closing quote is missing.
LONGEST = 1 << 28

_END = re.compile(rb"\r\n|\n|\r")
_MARK = b"\xef\xbb\xbf"


class Lines:
    """Reads a file.

    Args:
        file: Its bytes, unpacked.
        encoding: Their encoding.
    """

    def __init__(self, file: IO[bytes], encoding: str) -> None:
        own = encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig")
        self._encoding = encoding
        self._file = file
        # What the server can read is not decoded here; the server checks it.
        self._text = None if own else io.TextIOWrapper(file, encoding, newline="")
        self._buffer = b""
        self._at = 0
        self._ended = False
        #: Bytes, in UTF-8, before the buffer.
        self._before = 0
        self._fill()
        if self._buffer.startswith(_MARK):
            self._at = len(_MARK)

    @property
    def offset(self) -> int:
        """How many bytes were taken."""
        return self._before + self._at

    def skip(self, offset: int) -> None:
        """Go on to where `offset` was this; only forward."""
        while self._before + len(self._buffer) < offset:
            self._at = len(self._buffer)
            if not self._fill():
                break
        self._at = max(self._at, min(len(self._buffer), offset - self._before))

    def take(self, pattern: re.Pattern[bytes]) -> bytes:
        """Take what matches; nothing where what follows is another thing, or the end."""
        if not self._whole():
            return b""
        found = pattern.match(self._buffer, self._at)
        if found is None:
            return b""
        self._at = found.end()
        return found.group()

    def readline(self) -> str:
        """Take a line with its end; empty at the end of the file.

        Raises:
            BadShape: It is not in the file's encoding, or has no end; the row is left at 0.
        """
        if not self._whole():
            return ""
        found = _END.search(self._buffer, self._at)
        end = len(self._buffer) if found is None else found.end()
        line = self._buffer[self._at : end]
        self._at = end
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise BadShape(self._wrong(error.reason), 0) from None

    def close(self) -> None:
        """Leave the file to whoever opened it."""
        if self._text is not None:
            self._text.detach()

    def _wrong(self, reason: str) -> str:
        return f"is not {self._encoding}: {reason} (name the file's encoding by encoding=)"

    def _whole(self) -> bool:
        """Have a whole line in the buffer, unless the file ends before."""
        searched = self._at
        while _END.search(self._buffer, searched) is None:
            rest = len(self._buffer) - self._at
            if not self._fill():
                return rest > 0
            if rest > LONGEST:
                raise BadShape("has no end of line", 0)
            searched = rest
        return True

    def _fill(self) -> bool:
        """Read more behind what is left; an end of line is never torn."""
        if self._ended:
            return False
        rest = self._buffer[self._at :]
        # As much again as there is: a long record is not copied over and over.
        read = self._read(max(_CHUNK, len(rest)))
        while read.endswith(b"\r") and (more := self._read(1)):
            read += more
        self._before += self._at
        self._at = 0
        self._ended = not read
        self._buffer = rest + read
        if self._ended and rest and not rest.endswith((b"\n", b"\r")):
            self._buffer += b"\n"
        return bool(self._buffer) and (bool(read) or len(self._buffer) > len(rest))

    def _read(self, size: int) -> bytes:
        if self._text is None:
            return self._file.read(size)
        try:
            return self._text.read(size).encode()
        except UnicodeError as error:
            said = getattr(error, "reason", str(error))
            raise BadShape(self._wrong(said), 0) from None
