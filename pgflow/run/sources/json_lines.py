"""Files with one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from pgflow.declare.rows import JSONLines
from pgflow.run.sources.files import FileReader, Places, opened
from pgflow.run.sources.python_rows import Splitters
from pgflow.run.sources.reader import BadShape, Batch, Found, Wanted

#: A line of this many bytes is taken for a file that is no JSON lines at all.
_LONGEST = 1 << 28

#: Whole numbers of so many digits are kept as decimals: Python may refuse to make an int of them.
_LONG = 600

#: How such a source is declared, for hints.
_SOURCE = "pgflow.JSONLines(path"


class JSONLinesFiles(FileReader):
    """Reads `JSONLines`.

    Args:
        given: The declared files.
    """

    documents = True

    def __init__(self, given: JSONLines) -> None:
        super().__init__(given)
        self.given = given
        self._columns: list[str] | None = None

    def describe(self) -> tuple[Found, ...] | None:
        """Take the names from the declaration, or from the first object."""
        if self._columns is None:
            self._columns = self._names()
        return None if self._columns is None else tuple(map(Found, self._columns))

    def batches(self, wanted: Wanted) -> Iterator[Batch]:
        """Bring the rows; numbers keep all their digits."""
        self.describe()
        columns = self._columns or []
        order = [columns.index(n) for n in wanted.names] if columns else []
        split = Splitters(columns, order, self.given.missing, self.given.extra, _SOURCE)
        rows: list[Any] = []
        number, size, self.places = 1, 0, Places()
        for row, width in self._objects():
            rows.append(row)
            size += width
            if len(rows) >= wanted.pace.limit or size >= 1 << 18:
                yield Batch(split.columns(rows, number), number)
                number, size, rows = number + len(rows), 0, []
        if rows:
            yield Batch(split.columns(rows, number), number)

    def _names(self) -> list[str] | None:
        if self.given.columns is not None:
            return list(self.given.columns)
        first = next(self._objects(), None)
        return None if first is None else list(first[0])

    def _objects(self) -> Iterator[tuple[dict[str, Any], int]]:
        row = 0
        for path in self.files:
            with opened(path) as file:
                before = row
                for row, text in _lines(file, path, self.given.encoding, before, self.places):
                    yield _object(text, row), len(text)


def _lines(
    file: Any, path: str, encoding: str, row: int, places: Places
) -> Iterator[tuple[int, str]]:
    """Yield lines that are not empty, with the row's number."""
    unbroken, line = False, 0
    while data := file.readline(_LONGEST):
        line += 1
        try:
            text = data.decode("utf-8-sig" if line == 1 and _is_utf8(encoding) else encoding)
        except UnicodeDecodeError as error:
            places.begin(row + 1, path, line)
            raise BadShape(f"is not {encoding}: {error.reason}", row + 1) from None
        if not text.strip():
            unbroken = False
            continue
        row += 1
        if not unbroken:
            places.begin(row, path, line)
            unbroken = True
        yield row, text


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-") in ("utf-8", "utf8")


def _object(text: str, row: int) -> dict[str, Any]:
    try:
        found = _read(text)
    except RecursionError:
        raise BadShape("is nested too deeply", row) from None
    except json.JSONDecodeError as error:
        raise BadShape(f"is no JSON: {error.msg} at character {error.pos + 1}", row) from None
    except ValueError as error:
        raise BadShape(f"is no JSON: {error}", row) from None
    if not isinstance(found, dict):
        raise BadShape(f"is a JSON {_spoken(found)}, not an object", row)
    return found


def _read(text: str) -> Any:
    hooks: dict[str, Any] = {
        "parse_float": _fraction,
        "parse_constant": _refuse,
        "object_pairs_hook": _unique,
    }
    try:
        return json.loads(text, **hooks)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Perhaps a whole number of more digits than Python reads at once: then a slower way.
        return json.loads(text, parse_int=_whole, **hooks)


def _whole(text: str) -> int | Decimal:
    return int(text) if len(text) < _LONG else Decimal(text)


def _fraction(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError("a number's exponent is out of range") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object has one key twice")
    return made


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _spoken(value: object) -> str:
    return {list: "array", str: "string", bool: "boolean", type(None): "null"}.get(
        type(value), "number"
    )
