"""Rows that cannot be taken, told by number, place and column; values only where they may show."""

from __future__ import annotations

import re
from collections.abc import Sequence

import psycopg

from pgflow.errors import BadRow
from pgflow.plan.samples import shows_keys
from pgflow.plan.spec import SyncSpec
from pgflow.run.sources.blocks import BadValue
from pgflow.run.sources.matching import Matched
from pgflow.run.sources.reader import BadShape, Reader

#: COPY names the line and, if a value is to blame, the column; words depend on the language.
_CONTEXT = re.compile(r"COPY pgflow_stage, \S+ (\d+)(?:, \S+ (.*))?", re.DOTALL)

#: No value in a message is longer.
_LONGEST = 60


class Refusals:
    """Turns what went wrong with a row into the error that names it.

    Args:
        spec: What is planned.
        columns: The stage's columns.
        reader: Says where a row stands.
    """

    def __init__(self, spec: SyncSpec, columns: Sequence[Matched], reader: Reader) -> None:
        self._spec = spec
        self._columns = columns
        self._reader = reader
        self._shows = shows_keys(spec)

    def value(self, error: BadValue, first: int) -> BadRow:
        """Describe a value that does not fit its column.

        Args:
            error: What is wrong.
            first: The number of the batch's first row.
        """
        shown = f"{_shortened(error.value)} " if self._shows and error.value is not None else ""
        return self._refused(first + error.index, f"{shown}{error.reason}", error.column)

    def shape(self, error: BadShape) -> BadRow:
        """Describe a row that has not the columns of the others."""
        return self._refused(error.row, f"it {error}", error.column)

    def server(self, error: psycopg.Error) -> BadRow | None:
        """Describe a value that the server could not read; None if it is about something else."""
        found = _CONTEXT.search(error.diag.context or "")
        if found is None:
            return None
        row, rest = self._reader.row_of(int(found.group(1))), found.group(2) or ""
        names = sorted((m.name for m in self._columns), key=len, reverse=True)
        column = next((n for n in names if rest == n or rest.startswith(f"{n}:")), "")
        said = error.diag.message_primary or "the server cannot read it"
        if not self._shows:
            kind = next((m.type for m in self._columns if m.name == column), "")
            said = (
                f"the value is no {kind}" if kind else f"the server refuses it ({error.sqlstate})"
            )
        return self._refused(row, f"{said}{self._encoding_advice(error)}", column)

    def _encoding_advice(self, error: psycopg.Error) -> str:
        """What to do about bytes that are no text; a zero byte is in no encoding of CSV text."""
        unreadable = error.sqlstate == "22021" and "0x00" not in (error.diag.message_primary or "")
        if not unreadable or self._reader.format is None:
            return ""
        return "; name the file's encoding by CSV(..., encoding=)"

    def _refused(self, row: int, what: str, column: str) -> BadRow:
        place = self._reader.place(row)
        where = f"row {row}" + (f" ({place})" if place else "")
        source = self._source(column)
        return BadRow(
            f"{where}{source}: {what}. Nothing was written.",
            pipeline=self._spec.owner,
            target=self._spec.target.label,
            row=row,
            place=place,
            column=column,
        )

    def _source(self, column: str) -> str:
        if not column:
            return ""
        theirs = next((m.found.name for m in self._columns if m.name == column), column)
        return f", column {column!r}" + (f" (the source's {theirs!r})" if theirs != column else "")


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
