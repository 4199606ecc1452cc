"""CSV rows on their way to the server: as they stand in the file, or field by field.

Most rows are plain, and the server reads them as they are. A pattern tells them; what it does not
know is taken apart here, and checked value by value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pgflow.declare.rows import CSV
from pgflow.run.sources.csv_lines import Lines
from pgflow.run.sources.csv_records import Records
from pgflow.run.sources.reader import BLOCK, BadShape, Batch, Raw

#: A pattern of plain rows, and one of a single row whose fields may have ends of lines in them.
Patterns = tuple[re.Pattern[bytes], re.Pattern[bytes]]

#: No more rows are taken apart at once.
_MOST = 1000

#: Bytes between two checkpoints; to find a row, no more has to be read again.
_APART = 1 << 16

_END = re.compile(rb"\r\n|\r")


@dataclass(frozen=True)
class Checkpoint:
    """The beginning of a row.

    Attributes:
        row: Its number in the source, from 1.
        sent: The line of all that is sent to the server on which it begins; the first is a header.
        line: Its line in its file, from 1.
        path: Its file.
        offset: Where it begins there, in bytes of UTF-8.
    """

    row: int = 1
    sent: int = 2
    line: int = 1
    path: str = ""
    offset: int = 0


class Pieces:
    """Brings the rows of files, one file after the other.

    Args:
        given: The format.
    """

    def __init__(self, given: CSV) -> None:
        self._given = given
        self._row, self._sent = 1, 2
        self._odd: list[list[object]] = []
        self._checkpoints = [Checkpoint()]

    def before(self, past: Callable[[Checkpoint], bool]) -> Checkpoint:
        """Return the last checkpoint that is not past what is looked for."""
        return next(c for c in reversed(self._checkpoints) if not past(c))

    def read(
        self, path: str, lines: Lines, patterns: Patterns | None, width: int
    ) -> Iterator[Batch | Raw]:
        """Bring the rows of a file.

        Args:
            path: The file.
            lines: Its text.
            patterns: What tells plain rows; None if there are none.
            width: How many fields a row has.

        Raises:
            BadShape: A row has more or fewer, or cannot be read.
        """
        records = Records(lines, self._given)
        try:
            if self._given.header:
                records.first()
            while True:
                self._note(path, lines, records.line + 1)
                plain = self._plain(lines, patterns, records)
                if plain is not None:
                    yield from self._apart(records)
                    yield plain
                    continue
                record = records.read()
                if record is None:
                    break
                self._keep(record, records, width)
                if len(self._odd) >= _MOST or self._far(lines):
                    yield from self._apart(records)
        except BadShape as error:
            raise BadShape(str(error), self._row) from None
        yield from self._apart(records)

    def _plain(self, lines: Lines, patterns: Patterns | None, records: Records) -> Raw | None:
        """Take rows that go to the server as they are."""
        if patterns is None:
            return None
        if data := lines.take(patterns[0]):
            if b"\r" in data:  # all lines of a COPY end alike
                data = _END.sub(b"\n", data)
            count = breaks = data.count(b"\n")
            records.line += count
        elif data := lines.take(patterns[1]):
            data = data.rstrip(b"\r\n") + b"\n"
            count, breaks = 1, data.count(b"\n")
            records.line += breaks + data.count(b"\r") - data.count(b"\r\n")
        else:
            return None
        self._row += count
        self._sent += breaks
        return Raw(data, count)

    def _keep(self, record: list[object], records: Records, width: int) -> None:
        if len(record) != width:
            fields = "1 field" if len(record) == 1 else f"{len(record)} fields"
            columns = "1 column" if width == 1 else f"{width} columns"
            raise BadShape(f"has {fields} for {columns}", 0)
        self._odd.append(record)
        self._row += 1
        self._sent += 1 + records.breaks

    def _apart(self, records: Records) -> Iterator[Batch]:
        """Bring what was taken apart."""
        odd, self._odd = self._odd, []
        if odd:
            yield Batch(records.columns(odd), self._row - len(odd))

    def _note(self, path: str, lines: Lines, line: int) -> None:
        last = self._checkpoints[-1]
        if last.path != path or lines.offset - last.offset >= _APART:
            self._checkpoints.append(Checkpoint(self._row, self._sent, line, path, lines.offset))

    def _far(self, lines: Lines) -> bool:
        return lines.offset - self._checkpoints[-1].offset >= BLOCK
