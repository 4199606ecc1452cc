"""One run by its id, and the histories of several databases in one answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.bookkeeping import register
from pgflow.errors import InvalidOption, MissingTable, UnknownRun
from pgflow.observe.histories import Place, find_runs, read_histories
from pgflow.observe.history import find_run, read_history
from pgflow.observe.report import entry_text

START = datetime(2024, 1, 1, tzinfo=UTC)


def record(world: Any, number: int, pipeline: str = "p", **more: object) -> None:
    """Write a run whose id begins with its number, and which began so many minutes after START."""
    values = {
        "run_id": f"{number:04x}{'0' * 28}", "pipeline": pipeline, "target": "w.t", "mode": "merge",
        "status": "success", "started_at": START + timedelta(minutes=number), **more,
    }  # fmt: skip
    with world.engine.begin() as live:
        live.execute(sa.insert(register(sa.MetaData()).runs).values(**values))


@pytest.fixture
def both(world: Any, far: Any) -> tuple[Any, Any]:
    """Two databases with pgflow's own tables."""
    for each in (world, far):
        register(each.metadata)
        pgflow.create_all(each.metadata, connection=each.engine)
    return world, far


def numbers(found: Any) -> list[int]:
    """The numbers of the runs."""
    return [int(str(entry.run_id)[:4], 16) for entry in found]


def test_runs_are_filtered(both: Any) -> None:
    """By status and by when they began; the limit counts what is left."""
    world, _ = both
    for number, status in enumerate(("success", "failed", "abandoned", "running", "failed")):
        record(world, number, status=status)
    with world.engine.connect() as live:
        assert numbers(read_history(live, statuses=("failed",))) == [4, 1]
        assert numbers(read_history(live, statuses=("failed", "abandoned"), limit=2)) == [4, 2]
        assert numbers(read_history(live, since=START + timedelta(minutes=3))) == [4, 3]
        with pytest.raises(InvalidOption, match="'lost' is no status of a run: running, success"):
            read_history(live, statuses=("lost",))
        with pytest.raises(InvalidOption, match="names no instant"):
            read_history(live, since=datetime(2024, 1, 1))


def test_a_run_is_found_by_the_beginning_of_its_id(both: Any) -> None:
    """Hyphens and capitals do not matter; what fits several is refused with their ids."""
    world, _ = both
    record(world, 0xABCD, parameters={"day": "2013-01-02"})
    record(world, 0xABCE)
    record(world, 0xAAAA)
    with world.engine.connect() as live:
        for text in ("abcd", "ABCD0", "abcd0000-0000", "abcd0000-0000-0000-0000-000000000000"):
            assert numbers([find_run(live, text)]) == [0xABCD]
        assert find_run(live, find_run(live, "aaaa").run_id).started_at > START
        with pytest.raises(UnknownRun, match=r"has no run abc0\. Its database may be another one"):
            find_run(live, "abc0")
        world.run(
            "INSERT INTO pgflow.runs (run_id, pipeline, target, mode, status)"
            " SELECT ('beef0000-0000-0000-0000-00000000000' || i)::uuid, 'p', 'w.t', 'merge',"
            " 'success' FROM generate_series(1, 7) AS i"
        )
        with pytest.raises(UnknownRun, match=r"several runs.*begin with beef: .*and others\."):
            find_run(live, "beef")
        for text in ("abc", "", "nothing", "abcd%", "a" * 33):
            with pytest.raises(InvalidOption, match="is no id of a run"):
                find_run(live, text)


def test_several_databases_are_one_list(both: Any) -> None:
    """Runs are put in order over all of them, the limit holds for all, each says where it is."""
    world, far = both
    for number in (1, 3, 5):
        record(world, number)
    for number in (2, 4):
        record(far, number, "q")
    places = [Place(world.engine), Place(far.engine)]
    found = read_histories(places, limit=4)
    assert numbers(entry for _, entry in found.entries) == [5, 4, 3, 2]
    here, there = (place.label for place in places)
    assert [label for label, _ in found.entries] == [here, there, here, there]
    assert here.startswith(f"{world.engine.url.database}@")
    assert not found.problems
    assert [each["connection"] for each in found.to_dicts()] == [here, there, here, there]
    assert numbers(e for _, e in read_histories(places, "q").entries) == [4, 2]
    assert numbers(e for _, e in find_runs(places, "0004").entries) == [4]


def test_one_database_by_several_names_is_read_once(both: Any) -> None:
    """Two ways to one database and schema do not double its runs; another schema is another one."""
    world, _ = both
    record(world, 1)
    again = sa.create_engine(world.engine.url.update_query_dict({"application_name": "x"}))
    other = sa.MetaData()
    register(other, "ops")
    pgflow.create_all(other, connection=world.engine)
    places = [Place(world.engine), Place(again), Place(world.engine), Place(again, "ops")]
    found = read_histories(places)
    again.dispose()
    assert numbers(entry for _, entry in found.entries) == [1]
    assert not found.problems


def test_one_that_does_not_answer_leaves_the_others(both: Any, engine: sa.Engine) -> None:
    """It is named with what went wrong, and no password; also one without the tables."""
    world, far = both
    record(world, 1)
    far.run("DROP TABLE pgflow.runs")
    down = "postgresql://me:hush@127.0.0.1:1/warehouse"
    found = read_histories([Place(down), Place(far.engine), Place("nobody"), Place(world.engine)])
    assert numbers(entry for _, entry in found.entries) == [1]
    kinds = [type(error).__name__ for error in found.problems.values()]
    assert kinds == ["OperationalError", "MissingTable", "UnknownConnection"]
    assert next(iter(found.problems)) == "warehouse@127.0.0.1"
    assert list(found.problems)[2] == "nobody"
    assert isinstance(next(reversed(found.problems.values())), LookupError)
    assert "hush" not in str(found)


def test_a_broken_url_gives_no_password_away() -> None:
    """What cannot be read as a connection string is not shown either."""
    found = read_histories([Place("host=here password=hush nonsense")])
    assert list(found.problems) == ["a connection"]
    assert "hush" not in str(found)


def test_a_run_as_text_has_everything(both: Any) -> None:
    """Every fact is a line, what is empty is left out, and the error comes whole at the end."""
    world, _ = both
    record(
        world, 1, status="failed", attempts=2, seconds=1234.5, parameters={"day": "2013-01-02"},
        error_type="NullKeys", error="first line\nsecond line", details={"checks": [{"n": 1}]},
    )  # fmt: skip
    with world.engine.connect() as live:
        text = entry_text(find_run(live, "0001"), "warehouse")
    assert text.splitlines() == [
        "connection  warehouse",
        "run_id      00010000-0000-0000-0000-000000000000",
        "pipeline    p",
        "target      w.t",
        "mode        merge",
        "status      failed",
        "attempts    2",
        "started_at  2024-01-01T00:01:00Z",
        "seconds     1234.5",
        "parameters  {",
        '              "day": "2013-01-02"',
        "            }",
        "error_type  NullKeys",
        "details     {",
        '              "checks": [',
        "                {",
        '                  "n": 1',
        "                }",
        "              ]",
        "            }",
        "",
        "first line",
        "second line",
    ]


def test_a_missing_table_is_one_error_for_every_reader(world: Any) -> None:
    """Looking for one run says how the tables are made, as reading them all does."""
    with world.engine.connect() as live, pytest.raises(MissingTable, match="alembic upgrade head"):
        find_run(live, "0001")
