"""What type checkers say of users' code: nothing of what is documented, something of mistakes."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from pgflow.errors import PgflowError

HERE = Path(__file__).parent
SOURCES = HERE.parents[1]
FILES = ("tables", "pipelines")

#: A line of a file, with the error's code.
Found = dict[str, list[tuple[int, str]]]


@pytest.fixture(scope="module")
def mypy(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What `mypy --strict` refuses in each file."""
    names = [f"{kind}_{fate}.py" for kind in FILES for fate in ("accepted", "refused")]
    cache = tmp_path_factory.mktemp("mypy")
    options = ["--strict", "--config-file=", f"--cache-dir={cache}", "--no-error-summary"]
    run = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *(str(HERE / name) for name in names)],
        capture_output=True,
        text=True,
        check=False,
        cwd=SOURCES,
    )
    assert run.stderr == ""
    told = re.findall(r"(\w+\.py):(\d+): error: .*\[([a-z-]+)\]", run.stdout)
    assert len(told) == run.stdout.count(": error: "), run.stdout
    return {name: [(int(n), code) for file, n, code in told if file == name] for name in names}


def expected(name: str) -> list[tuple[int, str]]:
    """The errors that a file says it has."""
    lines = (HERE / name).read_text().splitlines()
    return [
        (number, code)
        for number, line in enumerate(lines, 1)
        if "# error: " in line
        for code in line.split("# error: ")[1].split(", ")
    ]


@pytest.mark.parametrize("kind", FILES)
def test_mypy_accepts_every_documented_form(mypy: Found, kind: str):
    """mypy --strict has nothing to say about the forms that the documentation shows."""
    assert mypy[f"{kind}_accepted.py"] == []


@pytest.mark.parametrize("kind", FILES)
def test_mypy_refuses_what_cannot_work(mypy: Found, kind: str):
    """Misspelt options and wrong values are refused where they are written, and only they."""
    wrong = expected(f"{kind}_refused.py")
    assert wrong
    assert sorted(mypy[f"{kind}_refused.py"]) == sorted(wrong)


def test_pyright_agrees(tmp_path: Path):
    """In its strict mode pyright accepts the same files, and refuses the same lines."""
    settings = {
        "typeCheckingMode": "strict",
        "include": [str(HERE)],
        "extraPaths": [str(SOURCES)],
        "reportMissingTypeStubs": False,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable]
    run = subprocess.run(
        [*command, "--outputjson", "-p", str(tmp_path)], capture_output=True, text=True, check=False
    )
    told = {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1)
        for each in json.loads(run.stdout)["generalDiagnostics"]
        if "_accepted" in each["file"] or "_refused" in each["file"]
    }
    wanted = {
        (name, number)
        for name in ("tables_refused.py", "pipelines_refused.py")
        for number, _ in expected(name)
    }
    assert told == wanted


def test_what_type_checkers_accept_runs():
    """The accepted files can be executed, so the forms mean the same to Python."""
    made = runpy.run_path(str(HERE / "tables_accepted.py"))
    assert made["CustomerDim"].__table__.c.place.type.sql == "point"
    with pytest.raises((PgflowError, TypeError)):
        runpy.run_path(str(HERE / "tables_refused.py"))
