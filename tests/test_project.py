"""Projects: finding pipelines and tables in a user's modules, choosing, ordering, syncing all."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from pgflow.alembic.apply import create_all
from pgflow.connections.registry import dispose
from pgflow.errors import (
    BatchError,
    DuplicatePipeline,
    InvalidOption,
    MalformedSettings,
    MissingParameter,
    ModuleFailed,
    NoModules,
)
from pgflow.project import Project, sync_all

Write = Callable[[str, str], str]
_numbers = itertools.count(1)

HEAD = """
from sqlalchemy import BigInteger, Column, MetaData, Text
import pgflow
from pgflow.plugins import ColumnPKPlugin

metadata = MetaData()

def make(name, schema="warehouse"):
    key = ColumnPKPlugin(Column("id", BigInteger))
    return pgflow.SimpleTable(name, schema, metadata, [Column("v", Text)], plugins=[key])
"""


@pytest.fixture
def write(home: Path) -> Iterator[Write]:
    """A function that writes a module of a fresh name into the project, and returns that name."""
    path, modules = list(sys.path), set(sys.modules)

    def write(text: str, head: str = HEAD) -> str:
        name = f"project_module_{next(_numbers)}"
        (home / f"{name}.py").write_text(head + text)
        return name

    yield write
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("project_module_"):
            del sys.modules[name]
    dispose()


def settle(home: Path, *modules: str, more: str = "") -> None:
    """Write the project's `pgflow.toml`."""
    listed = ", ".join(f'"{name}"' for name in modules)
    (home / "pgflow.toml").write_text(f"modules = [{listed}]\n{more}")


# --- loading -------------------------------------------------------------------------


def test_modules_come_from_pgflow_toml_in_a_parent_directory(
    home: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the project's directory the same modules are found beside pgflow.toml."""
    settle(
        home,
        write(
            'sales = pgflow.Pipeline("sales", target=make("sales"), mode="merge",'
            ' source="SELECT 1 AS id, NULL AS v")'
        ),
    )
    below = home / "deep" / "er"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    project = Project.load()
    assert list(project.pipelines) == ["sales"]
    assert list(project.tables) == ["warehouse.sales"]
    assert project.metadatas == (project.table("sales").table.metadata,)


def test_a_path_and_a_name_of_one_file_are_one_module(home: Path, write: Write) -> None:
    """A module that is named twice is imported once, so that nothing in it is declared twice."""
    name = write('p = pgflow.Pipeline("p", target=make("t"), mode="merge", source="SELECT 1")')
    project = Project.load([name, f"./{name}.py", str(home / f"{name}.py")])
    assert list(project.pipelines) == ["p"]


def test_a_file_outside_the_project_finds_the_modules_beside_it(
    home: Path, write: Write, tmp_path: Path
) -> None:
    """A path may lead anywhere, and what lies beside the file can be imported from it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    beside = f"project_module_{next(_numbers)}"
    (elsewhere / f"{beside}.py").write_text('NAME = "from_beside"\n')
    (elsewhere / "json.py").write_text(
        HEAD + f"from {beside} import NAME\n"
        'p = pgflow.Pipeline(NAME, target=make("t"), mode="merge", source="SELECT 1")\n'
    )
    project = Project.load([str(elsewhere / "json.py")])
    assert list(project.pipelines) == ["from_beside"]
    import json

    assert json.loads("1") == 1, "a file does not take the place of a module of its name"


def test_a_pipeline_that_another_module_imports_counts_once(write: Write) -> None:
    """Importing a pipeline into a second module declares nothing new."""
    one = write('p = pgflow.Pipeline("p", target=make("t"), mode="merge", source="SELECT 1")')
    two = write(f"from {one} import p as q\n", head="")
    assert list(Project.load([one, two]).pipelines) == ["p"]


def test_pipelines_in_lists_and_dictionaries_are_found(write: Write) -> None:
    """Pipelines that a loop makes need no name of their own."""
    name = write(
        "def p(n): return pgflow.Pipeline(n, target=make(n), mode='merge', source='SELECT 1')\n"
        "many = [p('a'), p('b')]\nnamed = {'c': p('c')}\n"
    )
    assert list(Project.load([name]).pipelines) == ["a", "b", "c"]


def test_two_pipelines_of_one_name_are_refused_with_both_places(write: Write) -> None:
    """Two pipelines of one name would share history and watermark."""
    text = '{} = pgflow.Pipeline("sales", target=make("t"), mode="merge", source="SELECT 1")'
    one, two = write(text.format("first")), write(text.format("second"))
    with pytest.raises(DuplicatePipeline) as caught:
        Project.load([one, two])
    assert caught.value.places == (f"{one}.first", f"{two}.second")
    assert str(caught.value) == (
        f"two pipelines are called 'sales': {one}.first and {two}.second. Their histories and "
        "watermarks would mix; give one of them another name=."
    )


def test_an_import_error_shows_the_users_own_line(home: Path, write: Write) -> None:
    """The innermost line of the user's own code is named, not one of Python's or pgflow's."""
    name = write(
        "def make():\n    return pgflow.Pipeline('p', source='SELECT 1')\n\nmake()\n",
        head="import pgflow\n",
    )
    with pytest.raises(ModuleFailed) as caught:
        Project.load([name])
    assert str(caught.value) == (
        f"module {name!r} cannot be imported: pipeline 'p' has no target; pass target= or "
        f"targets=[...].\n  at {home}/{name}.py:3 `return pgflow.Pipeline('p', source='SELECT 1')`"
    )
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("def (:\n", "SyntaxError: invalid syntax\n  at {path}:1 `def (:`"),
        (
            "import nothing_of_that_name\n",
            "ModuleNotFoundError: No module named 'nothing_of_that_name'\n"
            "  at {path}:1 `import nothing_of_that_name`",
        ),
        (
            "raise SystemExit(1)\n",
            "it ends the program (SystemExit); put that under if __name__ == '__main__'\n"
            "  at {path}:1 `raise SystemExit(1)`",
        ),
    ],
)
def test_whatever_a_module_raises_is_told(home: Path, write: Write, text: str, what: str) -> None:
    """Broken syntax, a missing package and a script that ends the program are all told apart."""
    name = write(text, head="")
    with pytest.raises(ModuleFailed) as caught:
        Project.load([name])
    told = what.format(path=home / f"{name}.py")
    assert str(caught.value) == f"module {name!r} cannot be imported: {told}"
    assert name not in sys.modules


def test_a_module_that_is_not_there_is_told_with_the_places(home: Path, write: Write) -> None:
    """A wrong module name says where it was looked for; a wrong path is told in full."""
    with pytest.raises(ModuleFailed, match=f"there is no module 'nowhere.at': looked in {home}"):
        Project.load(["nowhere.at"])
    with pytest.raises(ModuleFailed, match=f"there is no file {home}/gone.py"):
        Project.load(["./gone.py"])


def test_without_any_module_the_way_out_is_named(home: Path, write: Write) -> None:
    """No pgflow.toml, or one without modules, is an error and not an empty project."""
    with pytest.raises(NoModules, match=r"there is no pgflow\.toml in .* or give --module NAME\."):
        Project.load()
    settle(home)
    with pytest.raises(NoModules, match=r"pgflow\.toml has no modules"):
        Project.load()


def test_modules_that_are_no_list_of_names_are_refused(home: Path, write: Write) -> None:
    """A text where a list belongs is refused, as its letters would each be a module."""
    (home / "pgflow.toml").write_text('modules = "pipelines"\n')
    with pytest.raises(MalformedSettings, match="modules is no list of names"):
        Project.load()


# --- syncing all ---------------------------------------------------------------------

PROJECT = """
report = pgflow.Pipeline("report", target=make("report"), mode="merge",
                         source=pgflow.SourceTable("warehouse.raw"))

def load(conn, *, amount: int):
    return "SELECT i AS id, 'x' AS v FROM generate_series(1, :amount) AS i"

raw = pgflow.Pipeline("raw", target=make("raw"), mode="merge", body=load)
"""


def prepare(home: Path, database: str, module: str) -> Project:
    """Write the settings, load the project, and create its tables."""
    settle(home, module, more=f'[connections.default]\ndsn = "{database}"\n')
    project = Project.load()
    engine = create_engine(database)
    create_all(project.metadatas[0], connection=engine)
    engine.dispose()
    return project


def test_sync_all_runs_in_order_with_the_parameters_that_each_takes(
    home: Path, write: Write, database: str
) -> None:
    """One call loads a project: readers after writers, each with its own parameters."""
    prepare(home, database, write(PROJECT))
    results = sync_all(amount=3)
    assert [(r.pipeline, r.inserted) for r in results] == [("raw", 3), ("report", 3)]
    assert [r.unchanged for r in sync_all(amount="3")] == [3, 3]


def test_sync_all_refuses_parameters_before_anything_runs(
    home: Path, write: Write, database: str
) -> None:
    """A missing or unknown parameter of the last pipeline stops the first one too."""
    project = prepare(home, database, write(PROJECT))
    with pytest.raises(MissingParameter, match="pipeline 'raw' needs amount"):
        sync_all()
    with pytest.raises(MissingParameter, match="no pipeline of this run has a parameter 'amuont'"):
        sync_all(amuont=3)
    assert project.pipeline("report").sync().read == 0


def test_sync_all_stops_at_a_failure_and_says_what_was_done(
    home: Path, write: Write, database: str
) -> None:
    """The error of the failed pipeline tells which ones ran before it and which did not."""
    line = '{0} = pgflow.Pipeline("{0}", target=make("{0}"), mode="merge", source="{1}")\n'
    text = "".join(
        line.format(name, f"SELECT {key} AS id, '' AS v")
        for name, key in (("a", "1"), ("b", "NULL"), ("c", "1"))
    )
    project = prepare(home, database, write(text))
    with pytest.raises(BatchError) as caught:
        sync_all(workers=1)
    assert caught.value.__notes__ == ["sync_all stopped at 'b'; synced: a; not run: c."]
    with pytest.raises(BatchError) as caught:
        sync_all(workers=3)
    assert caught.value.__notes__ == ["sync_all stopped at 'b'; synced: a, c; not run: none."]
    with pytest.raises(InvalidOption, match="workers=0 runs nothing"):
        sync_all(workers=0)
    assert project.pipeline("a").sync().unchanged == 1
    assert project.pipeline("c").sync().unchanged == 1
