"""Columns of Python values into blocks of COPY's text format, or of CSV."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

from pgflow.run.sources.csv_format import Format
from pgflow.run.sources.families import family
from pgflow.run.sources.instants import SURE
from pgflow.run.sources.values import Writer, writers

#: How COPY writes NULL.
NULL = "\\N"

_NONE = type(None)
_SPECIAL = ("\\", "\n", "\t", "\r")
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"})

#: Python types whose text never holds a character that COPY would take for another.
_PLAIN = frozenset({bool, int, float})


class BadValue(ValueError):
    """A value that its column does not take.

    Attributes:
        index: Its place in the block, from 0.
        column: Its column in the stage.
        value: The value.
        reason: Why.
    """

    def __init__(self, index: int, column: str, value: object, reason: str) -> None:
        super().__init__(reason)
        self.index = index
        self.column = column
        self.value = value
        self.reason = reason


@dataclass
class Encoder:
    """Writes the values of one column.

    Attributes:
        name: The column in the stage.
        kind: Its type there.
        zone: What times without a zone are meant in.
        documents: Whether text for a JSON column is a value, not JSON already.
        format: The format of CSV to write; None for COPY's own text.
    """

    name: str
    kind: str
    zone: tzinfo | None = None
    documents: bool = False
    format: Format | None = None
    _find: Any = field(init=False, repr=False)
    _sure: re.Pattern[str] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._find = writers(self.kind, self.zone, documents=self.documents).find
        sure = SURE.get(family(self.kind))
        self._sure = None if sure is None else re.compile(f"(?:{sure}\n)*", re.ASCII)

    def encode(self, values: Sequence[Any]) -> list[str]:
        """Write values as fields.

        Args:
            values: Python values; None is NULL.

        Returns:
            One field a value.

        Raises:
            BadValue: One does not fit; it is named.
        """
        kinds = set(map(type, values))
        nulls = _NONE in kinds
        kinds.discard(_NONE)
        try:
            texts = self._texts(values, kinds, nulls)
        except (ValueError, TypeError, ArithmeticError, RecursionError):
            raise self._culprit(values) from None
        if kinds <= _PLAIN and self.format is None:
            return texts
        return self._escaped(values, texts)

    def _texts(self, values: Sequence[Any], kinds: set[Any], nulls: bool) -> list[str]:
        if kinds == {str} and self._sure is not None and self._all_sure(values, self._sure):
            return [NULL if v is None else v for v in values] if nulls else list(values)
        if len(kinds) == 1:
            write: Writer = self._find(next(iter(kinds)))
            if nulls:
                return [NULL if v is None else write(v) for v in values]
            return list(values) if write is str and kinds == {str} else list(map(write, values))
        find = self._find
        return [NULL if v is None else find(type(v))(v) for v in values]

    def _all_sure(self, values: Sequence[Any], sure: re.Pattern[str]) -> bool:
        """Look at all values at once, which is faster than one by one."""
        texts = [v for v in values if v is not None]
        joined = "\n".join([*texts, ""])
        return joined.count("\n") == len(texts) and sure.fullmatch(joined) is not None

    def _escaped(self, values: Sequence[Any], texts: list[str]) -> list[str]:
        """Escape what COPY would take for the end of a field; most columns need nothing."""
        joined = "\0".join(texts)
        if joined.count("\0") != max(0, len(texts) - 1):
            raise next(
                BadValue(
                    i, self.name, values[i], "holds a NUL character, which PostgreSQL's text cannot"
                )
                for i, text in enumerate(texts)
                if "\0" in text
            )
        if self.format is not None:
            return self.format.write(
                None if v is None else t for v, t in zip(values, texts, strict=True)
            )
        if not any(special in joined for special in _SPECIAL):
            return texts
        return [
            NULL if value is None else text.translate(_ESCAPES)
            for value, text in zip(values, texts, strict=True)
        ]

    def _culprit(self, values: Sequence[Any]) -> BadValue:
        for index, value in enumerate(values):
            try:
                if value is not None:
                    self._find(type(value))(value)
            except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
                return BadValue(index, self.name, value, str(error))
        return BadValue(0, self.name, None, "cannot be written")


def block(encoders: Sequence[Encoder], columns: Sequence[Sequence[Any]]) -> bytes:
    """Write rows; all encoders have one format.

    Args:
        encoders: One a column.
        columns: The values of each column, all of one length.

    Returns:
        The lines, each with its end.

    Raises:
        BadValue: A value does not fit its column.
    """
    if not columns or not columns[0]:
        return b""
    fields = [e.encode(values) for e, values in zip(encoders, columns, strict=True)]
    parted = "\t" if encoders[0].format is None else encoders[0].format.delimiter
    lines = map(parted.join, zip(*fields, strict=True)) if len(fields) > 1 else fields[0]
    text = "\n".join(lines) + "\n"
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _lone_surrogate(encoders, columns, fields) from None


def _lone_surrogate(
    encoders: Sequence[Encoder], columns: Sequence[Sequence[Any]], fields: Sequence[list[str]]
) -> BadValue:
    for encoder, values, texts in zip(encoders, columns, fields, strict=True):
        for index, text in enumerate(texts):
            try:
                text.encode()
            except UnicodeEncodeError:
                reason = "holds half of a surrogate pair, which is no character"
                return BadValue(index, encoder.name, values[index], reason)
    return BadValue(0, "", None, "cannot be encoded")
