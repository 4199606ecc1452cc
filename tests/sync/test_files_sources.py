"""Files as sources: CSV, JSON lines and Parquet."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

import pgflow
from pgflow.errors import BadRow, InvalidOption, MalformedFile, MissingFile, SourceMismatch
from pgflow.run.sources import files


def _write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_csv_arrives_as_copy_reads_it(world: Any, tmp_path: Path) -> None:
    """PostgreSQL's own COPY of the same file gives the same rows: NULL is not the empty string."""
    lines = [
        "id,a",
        '1,""',
        "2,",
        '3,"q""uote, and, comma"',
        '4,"two\nlines\r\n and ""more"""',
        "5,\\N \\. \\",
        '6,mid"dle"',
        '7," spaced "',
    ]
    path = _write(tmp_path / "x.csv", "\n".join(lines) + "\n")
    table = world.table("t", sa.Column("a", sa.Text))
    world.run("CREATE TABLE w.c (id bigint, a text)")
    with world.engine.begin() as connection:
        cursor = connection.connection.cursor()
        with cursor.copy("COPY w.c FROM STDIN (FORMAT csv, HEADER)") as copy:
            copy.write(path.read_bytes())
    assert world.pipe(table, pgflow.CSV(path), mode="merge").sync().inserted == 7
    assert world.run("SELECT id, a FROM w.t EXCEPT SELECT id, a FROM w.c") == []
    assert world.run("SELECT a FROM w.t WHERE id IN (1, 2) ORDER BY id") == [("",), (None,)]


def test_csv_columns_go_by_the_header(world: Any, tmp_path: Path) -> None:
    """Files of one pattern may have other orders of columns, packings, and a byte order mark."""
    _write(tmp_path / "1.csv", "\ufeffID,A,b\n1,x,1.5\n")
    (tmp_path / "2.csv.gz").write_bytes(gzip.compress(b"b,id,a\r\n2.5,2,y\r\n"))
    table = world.table()
    assert world.pipe(table, pgflow.CSV(tmp_path / "*.csv*"), mode="merge").sync().read == 2
    assert world.run("SELECT id, a, b FROM w.t ORDER BY id") == [
        (1, "x", Decimal("1.50")),
        (2, "y", Decimal("2.50")),
    ]
    _write(tmp_path / "3.csv", "id,a\n3,z\n")
    with pytest.raises(MalformedFile, match="3.csv has not the columns .* lacks 'b'"):
        world.pipe(table, pgflow.CSV(tmp_path / "*.csv*"), mode="merge").sync()


def test_csv_formats(world: Any, tmp_path: Path) -> None:
    """Delimiter, quote, escape, NULL, encoding and a missing header can be said."""
    path = _write(tmp_path / "x", "1;'a\\'ö';NULL\n2;'NULL';3\n", "utf-16")
    source = pgflow.CSV(
        path,
        columns=["id", "a", "b"],
        header=False,
        delimiter=";",
        quote="'",
        escape="\\",
        null="NULL",
        encoding="utf-16",
    )
    world.pipe(world.table(), source, mode="merge").sync()
    assert world.run("SELECT id, a, b FROM w.t ORDER BY id") == [(1, "a'ö", None), (2, "NULL", 3)]


@pytest.mark.parametrize(
    "text, line, column, reason",
    [
        ("id,a,b\n1,x,1\n2,y,z\n", 3, "b", "invalid input syntax"),
        ('id,a,b\n1,"x\n\n",1\n2,y,z\n', 5, "b", "invalid input syntax"),
        ("id,a,b\n1,x,1\n2,y\n", 3, "", "has 2 fields for 3 columns"),
        ('id,a,b\n1,x,1\n2,"y,3\n', 3, "", "never closed"),
    ],
)
def test_a_bad_line_is_named(
    world: Any, tmp_path: Path, text: str, line: int, column: str, reason: str
) -> None:
    """An error names the row, the file and the line, and nothing is written."""
    path = _write(tmp_path / "x.csv", text)
    with pytest.raises(BadRow, match=reason) as refused:
        world.pipe(world.table(), pgflow.CSV(path), mode="append").sync()
    assert refused.value.place == f"{path}, line {line}"
    assert (refused.value.row, refused.value.column) == (2, column)
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]


def test_dates_are_never_guessed(world: Any, tmp_path: Path) -> None:
    """A date of another order and an instant without a zone are refused, or told by time_zone=."""
    table = world.table("t", sa.Column("d", sa.Date), sa.Column("i", sa.DateTime(timezone=True)))
    other = _write(tmp_path / "1.csv", "id,d,i\n1,03/01/2024,\n")
    with pytest.raises(BadRow, match="no ISO 8601 date"):
        world.pipe(table, pgflow.CSV(other), mode="merge").sync()
    naive = _write(tmp_path / "2.csv", "id,d,i\n1,2024-03-01,2024-03-01 12:00\n")
    with pytest.raises(BadRow, match="no time zone"):
        world.pipe(table, pgflow.CSV(naive), mode="merge").sync()
    world.pipe(table, pgflow.CSV(naive, time_zone="Asia/Tokyo"), mode="merge").sync()
    assert world.run("SELECT d, i FROM w.t") == [
        (date(2024, 3, 1), datetime(2024, 3, 1, 3, tzinfo=UTC))
    ]


def test_missing_empty_and_broken_files_are_refused(world: Any, tmp_path: Path) -> None:
    """No file, no header, a torn archive and a file that is no Parquet stop the run with a name."""
    table = world.table()
    for source, error, said in (
        (pgflow.CSV(tmp_path / "*.none"), MissingFile, "no file matches"),
        (pgflow.CSV(tmp_path / "x.csv"), MissingFile, "there is no file"),
        (pgflow.CSV(_write(tmp_path / "e.csv", "")), MalformedFile, "not even a header"),
        (pgflow.CSV(_write(tmp_path / "t.csv.gz", "id")), MalformedFile, "cannot be unpacked"),
        (pgflow.Parquet(_write(tmp_path / "p", "id,a\n")), MalformedFile, "no Parquet"),
    ):
        with pytest.raises(error, match=said):
            world.pipe(table, source, mode="merge").sync()
    with pytest.raises(InvalidOption, match="columns="):
        pgflow.CSV("x", header=False)


def test_a_file_that_changes_is_refused(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is appended while the file is read would be half of a state: the run fails."""
    path = _write(tmp_path / "x.csv", "id,a,b\n1,x,1\n")
    pipeline = world.pipe(world.table(), pgflow.CSV(path), mode="merge")
    state, calls = files._state, []

    def watched(name: str) -> tuple[int, int, int]:
        calls.append(name)
        if len(calls) == 4:  # header before and after, rows before; and now after
            with path.open("a") as file:
                file.write("2,y,2\n")
        return state(name)

    monkeypatch.setattr(files, "_state", watched)
    with pytest.raises(pgflow.PgflowError, match="changed while it was read"):
        pipeline.sync()
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]


def test_json_lines_keep_values_and_digits(world: Any, tmp_path: Path) -> None:
    """Numbers keep their digits, objects become jsonb, and text for jsonb is a JSON string."""
    table = world.table("t", sa.Column("n", sa.Numeric), sa.Column("j", pg.JSONB))
    path = _write(
        tmp_path / "x.jsonl",
        '{"id": 1, "n": 0.10000000000000000001, "j": {"a": [1.10]}}\n'
        '\n{"id": 2, "j": "text", "n": null}\n'
        f'{{"id": 3, "n": {"7" * 5000}, "j": [{"8" * 5000}]}}\n',
    )
    world.pipe(table, pgflow.JSONLines(path), mode="merge").sync()
    assert world.run("SELECT id, n::text, j::text FROM w.t ORDER BY id") == [
        (1, "0.10000000000000000001", '{"a": [1.10]}'),
        (2, None, '"text"'),
        (3, "7" * 5000, f"[{'8' * 5000}]"),
    ]


@pytest.mark.parametrize(
    "line, said",
    [
        ('{"id": 2, "a": "x"}', "it has no 'b'"),
        ('{"id": 2, "a": "x", "b": 1, "c": 1}', "it has 'c'"),
        ("[2]", "is a JSON array"),
        ('{"id": 2', "is no JSON"),
        ('{"id": 2, "id": 3, "a": "x", "b": 1}', "one key twice"),
        ('{"id": 2, "a": "x", "b": NaN}', "NaN is no JSON"),
        ('{"id": 2, "a": "x", "b": 1e9999999999999999999}', "exponent is out of range"),
        ('{"id": 2, "a": true, "b": true}', "bool"),
    ],
)
def test_a_bad_json_line_is_named(world: Any, tmp_path: Path, line: str, said: str) -> None:
    """An error names the line of the file; empty lines count as lines and not as rows."""
    path = _write(tmp_path / "x.jsonl", f'{{"id": 1, "a": "x", "b": 1}}\n\n{line}\n')
    with pytest.raises(BadRow, match=said) as refused:
        world.pipe(world.table(), pgflow.JSONLines(path), mode="merge").sync()
    assert (refused.value.row, refused.value.place) == (2, f"{path}, line 3")


def test_parquet_values_arrive(world: Any, tmp_path: Path) -> None:
    """Decimals, instants, lists, structs, dictionaries and bytes arrive as they are."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    at = datetime(2024, 3, 1, 10, 0, 0, 123456, tzinfo=UTC)
    columns: list[tuple[Any, Any, Any, str]] = [
        (sa.Numeric(38, 10), pa.decimal128(38, 10), Decimal("1234567890.0123456789"), ""),
        (sa.DateTime(timezone=True), pa.timestamp("ns", "Asia/Tokyo"), at, ""),
        (sa.DateTime(), pa.timestamp("us"), at.replace(tzinfo=None), ""),
        (sa.Date(), pa.date32(), date(1, 1, 1), ""),
        (sa.Interval(), pa.duration("us"), timedelta(days=1, seconds=1), ""),
        (pg.ARRAY(sa.Integer), pa.list_(pa.int32()), [1, None], ""),
        (
            pg.JSONB(),
            pa.struct([("x", pa.decimal128(5, 2))]),
            {"x": Decimal("1.10")},
            '{"x": 1.10}',
        ),
        (sa.Text(), pa.dictionary(pa.int32(), pa.string()), "word", ""),
        (sa.LargeBinary(), pa.large_binary(), b"\0\\", ""),
        (sa.Text(), pa.large_string(), "tab\t\\N", ""),
        (sa.SmallInteger(), pa.uint64(), 7, ""),
        (sa.Boolean(), pa.bool_(), False, ""),
    ]
    data = {"ID": pa.array([1, 2], pa.int64())}
    data |= {f"c{i}": pa.array([v, None], k) for i, (_, k, v, _) in enumerate(columns)}
    path = tmp_path / "x.parquet"
    parquet.write_table(pa.table(data), path, row_group_size=1)
    table = world.table("t", *(sa.Column(f"c{i}", c[0]) for i, c in enumerate(columns)))
    assert world.pipe(table, pgflow.Parquet(path), mode="merge").sync().inserted == 2
    names = ", ".join(
        f"c{i}::text" if text else f"c{i}" for i, (_, _, _, text) in enumerate(columns)
    )
    first, second = world.run(f"SELECT {names} FROM w.t ORDER BY id")
    assert list(first) == [text or value for _, _, value, text in columns]
    assert set(second) == {None}


def test_parquet_types_are_checked_before_the_rows(world: Any, tmp_path: Path) -> None:
    """A type that does not fit is refused by the schema alone, for an empty file too."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    for number, (target, kind) in enumerate(
        (
            (sa.Integer(), pa.timestamp("us")),
            (sa.Date(), pa.int64()),
            (sa.DateTime(timezone=True), pa.timestamp("us")),
            (sa.Text(), pa.binary()),
            (sa.Numeric(5, 2), pa.decimal128(10, 3)),
        )
    ):
        schema = pa.schema([("id", pa.int64()), ("c", kind)])
        parquet.write_table(schema.empty_table(), path)
        table = world.table(f"t{number}", sa.Column("c", target))
        with pytest.raises(SourceMismatch, match="'c' is .*, the target has"):
            world.pipe(table, pgflow.Parquet(path), mode="merge", name=f"p{number}").sync()
