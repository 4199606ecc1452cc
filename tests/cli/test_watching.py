"""What `observers` and `on_failure` in `pgflow.toml` do for the runs of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgflow.errors import MalformedSettings, ModuleFailed
from pgflow.project import Project, sync_all

if TYPE_CHECKING:
    from conftest import Invoke, Place

WATCH = """
from pathlib import Path
from pgflow.run.events import Silence


class Ends(Silence):
    made = 0

    def __init__(self):
        Ends.made += 1

    def finished(self, run, result):
        with open("ends.txt", "a") as file:
            file.write(f"{run.pipeline} {result.status} {Ends.made}\\n")

    def refused(self, pipeline, result):
        with open("ends.txt", "a") as file:
            file.write(f"{pipeline} refused\\n")


def make():
    return Ends()


def failed(failure):
    with open("failed.txt", "a") as file:
        file.write(f"{failure.pipeline} {failure.run_id is not None}\\n")


async def waits(failure):
    pass


def takes(failure, more):
    pass


number = 3
"""


def settle(place: Place, lines: str) -> None:
    """Put lines above the sections of `pgflow.toml`, and write the module that they name."""
    path = place.directory / "pgflow.toml"
    path.write_text(f"{lines}\n{path.read_text()}")
    (place.directory / "watch.py").write_text(WATCH)


def lines(place: Place, name: str) -> list[str]:
    """The lines of a file, none if it is not there."""
    path = place.directory / name
    return path.read_text().splitlines() if path.exists() else []


def refuse(place: Place) -> None:
    """Let writes to the raw table fail."""
    place.execute("ALTER TABLE warehouse.raw ADD CHECK (id < 0) NOT VALID")


def test_every_run_of_the_command_line_is_watched(ready: Place, invoke: Invoke) -> None:
    """Observers are made once a project, and hear of every pipeline; so does the hook."""
    settle(ready, 'observers = ["watch:make"]\non_failure = "watch:failed"')
    assert invoke("sync", "raw", "report").code == 0
    assert sorted(lines(ready, "ends.txt")) == ["raw success 1", "report success 1"]
    assert lines(ready, "failed.txt") == []
    refuse(ready)
    assert invoke("sync", "raw", "-p", "amount=9").code == 1
    assert lines(ready, "ends.txt")[2].startswith("raw failed")
    assert lines(ready, "failed.txt") == ["raw True"]
    assert invoke("dry-run", "raw", "-p", "amount=9").code == 1
    assert lines(ready, "failed.txt") == ["raw True"], "a rehearsal alarms nobody"


def test_sync_all_is_watched(ready: Place) -> None:
    """What a script starts is a run of the project like any other."""
    settle(ready, 'observers = ["watch:Ends"]\non_failure = "watch:failed"')
    sync_all()
    assert sorted(line.split()[0] for line in lines(ready, "ends.txt")) == ["raw", "report"]


def test_a_database_that_is_down_alarms_too(ready: Place, invoke: Invoke) -> None:
    """A run that could not even begin reaches observers and hook."""
    settle(ready, 'observers = ["watch:make"]\non_failure = "watch:failed"')
    path = ready.directory / "pgflow.toml"
    path.write_text(path.read_text().replace(ready.database, "postgresql://me@127.0.0.1:1/db"))
    assert invoke("sync", "raw").code == 3
    assert lines(ready, "ends.txt") == ["raw refused"]
    assert lines(ready, "failed.txt") == ["raw False"]


def test_what_is_broken_in_them_is_seen_on_standard_error(ready: Place, execute: Any) -> None:
    """Nobody has to configure logging to learn that nobody watches; the run is as it would be."""
    settle(ready, 'observers = ["watch:Broken"]\non_failure = "watch:broken"')
    (ready.directory / "watch.py").write_text(
        "from pgflow.run.events import Silence\n"
        "class Broken(Silence):\n"
        "    def finished(self, run, result):\n"
        "        raise ValueError('my observer')\n"
        "def broken(failure):\n"
        "    raise ValueError('my hook')\n"
    )
    ran = execute("sync", "raw")
    assert ran.code == 0
    assert "raised in finished()" in ran.err
    assert "ValueError: my observer" in ran.err
    refuse(ready)
    ran = execute("sync", "raw", "-p", "amount=9")
    assert ran.code == 1
    assert "violates check constraint" in ran.err
    assert "ValueError: my hook" in ran.err
    assert "watch.py:6 `raise ValueError('my hook')`\n  --debug shows the traceback" in ran.err
    assert "Traceback" not in ran.err
    assert "Traceback" in execute("sync", "raw", "-p", "amount=9", "--debug").err


def test_a_firing_alarms_when_it_is_given_up(ready: Place, invoke: Invoke) -> None:
    """As long as its schedule lets it be tried again, nobody is woken."""
    settle(ready, 'on_failure = "watch:failed"')
    ready.write(
        "from datetime import timedelta\n"
        'often = pgflow.Schedule("0 0 1 1 *", retries=2, retry_delay=timedelta(0))\n'
        'p = pgflow.Pipeline("p", target=raw, mode="merge", schedule=often,'
        ' source="SELECT NULL AS id, NULL AS v")\n'
    )
    assert invoke("run-due", "p", "--retry").code == 1
    assert ready.execute("SELECT count(*) FROM pgflow.runs") == [(3,)]
    assert lines(ready, "failed.txt") == ["p True"]


def test_what_only_looks_loads_no_observer(ready: Place, invoke: Invoke) -> None:
    """Listing and previewing do without what watches runs."""
    settle(ready, 'observers = ["watch:Ends"]\non_failure = "watch:failed"')
    (ready.directory / "watch.py").write_text("raise ValueError('loaded')")
    assert invoke("list").code == 0
    assert invoke("preview", "raw").code == 0
    ran = invoke("sync", "raw")
    assert (ran.code, ran.out.count("success")) == (3, 0)
    assert "module 'watch' cannot be imported: ValueError: loaded" in ran.err
    assert ready.execute("SELECT count(*) FROM pgflow.runs") == [(0,)]


@pytest.mark.parametrize(
    "line",
    [
        'observers = "watch:Ends"',
        'observers = ["watch"]',
        'observers = ["watch:no name"]',
        "observers = [3]",
        'on_failure = "watch"',
        'on_failure = ["watch:failed"]',
        'on_failure = ":failed"',
        'on_failure = "watch.failed"',
    ],
)
def test_a_line_of_the_wrong_shape_is_refused(ready: Place, line: str) -> None:
    """The project is not loaded with it, so that nobody believes to be watched."""
    settle(ready, line)
    with pytest.raises(MalformedSettings, match=r"pgflow\.toml: (observers|on_failure) is no"):
        Project.load()


@pytest.mark.parametrize(
    "line, what",
    [
        ('observers = ["watch:Emds"]', r"watch has no 'Emds'\. Did you mean 'Ends'\?"),
        ('observers = ["watch:number"]', "gives 3, and that is no observer"),
        ('observers = ["watch:failed"]', "cannot be called without arguments"),
        ('on_failure = "watch:takes"', r"takes\(failure, more\) cannot be called with the failure"),
        ('on_failure = "watch:fail"', r"watch has no 'fail'\. Did you mean 'failed'\?"),
        ('on_failure = "watch:number"', "on_failure=3 is no function"),
        ('on_failure = "watch:waits"', "waits is async, and nobody would await it"),
    ],
)
def test_what_cannot_watch_is_refused_before_a_run(ready: Place, line: str, what: str) -> None:
    """The first run says what is wrong, and nothing is written."""
    settle(ready, line)
    with pytest.raises(MalformedSettings, match=what):
        Project.load().pipeline("raw").sync()
    assert ready.execute("SELECT count(*) FROM pgflow.runs") == [(0,)]


def test_a_module_that_is_not_there_is_refused(ready: Place) -> None:
    """The error names the module and where it was looked for."""
    settle(ready, 'on_failure = "nowhere:failed"')
    said = r"pgflow\.toml: on_failure names 'nowhere:failed', but there is no module 'nowhere'"
    with pytest.raises(ModuleFailed, match=said):
        Project.load().pipeline("raw").sync()
    path = ready.directory / "pgflow.toml"
    path.write_text(path.read_text().replace("on_failure", "on_failur"))
    with pytest.raises(MalformedSettings, match="'on_failur' is no .* Did you mean 'on_failure'?"):
        Project.load()
