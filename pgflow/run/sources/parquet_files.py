"""Parquet files, read through Arrow, a few thousand rows of a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pgflow.declare.rows import Parquet
from pgflow.errors import MalformedFile, MissingReader
from pgflow.run.sources.files import FileReader, Places, opened
from pgflow.run.sources.reader import BadShape, Batch, Found, Wanted

try:
    import pyarrow as pa
    from pyarrow import parquet
except ImportError as error:
    raise MissingReader(
        "Parquet files are read by pyarrow, which is not installed: pip install 'pgflow[parquet]'."
    ) from error

#: Arrow's types by the test that knows them, with what their values are and what holds them.
_KINDS: tuple[tuple[str, str, str], ...] = (
    ("is_boolean", "boolean", "boolean"),
    ("is_integer", "whole", "numeric"),
    ("is_floating", "float", "double precision"),
    ("is_string", "text", "text"),
    ("is_large_string", "text", "text"),
    ("is_string_view", "text", "text"),
    ("is_binary", "bytes", "bytea"),
    ("is_large_binary", "bytes", "bytea"),
    ("is_binary_view", "bytes", "bytea"),
    ("is_fixed_size_binary", "bytes", "bytea"),
    ("is_date", "date", "date"),
    ("is_time", "time", "time"),
    ("is_duration", "interval", "interval"),
    ("is_struct", "json", "jsonb"),
    ("is_map", "json", "jsonb"),
)

_LISTS = ("is_list", "is_large_list", "is_fixed_size_list", "is_list_view", "is_large_list_view")


class ParquetFiles(FileReader):
    """Reads `Parquet`.

    Args:
        given: The declared files.

    Raises:
        MissingFile: There is none.
    """

    def __init__(self, given: Parquet) -> None:
        super().__init__(given, "row")
        self.given = given

    def describe(self) -> tuple[Found, ...]:
        """Take names and types from the schema of every file.

        Raises:
            MalformedFile: A file is no Parquet, lacks a column, or has not the types of the first.
        """
        first = self._schema(self.files[0])
        for path in self.files[1:]:
            self._compare(path, self._schema(path), first)
        return tuple(first)

    def batches(self, wanted: Wanted) -> Iterator[Batch]:
        """Bring the rows."""
        self.places, number = Places("row"), 1
        for path in self.files:
            self.places.begin(number, path, 1)
            with opened(path) as file:
                for columns in _columns(file, path, wanted, number):
                    yield Batch(columns, number)
                    number += len(columns[0])

    def _schema(self, path: str) -> list[Found]:
        with opened(path) as file:
            try:
                schema = parquet.read_schema(file)
            except (pa.ArrowInvalid, OSError) as error:
                raise MalformedFile(f"{path} is no Parquet file: {error}", path=path) from error
        names = self.given.columns or schema.names
        twice = sorted({name for name in names if schema.names.count(name) > 1})
        if twice:
            raise MalformedFile(
                f"{path} has several columns {twice[0]!r}. Leave them out by columns=[...].",
                path=path,
            )
        lacking = [name for name in names if name not in schema.names]
        if lacking:
            raise MalformedFile(
                f"{path} has no column {', '.join(map(repr, lacking))}. It has: "
                f"{', '.join(schema.names)}.",
                path=path,
            )
        return [_found(name, schema.field(name).type) for name in names]

    def _compare(self, path: str, mine: list[Found], first: list[Found]) -> None:
        if {(f.name, f.kind) for f in mine} != {(f.name, f.kind) for f in first}:
            raise MalformedFile(
                f"{path} has not the columns of {self.files[0]}: {_spelt(mine)}, there "
                f"{_spelt(first)}. Files that are read together have the same columns.",
                path=path,
            )


def _columns(file: Any, path: str, wanted: Wanted, row: int) -> Iterator[list[list[Any]]]:
    """Read batches; a batch of wide rows is taken apart, so that its text stays small."""
    try:
        reader = parquet.ParquetFile(file)
        names = list(wanted.names)
        for read in reader.iter_batches(batch_size=wanted.pace.limit, columns=names):
            at = 0
            while at < read.num_rows:
                part = read.slice(at, wanted.pace.rows)
                columns = [_readable(part.column(n), n, row) for n in names]
                at += part.num_rows
                yield columns
                row += part.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise MalformedFile(f"{path} cannot be read: {error}", path=path) from error


def _readable(column: Any, name: str, row: int) -> list[Any]:
    try:
        return _values(column)
    except (pa.ArrowInvalid, ValueError, OverflowError):
        for at in range(len(column)):
            try:
                _values(column.slice(at, 1))
            except (pa.ArrowInvalid, ValueError, OverflowError) as error:
                raise BadShape(_reason(error), row + at, name) from None
        raise


def _reason(error: Exception) -> str:
    if "anosecond" in str(error) or "[ns]" in str(error):
        return "has nanoseconds, which PostgreSQL does not keep"
    return f"cannot be read: {error}"


def _values(column: Any) -> list[Any]:
    """Turn a column into Python's values; Arrow refuses to drop nanoseconds, which nobody keeps."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        column = column.cast(pa.timestamp("us", kind.tz))
    elif pa.types.is_time64(kind) and kind.unit == "ns":
        column = column.cast(pa.time64("us"))
    elif pa.types.is_duration(kind) and kind.unit == "ns":
        column = column.cast(pa.duration("us"))
    values: list[Any] = column.to_pylist()
    if _has_nanoseconds(kind):
        _check_precision(values)
    return [_mapped(v, kind) for v in values] if _has_maps(kind) else values


def _has_nanoseconds(kind: Any) -> bool:
    """Whether a type has times of nanoseconds inside of it; those of whole columns were cast."""
    inner = [kind.field(i).type for i in range(kind.num_fields)]
    return any(getattr(each, "unit", "") == "ns" or _has_nanoseconds(each) for each in inner)


def _check_precision(value: Any) -> None:
    """Refuse nanoseconds: where pandas is installed, Arrow makes values of it that carry them."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for each in value:
            _check_precision(each)
    elif getattr(value, "nanosecond", 0) or getattr(value, "nanoseconds", 0):
        raise ValueError("nanoseconds")


def _has_maps(kind: Any) -> bool:
    if pa.types.is_map(kind):
        return True
    return any(_has_maps(kind.field(i).type) for i in range(kind.num_fields))


def _mapped(value: Any, kind: Any) -> Any:
    """Turn the pairs of maps, however deep, into dicts."""
    if value is None or not _has_maps(kind):
        return value
    if pa.types.is_map(kind):
        made = {key: _mapped(item, kind.item_type) for key, item in value}
        if len(made) != len(value):
            raise ValueError("a map has one key twice")
        return made
    if pa.types.is_struct(kind):
        return {f.name: _mapped(value[f.name], f.type) for f in kind}
    return [_mapped(item, kind.value_type) for item in value]


def _found(name: str, kind: Any) -> Found:
    types = pa.types
    if types.is_dictionary(kind):
        return _found(name, kind.value_type)
    if types.is_timestamp(kind):
        held = ("instant", "timestamptz") if kind.tz else ("timestamp", "timestamp")
        return Found(name, *held)
    if any(_is(test, kind) for test in _LISTS):
        inner = _found(name, kind.value_type)
        return Found(
            name, "array", f"{inner.type or 'text'}[]" if inner.kind != "json" else "jsonb"
        )
    if types.is_decimal(kind):
        return Found(name, "exact", f"numeric({kind.precision},{kind.scale})")
    for test, values, holds in _KINDS:
        if _is(test, kind):
            return Found(name, values, holds)
    return Found(name)


def _is(test: str, kind: Any) -> bool:
    """Ask Arrow; versions before a type have no test for it."""
    asked = getattr(pa.types, test, None)
    return asked is not None and bool(asked(kind))


def _spelt(columns: Sequence[Found]) -> str:
    return ", ".join(f"{c.name} {c.kind or 'unknown'}" for c in columns)
