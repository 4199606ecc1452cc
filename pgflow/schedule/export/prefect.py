"""Prefect: one flow for each schedule, one task for each pipeline, deployed by `serve`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pgflow.schedule.export.definitions import Definition, Place, groups, title

_HEAD = '''"""Flows of a pgflow project, written by `pgflow export prefect`.

`python pgflow_flows.py` serves them: it deploys their schedules and runs them. Each task runs one
firing of one pipeline, unless the history says that it was run.
"""

import subprocess

from prefect import flow, serve, task
from prefect.runtime import flow_run
from prefect.schedules import Cron

#: The directory of pgflow.toml on the machine that runs flows.
PROJECT = {directory}

#: The command that runs one firing of one pipeline.
COMMAND = {command}


def run_firing(pipeline):
    """Run the firing of the flow's instant."""
    instant = flow_run.scheduled_start_time.isoformat()
    subprocess.run([*COMMAND, "--firing", instant, "--", pipeline], cwd=PROJECT, check=True)
'''

_FLOW = '''

@flow(name={title}, log_prints=True)
def {function}():
    """Run the pipelines of the schedule {schedule}."""
    runs = {{}}
'''

_TASK = """    runs[{label}] = task(
        run_firing, name={label}, retries={retries}, retry_delay_seconds={delay}
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


def prefect(given: Sequence[Definition], place: Place) -> Mapping[str, str]:
    """Write flows.

    Args:
        given: The pipelines.
        place: Where the project is.

    Returns:
        Texts of files by name.
    """
    command = json.dumps(list(place.words("run-due")))
    head = _HEAD.replace("{directory}", _word(str(place.directory))).replace("{command}", command)
    parts = [head]
    deployments = []
    together = groups(given)
    for number, group in enumerate(together, 1):
        schedule, name = group[0].schedule, title(group, number, len(together))
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


def _task(each: Definition) -> str:
    return _TASK.format(
        label=_word(each.label),
        retries=each.schedule.retries,
        delay=each.schedule.retry_delay.total_seconds(),
        pipeline=_word(each.name),
        after=", ".join(f"runs[{_word(label)}]" for label in each.after),
    )


def _word(text: str) -> str:
    """Write text as Python reads it, in double quotes."""
    return json.dumps(text, ensure_ascii=True)


def _plain(text: str) -> str:
    return text.replace("\\", "/").replace('"', "'")
