"""CSV against PostgreSQL's own COPY: the same rows, and errors that name the right line."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import BadRow, MalformedFile, PgflowError, SourceMismatch
from pgflow.run.sources import csv_lines
from pgflow.run.sources.blocks import Encoder, block
from pgflow.run.sources.csv_files import CSVFiles
from pgflow.run.sources.reader import BadShape, Raw, Wanted

_ATOMS = ("a", ",", '"', '""', "\n", "\r\n", "\r", "\\", "\\.", "\\N", "é", "", " ")


@pytest.fixture
def driver(world: Any) -> Iterator[psycopg.Connection[Any]]:
    """A connection with two tables of text `d` and `o`."""
    with world.engine.connect() as connection:
        raw = connection.connection.driver_connection
        raw.autocommit = True
        for name in "do":
            raw.execute(f"CREATE TEMP TABLE {name} (n serial, a text, b text)")
        yield raw


def _sent(path: Path, names: list[str], kinds: tuple[str, ...]) -> tuple[CSVFiles, bytes, int]:
    """What a run would send for a file, and for how many rows."""
    source = CSVFiles(pgflow.CSV(path))
    source.describe()
    encoders = [Encoder(n, k, format=source.format) for n, k in zip(names, kinds, strict=True)]
    assert source.format is not None
    data, rows = source.format.header, 0
    for piece in source.batches(Wanted(tuple(names), None, None, tuple(names), kinds)):  # type: ignore[arg-type]  # files need neither
        data += piece.data if isinstance(piece, Raw) else block(encoders, piece.columns)
        rows += piece.count
    return source, data, rows


def _copied(driver: Any, table: str, names: list[str], options: str, data: bytes) -> list[Any]:
    """The rows that COPY makes of data."""
    columns = ", ".join(names)
    driver.execute(f"TRUNCATE {table}")
    with driver.cursor().copy(f"COPY {table} ({columns}) FROM STDIN ({options})") as copy:
        copy.write(data)
    return list(driver.execute(f"SELECT {columns} FROM {table} ORDER BY n"))


def test_any_text_is_read_as_copy_reads_it(
    driver: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random files, in chunks of any size, give the rows that COPY gives, or both refuse."""
    made, equal = random.Random(4), 0
    path = tmp_path / "x.csv"
    for _ in range(200):
        names = made.choice((["a"], ["a", "b"]))
        end = made.choice(("\n", "\r\n"))
        lines = [",".join(_field(made) for _ in names) for _ in range(made.randint(0, 5))]
        path.write_bytes(end.join([",".join(names), *lines, made.choice(("", "a"))]).encode())
        monkeypatch.setattr(csv_lines, "_CHUNK", made.choice((1, 3, 7, 1 << 17)))
        ours: list[Any] = []
        theirs: list[Any] | None = None
        refused: Exception | None = None
        try:
            theirs = _copied(driver, "d", names, "FORMAT csv, HEADER", path.read_bytes())
            source, data, rows = _sent(path, names, ("text",) * len(names))
            assert source.format is not None
            ours = _copied(driver, "o", names, str(source.format.options), data)
            assert rows == len(ours)
        except (psycopg.Error, BadShape, PgflowError) as error:
            refused = error
        if refused is not None or theirs is None:
            assert theirs is None, f"{path.read_bytes()!r}: only we refuse: {refused}"
            continue
        # Before 18 a line of \. ends what COPY reads, and what stands behind it is lost.
        if ours != theirs:
            assert driver.info.server_version < 180000, path.read_bytes()
            assert ours[: len(theirs)] == theirs, path.read_bytes()
            assert ours[len(theirs)] == ("\\.",), path.read_bytes()
        equal += 1
    assert equal > 100


def _field(made: random.Random) -> str:
    text = "".join(made.choice(_ATOMS) for _ in range(made.randint(0, 4)))
    shape = made.random()
    if shape < 0.1:
        return text
    if shape < 0.5 and not {*text} & {*',"\r\n'}:
        return text
    return '"' + text.replace('"', '""') + '"'


def test_errors_of_the_server_name_row_and_line(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends of lines stand in fields before it, the bad row is found again."""
    made = random.Random(5)
    monkeypatch.setattr("pgflow.run.sources.csv_pieces._APART", 16)
    table = world.table("t", sa.Column("a", sa.Text))
    path, first = tmp_path / "b.csv.gz", tmp_path / "a.csv"
    pipeline = world.pipe(table, pgflow.CSV([path, first]), mode="append")
    for end in ("\n", "\r\n"):
        texts = [made.choice(("x", '"q"', f'"{end}{end}y"', f'm"{end}"m')) for _ in range(40)]
        bad = made.randint(20, 35)
        rows = [f"{'x' if i == bad else i},{t}" for i, t in enumerate(texts)]
        first.write_bytes(f'id,a{end}7,"{end}"{end}'.encode())
        path.write_bytes(gzip.compress(end.join(["id,a", *rows, ""]).encode()))
        line = 2 + sum(1 + t.count(end) for t in texts[:bad])
        with pytest.raises(BadRow, match='invalid input syntax for type bigint: "x"') as refused:
            pipeline.sync()
        assert (refused.value.row, refused.value.column) == (bad + 2, "id")
        assert refused.value.place == f"{path}, line {line}"


_HEADERS = [
    (b"id,a,a\n1,x,y\n", "its header has 'a' twice"),
    (b"id,,a\n1,x,y\n", "field 2 of its header has no name"),
    (b"", "not even a header"),
    (b"\xef\xbb\xbf", "not even a header"),
    (b"id,a\xff\n", "its header is not utf-8"),
    (b'id,"a\n1,x\n', "its header has a quote that is never closed"),
    (b"id;a;b\n1;x;1\n", "its header is one field, 'id;a;b', .*Say delimiter=';'"),
    (b"id\ta\n1\tx\n", r"Say delimiter='\\t'"),
]


def test_a_bad_header_is_refused(world: Any, tmp_path: Path) -> None:
    """A header that names no columns, or one of them twice, is refused before a row is read."""
    path = tmp_path / "x.csv"
    pipeline = world.pipe(world.table(), pgflow.CSV(path), mode="append")
    for data, said in _HEADERS:
        path.write_bytes(data)
        with pytest.raises(MalformedFile, match=said):
            pipeline.sync()


_ROWS = [
    (b"2,\xff,2\n", r"0xff; name the file's encoding by CSV\(..., encoding=\)"),
    (b"2,\0,2\n", r"0x00\."),
    (b"2,y\n", "2 fields for 3 columns|missing data"),
    (b"\n", "1 field for 3 columns"),
    (b'2,"y\n', "never closed"),
    (b'2,"y"\xff"z",2\n', "is not utf-8.*encoding="),
]


def test_a_single_field_may_hold_another_delimiter(world: Any, tmp_path: Path) -> None:
    """A name in quotes, one that column_map= takes, and columns= leave no doubt."""
    path, table = tmp_path / "x.csv", world.table("t", sa.Column("x", sa.Text))
    cases: list[tuple[bytes, Any]] = [
        (b'"i,d"\n1\n', {"column_map": {"id": "i,d"}}),
        (b"i|d\n2\n", {"column_map": {"id": "i|d"}}),
        (b"i;d\n3\n", {"columns": ["id"]}),
    ]
    for at, (data, options) in enumerate(cases):
        path.write_bytes(data)
        world.pipe(table, pgflow.CSV(path, **options), mode="append", name=f"p{at}").sync()
    assert world.run("SELECT id FROM w.t ORDER BY id") == [(1,), (2,), (3,)]


def test_a_bad_row_is_refused(world: Any, tmp_path: Path) -> None:
    """Bytes that are no text, and rows that are too short, are named by row and line."""
    path = tmp_path / "x.csv"
    pipeline = world.pipe(world.table(), pgflow.CSV(path), mode="append")
    for row, said in _ROWS:
        path.write_bytes(b"\xef\xbb\xbfid,a,b\r\n1,x,1\r\n" + row)
        with pytest.raises(BadRow, match=said) as refused:
            pipeline.sync()
        assert (refused.value.row, refused.value.place) == (2, f"{path}, line 3")
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]


def test_a_header_alone_is_an_empty_source(world: Any, tmp_path: Path) -> None:
    """Names are checked, nothing is read, and deletes are still guarded."""
    path = tmp_path / "x.csv"
    pipeline = world.pipe(world.table(), pgflow.CSV(path), mode="merge", handle_deletes="hard")
    path.write_bytes(b"id,a,b\n1,x,1")
    assert pipeline.sync().inserted == 1
    path.write_bytes(b"id,a,b")
    with pytest.raises(PgflowError, match="delivered no rows"):
        pipeline.sync()
    path.write_bytes(b"id,z\n")
    with pytest.raises(SourceMismatch, match="'z'"):
        pipeline.sync()


def test_a_torn_archive_is_refused(world: Any, tmp_path: Path) -> None:
    """An archive that ends too early loses no rows in silence."""
    path = tmp_path / "x.csv.gz"
    rows = b"".join(b"%d,x%d,1\n" % (i, i) for i in range(20000))
    path.write_bytes(gzip.compress(b"id,a,b\n" + rows)[:-2000])
    with pytest.raises(MalformedFile, match="cannot be unpacked"):
        world.pipe(world.table(), pgflow.CSV(path), mode="append").sync()
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]


def test_plain_rows_and_others_keep_their_order(world: Any, tmp_path: Path) -> None:
    """Rows that are changed on the way stand among those that are not, also of other encodings."""
    table = world.table("t", sa.Column("a", sa.Text), sa.Column("u", sa.DateTime(timezone=True)))
    zoned, naive = "2024-07-01T12:00:00+02:00", "2024-07-01 12:00"
    rows = [f"{i};{zoned if i % 3 else naive};'ä;{i}'" for i in range(3000)]
    path = tmp_path / "x.csv"
    path.write_bytes("\r\n".join(["ID;U;A", *rows]).encode("latin-1"))
    source = pgflow.CSV(
        path, delimiter=";", quote="'", encoding="latin-1", time_zone="Europe/Berlin"
    )
    assert world.pipe(table, source, mode="merge").sync().inserted == 3000
    found = world.run("SELECT id, a, u FROM w.t ORDER BY id")
    assert found == [(i, f"ä;{i}", datetime(2024, 7, 1, 10, tzinfo=UTC)) for i in range(3000)]


def test_only_sure_dates_go_as_they_are(world: Any, tmp_path: Path) -> None:
    """What the server would read by its settings or its clock is refused."""
    table = world.table("t", sa.Column("d", sa.Date))
    path = tmp_path / "x.csv"
    pipeline = world.pipe(table, pgflow.CSV(path), mode="merge")
    for value in ("now", "03/01/2024", "2024-3-1", "20240301T1", "J2451187"):
        path.write_text(f"id,d\n1,2024-03-01\n2,{value}\n")
        with pytest.raises(BadRow, match="row 2 .*no ISO 8601 date"):
            pipeline.sync()
