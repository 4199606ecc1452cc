"""Sources that are no query, as declared: rows of Python, and files of rows."""

from __future__ import annotations

import codecs
import glob
import inspect
import itertools
import os
import threading
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pgflow.declare.shapes import listed, mapping, text
from pgflow.declare.spelling import spelt_class
from pgflow.errors import ConsumedRows, InvalidOption, MissingFile

#: One path, or several; each may be a pattern with `*`, `?`, `[...]` and `**`.
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_KEY_RULES = {"missing": ("error", "null"), "extra": ("error", "ignore")}


#: How the dictionaries of a source are written.
_MAPPINGS = {"column_map": "{'customer_id': 'id'}", "types": "{'updated': 'timestamptz'}"}


@dataclass(frozen=True, kw_only=True)
class RowSource:
    """What every source of rows can be told.

    Attributes:
        column_map: Target column to source column, for those whose names differ by more than case.
        types: PostgreSQL types of columns that the target lacks but a run needs, such as the
            incremental column: `{"updated": "timestamptz"}`.
        time_zone: The zone that times without one are meant in, such as `Europe/Berlin`. Without
            it, such a time is refused where the target holds instants.
    """

    column_map: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    time_zone: str | None = None

    def __post_init__(self) -> None:
        for option, example in _MAPPINGS.items():
            said = f"{type(self).__name__}({option}=)"
            given = mapping(getattr(self, option), said, example, texts=True)
            object.__setattr__(self, option, MappingProxyType(given))
        check_zone(self.time_zone)


@spelt_class
@dataclass(frozen=True)
class Rows(RowSource):
    """Rows made by Python: dicts, dataclasses, named tuples, or tuples with `columns=`.

    Attributes:
        rows: A list, another iterable, an async iterable, or a function without arguments that
            returns one. An iterator can be read once: give a function where a run may be tried
            again or take place again.
        columns: The names, in order. Without them the first row tells.
        missing: Where a row lacks one of the columns: `error`, or `null` to take it as NULL.
        extra: Where a row has more than the columns: `error`, or `ignore`.

    Raises:
        InvalidOption: An option has a value that it cannot have.
    """

    rows: Iterable[Any] | AsyncIterable[Any] | Callable[[], Any]
    columns: Sequence[str] | None = None
    missing: str = "error"
    extra: str = "error"
    _once: _Once = field(default_factory=lambda: _Once(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.rows
        if isinstance(given, (str, bytes, Mapping)) or not (
            callable(given) or isinstance(given, (Iterable, AsyncIterable))
        ):
            raise InvalidOption(
                f"Rows() takes an iterable of rows, or a function that returns one, not "
                f"{type(given).__name__}. One row stands in a list: [row]."
            )
        _check_call(given)
        object.__setattr__(self, "columns", _names(self.columns, "Rows"))
        _check_rules(self, "Rows")

    @property
    def once(self) -> bool:
        """Whether the rows can be read only once."""
        return not callable(self.rows) and isinstance(self.rows, (Iterator, AsyncIterator))

    def make(self) -> Any:
        """Return the iterable itself; a function is called for it."""
        return self.rows() if callable(self.rows) else self.rows

    def peek(self, begin: Callable[[], Iterator[Any]]) -> list[Any]:
        """Look at the first row of what can be read once, and keep it for the run.

        Args:
            begin: Begins to read.

        Returns:
            The row, or nothing if there is none.

        Raises:
            ConsumedRows: It has been read.
        """
        return self._once.peek(begin, self.rows)

    def drain(self, begin: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """Read what can be read once.

        Args:
            begin: Begins to read.

        Raises:
            ConsumedRows: It has been read.
        """
        return self._once.drain(begin, self.rows)


class _Once:
    """An iterator's state: its first row may have been looked at, or all of it read."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._kept: tuple[list[Any], Iterator[Any]] | None = None
        self._read = False

    def peek(self, begin: Callable[[], Iterator[Any]], rows: object) -> list[Any]:
        with self._guard:
            first, _ = self._begin(begin, rows)
            return first

    def drain(self, begin: Callable[[], Iterator[Any]], rows: object) -> Iterator[Any]:
        with self._guard:
            first, rest = self._begin(begin, rows)
            self._read, self._kept = True, None
            return itertools.chain(first, rest)

    def _begin(
        self, begin: Callable[[], Iterator[Any]], rows: object
    ) -> tuple[list[Any], Iterator[Any]]:
        if self._read:
            raise ConsumedRows(
                f"the rows come from {type(rows).__name__}, which can be read once, and it has "
                "been read. Give a function that makes the rows anew, such as Rows(load) or the "
                "pipeline's own function, or a list."
            )
        if self._kept is None:
            rest = begin()
            self._kept = list(itertools.islice(rest, 1)), rest
        return self._kept


@dataclass(frozen=True)
class FileSource(RowSource):
    """What every source of files can be told.

    Attributes:
        path: A path or a pattern, or several. Files are read in the order of their names.
    """

    path: Paths

    def __post_init__(self) -> None:
        super().__post_init__()
        path: object = self.path
        one = isinstance(path, (str, os.PathLike)) or not isinstance(path, Iterable)
        given = (path,) if one else tuple(self.path)  # type: ignore[arg-type]  # not one path
        if not given or not all(isinstance(p, (str, os.PathLike)) and str(p) for p in given):
            raise InvalidOption(
                f"{type(self).__name__}() takes a path, a pattern, or a list of them, not "
                f"{self.path!r}."
            )

    @property
    def label(self) -> str:
        """How messages and previews call it."""
        return f"{type(self).__name__} {', '.join(self._patterns)}"

    def files(self) -> tuple[str, ...]:
        """Find the files.

        Returns:
            Their paths, sorted, each once.

        Raises:
            MissingFile: A path or a pattern leads to no file.
        """
        found: set[str] = set()
        for pattern in self._patterns:
            # A file may have brackets in its name.
            exact = Path(pattern).is_file()
            # Path.glob() knows no absolute patterns.
            matches = [pattern] if exact else glob.glob(pattern, recursive=True)  # noqa: PTH207
            files = [match for match in matches if Path(match).is_file()]
            if not files:
                what = "no file matches" if glob.has_magic(pattern) else "there is no file"
                raise MissingFile(
                    f"{what} {pattern} (looked for in {Path.cwd()}). A source without files is "
                    "taken for a mistake, not for an empty source.",
                    path=pattern,
                )
            found.update(files)
        return tuple(sorted(found))

    @property
    def _patterns(self) -> tuple[str, ...]:
        given = (self.path,) if isinstance(self.path, (str, os.PathLike)) else self.path
        return tuple(os.fspath(p) for p in given)


@spelt_class
@dataclass(frozen=True)
class CSV(FileSource):
    """Files of comma-separated values, as PostgreSQL's COPY reads them; also `.gz`, `.bz2`, `.xz`.

    A value stands as PostgreSQL writes it. An empty field is NULL, a quoted empty one is the empty
    string. Dates and times are ISO 8601.

    Attributes:
        columns: The names, in order, for files without a header, or instead of it.
        header: Whether the first line of each file holds names.
        delimiter: One character between fields.
        quote: The character around fields that hold special characters.
        escape: The character before a quote inside quotes; by default the quote itself.
        null: What stands for NULL where it is not quoted.
        encoding: The files' encoding; a byte order mark is skipped.

    Raises:
        InvalidOption: An option has a value that it cannot have.
    """

    columns: Sequence[str] | None = None
    header: bool = True
    delimiter: str = ","
    quote: str = '"'
    escape: str | None = None
    null: str = ""
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "columns", _names(self.columns, "CSV"))
        if not self.header and self.columns is None:
            raise InvalidOption(
                "CSV(header=False) needs columns=[...]: without a header nothing names the fields."
            )
        if not isinstance(self.header, bool):
            raise InvalidOption(f"CSV(header={self.header!r}) must be True or False.")
        for option in ("delimiter", "quote", "escape"):
            value = getattr(self, option)
            if value is None and option == "escape":
                continue
            if len(text(value, f"CSV({option}=)")) != 1 or value in "\r\n\0":
                raise InvalidOption(f"CSV({option}={value!r}) is not one character.")
        if self.delimiter in (self.quote, self.escape):
            raise InvalidOption("CSV(): delimiter and quote or escape are the same character.")
        if {*text(self.null, "CSV(null=)")} & {"\r", "\n", self.delimiter, self.quote}:
            raise InvalidOption(
                f"CSV(null={self.null!r}) holds a delimiter, a quote or an end of line, so no "
                "field could be it."
            )
        _check_encoding(self.encoding, "CSV")


@spelt_class
@dataclass(frozen=True)
class JSONLines(FileSource):
    """Files with one JSON object a line; also `.gz`, `.bz2`, `.xz`. Empty lines are skipped.

    Attributes:
        columns: The names. Without them the first object tells.
        missing: Where an object lacks one of the columns: `error`, or `null`.
        extra: Where an object has more than the columns: `error`, or `ignore`.
        encoding: The files' encoding.

    Raises:
        InvalidOption: An option has a value that it cannot have.
    """

    columns: Sequence[str] | None = None
    missing: str = "error"
    extra: str = "error"
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "columns", _names(self.columns, "JSONLines"))
        _check_rules(self, "JSONLines")
        _check_encoding(self.encoding, "JSONLines")
        if "\n".encode(self.encoding) != b"\n":
            raise InvalidOption(
                f"JSONLines(encoding={self.encoding!r}): JSON is UTF-8, and an encoding whose ends "
                "of lines are more than a byte is not read. Convert the files."
            )


@spelt_class
@dataclass(frozen=True)
class Parquet(FileSource):
    """Parquet files, read by row group through Arrow; needs the extra `pgflow[parquet]`.

    Attributes:
        columns: The columns to read; by default all.
    """

    columns: Sequence[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "columns", _names(self.columns, "Parquet"))


def _names(columns: Sequence[str] | None, owner: str) -> tuple[str, ...] | None:
    if columns is None:
        return None
    found = listed(columns, f"{owner}(columns=)", "columns=['id', 'name']")
    if not all(isinstance(c, str) and c for c in found):
        raise InvalidOption(f"{owner}(columns={columns!r}): give a list of names.")
    twice = sorted({c for c in columns if list(columns).count(c) > 1})
    if twice or not columns:
        raise InvalidOption(
            f"{owner}(columns=...) names {twice[0]!r} twice."
            if twice
            else f"{owner}(columns=[]) names no column."
        )
    return tuple(columns)


def _check_call(rows: object) -> None:
    """Refuse a function that cannot be called without arguments, such as a pipeline's own."""
    try:
        given = inspect.signature(rows).parameters.values() if callable(rows) else ()
    except (TypeError, ValueError):  # built in: it does not say
        return
    needed = [p.name for p in given if p.default is p.empty and p.kind.name[:4] != "VAR_"]
    if needed:
        raise InvalidOption(
            f"Rows() calls its function without arguments, and {rows!r} needs {needed[0]!r}. A "
            "function that gets connections and run parameters is the pipeline's own: give it by "
            "body=, or put it under @pgflow.pipeline."
        )


def _check_rules(source: Rows | JSONLines, owner: str) -> None:
    for option, known in _KEY_RULES.items():
        value = getattr(source, option)
        if value not in known:
            raise InvalidOption(
                f"{owner}({option}={value!r}): it is one of {', '.join(map(repr, known))}."
            )


def _check_encoding(encoding: str, owner: str) -> None:
    try:
        codecs.lookup(text(encoding, f"{owner}(encoding=)"))
    except LookupError as error:
        raise InvalidOption(f"{owner}(encoding={encoding!r}): Python knows no such one.") from error


def check_zone(zone: str | None) -> None:
    """Refuse a time zone that this machine does not know.

    Args:
        zone: Its name, or None.

    Raises:
        InvalidOption: It is unknown.
    """
    if zone is None:
        return
    try:
        ZoneInfo(text(zone, "time_zone="))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidOption(
            f"time_zone={zone!r} is no time zone that this machine knows. Write for instance "
            "'UTC' or 'Europe/Berlin'."
        ) from error
