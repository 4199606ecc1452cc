"""Sources in MariaDB: values that only it has, and rows that are streamed, not fetched."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

import pgflow
from pgflow.errors import BadRow, SourceMismatch

pymysql = pytest.importorskip("pymysql")

_PROGRAM = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@pytest.fixture(scope="module")
def maria(tmp_path_factory: pytest.TempPathFactory, server_directory: Path) -> Iterator[sa.Engine]:
    """An engine on a MariaDB server of its own, on a unix socket, without system tables."""
    if _PROGRAM is None:
        pytest.skip("no MariaDB server is installed here")
    data = tmp_path_factory.mktemp("mariadb")
    socket = server_directory / "maria.sock"
    options = [f"--datadir={data}", f"--socket={socket}", f"--pid-file={data}/pid"]
    options += ["--skip-networking", "--skip-grant-tables", "--innodb-buffer-pool-size=16M"]
    if os.geteuid() == 0:
        options.append("--user=root")
    with (data / "log").open("wb") as log:
        process = subprocess.Popen([_PROGRAM, "--no-defaults", *options], stdout=log, stderr=log)
    try:
        _wait(socket, process, data / "log")
        engine = sa.create_engine(f"mysql+pymysql://root@/d?unix_socket={socket}&charset=utf8mb4")
        yield engine
        engine.dispose()
    finally:
        process.terminate()
        process.wait(20)


def _wait(socket: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers, and create its database."""
    end = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < end:
        if b"ready for connections" not in log.read_bytes():
            time.sleep(0.05)
            continue
        with pymysql.connect(unix_socket=str(socket), user="root") as connection:
            connection.cursor().execute("CREATE DATABASE d CHARACTER SET utf8mb4")
        return
    raise AssertionError(log.read_text())


def _run(maria: sa.Engine, *statements: str) -> None:
    with maria.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_values_arrive(world: Any, maria: sa.Engine) -> None:
    """Decimals, unsigned numbers, bits, times, JSON, bytes and text in four bytes arrive."""
    _run(
        maria,
        "DROP TABLE IF EXISTS v",
        "CREATE TABLE v (ID int, n decimal(30,10), u bigint unsigned, f tinyint(1), g bit(1),"
        " t time, d date, i datetime(6), j json, y varbinary(9), s text, e enum('x','y'))",
        "INSERT INTO v VALUES (1, 0.0000000001, 18446744073709551615, 1, b'0', '23:59:59',"
        " '9999-12-31', '2024-07-01 12:00:00.000001', '{\"a\": 1.10}', x'00ff', '😀\\t\\\\N', 'y'),"
        " (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    )
    table = world.table(
        "t",
        sa.Column("n", sa.Numeric),
        sa.Column("u", sa.Numeric(20)),
        sa.Column("f", sa.Boolean),
        sa.Column("g", sa.Boolean),
        sa.Column("t", sa.Time),
        sa.Column("d", sa.Date),
        sa.Column("i", sa.DateTime(timezone=True)),
        sa.Column("j", pg.JSONB),
        sa.Column("y", sa.LargeBinary),
        sa.Column("s", sa.Text),
        sa.Column("e", sa.Text),
    )
    for number, source in enumerate(
        (
            pgflow.Query("SELECT * FROM v # all", time_zone="Europe/Berlin"),
            pgflow.SourceTable("d.v", time_zone="Europe/Berlin"),
        )
    ):
        pipeline = world.pipe(table, source, source_connection=maria, mode="merge")
        assert pipeline.sync().inserted == (0 if number else 2)
    first, second = world.run("SELECT n, u, f, g, t, d, i, j, y, s, e FROM w.t ORDER BY id")
    assert first == (
        Decimal("1E-10"),
        Decimal(2**64 - 1),
        True,
        False,
        clock(23, 59, 59),
        date(9999, 12, 31),
        datetime(2024, 7, 1, 10, 0, 0, 1, tzinfo=UTC),
        {"a": 1.1},
        b"\0\xff",
        "😀\t\\N",
        "y",
    )
    assert set(second) == {None}


@pytest.mark.parametrize(
    "kind, value, target, said",
    [
        ("bigint unsigned", "18446744073709551615", sa.BigInteger(), "out of range"),
        ("date", "'0000-00-00'", sa.Date(), "0000-00-00"),
        ("datetime", "'0000-00-00 00:00:00'", sa.DateTime(), "0000-00-00"),
        ("time", "'-01:00:00'", sa.Time(), "is no time of day"),
        ("varbinary(3)", "'abc'", sa.Text(), "is bytes"),
    ],
)
def test_what_postgresql_cannot_hold_is_refused(
    world: Any, maria: sa.Engine, kind: str, value: str, target: Any, said: str
) -> None:
    """Zero dates, numbers that are too great and bytes in text are refused by row and column."""
    _run(
        maria,
        "DROP TABLE IF EXISTS b",
        f"CREATE TABLE b (id int, c {kind})",
        "SET SESSION sql_mode = ''",
        f"INSERT INTO b VALUES (1, NULL), (2, {value})",
    )
    table = world.table("t", sa.Column("c", target))
    pipeline = world.pipe(
        table, "SELECT id, c FROM b ORDER BY id", source_connection=maria, mode="merge"
    )
    with pytest.raises(BadRow, match=f"row 2, column 'c'.*{said}"):
        pipeline.sync()
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]


def test_types_are_checked_for_an_empty_source(world: Any, maria: sa.Engine) -> None:
    """What the driver says of a result is checked before the first row."""
    _run(maria, "DROP TABLE IF EXISTS m", "CREATE TABLE m (id int, c datetime)")
    table = world.table("t", sa.Column("c", sa.Integer))
    with pytest.raises(SourceMismatch, match="'c' is moment, the target has integer"):
        world.pipe(table, "SELECT id, c FROM m", source_connection=maria, mode="merge").sync()


def test_only_newer_rows_are_read(world: Any, maria: sa.Engine) -> None:
    """The position is a condition of the query, in the source's time zone; a part is streamed."""
    _run(
        maria,
        "DROP TABLE IF EXISTS w",
        "CREATE TABLE w (id int, `order` datetime(6))",
        "INSERT INTO w SELECT seq, '2024-01-01' + INTERVAL seq MINUTE FROM seq_1_to_5000",
    )
    table = world.table("t", sa.Column("order", sa.DateTime(timezone=True)))
    pipeline = world.pipe(
        table,
        pgflow.Query("SELECT id, `order` FROM w ORDER BY 1", time_zone="Europe/Berlin"),
        source_connection=maria,
        mode="merge",
        incremental_column="order",
    )
    assert pipeline.sync().read == 5000
    _run(maria, "INSERT INTO w VALUES (6000, '2024-02-01'), (6001, NULL)")
    result = pipeline.sync()
    assert (result.read, result.inserted) == (3, 2)
    (details,) = world.run("SELECT details FROM pgflow.runs ORDER BY started_at DESC LIMIT 1")[0]
    assert details["transfer"][0]["rows"] == 3


def test_a_refused_row_does_not_wait_for_the_rest(world: Any, maria: sa.Engine) -> None:
    """After an error the rest of a large result is left at the server, and the pool stays sound."""
    table = world.table("t", sa.Column("c", sa.Integer))
    text = "SELECT seq AS id, IF(seq = 5, 1.5, SLEEP(seq > 20000)) AS c FROM seq_1_to_30000"
    with pytest.raises(BadRow, match="row 5"):
        world.pipe(table, text, source_connection=maria, mode="merge").sync()
    fine = "SELECT seq AS id, seq AS c FROM seq_1_to_3"
    assert world.pipe(table, fine, source_connection=maria, mode="merge").sync().inserted == 3
