"""`pgflow sync` and `dry-run`: order, parameters, failures, exit codes, output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from pgflow.run.locks import lock_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Invoke, Place, Ran

BROKEN = """
def body(conn):
    return 1 / 0

broken = pgflow.Pipeline("broken", target=make("broken"), mode="merge", body=body)
last = pgflow.Pipeline("last", target=make("last"), mode="merge", source="SELECT 1 AS id, '' AS v")
"""

FAN = """
fan = pgflow.Pipeline(
    "fan", targets=[make("good"), make("bad"), make("never")], mode="merge",
    source="SELECT 1 AS id, '' AS v",
)
"""


def test_all_runs_readers_after_writers(ready: Place, invoke: Invoke) -> None:
    """--all syncs every pipeline of the project in an order that works, and ends with 0."""
    ran = invoke("sync", "--all")
    assert ran.code == 0
    assert ran.rows == [
        ["pipeline", "target", "mode", "status", "inserted", "updated", "closed", "deleted",
         "unchanged", "skipped", "read", "seconds"],
        ["raw", "warehouse.raw", "merge", "success", "3", "0", "0", "0", "0", "0", "3",
         ran.rows[1][-1]],
        ["report", "warehouse.report", "scd2", "success", "3", "0", "0", "0", "0", "0", "3",
         ran.rows[2][-1]],
    ]  # fmt: skip
    lines = ran.err.splitlines()
    assert [line.rpartition(" in ")[0] for line in lines] == [
        "raw -> warehouse.raw: inserted 3, read 3",
        "report -> warehouse.report: inserted 3, read 3",
    ]


def test_parameters_and_instant_reach_the_run(ready: Place, invoke: Invoke) -> None:
    """--param is read as the function annotates it, --effective-at is the run's instant."""
    assert invoke("sync", "raw", "-p", "amount=5").code == 0
    ran = invoke("sync", "report", "--effective-at", "2013-01-02T00:00:00+01:00", "--format",
                 "json")  # fmt: skip
    (result,) = ran.json
    assert (result["status"], result["inserted"]) == ("success", 5)
    assert result["targets"][0]["effective_at"] == "2013-01-02T00:00:00+01:00"
    assert ready.execute(
        "SELECT count(*), count(DISTINCT valid_from AT TIME ZONE 'UTC')::int,"
        " min(valid_from AT TIME ZONE 'UTC')::text FROM warehouse.report"
    ) == [(5, 1, "2013-01-01 23:00:00")]


def test_wrong_parameters_stop_everything_before_it_runs(place: Place, invoke: Invoke) -> None:
    """A pipeline that lacks its parameter keeps the others from running, too."""
    place.write(
        "def day(conn, *, day: int): return 'SELECT 1 AS id, NULL AS v'\n"
        'd = pgflow.Pipeline("daily", target=make("d"), mode="merge", body=day)\n'
    )
    place.create()
    ran = invoke("sync", "--all")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "pgflow: pipeline 'daily' needs day: sync(day=...), "
        "or --param day=VALUE on the command line.\n"
    )
    assert invoke("sync", "--all", "-p", "day=x").err == (
        "pgflow: parameter day='x' cannot be read as int.\n"
    )
    assert "no pipeline of this run has a parameter 'dy'" in invoke("sync", "raw", "-p", "dy=1").err
    assert place.execute("SELECT count(*) FROM pgflow.runs") == [(0,)]


def test_dry_run_counts_and_leaves_nothing(ready: Place, invoke: Invoke) -> None:
    """A dry run shows the counts of the next run; no row and no history stay."""
    ran = invoke("dry-run", "raw")
    assert ran.code == 0
    assert ran.rows[1][:6] == ["✓", "raw", "warehouse.raw", "merge", "success", "3"]
    assert ran.err.splitlines()[-1] == "dry run: everything was rolled back"
    assert ready.execute("SELECT count(*) FROM warehouse.raw") == [(0,)]
    assert ready.execute("SELECT count(*) FROM pgflow.runs") == [(0,)]


def test_dry_run_marks_each_target_and_tells_every_error(place: Place, invoke: Invoke) -> None:
    """All targets of all pipelines are tried; failed ones have their error, others their counts."""
    place.write(
        'fan = pgflow.Pipeline("fan", targets=[make("a"), make("b"), make("c")], mode="merge",'
        " source=\"SELECT 1 AS id, 'long' AS v\")\n"
        'late = pgflow.Pipeline("late", target=make("late"), mode="merge",'
        ' source="SELECT 1 AS id, NULL AS v")\n'
    )
    place.create()
    place.execute("ALTER TABLE warehouse.a ADD CONSTRAINT short_a CHECK (length(v) < 3)")
    place.execute("ALTER TABLE warehouse.c ADD CONSTRAINT short_c CHECK (length(v) < 3)")
    ran = invoke("dry-run", "fan", "late", "--debug")
    assert ran.code == 1
    assert ran.err.count("\npsycopg.errors.CheckViolation") == 2, "a traceback for each target"
    assert "\n  warehouse.c: could not " in ran.err
    assert [(row[0], row[2], row[4]) for row in ran.rows[1:]] == [
        ("✗", "warehouse.a", "failed"),
        ("✓", "warehouse.b", "success"),
        ("✗", "warehouse.c", "failed"),
        ("✓", "warehouse.late", "success"),
    ]
    assert ran.rows[2][5] == "1"
    lines = ran.out.splitlines()
    assert "short_a" in lines[1]
    assert "short_c" in lines[3]
    assert lines[2].endswith("  -")
    (fan, late) = invoke("dry-run", "fan", "late", "--format", "json").json
    assert [bool(target["error"]) for target in fan["targets"]] == [True, False, True]
    assert (fan["status"], late["status"]) == ("failed", "success")
    assert place.execute("SELECT count(*) FROM pgflow.runs") == [(0,)]


def test_a_failure_stops_the_rest_and_shows_the_users_line(place: Place, invoke: Invoke) -> None:
    """The error names pipeline and line; what ran before stays, what comes after does not run."""
    place.write(BROKEN)
    place.create()
    ran = invoke("sync", "raw", "broken", "last", "-j", "1")
    assert ran.code == 1
    assert [(row[0], row[3]) for row in ran.rows[1:3]] == [
        ("raw", "success"),
        ("broken", "failed"),
    ]
    assert ran.rows[3][:5] == ["last", "warehouse.last", "merge", "not", "run"]
    assert ran.err.splitlines()[-4] == "pgflow: broken: ZeroDivisionError: division by zero"
    line = "return 1 / 0"
    number = (place.directory / "pipelines.py").read_text().splitlines().index(f"    {line}") + 1
    assert ran.err.splitlines()[-3] == f"  at {place.directory}/pipelines.py:{number} `{line}`"
    assert ran.err.splitlines()[-1] == (
        "pgflow: last was not run: after a failure nothing more begins. --continue goes on with "
        "what does not depend on it."
    )
    assert "Traceback" not in ran.err


def test_continue_goes_on_after_a_failure(place: Place, invoke: Invoke) -> None:
    """--continue runs the rest, and the exit code still says that one failed."""
    place.write(BROKEN)
    place.create()
    ran = invoke("sync", "broken", "last", "--continue", "--format", "json")
    assert ran.code == 1
    assert [(each["pipeline"], each["status"]) for each in ran.json] == [
        ("broken", "failed"),
        ("last", "success"),
    ]
    (target,) = ran.json[0]["targets"]
    assert target["error"] == "ZeroDivisionError: division by zero"
    assert target["seconds"] >= 0
    assert target["run_id"] is not None, "the history has it"


def test_what_depends_on_a_failure_is_not_run_and_says_why(place: Place, invoke: Invoke) -> None:
    """With --continue, readers of what failed are left out, and every reason is told."""
    place.write(
        BROKEN + 'after = pgflow.Pipeline("after", targets=[make("after"), make("history")],'
        ' mode="merge", source_table="warehouse.broken")\n'
    )
    place.create()
    ran = invoke("sync", "after", "broken", "last", "--continue", "-j", "3")
    assert ran.code == 1
    assert [(row[0], row[3]) for row in ran.rows[1:]] == [
        ("broken", "failed"),
        ("after", "not"),
        ("after", "not"),
        ("last", "success"),
    ]
    assert ran.rows[2][:5] == ["after", "warehouse.after", "merge", "not", "run"]
    assert ran.rows[3][:5] == ["after", "warehouse.history", "merge", "not", "run"]
    assert ran.err.splitlines()[-1] == "pgflow: after was not run, because broken failed."
    told = invoke("sync", "after", "broken", "--continue", "--format", "json").json
    assert [(each["pipeline"], each["status"]) for each in told] == [
        ("broken", "failed"),
        ("after", "not run"),
    ]
    assert told[1]["because"] == "broken"


def test_results_stand_in_the_order_of_the_plan(place: Place, invoke: Invoke) -> None:
    """However long pipelines take, and however they are named, readers stand after writers."""
    place.write(
        'slow = pgflow.Pipeline("slow", target=make("slow"), mode="merge",'
        " source=\"SELECT 1 AS id, '' AS v FROM pg_sleep(0.3)\")\n"
        'quick = pgflow.Pipeline("quick", target=make("quick"), mode="merge",'
        " source=\"SELECT 1 AS id, '' AS v\")\n"
    )
    place.create()
    ran = invoke("sync", "report", "slow", "quick", "raw", "--workers", "4")
    assert ran.code == 0
    assert [row[0] for row in ran.rows[1:]] == ["raw", "report", "slow", "quick"]
    assert ran.err.splitlines()[-1].startswith("slow -> warehouse.slow: inserted 1")
    assert invoke("sync", "raw", "-j", "0").code == 2


def test_debug_shows_the_traceback(place: Place, invoke: Invoke) -> None:
    """--debug adds the whole traceback, before the sentence."""
    place.write(BROKEN)
    place.create()
    ran = invoke("sync", "broken", "--debug")
    assert "Traceback (most recent call last)" in ran.err
    assert ran.err.index("Traceback") < ran.err.index("pgflow: broken: ZeroDivisionError")


def test_several_targets_show_what_became_of_each(place: Place, invoke: Invoke) -> None:
    """A target that fails stops the targets after it; those before it are committed."""
    place.write(FAN)
    place.create()
    place.execute("ALTER TABLE warehouse.bad ADD CHECK (v <> '')")
    ran = invoke("sync", "fan")
    assert ran.code == 1
    shown = [(row[1], row[3]) for row in ran.rows[1:]]
    assert shown == [
        ("warehouse.good", "success"),
        ("warehouse.bad", "failed"),
        ("warehouse.never", "not"),
    ]
    assert "pgflow: pipeline 'fan' failed on warehouse.bad: could not " in ran.err, "named once"
    assert "violates check constraint" in ran.err
    assert place.execute("SELECT count(*) FROM warehouse.good") == [(1,)]
    runs = place.execute("SELECT run_id::text FROM pgflow.runs WHERE target = 'warehouse.bad'")
    again = invoke("sync", "fan", "--format", "json").json[0]["targets"]
    assert [(each["status"], each["run_id"] is None) for each in again] == [
        ("success", False),
        ("failed", False),
        ("not run", True),
    ]
    assert runs[0][0] != again[1]["run_id"]
    assert (again[1]["run_id"],) in place.execute("SELECT run_id::text FROM pgflow.runs")


def test_a_function_that_does_the_work_itself_is_shown(place: Place, invoke: Invoke) -> None:
    """What such a function returns is printed; there are no counts to show."""
    place.write(
        "def own(conn): return {'rows_affected': 7}\n"
        'o = pgflow.Pipeline("own", target=make("o"), mode="merge", body=own)\n'
    )
    place.create()
    ran = invoke("sync", "own")
    assert ran.code == 0, ran.err
    assert ran.rows[1][0] == "own"
    assert ran.out.splitlines()[-1] == "own returned rows_affected=7"
    assert invoke("sync", "own", "--format", "json").json[0]["returned"] == {"rows_affected": 7}


def test_missing_tables_end_with_1_and_the_way_out(place: Place, invoke: Invoke) -> None:
    """A database without the tables says how they are made."""
    ran = invoke("sync", "raw")
    assert ran.code == 1
    assert "the database has no table warehouse.raw" in ran.err
    assert "(connection 'default': postgresql database 'test_" in ran.err
    assert "alembic upgrade head" in ran.err


def test_a_module_that_fails_ends_with_3(place: Place, invoke: Invoke) -> None:
    """A broken module is told by its own line, and nothing runs."""
    place.write("nonsense\n")
    ran = invoke("sync", "--all")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("pgflow: module 'pipelines' cannot be imported: NameError: ")
    assert ran.err.splitlines()[-2].endswith("`nonsense`")


def test_a_connection_that_cannot_be_used_ends_with_3(place: Place, invoke: Invoke) -> None:
    """A server that does not answer and a name that is unknown are told without any password."""
    place.write(
        'p = pgflow.Pipeline("p", target=raw, mode="merge", source="SELECT 1", connection="x")\n'
    )
    unknown = invoke("sync", "p")
    assert unknown.code == 3
    assert "pgflow: p: No connection is called 'x'." in unknown.err
    settings = place.directory / "pgflow.toml"
    settings.write_text(
        settings.read_text() + '[connections.x]\ndsn = "postgresql://me:hidden@127.0.0.1:1/db"\n'
    )
    refused = invoke("sync", "p", "--debug")
    assert refused.code == 3
    assert (
        "pgflow: p: the database cannot be reached (connection 'x': postgresql database 'db' at "
        "127.0.0.1:1 as me): " in refused.err
    )
    assert "hidden" not in refused.err + refused.out
    dry = invoke("dry-run", "p")
    assert "dry run: no run could begin, so there was nothing to roll back\n" in dry.err
    assert "everything was rolled back" not in dry.err


def test_words_choose_and_exclude(ready: Place, invoke: Invoke) -> None:
    """What depends on a name comes along, also for previews; nothing left is no error."""
    assert [row[0] for row in invoke("sync", "raw+").rows[1:]] == ["raw", "report"]
    assert [row[0] for row in invoke("sync", "--all", "-x", "tag:nightly").rows[1:]] == ["raw"]
    told = invoke("preview", "+report", "--exclude", "report", "--format", "json").json
    assert [each["pipeline"] for each in told] == ["raw"]
    ran = invoke("sync", "state:failed")
    assert (ran.code, ran.out, ran.err) == (
        0,
        "",
        "nothing to run: no pipeline fits what you asked for.\n",
    )
    assert invoke("sync", "state:failed", "--format", "json").json == []
    assert invoke("sync", "state:never", "-p", "amount=3").code == 0
    assert invoke("sync", "raw", "--exclude", "rw").code == 2


def test_an_unknown_name_ends_with_2(place: Place, invoke: Invoke) -> None:
    """A name that no pipeline has runs nothing, not even the names that are right."""
    ran = invoke("sync", "raw", "rep")
    assert (ran.code, ran.out) == (2, "")
    assert "there is no pipeline 'rep'" in ran.err


def test_who_holds_the_target_is_told_while_waiting(ready: Place, invoke: Invoke) -> None:
    """A run that waits for another says for whom; when the lock is never free it fails with 1."""
    ready.write(
        "from datetime import timedelta\n"
        'p = pgflow.Pipeline("p", target=make("held"), mode="merge",'
        ' source="SELECT 1 AS id, NULL AS v", lock_timeout=timedelta(milliseconds=50))\n'
    )
    ready.create()
    with psycopg.connect(ready.database.replace("+psycopg", "")) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [lock_key("target warehouse.held")])
        ran = invoke("sync", "p")
        pid = other.info.backend_pid
    assert ran.code == 1
    assert ran.err.splitlines()[0] == (f"p -> warehouse.held: waiting for server process {pid}")
    assert f"warehouse.held is held by server process {pid}, longer than lock_timeout" in ran.err


def test_a_warning_is_told_once(ready: Place, execute: Callable[..., Ran]) -> None:
    """The log record of it is nobody's, as long as nothing configures logging."""
    ready.write(
        "from pgflow.checks import NotNull\n"
        'p = pgflow.Pipeline("p", target=raw, mode="merge", source="SELECT 1 AS id, NULL AS v",'
        ' checks=[NotNull("v", severity="warning")])\n'
    )
    ran = execute("sync", "p")
    assert ran.code == 0
    assert (ran.out + ran.err).count("v not null") == 1
