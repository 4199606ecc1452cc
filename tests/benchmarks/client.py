"""What pgflow costs beside SQL: importing, declaring, a run of next to nothing, and memory."""

from __future__ import annotations

import statistics
import subprocess
import sys

from sqlalchemy import URL

from tests.benchmarks.cases import Case, named
from tests.benchmarks.contest import by_hand, by_pgflow
from tests.benchmarks.databases import Databases
from tests.benchmarks.meter import Meter, median_wall

#: What a script imports that declares a table and a pipeline and runs it.
SCRIPT = "import pgflow; pgflow.table, pgflow.pipeline; import pgflow.types"
#: What one imports that also creates its tables, which Alembic's machinery does.
CREATING = f"{SCRIPT}; pgflow.create_all"
#: What pgflow stands on, without and with what the first engine imports.
FLOOR = "import sqlalchemy, psycopg"
SCRIPT_FLOOR = "import sqlalchemy, psycopg, sqlalchemy.dialects.postgresql.psycopg"

_IMPORTS = 9
_WARM_RUNS = 40
_FACTORY_RUNS = 5


def import_seconds(*statements: str) -> list[float]:
    """Time imports in fresh interpreters, in turn.

    Returns:
        The median seconds of CPU of each statement.
    """
    rounds = [[_import_seconds(statement) for statement in statements] for _ in range(_IMPORTS)]
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def _import_seconds(statement: str) -> float:
    clock = "from time import process_time as clock; begun = clock()"
    return float(_python("-c", f"{clock}; {statement}; print(clock() - begun)"))


def factories(kind: str) -> float:
    """Return the seconds of CPU that 1000 factories take, imports apart.

    Args:
        kind: `tables` or `pipelines`.

    Returns:
        The median over some fresh interpreters.
    """
    runs = (_python("-m", "tests.benchmarks.lone", kind) for _ in range(_FACTORY_RUNS))
    return statistics.median(map(float, runs))


def peak_memory(case: Case, databases: Databases) -> tuple[float, float]:
    """Sync once in a process of its own.

    Returns:
        Its peak resident set before and after the sync, in megabytes.
    """
    with databases.prepared(case) as template, databases.copy(template) as url:
        said = _python("-m", "tests.benchmarks.lone", "sync", case.name, _text(url))
    before, after = map(float, said.split())
    return before, after


def overhead(databases: Databases) -> tuple[float, float]:
    """Compare runs over ten unchanged rows.

    Returns:
        Median seconds of the hand-written script, and of a warm sync.
    """
    case = named("merge, 0 % changed")
    costs: list[float] = []
    with databases.prepared(case) as template, databases.copy(template) as url:
        for side in (by_hand, by_pgflow):
            with side(case, url) as (_, work):
                work()
                costs.append(median_wall([Meter(None).measure(work) for _ in range(_WARM_RUNS)]))
    return costs[0], costs[1]


def lone(*arguments: str) -> str:
    """Do a piece of work of `lone.py` in a fresh interpreter, and return what it says."""
    return _python("-m", "tests.benchmarks.lone", *arguments)


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _python(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
