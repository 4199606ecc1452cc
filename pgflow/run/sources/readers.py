"""Which reader reads what: declared sources of rows into origins."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import Any

from pgflow.declare.rows import CSV, JSONLines, Parquet, Rows, RowSource
from pgflow.errors import PgflowError
from pgflow.run.sources.csv_files import CSVFiles
from pgflow.run.sources.json_lines import JSONLinesFiles
from pgflow.run.sources.origin import Origin
from pgflow.run.sources.python_rows import PythonRows
from pgflow.run.sources.row_origin import RowOrigin


def is_rows(given: object) -> bool:
    """Tell whether something is rows: declared as such, or any iterable of them."""
    if isinstance(given, (str, bytes)):
        return False
    return isinstance(given, (RowSource, Iterable, AsyncIterable))


def row_origin(given: Any) -> Origin:
    """Make the origin of rows.

    Args:
        given: A declared source of rows, or an iterable of rows that a function returned.

    Returns:
        The origin; nothing has been read.

    Raises:
        MissingFile: There is no such file.
        MissingReader: The package that reads such files is not installed.
    """
    if not isinstance(given, RowSource):
        return RowOrigin(PythonRows(Rows(given), owned=True), "rows")
    if isinstance(given, Rows):
        return RowOrigin(PythonRows(given), "rows")
    if isinstance(given, CSV):
        return RowOrigin(CSVFiles(given), "files")
    if isinstance(given, JSONLines):
        return RowOrigin(JSONLinesFiles(given), "files")
    if isinstance(given, Parquet):
        # pyarrow is heavy, and an extra.
        from pgflow.run.sources.parquet_files import ParquetFiles

        return RowOrigin(ParquetFiles(given), "files")
    raise PgflowError(f"nothing here reads {type(given).__name__}")
