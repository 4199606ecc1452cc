"""JSON lines and Parquet files with values that have no place in PostgreSQL, or none in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

import pgflow
from pgflow.errors import BadRow, InvalidOption, MalformedFile

_COLUMNS = (
    sa.Column("i", sa.Integer),
    sa.Column("f", sa.Double),
    sa.Column("s", sa.Text),
    sa.Column("j", pg.JSONB),
)

_JSON = [
    (b'{"i": 1e9999999}', "i", "is out of range"),
    (b'{"i": 2147483648}', "i", "out of range"),
    (b'{"i": {"x": 1}}', "i", "is dict"),
    (b'{"f": 1e400}', "f", "out of range"),
    (b'{"s": "a\\u0000b"}', "s", "NUL"),
    (b'{"s": "\\ud800"}', "s", "surrogate"),
    (b'{"j": {"x": 1, "x": 2}}', "", "one key twice"),
    (b'{"j": Infinity}', "", "Infinity is no JSON"),
    (b'{"j": ' + b"[" * 100_000, "", "nested too deeply"),
    (b'{"s": "\xff"}', "", "is not utf-8"),
]


def test_json_that_postgresql_cannot_hold_is_refused(world: Any, tmp_path: Path) -> None:
    """Each is named by line and column; a number that would fill the memory takes no time."""
    path = tmp_path / "x.jsonl"
    columns = ["id", "i", "f", "s", "j"]
    source = pgflow.JSONLines(path, columns=columns, missing="null")
    pipeline = world.pipe(world.table("t", *_COLUMNS), source, mode="append")
    for line, column, said in _JSON:
        path.write_bytes(b'{"id": 1}\r\n' + line.replace(b"{", b'{"id": 2, ', 1))
        with pytest.raises(BadRow, match=said) as refused:
            pipeline.sync()
        assert (refused.value.place, refused.value.column) == (f"{path}, line 2", column)
    path.write_bytes(b"{}\n")
    empty = world.pipe(world.table("u"), pgflow.JSONLines(path), mode="append", name="u")
    with pytest.raises(BadRow, match="row 1 .*has no columns"):
        empty.sync()
    with pytest.raises(InvalidOption, match="Convert the files"):
        pgflow.JSONLines(path, encoding="utf-16")


def test_json_lines_with_a_mark_and_other_ends_arrive(world: Any, tmp_path: Path) -> None:
    """A byte order mark, CRLF, and separators of Unicode inside of text are no ends of lines."""
    path = tmp_path / "x.jsonl"
    text = '\ufeff{"id": 1, "a": "x\u2028y\x85z", "b": 1}\r\n'
    path.write_bytes(text.encode())
    pipeline = world.pipe(world.table(), pgflow.JSONLines(path), mode="merge")
    assert pipeline.sync().inserted == 1
    assert world.run("SELECT a FROM w.t") == [("x\u2028y\x85z",)]
    path.write_bytes(b"")
    assert pipeline.sync().read == 0


def test_parquet_that_python_cannot_hold_is_refused(world: Any, tmp_path: Path) -> None:
    """Nanoseconds, years far away, great numbers and maps that repeat a key are named by row."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    texts = pa.map_(pa.string(), pa.int32())
    cases = [
        (sa.DateTime(), pa.timestamp("ns"), 1, "nanoseconds"),
        (sa.Time(), pa.time64("ns"), 1001, "nanoseconds"),
        (pg.ARRAY(sa.DateTime()), pa.list_(pa.timestamp("ns")), [1], "nanoseconds"),
        (sa.DateTime(), pa.timestamp("s"), 10**13, "out of range"),
        (sa.BigInteger(), pa.uint64(), 2**64 - 1, "out of range"),
        (pg.JSONB(), texts, [("k", 1), ("k", 2)], "one key twice"),
        (pg.JSONB(), pa.struct([("m", texts)]), {"m": [("k", 1), ("k", 2)]}, "one key twice"),
    ]
    for number, (target, kind, value, said) in enumerate(cases):
        path = tmp_path / f"{number}.parquet"
        data = {"id": pa.array([1, 2]), "c": pa.array([None, value], kind)}
        parquet.write_table(pa.table(data), path)
        table = world.table(f"t{number}", sa.Column("c", target))
        with pytest.raises(BadRow, match=said) as refused:
            world.pipe(table, pgflow.Parquet(path), mode="append", name=f"p{number}").sync()
        assert (refused.value.row, refused.value.column) == (2, "c")
        assert refused.value.place == f"{path}, row 2"


def test_parquet_without_rows_or_with_a_name_twice(world: Any, tmp_path: Path) -> None:
    """No row group is an empty source; two columns of one name are refused; maps arrive."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    kind = pa.struct([("m", pa.map_(pa.string(), pa.int32()))])
    parquet.ParquetWriter(path, pa.schema([("id", pa.int64()), ("c", kind)])).close()
    pipeline = world.pipe(
        world.table("t", sa.Column("c", pg.JSONB)), pgflow.Parquet(path), mode="merge"
    )
    assert pipeline.sync().read == 0
    values = pa.array([{"m": [("k", 1), ("l", None)]}], kind)
    parquet.write_table(pa.table({"id": [1], "c": values}), path)
    assert pipeline.sync().inserted == 1
    assert world.run("SELECT c FROM w.t") == [({"m": {"k": 1, "l": None}},)]
    twice = pa.Table.from_arrays([pa.array([1])] * 3, names=["id", "c", "c"])
    parquet.write_table(twice, path)
    with pytest.raises(MalformedFile, match="several columns 'c'"):
        pipeline.sync()
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(MalformedFile, match="no Parquet file"):
        pipeline.sync()
