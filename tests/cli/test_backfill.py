"""`pgflow backfill`: a range read again in steps, resumable, each step its own run."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pgflow.errors import BackfillOvertaken
from pgflow.factories.backfill import Backfill
from pgflow.project import Project

if TYPE_CHECKING:
    from conftest import Invoke, Place

PIPELINES = """
from datetime import date
from sqlalchemy import DateTime


QUERY = "SELECT id, v, at FROM warehouse.events"

at = Column("at", DateTime(timezone=True))
events = pgflow.Pipeline("events", target=make("by_value", Column("v", Text), at),
    mode="merge", incremental_column="at", source=QUERY)
history = pgflow.Pipeline("history", target=make("history", Column("v", Text)),
    mode="scd2", source="SELECT id % 2 AS id, v, at FROM warehouse.events", incremental_column="at")
numbered = pgflow.Pipeline("numbered", target=make("numbered"), mode="scd2",
    source=pgflow.SourceTable("warehouse.events"))
ranked = pgflow.Pipeline("ranked", target=make("ranked", Column("v", Text)),
    mode="scd2", source="SELECT id, v, id AS n FROM warehouse.events", incremental_column="n")
serials = pgflow.Pipeline("serials", target=make("serials", Column("v", Text)),
    mode="scd2", source="SELECT id % 2 AS id, v, id AS serial FROM warehouse.events")
priced = pgflow.Pipeline("priced", target=make("priced", Column("v", Text)), mode="merge",
    source="SELECT id, v, id::numeric(10,2) AS price FROM warehouse.events",
    incremental_column="price")
horizon = pgflow.Pipeline("horizon", target=make("horizon"), mode="merge", watermark="horizon",
    source=pgflow.SourceTable("warehouse.events"))
full = pgflow.Pipeline("full", target=make("full"), mode="merge", handle_deletes="hard",
    source=pgflow.SourceTable("warehouse.events"))


def days(conn, *, start: date, end: date, word: str = "x"):
    return ("SELECT id, v || :word AS v FROM warehouse.events"
            " WHERE at >= CAST(:start AS date) AND at < CAST(:end AS date)")


by_day = pgflow.Pipeline("by_day", target=make("by_day"), mode="append", body=days)
"""

#: Four days from the first of January on.
DAYS = ("--from", "2024-01-01", "--to", "2024-01-05", "--step", "1 day")


@pytest.fixture
def filled(place: Place) -> Place:
    """A project, and a source with one event at noon of each day from the first to the sixth."""
    place.write(PIPELINES)
    place.create()
    place.execute("CREATE TABLE warehouse.events (id bigint, v text, at timestamptz)")
    place.execute(
        "INSERT INTO warehouse.events SELECT i, 'v' || i, '2024-01-01 12:00Z'::timestamptz"
        " + (i - 1) * interval '1 day' FROM generate_series(1, 6) AS i"
    )
    return place


def ids(place: Place, table: str) -> list[int]:
    """The ids that have arrived."""
    return [row[0] for row in place.execute(f"SELECT id FROM warehouse.{table} ORDER BY id")]


def test_only_the_range_is_read_each_step_a_run(filled: Place, invoke: Invoke) -> None:
    """Rows from --from to below --to arrive, each step a run of its own; the watermark stays."""
    ran = invoke("backfill", "events", *DAYS)
    assert (ran.code, ran.out) == (0, "events: 4 of 4 steps done: inserted 4, read 4\n")
    assert "step 2 of 4, to 2024-01-03T00:00:00+00:00: inserted 1, read 1" in ran.err
    assert ids(filled, "by_value") == [1, 2, 3, 4]
    runs = filled.execute(
        "SELECT watermark_from, watermark_to FROM pgflow.runs ORDER BY started_at"
    )
    assert runs[0] == ("2024-01-01T00:00:00+00:00", "2024-01-02T00:00:00+00:00")
    assert len(runs) == 4
    assert filled.execute("SELECT * FROM pgflow.watermarks") == []
    (latest, *_) = invoke("history", "events", "--format", "json").json
    assert latest["details"]["backfill"] == {
        "from": "2024-01-04T00:00:00+00:00", "to": "2024-01-05T00:00:00+00:00",
    }  # fmt: skip
    first = invoke("history", "events").out.splitlines()[-1]
    assert "backfill 2024-01-01T00:00:00+00:00 .. 2024-01-02T00:00:00+00:00" in first


def test_a_backfill_that_failed_goes_on_where_it_stopped(filled: Place, invoke: Invoke) -> None:
    """A failing step ends with 1; the steps before it stay done, and are not done again."""
    filled.execute("ALTER TABLE warehouse.by_value ADD CONSTRAINT no CHECK (v <> 'v3')")
    ran = invoke("backfill", "events", *DAYS)
    assert ran.code == 1
    assert ran.out == "events: 2 of 4 steps done: inserted 2, read 2\n"
    assert "Run the same command again to go on from 2024-01-03T00:00:00+00:00." in ran.err
    assert ids(filled, "by_value") == [1, 2]
    left = invoke("backfill", "events", *DAYS, "--dry-run", "--format", "json").json
    assert [step["number"] for step in left] == [3, 4]
    filled.execute("ALTER TABLE warehouse.by_value DROP CONSTRAINT no")
    assert invoke("backfill", "events", *DAYS).out == (
        "events: 4 of 4 steps done: inserted 2, read 2\n"
    )
    runs = filled.execute("SELECT status, count(*) FROM pgflow.runs GROUP BY 1 ORDER BY 1")
    assert runs == [("failed", 1), ("success", 4)]


def test_what_is_done_is_not_done_again_unless_asked(filled: Place, invoke: Invoke) -> None:
    """The same range is remembered as finished; --again begins anew; another range is another."""
    invoke("backfill", "events", *DAYS)
    ran = invoke("backfill", "events", *DAYS)
    assert ran.out == ("events: all 4 steps were done before; --again does them once more\n")
    data = invoke("backfill", "events", *DAYS, "--again", "--format", "json").json
    assert (data["steps_done"], data["unchanged"], data["status"]) == (4, 4, "success")
    wider = invoke("backfill", "events", *DAYS[:5], "2 days", "--format", "json").json
    assert (wider["steps"], wider["unchanged"]) == (2, 4)


def test_words_are_what_they_meant_when_it_began(filled: Place, invoke: Invoke) -> None:
    """A range of `yesterday` is another one tomorrow, and is not taken for done then."""
    words = ("events", "--from", "yesterday", "--to", "today", "--step", "1 day")
    assert "1 of 1 steps done" in invoke("backfill", *words).out
    days = "range_from::timestamptz, range_to::timestamptz - range_from::timestamptz"
    ((begin, width),) = filled.execute(f"SELECT {days} FROM pgflow.backfills")
    assert (begin.year >= 2024, width) == (True, timedelta(days=1))
    assert "were done before" in invoke("backfill", *words).out


def test_numbers_with_a_scale_are_gone_through(filled: Place, invoke: Invoke) -> None:
    """A column of numeric(10,2) is one of numbers like any other."""
    ran = invoke("backfill", "priced", "--from", "2", "--to", "4", "--step", "0.5")
    assert "4 of 4 steps done: inserted 2" in ran.out
    assert ids(filled, "priced") == [2, 3]


def test_a_dry_run_lists_the_steps_and_writes_nothing(filled: Place, invoke: Invoke) -> None:
    """The last step is shorter where the range does not divide."""
    ran = invoke("backfill", "events", "--from", "2024-01-01", "--to", "2024-01-04T06:00Z",
                 "--step", "36h", "--dry-run")  # fmt: skip
    assert ran.rows == [
        ["step", "from", "to"],
        ["1", "2024-01-01T00:00:00+00:00", "2024-01-02T12:00:00+00:00"],
        ["2", "2024-01-02T12:00:00+00:00", "2024-01-04T00:00:00+00:00"],
        ["3", "2024-01-04T00:00:00+00:00", "2024-01-04T06:00:00+00:00"],
    ]
    assert filled.execute("SELECT count(*) FROM pgflow.backfills") == [(0,)]
    assert ids(filled, "by_value") == []


def test_a_function_is_given_the_bounds(filled: Place, invoke: Invoke) -> None:
    """Parameters called start and end take a step's bounds as their own type; others go along."""
    ran = invoke("backfill", "by_day", *DAYS, "-p", "word=!")
    assert (ran.code, ran.out) == (0, "by_day: 4 of 4 steps done: inserted 4, read 4\n")
    assert ids(filled, "by_day") == [1, 2, 3, 4]
    assert filled.execute("SELECT v FROM warehouse.by_day WHERE id = 1") == [("v1!",)]
    assert filled.execute(
        "SELECT parameters->>'start', parameters->>'end' FROM pgflow.runs ORDER BY started_at"
    )[0] == ("2024-01-01", "2024-01-02")
    ran = invoke("backfill", "by_day", *DAYS, "--param-from", "begin", "--param-to", "end")
    assert ran.code == 2
    assert "has no parameters 'begin' and 'end'. It takes: start, end, word." in ran.err


def test_an_append_without_a_key_is_never_doubled(filled: Place, invoke: Invoke) -> None:
    """The step is remembered in the transaction of its data, so no crash can come between."""
    filled.execute(
        "CREATE FUNCTION pgflow.refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN IF NEW.steps_done = 2 THEN RAISE 'no'; END IF; RETURN NEW; END$$"
    )
    filled.execute(
        "CREATE TRIGGER refuse BEFORE UPDATE ON pgflow.backfills"
        " FOR EACH ROW EXECUTE FUNCTION pgflow.refuse()"
    )
    assert invoke("backfill", "by_day", *DAYS).code == 1
    assert ids(filled, "by_day") == [1], "the second step's rows went with its record"
    filled.execute("DROP TRIGGER refuse ON pgflow.backfills")
    assert invoke("backfill", "by_day", *DAYS).code == 0
    assert ids(filled, "by_day") == [1, 2, 3, 4]


def test_versions_of_a_history_begin_at_the_end_of_their_step(
    filled: Place, invoke: Invoke
) -> None:
    """A history without event time gets the state as of each step's end, in order."""
    assert invoke("backfill", "history", *DAYS).code == 0
    versions = filled.execute(
        "SELECT id, v, valid_from, valid_to FROM warehouse.history ORDER BY id, valid_from"
    )
    day = [datetime(2024, 1, n, tzinfo=UTC) for n in range(1, 7)]
    assert versions == [
        (0, "v2", day[2], day[4]),
        (0, "v4", day[4], None),
        (1, "v1", day[1], day[3]),
        (1, "v3", day[3], None),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ranked", "--from", "1", "--to", "5", "--step", "1"),
         "steps of bigint say nothing about when their versions began"),
        (("horizon", *DAYS), "watermark='horizon', in which nobody can name a range"),
        (("full", *DAYS, "--column", "at"), "every row outside of a step would be deleted"),
        (("numbered", *DAYS), "no incremental_column= to go by"),
        (("events", *DAYS[:5], "1"), "--step '1' has no unit"),
        (("events", "--from", "a", "--to", "b", "--step", "1 day"), "invalid input syntax"),
        (("events", *DAYS[:5], "-1 day"), "there is no step: --to must come after --from"),
        (("events", *DAYS[:5], "1 second"), "more than 100,000 steps"),
        (("events", "--from=-infinity", *DAYS[2:]), "Choose a --from that is finite"),
        (("horizon", "--from", "0", "--to", "9000000000000000000", "--step", "1", "--column", "id"),
         "more than 100,000 steps"),
        (("events", "--from", "today", "--to", "now", "--step", "1h"), "'now' is another value"),
        (("events", *DAYS, "--column", "v"), "the column is text"),
        (("events", *DAYS, "--column", "w"), "does not deliver 'w', which the backfill needs"),
        (("horizon", *DAYS, "--column", "at", "--advance"), "no value that --advance could move"),
    ],
)  # fmt: skip
def test_what_would_falsify_or_cannot_be_is_refused(
    filled: Place, invoke: Invoke, words: tuple[str, ...], said: str
) -> None:
    """Nothing is written before a range, a step and a column that make sense."""
    ran = invoke("backfill", *words)
    assert ran.code in (1, 2, 3)
    assert said in ran.err
    assert filled.execute("SELECT count(*) FROM pgflow.runs") == [(0,)]


def test_a_column_can_be_named(filled: Place, invoke: Invoke) -> None:
    """Pipelines by snapshot or horizon are backfilled by any column that the source delivers."""
    ran = invoke("backfill", "horizon", "--from", "2", "--to", "5", "--step", "2", "--column", "id")
    assert (ran.code, ran.out) == (0, "horizon: 2 of 2 steps done: inserted 3, read 3\n")
    assert ids(filled, "horizon") == [2, 3, 4]


def test_advance_moves_the_watermark_forward_only(filled: Place, invoke: Invoke) -> None:
    """--advance sets the watermark to the range's end, unless it is further already."""
    invoke("backfill", "events", *DAYS, "--advance")
    value = "SELECT value FROM pgflow.watermarks"
    assert filled.execute(value) == [("2024-01-05T00:00:00+00:00",)]
    assert invoke("sync", "events").code == 0
    assert ids(filled, "by_value") == [1, 2, 3, 4, 5, 6]
    invoke("backfill", "events", *DAYS, "--advance", "--again")
    assert filled.execute(value) == [("2024-01-06T12:00:00+00:00",)]


def backfill_of(name: str) -> Backfill:
    """The backfill of the four days, as Python has it."""
    return Backfill(Project.load().pipelines[name], *DAYS[1::2])


def test_two_at_once_never_do_one_step_twice(filled: Place) -> None:
    """Of two that do the same backfill, one goes on and the other stops; no step is done twice."""
    stopped: list[BaseException] = []
    gate = threading.Barrier(2)

    def work(backfill: Any) -> None:
        gate.wait()
        try:
            list(backfill.run())
        except BackfillOvertaken as error:
            stopped.append(error)

    both = [backfill_of("by_day"), backfill_of("by_day")]
    threads = [threading.Thread(target=work, args=(each,)) for each in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    list(backfill_of("by_day").run())
    assert ids(filled, "by_day") == [1, 2, 3, 4]
    assert all("done by somebody else" in str(error) for error in stopped)


KILLED = """
import os, signal
from datetime import date


def deadly(conn, *, start: date, end: date):
    if start == date(2024, 1, 3) and not os.path.exists("killed"):
        open("killed", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return ("SELECT id, v FROM warehouse.events"
            " WHERE at >= CAST(:start AS date) AND at < CAST(:end AS date)")


deadly = pgflow.Pipeline("deadly", target=make("deadly"), mode="append", body=deadly)
"""


def test_a_killed_backfill_goes_on_where_it_was(
    filled: Place, invoke: Invoke, execute: Any
) -> None:
    """A process that is killed in a step has done those before; nothing is missed or doubled."""
    filled.write(PIPELINES + KILLED)
    filled.create()
    assert execute("backfill", "deadly", *DAYS).code == -9
    assert ids(filled, "deadly") == [1, 2]
    ran = invoke("backfill", "deadly", *DAYS)
    assert (ran.code, ran.out) == (0, "deadly: 4 of 4 steps done: inserted 2, read 2\n")
    assert ids(filled, "deadly") == [1, 2, 3, 4]


def test_ordinary_runs_go_on_meanwhile(filled: Place, invoke: Invoke) -> None:
    """Runs between two steps read by their own watermark, and both end with every row."""
    backfill = backfill_of("events")
    taken = []
    for step, result in backfill.run():
        taken.append((step.number, result.read))
        assert invoke("sync", "events").code == 0
    assert taken == [(1, 1), (2, 1), (3, 1), (4, 1)]
    assert ids(filled, "by_value") == [1, 2, 3, 4, 5, 6]


INTERRUPTED = """
from datetime import date


def stopped(conn, *, start: date, end: date):
    if start == date(2024, 1, 3):
        raise KeyboardInterrupt
    return ("SELECT id, v FROM warehouse.events"
            " WHERE at >= CAST(:start AS date) AND at < CAST(:end AS date)")


stopped = pgflow.Pipeline("stopped", target=make("stopped"), mode="append", body=stopped)
"""


def test_an_interrupt_leaves_whole_steps(filled: Place, invoke: Invoke) -> None:
    """Ctrl-C ends with 130 between two steps, and says where it goes on."""
    filled.write(PIPELINES + INTERRUPTED)
    filled.create()
    ran = invoke("backfill", "stopped", *DAYS)
    assert (ran.code, ran.out) == (130, "stopped: 2 of 4 steps done: inserted 2, read 2\n")
    assert "nothing of the step in progress was written" in ran.err
    assert "Run the same command again to go on from 2024-01-03." in ran.err
    assert ids(filled, "stopped") == [1, 2]
