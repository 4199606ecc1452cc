"""Schedules as Airflow, Prefect and systemd read them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, MetaData

import pgflow
from pgflow.errors import CannotExport, NotScheduled
from pgflow.plugins import ColumnPKPlugin
from pgflow.schedule.calendar import Calendar
from pgflow.schedule.export.airflow import airflow
from pgflow.schedule.export.definitions import Definition, Place, definitions, groups
from pgflow.schedule.export.prefect import prefect
from pgflow.schedule.export.systemd import calendar_events, systemd

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)

PLACE = Place(
    Path("/srv/ware house"), "/srv/venv/bin/pgflow", ("sales.py",), Path("/srv/ware house/x"), BEGIN
)

DAILY = pgflow.Schedule("0 6 * * *", timezone="Europe/Vienna", catch_up="all", retries=5)


@pytest.fixture
def pipelines() -> list[pgflow.Pipeline]:
    """`raw`, then `report` which reads what it writes, both daily; `hourly`; and one by hand."""
    metadata = MetaData()

    def make(name: str, source: str, **options: Any) -> pgflow.Pipeline:
        key = ColumnPKPlugin(Column("id", BigInteger))
        table = pgflow.SimpleTable(name, "w", metadata, [], plugins=[key])
        return pgflow.Pipeline(name, target=table, source=source, mode="append", **options)

    return [
        make("raw", "SELECT 1 AS id", schedule=DAILY),
        make("report", "SELECT id FROM w.raw", schedule=DAILY),
        make("hourly", "SELECT id FROM w.raw", schedule="0 * * * *"),
        make("by hand", "SELECT 1 AS id"),
    ]


def one(schedule: pgflow.Schedule, name: str = "p") -> Definition:
    """A definition that stands alone."""
    return Definition(name, "p", schedule, (), "")


def run_as(path: Path, text: str, name: str = "dags") -> None:
    """Run an exported file, as if it were at a path."""
    exec(compile(text, str(path), "exec"), {"__name__": name, "__file__": str(path)})


# -- definitions ------------------------------------------------------------------------


def test_who_is_read_comes_before_who_reads_where_the_schedule_is_the_same(
    pipelines: list[pgflow.Pipeline],
) -> None:
    """Dependencies are kept within one schedule; pipelines without one are left out."""
    found = {each.name: each for each in definitions(pipelines)}
    assert list(found) == ["raw", "report", "hourly"]
    assert found["report"].after == ("raw",)
    assert found["hourly"].after == ()
    assert [len(group) for group in groups(found.values())] == [2, 1]


def test_names_that_become_one_are_refused(pipelines: list[pgflow.Pipeline]) -> None:
    """Two pipelines whose names differ in signs that units may not have are not mixed up."""
    metadata = MetaData()
    twins = []
    for name in ("a b", "a/b"):
        table = pgflow.SimpleTable(name, "w", metadata, [])
        source = "SELECT 1 AS id"
        twins.append(
            pgflow.Pipeline(name, target=table, source=source, mode="append", schedule="0 * * * *")
        )
    with pytest.raises(CannotExport, match="pipelines 'a b' and 'a/b' would both be called 'a_b'"):
        definitions(twins)


def test_a_project_without_schedules_is_refused(pipelines: list[pgflow.Pipeline]) -> None:
    """Nothing to export is an error that says what to write."""
    with pytest.raises(NotScheduled, match="pipeline 'by hand' has no schedule."):
        definitions(pipelines[3:])


def test_parameters_that_no_schedule_gives_are_refused() -> None:
    """A pipeline that needs a parameter cannot run by itself."""

    def body(*, day: str) -> str:
        return "SELECT 1 AS id"

    table = pgflow.SimpleTable("t", "w", MetaData(), [])
    pipeline = pgflow.Pipeline("t", target=table, body=body, mode="append", schedule="0 * * * *")
    with pytest.raises(pgflow.PgflowError, match="'t', which runs by its schedule, needs day"):
        definitions([pipeline])


# -- Airflow ----------------------------------------------------------------------------


#: The instant of a firing, in the words of Airflow.
LOGICAL = "{{ (logical_date | default(none) or dag_run.run_after).isoformat() }}"


class Dag:
    """Stands in for Airflow's: keeps what it was given."""

    made: list[Any]

    def __init__(self, **given: Any) -> None:
        self.given, self.tasks, self.order = given, {}, []
        Dag.made.append(self)

    def __enter__(self) -> Dag:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Task:
    """Stands in for a BashOperator."""

    def __init__(self, **given: Any) -> None:
        self.given, self.dag = given, Dag.made[-1]
        self.dag.tasks[given["task_id"]] = self

    def __rshift__(self, other: Task) -> None:
        self.dag.order.append((self.given["task_id"], other.given["task_id"]))


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts modules in the place of packages that are not installed, and takes variables away."""
    for variable in ("PGFLOW_PROJECT", "PGFLOW_COMMAND"):
        monkeypatch.delenv(variable, raising=False)

    def put(**named: dict[str, Any]) -> None:
        for name, members in named.items():
            module = ModuleType(name)
            vars(module).update(members)
            monkeypatch.setitem(sys.modules, name.replace("__", "."), module)

    return put


def test_airflow_gets_a_dag_for_each_schedule(
    pipelines: list[pgflow.Pipeline], modules: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DAGs have the schedule, its zone, its catch-up, its retries, and the order of pipelines."""
    Dag.made = []
    modules(
        airflow={},
        airflow__sdk={"DAG": Dag},
        airflow__timetables={},
        airflow__timetables__trigger={"CronTriggerTimetable": lambda *a, **k: (a, k)},
        airflow__providers={},
        airflow__providers__standard={},
        airflow__providers__standard__operators={},
        airflow__providers__standard__operators__bash={"BashOperator": Task},
    )
    files = airflow(definitions(pipelines), PLACE)
    run_as(Path("/elsewhere/x/pgflow_dags.py"), files["pgflow_dags.py"])
    daily, hourly = Dag.made
    assert daily.given["dag_id"] == "pgflow_0_6_x_x_x_Europe-Vienna_all"
    assert daily.given["start_date"] == BEGIN
    assert daily.given["schedule"] == (("0 6 * * *",), {"timezone": "Europe/Vienna"})
    assert daily.given["catchup"] is True
    assert daily.order == [("raw", "report")]
    task = daily.tasks["report"].given
    assert (task["retries"], task["retry_delay"]) == (5, timedelta(seconds=10))
    assert task["max_retry_delay"] == timedelta(hours=1)
    assert task["cwd"] == "/elsewhere"
    assert (
        task["bash_command"]
        == f"pgflow run-due --module=sales.py --firing={LOGICAL} --off-schedule -- report "
    )
    assert hourly.given["dag_id"] == "pgflow_0_x_x_x_x"
    assert hourly.given["catchup"] is False
    monkeypatch.setenv("PGFLOW_PROJECT", "/there")
    monkeypatch.setenv("PGFLOW_COMMAND", "/venv/bin/pgflow")
    run_as(Path("/elsewhere/x/pgflow_dags.py"), files["pgflow_dags.py"])
    task = Dag.made[-1].tasks["hourly"].given
    assert task["cwd"] == "/there"
    assert task["bash_command"].startswith("/venv/bin/pgflow run-due ")


def test_names_with_the_signs_of_templates_reach_airflow_as_they_are() -> None:
    """A brace in a name is not read by the templates of Airflow."""
    text = airflow([one(pgflow.Schedule("0 * * * *"), "a {{ b }} %}")], PLACE)["pgflow_dags.py"]
    line = next(line for line in text.splitlines() if "bash_command" in line)
    command = eval(line.partition("+")[2].rstrip(","))
    rendered = command.replace(LOGICAL, "NOW").replace("{{ '{' }}", "{").replace("{{ '%' }}", "%")
    assert rendered.endswith("--firing=NOW --off-schedule -- 'a {{ b }} %}' ")
    assert "{{ b" not in command


# -- Prefect ----------------------------------------------------------------------------


def test_prefect_gets_a_flow_for_each_schedule(
    pipelines: list[pgflow.Pipeline],
    modules: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Flows run one command for each pipeline, in order, with the instant of their schedule."""
    served: list[Any] = []
    called: list[Any] = []

    waits: list[list[float]] = []

    def task(function: Any, **given: Any) -> Any:
        waits.append(given["retry_delay_seconds"])

        def submit(*words: Any, wait_for: list[Any]) -> Any:
            function(*words)
            return SimpleNamespace(given=given, after=wait_for, result=lambda: None)

        return SimpleNamespace(submit=submit)

    def flow(**given: Any) -> Any:
        def decorate(function: Any) -> Any:
            deploy = lambda name, **more: (name, more, function)  # noqa: E731
            return SimpleNamespace(to_deployment=deploy)

        return decorate

    class Process(SimpleNamespace):
        stdout, returncode = ("it says\n",), 0

        def __init__(self, words: list[str], **more: Any) -> None:
            called.append((words, more["cwd"]))

        def __enter__(self) -> Process:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    instant = datetime(2026, 3, 1, 5, tzinfo=UTC)
    modules(
        prefect={"flow": flow, "serve": lambda *all_: served.extend(all_), "task": task},
        prefect__runtime={"flow_run": SimpleNamespace(scheduled_start_time=instant)},
        prefect__schedules={"Cron": lambda *a, **k: (a, k)},
    )
    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setenv("PGFLOW_COMMAND", "uv run pgflow")
    text = prefect(definitions(pipelines), PLACE)["pgflow_flows.py"]
    run_as(Path("/elsewhere/x/pgflow_flows.py"), text, "__main__")
    (name, more, function), hourly = served
    assert (name, hourly[0]) == ("pgflow_0_6_x_x_x_Europe-Vienna_all", "pgflow_0_x_x_x_x")
    assert more["schedule"] == (("0 6 * * *",), {"timezone": "Europe/Vienna"})
    function()
    words, directory = called[1]
    assert words == [
        "uv", "run", "pgflow", "run-due", "--module=sales.py",
        "--firing", "2026-03-01T05:00:00+00:00", "--off-schedule", "--", "report",
    ]  # fmt: skip
    assert directory == "/elsewhere"
    assert waits[1] == [10, 20, 40, 80, 160]
    assert capsys.readouterr().out == "it says\n" * 2
    Process.returncode = 3
    with pytest.raises(RuntimeError, match="exit code 3"):
        function()


def test_files_outside_the_project_name_no_directory_of_this_machine(
    pipelines: list[pgflow.Pipeline],
) -> None:
    """Written elsewhere, they take their own directory unless a variable says another one."""
    place = Place(Path("/srv/ware house"), "/srv/venv/bin/pgflow", (), Path("/opt/dags"), BEGIN)
    for write in (airflow, prefect):
        (text,) = write(definitions(pipelines), place).values()
        assert "str(Path(__file__).resolve().parents[0])" in text
        assert "/srv" not in text


def test_prefect_gets_every_hour_in_utc_where_clocks_repeat_one() -> None:
    """Prefect leaves out the second of two repeated hours, so it is not told of that zone."""

    def told(cron: str) -> str:
        schedule = pgflow.Schedule(cron, timezone="Europe/Vienna")
        return prefect([one(schedule)], PLACE)["pgflow_flows.py"]

    assert 'Cron("*/30 * * * *", timezone="UTC")' in told("*/30 * * * *")
    assert 'Cron("0 * * * 1-5", timezone="Europe/Vienna")' in told("0 * * * 1-5")
    with pytest.raises(CannotExport, match="pipeline 'p': its schedule .* Give it timezone='UTC'"):
        told("0 * * * 0")


# -- systemd ----------------------------------------------------------------------------

EVENTS = [
    ("0 6 * * *", ["*-*-* 06:00:00 UTC"]),
    ("*/15 8-9 * * 1-5", ["Mon,Tue,Wed,Thu,Fri *-*-* 08,09:00,15,30,45:00 UTC"]),
    ("30 * 1 */3 *", ["*-01,04,07,10-01 *:30:00 UTC"]),
    ("0 0 13 * 5", ["*-*-13 00:00:00 UTC", "Fri *-*-* 00:00:00 UTC"]),
    ("5 4 * * 0,7", ["Sun *-*-* 04:05:00 UTC"]),
    ("* * * * *", ["*-*-* *:*:00 UTC"]),
]


@pytest.mark.parametrize("cron, events", EVENTS)
def test_cron_becomes_calendar_events(cron: str, events: list[str]) -> None:
    """A cron expression is said exactly; where either of two days is enough, in two events."""
    assert list(calendar_events(one(pgflow.Schedule(cron)))) == events


@pytest.mark.parametrize(
    "cron, events",
    [
        ("*/30 * * * *", ["*-*-* *:00,30:00 UTC"]),
        ("30 2 * * *", ["*-*-* 02:30:00 Europe/Vienna", "*-03-* 01:00:00 UTC"]),
        ("0 3 * * *", ["*-*-* 03:00:00 Europe/Vienna"]),
        ("0 * * * 0", ["Sun *-*-* *:00:00 Europe/Vienna", "*-10-* 01:00:00 UTC"]),
    ],
)
def test_systemd_looks_also_when_clocks_change(cron: str, events: list[str]) -> None:
    """What systemd does not see in skipped and repeated hours gets a look of its own."""
    schedule = pgflow.Schedule(cron, timezone="Europe/Vienna")
    assert list(calendar_events(one(schedule))) == events


@pytest.mark.parametrize("cron", ["0 0 L * *", "0 0 * * 5#2", "0 0 * * L5"])
def test_what_systemd_cannot_say_is_refused(cron: str) -> None:
    """A last or an n-th day is refused by name, not said wrong."""
    with pytest.raises(CannotExport, match=re.escape(f"pipeline 'p': its schedule '{cron}' means")):
        calendar_events(one(pgflow.Schedule(cron)))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("cron", [cron for cron, _ in EVENTS])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_systemd_elapses_when_the_schedule_fires(cron: str, zone: str) -> None:
    """What systemd itself makes of the events is when pgflow's own calendar fires."""
    schedule = pgflow.Schedule(cron, timezone=zone)
    begin = datetime(2026, 6, 1, 10, 7, tzinfo=UTC)
    elapses: set[datetime] = set()
    for event in calendar_events(one(schedule)):
        told = subprocess.run(
            [
                "systemd-analyze", "calendar", event, "--iterations=8",
                f"--base-time={begin:%F %T} UTC",
            ],
            capture_output=True, text=True, check=True, env={"TZ": "UTC", "LC_ALL": "C"},
        ).stdout  # fmt: skip
        when = re.findall(r"(?:Next elapse|Iter. #\d+): \w+ (.*) UTC", told)
        elapses |= {datetime.fromisoformat(each).replace(tzinfo=UTC) for each in when}
    assert len(elapses) >= 8
    firings = Calendar(schedule).between(begin, sorted(elapses)[7])
    assert list(firings) == sorted(elapses)[:8]


def test_systemd_gets_a_timer_and_a_service_for_each_pipeline(
    pipelines: list[pgflow.Pipeline],
) -> None:
    """Units run `run-due`, in the project's directory, after those that they read from."""
    files = systemd(definitions(pipelines), PLACE)
    assert sorted(files) == sorted(
        f"pgflow-{name}.{kind}" for name in ("raw", "report", "hourly")
        for kind in ("timer", "service")
    )  # fmt: skip
    service = files["pgflow-report.service"].splitlines()
    assert "WorkingDirectory=/srv/ware house" in service
    assert "Wants=pgflow-raw.service" in service
    assert "After=pgflow-raw.service" in service
    assert (
        'ExecStart="/srv/venv/bin/pgflow" "run-due" "--module=sales.py" "--retry" "--" "report"'
        in service
    )
    assert "OnCalendar=*-*-* 06:00:00 Europe/Vienna" in files["pgflow-report.timer"].splitlines()
