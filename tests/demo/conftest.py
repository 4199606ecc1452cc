"""Running the demo in processes of its own, on databases that live for one module or one test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine, NullPool, create_engine

from pgflow.connections.cluster import Cluster

#: Only the first days of the demo, where a test needs no more.
FEW = "from pgflow.cli.demo import operations as o; o.DAYS = o.DAYS[:{days}]; "

_DEMO = "from pgflow.cli.command import run; from pgflow.cli.output import Output; "
_DEMO += "from pgflow.cli.demo.command import run_demo; import sys; output = Output(); "
_DEMO += "sys.exit(run(output, lambda: run_demo(output, connection=sys.argv[1], reset={reset})))"


@dataclass(frozen=True)
class Ran:
    """How a process ended.

    Attributes:
        code: Its exit code.
        out: What it wrote to standard output.
        err: What it wrote to standard error.
    """

    code: int
    out: str
    err: str

    @property
    def table(self) -> dict[str, dict[str, str]]:
        """The table at the end: rows by table name, cells by heading."""
        lines = self.out.splitlines()
        start = next(i for i, line in enumerate(lines) if line.endswith("replaced  seconds"))
        headings = lines[start].split()
        rows = [line.split() for line in lines[start + 1 : start + 7]]
        return {row[0]: dict(zip(headings, row, strict=True)) for row in rows}

    @property
    def runs(self) -> list[tuple[str, str]]:
        """What each run says: the pipeline and its counts."""
        found = re.findall(r"^  (\w+) +\w+ +[\d.]+ s  (.*)$", self.out, re.MULTILINE)
        return [(name, counts) for name, counts in found]


def run_python(code: str, *arguments: str, **environment: str) -> Ran:
    """Run code in a process of its own, with nothing of the user's settings."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PGFLOW_DSN")} | environment
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=env,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def demo() -> Callable[..., Ran]:
    """Runs the demo on a database, all of it or the first days only."""

    def demo(
        database: str, *, days: int | None = None, reset: bool = False, **environment: str
    ) -> Ran:
        return run_python(_code(days, reset), database, **environment)

    return demo


@pytest.fixture(scope="session")
def begin() -> Callable[..., subprocess.Popen[str]]:
    """Begins the first days of the demo; its standard output can be read while it runs."""

    def begin(database: str, *, days: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _code(days, False), database]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    return begin


@pytest.fixture(scope="session")
def python() -> Callable[..., Ran]:
    """Runs code in a process of its own."""
    return run_python


@pytest.fixture(scope="module")
def year(server: Cluster) -> Iterator[str]:
    """A database for the whole year, shared by the tests of a module."""
    name = f"demo_{os.getpid()}"
    _administer(server, "CREATE DATABASE {}", name)
    yield server.url(name).render_as_string(hide_password=False)
    _administer(server, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture(scope="module")
def year_engine(year: str) -> Iterator[Engine]:
    """An engine on that database."""
    engine = create_engine(year, poolclass=NullPool)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def first(year: str, demo: Callable[..., Ran]) -> Ran:
    """The demo, run on an empty database."""
    return demo(year)


@pytest.fixture(scope="module")
def contents(year_engine: Engine) -> Callable[[], dict[str, Any]]:
    """Reads all rows of the warehouse, without what only says by which run they were written."""

    def read() -> dict[str, Any]:
        found: dict[str, Any] = {}
        with year_engine.connect() as connection:
            for table in ("airline", "airport", "plane", "plane_base", "flight", "daily_summary"):
                rows = connection.exec_driver_sql(
                    "SELECT count(*), sum(hashtextextended((to_jsonb(t) - '_loaded_at'"
                    f" - '_batch_id')::text, 0)) FROM warehouse.{table} AS t"
                )
                found[table] = tuple(rows.one())
        return found

    return read


def _code(days: int | None, reset: bool) -> str:
    few = "" if days is None else FEW.format(days=days)
    return few + _DEMO.format(reset=reset)


def _administer(server: Cluster, statement: str, name: str) -> None:
    url = server.url()
    with psycopg.connect(
        host=str(url.query["host"]),
        port=str(url.query["port"]),
        user=url.username,
        dbname=url.database,
        autocommit=True,
    ) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
