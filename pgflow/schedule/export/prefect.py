"""Prefect: one flow for each schedule, one task for each pipeline, deployed by `serve`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pgflow.declare.schedule import Schedule
from pgflow.errors import CannotExport
from pgflow.schedule.export.clocks import irregular, steady
from pgflow.schedule.export.definitions import Definition, Place, groups, title
from pgflow.schedule.patience import wait

_HEAD = '''"""Flows of a pgflow project, written by `pgflow export prefect`.

`python pgflow_flows.py` serves them: it deploys their schedules and runs them. Each task runs one
firing of one pipeline, unless the history says that it was run.
"""

import os
import shlex
import subprocess
from pathlib import Path

from prefect import flow, serve, task
from prefect.runtime import flow_run
from prefect.schedules import Cron

#: The directory of pgflow.toml, where flows run.
PROJECT = os.environ.get("PGFLOW_PROJECT") or str(Path(__file__).resolve().parents[{depth}])

#: How pgflow is called there, and the words that run one firing of one pipeline.
PGFLOW = shlex.split(os.environ.get("PGFLOW_COMMAND") or "pgflow")
COMMAND = [*PGFLOW, {words}]


def run_firing(pipeline):
    """Run the firing of the flow's instant; what pgflow says goes to the log of the task."""
    # Who runs a flow by hand chooses any instant.
    firing = ["--firing", flow_run.scheduled_start_time.isoformat(), "--off-schedule"]
    words = [*COMMAND, *firing, "--", pipeline]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(words, cwd=PROJECT, **pipes) as process:
        for line in process.stdout:
            print(line.rstrip())
    if process.returncode:
        raise RuntimeError(f"pgflow ended with exit code {process.returncode}")
'''

_FLOW = '''

@flow(name={title}, log_prints=True)
def {function}():
    """Run the pipelines of the schedule {schedule}."""
    runs = {{}}
'''

_TASK = """    runs[{label}] = task(
        run_firing, name={label}, retries={retries}, retry_delay_seconds={delays}
    ).submit({pipeline}, wait_for=[{after}])
"""

_WAIT = """    for run in runs.values():
        run.result()
"""

_SERVE = """

if __name__ == "__main__":
    serve(
{deployments}    )
"""

_DEPLOYMENT = """        {function}.to_deployment(
            {title}, schedule=Cron({cron}, timezone={timezone}), concurrency_limit=1
        ),
"""


#: How many waits Prefect takes; the last one holds for what comes after.
_WAITS = 50


def prefect(given: Sequence[Definition], place: Place) -> Mapping[str, str]:
    """Write flows.

    Args:
        given: The pipelines.
        place: Where the project is.

    Returns:
        Texts of files by name.

    Raises:
        CannotExport: Prefect would leave out firings of a schedule when the clocks change.
    """
    words = ", ".join(_word(each) for each in place.words("run-due"))
    parts = [_HEAD.replace("{depth}", str(place.depth)).replace("{words}", words)]
    deployments = []
    for number, group in enumerate(groups(given), 1):
        schedule, name = _sayable(group[0]), title(group)
        function = f"flow_{number}"
        parts.append(
            _FLOW.format(title=_word(name), function=function, schedule=_plain(str(schedule)))
        )
        parts += [_task(each) for each in group]
        parts.append(_WAIT)
        deployments.append(
            _DEPLOYMENT.format(
                function=function,
                title=_word(name),
                cron=_word(schedule.cron),
                timezone=_word(schedule.timezone),
            )
        )
    parts.append(_SERVE.replace("{deployments}", "".join(deployments)))
    return {"pgflow_flows.py": "".join(parts)}


def _sayable(each: Definition) -> Schedule:
    """Return a schedule by which Prefect fires as often as pgflow does."""
    schedule = steady(each.schedule)
    if any(instant.fold for instant in irregular(schedule)):
        raise CannotExport(
            f"pipeline {each.name!r}: its schedule {each.schedule} fires every hour, and Prefect "
            "leaves out the second of two that the clocks show alike. Give it timezone='UTC', or "
            "fewer hours.",
            pipeline=each.name,
        )
    return schedule


def _task(each: Definition) -> str:
    retries = each.schedule.retries
    return _TASK.format(
        label=_word(each.label),
        retries=retries,
        delays=[wait(each.schedule, tried) for tried in range(min(retries, _WAITS) or 1)],
        pipeline=_word(each.name),
        after=", ".join(f"runs[{_word(label)}]" for label in each.after),
    )


def _word(text: str) -> str:
    """Write text as Python reads it, in double quotes."""
    return json.dumps(text, ensure_ascii=True)


def _plain(text: str) -> str:
    return text.replace("\\", "/").replace('"', "'")
