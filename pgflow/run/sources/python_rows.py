"""Rows that Python made: dicts, dataclasses, named tuples, tuples; also from async generators."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import suppress
from operator import attrgetter, itemgetter
from typing import Any

from pgflow.declare.rows import Rows
from pgflow.errors import InvalidBody
from pgflow.run.aio import OwnLoop
from pgflow.run.sources.reader import BadShape, Batch, Found, Wanted

#: Takes a row apart, or raises BadShape.
Splitter = Callable[[Any, int], tuple[Any, ...]]


class PythonRows:
    """Reads `Rows`.

    Args:
        given: The declared rows.
        owned: Whether nobody else will read them, so that they can be closed.
    """

    reason = "the rows are Python's: COPY of text"
    picks = False
    format = None
    documents = False

    def __init__(self, given: Rows, *, owned: bool = False) -> None:
        self.given = given
        self._owned = owned or not given.once
        self.column_map = given.column_map
        self.types = given.types
        self.time_zone = given.time_zone
        self._rows: Iterator[Any] | None = None
        self._close: Callable[[], None] = _nothing

    @property
    def label(self) -> str:
        """The kind of iterable."""
        made = self.given.rows
        named = getattr(made, "__qualname__", None) if callable(made) else None
        return f"rows of {named or type(made).__name__}"

    def describe(self) -> tuple[Found, ...] | None:
        """Take the names from the declaration, or from the first row, which is kept."""
        if self.given.columns is not None:
            return tuple(map(Found, self.given.columns))
        if self.given.once:
            first = self.given.peek(self._open)
        else:
            rest = self._open()
            first = list(itertools.islice(rest, 1))
            self._rows = itertools.chain(first, rest)
        if not first:
            return None
        names = _names(first[0])
        if names is None:
            raise InvalidBody(
                f"the {self.label} are {type(first[0]).__name__} without names. Say which columns "
                "they are: pgflow.Rows(rows, columns=[...]); or make them dicts."
            )
        return tuple(map(Found, names))

    def batches(self, wanted: Wanted) -> Iterator[Batch]:
        """Bring the rows."""
        columns = [f.name for f in self.describe() or ()]
        rows, number = self._all(), 1
        order = [columns.index(n) for n in wanted.names] if columns else []
        split = Splitters(columns, order, self.given.missing, self.given.extra)
        while chunk := list(itertools.islice(rows, wanted.pace.rows)):
            yield Batch(split.columns(chunk, number), number)
            number += len(chunk)

    def query(self, names: Sequence[str]) -> str | None:  # noqa: ARG002  # the protocol's
        """No statement runs anywhere."""
        return None

    def row_of(self, line: int) -> int:
        """Each row is a line."""
        return line

    def place(self, row: int) -> str:  # noqa: ARG002  # a row of Python stands nowhere else
        """Rows of Python stand nowhere."""
        return ""

    def close(self) -> None:
        """Close a generator, so that its `finally` runs now."""
        if self._owned:
            self._close()
            self._close = _nothing

    def _all(self) -> Iterator[Any]:
        if self.given.once:
            self._owned = True
            return self.given.drain(self._open)
        return self._open()

    def _open(self) -> Iterator[Any]:
        """Begin to read, once."""
        if self._rows is None:
            made = self.given.make()
            if isinstance(made, AsyncIterable):
                drained = _Drained(made)
                self._rows, self._close = iter(drained), drained.close
            elif isinstance(made, Iterable) and not isinstance(made, (str, bytes, Mapping)):
                self._rows = iter(made)
                self._close = getattr(self._rows, "close", _nothing)
            else:
                raise InvalidBody(
                    f"the {self.label} came to {type(made).__name__}, which is no iterable of rows."
                )
        return self._rows


class Splitters:
    """Takes rows apart by what they are, and checks that all have the same columns.

    Args:
        columns: The source's columns.
        order: The places among them of those that are wanted, in the stage's order.
        missing: What becomes of a row that lacks one: `error` or `null`.
        extra: What becomes of a row that has more: `error` or `ignore`.
        source: How the declaration of the source begins, for hints.
    """

    def __init__(
        self,
        columns: list[str],
        order: list[int],
        missing: str,
        extra: str,
        source: str = "pgflow.Rows(rows",
    ) -> None:
        self._source = source
        self._columns = columns
        self._wanted = [columns[i] for i in order]
        self._order = order
        self._straight = order == list(range(len(columns)))
        self._lenient = missing == "null"
        self._ignores = extra == "ignore"

    def columns(self, rows: list[Any], first: int) -> list[tuple[Any, ...]]:
        """Return the values of each wanted column."""
        kinds = set(map(type, rows))
        if kinds == {tuple}:
            if set(map(len, rows)) != {len(self._columns)}:
                at = next(i for i, row in enumerate(rows) if len(row) != len(self._columns))
                raise self._length(rows[at], first + at)
            columns = list(zip(*rows, strict=True))
            return columns if self._straight else [columns[i] for i in self._order]
        if kinds == {dict}:
            split = self._dicts(rows, first)
        else:
            split = [self._one(row, first + at) for at, row in enumerate(rows)]
        return list(zip(*split, strict=True))

    def _dicts(self, rows: list[dict[str, Any]], first: int) -> list[tuple[Any, ...]]:
        names, count = self._wanted, len(self._columns)
        take = itemgetter(*names) if len(names) > 1 else None
        try:
            split = list(map(take, rows)) if take else [tuple([r[n] for n in names]) for r in rows]
        except KeyError:
            return [self._mapping(row, first + at) for at, row in enumerate(rows)]
        if not self._ignores and set(map(len, rows)) != {count}:
            return [self._mapping(row, first + at) for at, row in enumerate(rows)]
        return split

    def _one(self, row: Any, number: int) -> tuple[Any, ...]:
        if isinstance(row, Mapping):
            return self._mapping(row, number)
        names = _names(row)
        if names is not None:
            return self._mapping(dict(zip(names, _values(row, names), strict=True)), number)
        if isinstance(row, (tuple, list)):
            if len(row) != len(self._columns):
                raise self._length(row, number)
            return tuple(row[i] for i in self._order)
        raise BadShape(
            f"is {type(row).__name__}, not a dict, a dataclass or a tuple of values", number
        )

    def _mapping(self, row: Mapping[Any, Any], number: int) -> tuple[Any, ...]:
        if not self._lenient:
            for name in self._columns:
                if name not in row:
                    raise BadShape(
                        f"has no {name!r}; {self._source}, missing='null') would take it as NULL",
                        number,
                        name,
                    )
        if not self._ignores:
            for name in row:
                if name not in self._columns:
                    raise BadShape(
                        f"has {name!r}, which the columns ({', '.join(self._columns)}) do not "
                        f"have; {self._source}, extra='ignore') would drop it",
                        number,
                        str(name),
                    )
        return tuple([row.get(n) for n in self._wanted])

    def _length(self, row: Any, number: int) -> BadShape:
        return BadShape(f"has {len(row)} values for {len(self._columns)} columns", number)


class _Drained:
    """An async iterable, read from code that is not async."""

    def __init__(self, rows: AsyncIterable[Any]) -> None:
        self._rows: AsyncIterator[Any] = aiter(rows)
        self._loop = OwnLoop()

    def __iter__(self) -> Iterator[Any]:
        while chunk := self._loop.run(self._some()):
            yield from chunk

    def close(self) -> None:
        """End the generator and its loop."""
        closing = getattr(self._rows, "aclose", None)
        with suppress(RuntimeError):
            if closing is not None:
                self._loop.run(closing(), tidying=True)
        self._loop.close()

    async def _some(self) -> list[Any]:
        chunk: list[Any] = []
        async for row in self._rows:
            chunk.append(row)
            if len(chunk) == 100:
                break
        return chunk


def _names(row: Any) -> tuple[str, ...] | None:
    """The names that a row brings with it."""
    if isinstance(row, Mapping):
        return tuple(map(str, row))
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return tuple(f.name for f in dataclasses.fields(row))
    fields = getattr(row, "_fields", None)
    return tuple(fields) if isinstance(fields, tuple) else None


def _values(row: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    if isinstance(row, tuple):
        return tuple(row)
    if len(names) == 1:
        return (getattr(row, names[0]),)
    return tuple(attrgetter(*names)(row))


def _nothing() -> None:
    """Have nothing to close."""
