"""Airflow: one file of DAGs, one DAG for each schedule, one task for each pipeline."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence

from pgflow.schedule.export.definitions import Definition, Place, groups, title
from pgflow.schedule.patience import LONGEST, wait

_HEAD = '''"""DAGs of a pgflow project, written by `pgflow export airflow`.

Each task runs one firing of one pipeline, unless the history says that it was run: clearing a task
does no harm. Connections are looked up where the tasks run, as pgflow does anywhere.
"""

import os
from datetime import datetime, timedelta
from pathlib import Path

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG
from airflow.timetables.trigger import CronTriggerTimetable

try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:  # Airflow 2
    from airflow.operators.bash import BashOperator

#: The directory of pgflow.toml, where tasks run.
PROJECT = os.environ.get("PGFLOW_PROJECT") or str(Path(__file__).resolve().parents[{depth}])

#: How a shell calls pgflow there.
PGFLOW = os.environ.get("PGFLOW_COMMAND") or "pgflow"

#: What fired before is not made up for. It stays when this file is written again.
BEGIN = datetime.fromisoformat("{begin}")
'''

_DAG = """
with DAG(
    dag_id={dag},
    schedule=CronTriggerTimetable({cron}, timezone={timezone}),
    start_date=BEGIN,
    catchup={catchup},
    max_active_runs=1,
    tags=["pgflow"],
):
    tasks = {{}}
"""

_TASK = """    tasks[{label}] = BashOperator(
        task_id={label},
        bash_command=PGFLOW + {command},
        cwd=PROJECT,
        append_env=True,
        retries={retries},
        retry_delay=timedelta(seconds={delay}),
        retry_exponential_backoff=True,
        max_retry_delay=timedelta(seconds={longest}),
        doc={doc},
    )
"""

_ORDER = "    tasks[{before}] >> tasks[{after}]\n"


def airflow(given: Sequence[Definition], place: Place) -> Mapping[str, str]:
    """Write DAGs.

    Args:
        given: The pipelines.
        place: Where the project is.

    Returns:
        Texts of files by name.
    """
    begin = place.begin.isoformat(timespec="seconds")
    parts = [_HEAD.replace("{depth}", str(place.depth)).replace("{begin}", begin)]
    for group in groups(given):
        schedule = group[0].schedule
        parts.append(
            _DAG.format(
                dag=_word(title(group)),
                cron=_word(schedule.cron),
                timezone=_word(schedule.timezone),
                catchup=schedule.catch_up == "all",
            )
        )
        parts += [_task(each, place) for each in group]
        parts += [
            _ORDER.format(before=_word(before), after=_word(each.label))
            for each in group
            for before in each.after
        ]
    return {"pgflow_dags.py": "".join(parts)}


def _task(each: Definition, place: Place) -> str:
    # Who triggers a DAG by hand chooses any instant.
    firing = (f"--firing={_INSTANT}", "--off-schedule")
    words = shlex.join(place.words("run-due", *firing, "--", each.name))
    # Jinja would read what looks like its own signs in a name.
    safe = words.replace("{", "{{ '{' }}").replace("%", "{{ '%' }}").replace("#", "{{ '#' }}")
    # Airflow takes a command that ends in .sh for the name of a file; the blank makes it none.
    command = f" {safe.replace(_INSTANT, _LOGICAL)} "
    return _TASK.format(
        label=_word(each.label),
        command=_word(command),
        retries=each.schedule.retries,
        delay=wait(each.schedule, 0),
        longest=LONGEST,
        doc=_word(each.doc),
    )


#: Stands for the instant while the command is put together.
_INSTANT = "INSTANT-OF-THE-FIRING"

#: What Airflow puts there. A run that somebody began by hand may have no logical date in Airflow 3.
_LOGICAL = "{{ (logical_date | default(none) or dag_run.run_after).isoformat() }}"


def _word(text: str) -> str:
    """Write text as Python reads it, in double quotes."""
    return json.dumps(text, ensure_ascii=True)
