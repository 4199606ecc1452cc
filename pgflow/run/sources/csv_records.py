"""Records of CSV text, told apart as PostgreSQL's COPY tells them: NULL is not the empty string."""

from __future__ import annotations

from pgflow.declare.rows import CSV
from pgflow.run.sources.csv_lines import LONGEST, Lines
from pgflow.run.sources.reader import BadShape

#: Stands for a quoted field whose text is that of NULL.
_QUOTED = object()


class Records:
    """Reads the records of one file, one by one.

    Args:
        lines: The file.
        given: The format.
    """

    def __init__(self, lines: Lines, given: CSV) -> None:
        self._lines = lines
        self._given = given
        self._escape = given.escape or given.quote
        #: Lines of the file that were read.
        self.line = 0
        #: Line feeds in the fields of the last record, by which COPY counts its lines.
        self.breaks = 0

    def first(self) -> list[str] | None:
        """Return the first record as text, or None if the file is empty."""
        fields = self.read()
        if fields is None:
            return None
        return [self._given.null if f is _QUOTED else str(f) for f in fields]

    def read(self) -> list[object] | None:
        """Return the next record, or None at the end.

        Raises:
            BadShape: It has no end, or cannot be decoded; the row is left at 0.
        """
        self.breaks = 0
        line = self._lines.readline()
        if not line:
            return None
        self.line += 1
        if self._given.quote not in line:
            return [*line.rstrip("\r\n").split(self._given.delimiter)]
        return self._record(line)

    def columns(self, records: list[list[object]]) -> list[list[str | None]]:
        """Turn records of one length into columns, with NULL as None."""
        null = self._given.null
        made: list[list[str | None]] = []
        for column in zip(*records, strict=True):
            values: list[str | None] = [*column]
            if null in column:
                values = [None if v == null else v for v in values]
            if _QUOTED in column:
                values = [null if v is _QUOTED else v for v in values]
            made.append(values)
        return made

    def _record(self, line: str) -> list[object]:
        """Take apart a record with quotes in it, which may go on in the next lines."""
        text, at, fields = line, 0, list[object]()
        parts: list[str] = []
        quoted = False
        delimiter, quote = self._given.delimiter, self._given.quote
        while True:
            end = len(text.rstrip("\r\n"))
            here = min(
                (p for p in (text.find(delimiter, at, end), text.find(quote, at, end)) if p >= 0),
                default=end,
            )
            parts.append(text[at:here])
            if here == end or text[here] == delimiter:
                fields.append(self._field("".join(parts), quoted))
                if here == end:
                    return fields
                parts, quoted, at = [], False, here + 1
                continue
            quoted = True
            text, at = self._quoted(text, here + 1, parts)

    def _quoted(self, text: str, at: int, parts: list[str]) -> tuple[str, int]:
        """Read up to the closing quote; return the text that is left and the place behind it."""
        quote, escape, size = self._given.quote, self._escape, 0
        while True:
            places = [p for p in (text.find(quote, at), text.find(escape, at)) if p >= 0]
            if not places:
                parts.append(text[at:])
                size += len(text) - at
                self.breaks += text.endswith("\n")
                text, at = self._lines.readline(), 0
                if not text or size > LONGEST:
                    raise BadShape("has a quote that is never closed", 0)
                self.line += 1
                continue
            here = min(places)
            parts.append(text[at:here])
            follows = text[here + 1 : here + 2]
            if text[here] == escape and follows and follows in (quote, escape):
                parts.append(follows)
                at = here + 2
            elif text[here] == quote:
                return text, here + 1
            else:
                parts.append(escape)
                at = here + 1

    def _field(self, text: str, quoted: bool) -> object:
        if quoted:
            return _QUOTED if text == self._given.null else text
        return text
