"""The format of CSV text, for the server that reads it and for telling which rows it may read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pgflow.declare.rows import CSV
from pgflow.plan.sql import Sql, raw
from pgflow.run.sources.families import TIMES, family
from pgflow.run.sources.instants import SURE

#: Values that no session's settings read otherwise. What is not among them is looked at one by one.
_SURE: dict[str, bytes] = {
    **{kind: pattern.encode() for kind, pattern in SURE.items()},
    "bytes": rb"\\x[0-9a-fA-F]*",
}

#: Characters of such values: where one of them parts fields, a pattern could read across.
_PARTS = frozenset("0123456789-:+. TZ\\xabcdefABCDEF")


@dataclass(frozen=True)
class Format:
    """What parts fields and marks NULL, as COPY is told.

    Attributes:
        delimiter: The character between fields.
        quote: The character around fields.
        escape: The character before a quote inside quotes.
        null: What stands for NULL.
        foreign: Whether the file's own format is one that COPY does not have, so that each row is
            written anew.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    null: str = ""
    foreign: bool = False

    @classmethod
    def of(cls, given: CSV) -> Format:
        """Return the format of declared files; the standard one if COPY cannot read it."""
        escape = given.escape or given.quote
        if not f"{given.delimiter}{given.quote}{escape}".isascii():
            return cls(foreign=True)
        return cls(given.delimiter, given.quote, escape, given.null)

    #: An empty header. Once it has seen a line, the server counts those inside of quotes too.
    header = b"\n"

    @property
    def options(self) -> Sql:
        """The options of COPY."""
        texts = (("DELIMITER", self.delimiter), ("QUOTE", self.quote), ("ESCAPE", self.escape))
        said = [f"{word} {_literal(text)}" for word, text in (*texts, ("NULL", self.null))]
        return raw(", ".join(["FORMAT csv", "HEADER", "ENCODING 'UTF8'", *said]))

    def write(self, texts: Iterable[str | None]) -> list[str]:
        """Write fields; all that is not NULL stands in quotes."""
        quote, escape = self.quote, self.escape
        fields = []
        for text in texts:
            if text is None:
                fields.append(self.null)
                continue
            if escape != quote and escape in text:
                text = text.replace(escape, escape + escape)
            if quote in text:
                text = text.replace(quote, escape + quote)
            fields.append(f"{quote}{text}{quote}")
        return fields

    def patterns(self, kinds: Sequence[str]) -> tuple[re.Pattern[bytes], re.Pattern[bytes]] | None:
        """Make patterns of rows that the server reads just as they would be read here.

        Args:
            kinds: The types of the fields.

        Returns:
            One for as many rows as there are, each on a line of its own, and one for a single row
            whose quoted fields may go over several lines; None if no row is sure to be so.
        """
        families = [family(kind) for kind in kinds]
        told = {self.delimiter, self.quote, self.escape}
        checked = any(f in TIMES or f == "bytes" for f in families)
        # A backslash as the escape is no trouble: bytes are not looked for in quotes.
        if self.foreign or (checked and (told & _PARTS) - {"\\"}):
            return None
        one, many = (
            re.escape(self.delimiter.encode()).join(self._field(f, broken) for f in families)
            for broken in (False, True)
        )
        # Before PostgreSQL 18 a line that begins so may end the data.
        start = rb"(?!\\\.)"
        end = rb"(?:\r\n|\n|\r)"
        return re.compile(rb"(?:" + start + one + end + rb")*"), re.compile(start + many + end)

    def _field(self, group: str, broken: bool) -> bytes:
        quote, escape = re.escape(self.quote.encode()), re.escape(self.escape.encode())
        sure = _SURE.get(group)
        if sure is not None:
            # A backslash may be the escape.
            quoted = b"" if group == "bytes" else rb"|" + quote + sure + quote
            return rb"(?:" + sure + quoted + rb"|" + re.escape(self.null.encode()) + rb")"
        ends = b"" if broken else rb"\r\n"
        inner = rb"[^" + quote + escape + ends + rb"]*+"
        quoted = quote + inner + rb"(?:" + escape + rb"[" + quote + escape + rb"]" + inner + rb")*"
        plain = rb"[^" + quote + re.escape(self.delimiter.encode()) + rb"\r\n]*+"
        return rb"(?:" + quoted + quote + rb"|" + plain + rb")"


def _literal(text: str) -> str:
    """Quote text the same for every session."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
