"""Files as they are read: unpacked, counted, and the same from beginning to end."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from pgflow.declare.rows import FileSource
from pgflow.errors import ChangedFile, MalformedFile, MissingFile
from pgflow.run.sources.csv_format import Format

_PACKED: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """Open a file for reading, unpacked by the end of its name.

    Args:
        path: The file.

    Yields:
        Its bytes.

    Raises:
        MissingFile: It cannot be opened.
        MalformedFile: It is packed otherwise than its name says, or not complete.
        ChangedFile: It was written to, or put in another's place, in the meantime.
    """
    before = _state(path)
    unpack = next((_PACKED[end] for end in _PACKED if path.lower().endswith(end)), open)
    try:
        with unpack(path, "rb") as file:
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise MalformedFile(f"{path} cannot be unpacked: {error}", path=path) from error
    if _state(path) != before:
        raise ChangedFile(
            f"{path} changed while it was read, so its rows may belong to two states of it. "
            "Nothing was written. Write files under another name and rename them when they are "
            "complete.",
            path=path,
        )


def _state(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116  # paths are kept as they were given
    except OSError as error:
        raise MissingFile(f"{path} cannot be read: {error.strerror}.", path=path) from error
    return found.st_ino, found.st_size, found.st_mtime_ns


class Places:
    """Which row stands in which file, on which line; kept as runs of rows in sequence."""

    def __init__(self, word: str = "line") -> None:
        self._word = word
        self._runs: list[tuple[int, str, int]] = []

    def begin(self, row: int, path: str, line: int) -> None:
        """Say where a run of rows begins."""
        self._runs.append((row, path, line))

    def of(self, row: int) -> str:
        """Name a row's file and line."""
        known = [run for run in self._runs if run[0] <= row]
        if not known:
            return ""
        first, path, line = known[-1]
        return f"{path}, {self._word} {line + row - first}"


class FileReader:
    """What readers of files share: no statement runs anywhere, and each row has its place.

    Args:
        given: The declared files.
        word: What a row's number in its file counts.

    Raises:
        MissingFile: There is none.
    """

    reason = "the rows are in files: COPY of text"
    picks = False
    documents = False
    format: Format | None = None

    def __init__(self, given: FileSource, word: str = "line") -> None:
        self.label = given.label
        self.column_map = given.column_map
        self.types = given.types
        self.time_zone = given.time_zone
        self.files = given.files()
        self.places = Places(word)

    def query(self, names: Sequence[str]) -> str | None:  # noqa: ARG002  # the protocol's
        """No statement runs anywhere."""
        return None

    def row_of(self, line: int) -> int:
        """Each row is a line."""
        return line

    def place(self, row: int) -> str:
        """Name the file, and the row's number in it."""
        return self.places.of(row)

    def close(self) -> None:
        """Every file is closed when it is read."""
