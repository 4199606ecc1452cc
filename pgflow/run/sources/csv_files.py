"""Files of comma-separated values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from pgflow.declare.rows import CSV
from pgflow.errors import MalformedFile, PgflowError
from pgflow.run.sources.csv_format import Format
from pgflow.run.sources.csv_lines import Lines
from pgflow.run.sources.csv_pieces import Checkpoint, Pieces
from pgflow.run.sources.csv_records import Records
from pgflow.run.sources.files import FileReader, opened
from pgflow.run.sources.reader import BadShape, Batch, Found, Raw, Wanted

#: What parts fields, as files go.
_DELIMITERS = (";", "\t", "|", ",")


class CSVFiles(FileReader):
    """Reads `CSV`.

    Args:
        given: The declared files.

    Raises:
        MissingFile: There is none.
    """

    def __init__(self, given: CSV) -> None:
        super().__init__(given)
        self.given = given
        self.format = Format.of(given)
        self._pieces = Pieces(given)
        self._headers: dict[str, list[str]] = {}

    def describe(self) -> tuple[Found, ...]:
        """Take the names from the declaration, or from the header of every file."""
        if self.given.columns is not None:
            names = list(self.given.columns)
        else:
            names = self.header(self.files[0])
            for path in self.files[1:]:
                self._align(path, names)
                self._compare(path, names)
        return tuple(Found(name, "text") for name in names)

    def header(self, path: str) -> list[str]:
        """Return the names of a file's fields, in its order.

        Raises:
            MalformedFile: It has no header.
        """
        if self.given.columns is not None:
            return list(self.given.columns)
        if path not in self._headers:
            with self._lines(path) as lines:
                first = _read(Records(lines, self.given), path)
            if first is None:
                raise MalformedFile(
                    f"{path} is empty: it has not even a header. Say header=False and columns=[...]"
                    " if it needs none; else it may not be complete.",
                    path=path,
                )
            _check_header(first, path)
            self._check_delimiter(first, path)
            self._headers[path] = first
        return self._headers[path]

    def _check_delimiter(self, names: list[str], path: str) -> None:
        """Refuse a header that is one name, and looks like several."""
        if len(names) > 1 or names[0] in self.column_map.values():
            return
        marks = (mark for mark in _DELIMITERS if mark in names[0])
        found = next((mark for mark in marks if mark != self.given.delimiter), None)
        if found is not None:
            raise MalformedFile(
                f"{path}: its header is one field, {names[0]!r}, for the delimiter "
                f"{self.given.delimiter!r}. Say delimiter={found!r} if that parts its fields; if "
                "it is one name, say columns=[...]: they take the header's place.",
                path=path,
            )

    def batches(self, wanted: Wanted) -> Iterator[Batch | Raw]:
        """Bring the rows: as they stand in the file where the server reads them just so."""
        self._pieces = Pieces(self.given)
        for path in self.files:
            names = self.header(path)
            order = [names.index(n) for n in wanted.names]
            straight = order == list(range(len(names)))
            patterns = Format.of(self.given).patterns(wanted.kinds) if straight else None
            with self._lines(path) as lines:
                for piece in self._pieces.read(path, lines, patterns, len(names)):
                    if straight or isinstance(piece, Raw):
                        yield piece
                    else:
                        yield Batch([piece.columns[i] for i in order], piece.first)

    def row_of(self, line: int) -> int:
        """Find the row that the server counts as this line of all that it was sent."""
        return self._find(lambda at: at.sent > line).row

    def place(self, row: int) -> str:
        """Name the file and the line."""
        found = self._find(lambda at: at.row > row)
        return f"{found.path}, line {found.line}" if found.path else ""

    def _find(self, past: Callable[[Checkpoint], bool]) -> Checkpoint:
        """Read again from the last place that was noted, up to the row in question."""
        at = self._pieces.before(past)
        # The row may be the one that cannot be read, and the file may be gone.
        with suppress(PgflowError, BadShape), self._lines(at.path) as lines:
            lines.skip(at.offset)
            records = Records(lines, self.given)
            while (line := records.line) is not None and records.read() is not None:
                after = replace(
                    at,
                    row=at.row + 1,
                    sent=at.sent + 1 + records.breaks,
                    line=at.line + records.line - line,
                )
                if past(after):
                    break
                at = after
        return at

    def _align(self, path: str, names: list[str]) -> None:
        """Spell a file's names as the first file does, where that leaves no doubt."""
        mine = self.header(path)
        free = [n for n in names if n not in mine]
        for at, name in enumerate(mine):
            same = [n for n in free if n.casefold() == name.casefold()]
            if name not in names and len(same) == 1:
                mine[at] = same[0]

    def _compare(self, path: str, names: list[str]) -> None:
        """Refuse a file that has not the columns of the first."""
        mine = self.header(path)
        if sorted(mine) == sorted(names):
            return
        lacks = [n for n in names if n not in mine]
        more = [n for n in mine if n not in names]
        parts = [f"lacks {', '.join(map(repr, lacks))}"] if lacks else []
        parts += [f"has {', '.join(map(repr, more))} besides"] if more else []
        what = " and ".join(parts) or "has a name twice"
        raise MalformedFile(
            f"{path} has not the columns of {self.files[0]}: it {what}. Files that are read "
            "together have the same columns, in any order.",
            path=path,
        )

    @contextmanager
    def _lines(self, path: str) -> Iterator[Lines]:
        with opened(path) as file:
            lines = Lines(file, self.given.encoding)
            try:
                yield lines
            finally:
                lines.close()


def _read(records: Records, path: str) -> list[str] | None:
    try:
        return records.first()
    except BadShape as error:
        raise MalformedFile(f"{path}: its header {error}.", path=path) from None


def _check_header(names: list[str], path: str) -> None:
    """Refuse names that would leave it open which field is meant."""
    twice = next((n for n in names if names.count(n) > 1), None)
    if "" not in names and twice is None:
        return
    what = (
        f"field {names.index('') + 1} of its header has no name"
        if "" in names
        else f"its header has {twice!r} twice"
    )
    raise MalformedFile(
        f"{path}: {what}. Name the fields by columns=[...]: they take the header's place.",
        path=path,
    )
