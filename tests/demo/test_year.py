"""The whole demo: what it loads, what it says, and that nothing changes the second time."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from pgflow.cli.demo.data import Data
from pgflow.cli.demo.operations import DAYS

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"


def test_the_table_at_the_end_says_what_was_loaded(first: Any) -> None:
    """Every row of the files is in the warehouse, and the table at the end says so."""
    assert first.code == 0, first.err
    rows = {name: row["rows"] for name, row in first.table.items()}
    assert rows == {
        "airline": "16",
        "airport": "1,458",
        "plane": "3,322",
        "plane_base": rows["plane_base"],
        "flight": "336,776",
        "daily_summary": "1,095",
    }
    assert len(first.runs) == 6 * len(DAYS)
    assert "All of it took" in first.out
    assert first.err == ""


def test_the_numbers_at_the_end_are_those_of_the_tables(first: Any, year_engine: Engine) -> None:
    """What the demo counted is what the tables hold: flights, versions, closed versions."""
    with year_engine.connect() as connection:
        query = "SELECT count(*), count(valid_to) FROM warehouse.plane_base"
        versions, closed = connection.exec_driver_sql(query).one()
        flights = connection.exec_driver_sql("SELECT count(*) FROM warehouse.flight").scalar()
        weather = connection.exec_driver_sql("SELECT count(*) FROM ops.weather").scalar()
    assert (flights, weather) == (336_776, 26_115)
    told = first.table["plane_base"]
    assert (told["rows"], told["inserted"]) == (f"{versions:,}", f"{versions:,}")
    assert told["closed"] == f"{closed:,}"
    assert f"{versions:,} opened, {closed:,} of them closed" in first.out


def test_the_first_days_come_one_by_one(first: Any) -> None:
    """The week is followed day by day, and each day shows what arrived."""
    days = [line for line in first.out.splitlines() if line.startswith("2013-")]
    assert [line[:10] for line in days] == [str(day) for day in DAYS]
    assert days[0].endswith("842 flights and 67 weather reports arrive in ops")
    assert days[1].endswith("943 flights and 72 weather reports arrive in ops")


def test_decisions_are_explained(first: Any) -> None:
    """Keys, compared columns and watermark are shown with the reason for each, and a plan."""
    assert "merge key   flight_date, carrier, flight, origin  [pk()]" in first.out
    assert "compared    carrier, home_airport  [every delivered column that is no key]" in first.out
    assert "[incremental_column='scheduled_departure'" in first.out
    assert "close the versions that end (counts as closed)" in first.out


def test_versions_are_those_of_a_plain_model(first: Any, year_engine: Engine) -> None:
    """The history of carriers and home airports is what thirty lines of plain Python find."""
    with year_engine.connect() as connection:
        query = "SELECT tailnum, carrier, home_airport, valid_from, valid_to "
        query += "FROM warehouse.plane_base ORDER BY tailnum, valid_from"
        stored = [tuple(row) for row in connection.exec_driver_sql(query)]
    assert stored == _model()


def _model() -> list[tuple[Any, ...]]:
    file = Data.find().read("flights")
    lines = csv.DictReader(io.StringIO(b"".join(file.lines).decode()), file.columns)
    flown = [line for line in lines if line["dep_time"] != "NA" and line["tailnum"] != "NA"]
    by_day = defaultdict(list)
    for line in flown:
        by_day[date(int(line["year"]), int(line["month"]), int(line["day"]))].append(line)
    origins: dict[str, Counter[str]] = defaultdict(Counter)
    latest: dict[str, tuple[Any, ...]] = {}
    versions: dict[str, list[list[Any]]] = defaultdict(list)
    seen = date.min
    for day in DAYS:
        at = datetime(day.year, day.month, day.day, tzinfo=UTC)
        for line in (x for d in by_day if seen < d <= day for x in by_day[d]):
            tail, carrier = line["tailnum"], line["carrier"]
            origins[tail][line["origin"]] += 1
            # The latest departure counts; of two at one instant the first carrier.
            letters = tuple(-ord(letter) for letter in carrier)
            when = (line["time_hour"], int(line["minute"]), letters, carrier)
            latest[tail] = max(latest.get(tail, when), when)
        seen = day
        for tail, counted in origins.items():
            home = min(counted, key=lambda airport: (-counted[airport], airport))
            state = [latest[tail][-1], home]
            history = versions[tail]
            if not history or history[-1][:2] != state:
                if history:
                    history[-1][3] = at
                history.append([*state, at, None])
    return [(tail, *version) for tail in sorted(versions) for version in versions[tail]]


def test_a_second_run_changes_nothing_and_says_so(
    first: Any,
    year: str,
    demo: Callable[..., Any],
    contents: Callable[[], Any],
) -> None:
    """Every pipeline runs again and changes nothing, also under another time zone."""
    before = contents()
    second = demo(year, PGTZ="Asia/Tokyo")
    assert second.code == 0, second.err
    for row in second.table.values():
        assert (row["inserted"], row["updated"], row["closed"]) == ("0", "0", "0")
    assert second.runs == [
        ("airlines", "unchanged 16"),
        ("airports", "unchanged 1,458"),
        ("planes", "unchanged 3,322"),
        ("plane_bases", "unchanged 4,037"),
        ("flights", "unchanged 4"),
        ("daily_summaries", "replaced 1,095"),
    ]
    assert "Inserted 0, updated 0, closed 0, deleted 0" in second.out
    assert contents() == before


def test_the_history_has_all_runs_of_the_demo(first: Any, year_engine: Engine) -> None:
    """Runs are really run: each is in the history, with the day as its parameter."""
    with year_engine.connect() as connection:
        query = "SELECT parameters ->> 'day' FROM pgflow.runs WHERE pipeline = 'plane_bases' "
        query += "AND status = 'success' ORDER BY started_at"
        days = [row[0] for row in connection.exec_driver_sql(query)]
    assert days[: len(DAYS)] == [str(day) for day in DAYS]
    assert set(days[len(DAYS) :]) <= {str(DAYS[-1])}


@pytest.mark.parametrize(
    "words, said",
    [
        (("list", "--tables"), "warehouse.plane_base"),
        (("explain", "plane_bases"), "MergeKeysPlugin"),
        (("explain", "warehouse.flight"), "TableFKPlugin"),
        (("preview", "flights"), "last read"),
        (("dry-run", "plane_bases", "--param", "day=2013-06-30"), "success"),
        (("history", "--limit", "5"), "daily_summaries"),
    ],
)
def test_the_example_reads_the_demo(
    first: Any,
    year: str,
    python: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
) -> None:
    """The commands that examples/flights/README.md gives work on the demo's database."""
    monkeypatch.chdir(EXAMPLE)
    ran = python("from pgflow.cli.main import main; main()", *words, PGFLOW_DSN=year)
    assert ran.code == 0, ran.err
    assert said in ran.out


def test_going_back_is_refused_with_a_way_out(
    first: Any, year: str, demo: Callable[..., Any], python: Callable[..., Any]
) -> None:
    """After a sync by hand as of now, the demo cannot go back, and says how to begin again."""
    words = ("sync", "plane_bases", "--param", "day=2013-06-30")
    module = ("--module", "pgflow.cli.demo.warehouse")
    code = "from pgflow.cli.main import main; main()"
    assert python(code, *words, *module, PGFLOW_DSN=year).code == 0
    refused = demo(year)
    assert refused.code == 1
    assert "pgflow demo --reset drops them and begins again" in refused.err
    assert "plane_bases -> warehouse.plane_base" in refused.err
