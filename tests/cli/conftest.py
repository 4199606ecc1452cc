"""A project in a temporary directory, and how to run the command line in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgflow.alembic.apply import create_all
from pgflow.cli.main import app
from pgflow.connections.registry import dispose, engine
from pgflow.project import Project

#: The console script's own line, which needs no installed package.
PGFLOW = [sys.executable, "-c", "from pgflow.cli.main import main; main()"]

MODULE = '''
from sqlalchemy import BigInteger, Column, MetaData, Text
import pgflow
from pgflow.plugins import ColumnPKPlugin

metadata = MetaData()


def make(name, *items):
    key = ColumnPKPlugin(Column("id", BigInteger))
    columns = items or [Column("v", Text)]
    return pgflow.SimpleTable(name, "warehouse", metadata, columns, plugins=[key])


raw = make("raw")
report = pgflow.Pipeline("report", target=make("report"), mode="scd2", schedule="0 * * * *",
                         source=pgflow.SourceTable("warehouse.raw"), tags=("nightly",))


def load(conn, *, amount: int = 3):
    """Fill the raw table."""
    return "SELECT i AS id, 'x' AS v FROM generate_series(1, :amount) AS i"


pipeline = pgflow.Pipeline("raw", target=raw, mode="merge", body=load)
'''


@dataclass(frozen=True)
class Ran:
    """What a command did.

    Attributes:
        code: Its exit code.
        out: What it wrote to standard output.
        err: What it wrote to standard error.
    """

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """The words of each line of output, headings first."""
        return [line.split() for line in self.out.splitlines()]

    @property
    def json(self) -> Any:
        """The output as data."""
        return json.loads(self.out)


Invoke = Callable[..., Ran]


@dataclass
class Place:
    """A project with a database.

    Attributes:
        directory: Where `pgflow.toml` and the modules are.
        database: The URL of the connection `default`.
    """

    directory: Path
    database: str

    def write(self, text: str, head: str = MODULE) -> None:
        """Write the module `pipelines`."""
        (self.directory / "pipelines.py").write_text(head + text)
        forget(self.directory)

    def create(self) -> None:
        """Create the tables of the project."""
        for metadata in Project.load().metadatas:
            create_all(metadata, connection=engine())
        forget(self.directory)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run SQL in a transaction of its own."""
        url = self.database.replace("+psycopg", "")
        with psycopg.connect(url) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


def forget(directory: Path) -> None:
    """Let modules of a directory be imported again."""
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(f"{directory}{os.sep}"):
            del sys.modules[name]


def environment(**more: str) -> dict[str, str]:
    """The environment of a subprocess: this one's, with pgflow's sources on the path."""
    sources = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": sources, "PYTHONWARNINGS": "error", **more}


def execute(*words: str, **options: str) -> Ran:
    """Run the command line in a process of its own, with more variables in its environment."""
    done = subprocess.run(
        [*PGFLOW, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(**options),
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def invoke(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Invoke]:
    """Runs a command in this process; what it has imported is forgotten afterwards."""
    path = list(sys.path)
    # Modules are rewritten within one test, faster than the clock of the files can tell.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def invoke(*words: str) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app(list(words), prog_name="pgflow")
        out, err = capsys.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0, out, err)

    yield invoke
    sys.path[:] = path
    forget(home)
    dispose()


@pytest.fixture
def place(home: Path, database: str, invoke: Invoke) -> Place:
    """A project whose module is written, and whose tables are not created yet."""
    made = Place(home, database)
    (home / "pgflow.toml").write_text(
        f'modules = ["pipelines"]\n[connections.default]\ndsn = "{database}"\n'
    )
    made.write("")
    return made


@pytest.fixture
def ready(place: Place) -> Place:
    """The same project with its tables created."""
    place.create()
    return place


@pytest.fixture(name="execute")
def execute_fixture(home: Path) -> Callable[..., Ran]:
    """Runs a command in a process of its own."""
    return execute


@pytest.fixture(name="console_script")
def console_script_fixture() -> list[str]:
    """The words that start the command line."""
    return PGFLOW


@pytest.fixture(name="environment")
def environment_fixture() -> Callable[..., dict[str, str]]:
    """Makes the environment of a subprocess."""
    return environment
