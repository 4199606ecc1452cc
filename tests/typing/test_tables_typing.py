from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from pgflow.errors import PgflowError

HERE = Path(__file__).parent


def check(name: str, cache: Path) -> list[tuple[int, str]]:
    """Return the lines of a file that mypy refuses, with the error's code."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}"]
    run = subprocess.run(
        [*command, "--no-error-summary", str(HERE / name)],
        capture_output=True,
        text=True,
        check=False,
        cwd=HERE.parents[1],
    )
    assert run.stderr == ""
    found = re.findall(rf"{name}:(\d+): error: .*\[([a-z-]+)\]", run.stdout)
    assert len(found) == run.stdout.count(": error: "), run.stdout
    return [(int(line), code) for line, code in found]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def test_mypy_accepts_every_documented_form(cache: Path):
    """mypy --strict has nothing to say about the forms that the documentation shows."""
    assert check("tables_accepted.py", cache) == []


def test_mypy_refuses_what_cannot_work(cache: Path):
    """Misspelt options and wrong values are refused where they are written, and only they."""
    lines = (HERE / "tables_refused.py").read_text().splitlines()
    expected = [
        (number, code)
        for number, line in enumerate(lines, 1)
        if "# error: " in line
        for code in line.split("# error: ")[1].split(", ")
    ]
    assert sorted(check("tables_refused.py", cache)) == sorted(expected)


def test_what_mypy_accepts_runs():
    """The accepted file can be executed, so the forms mean the same to Python."""
    made = runpy.run_path(str(HERE / "tables_accepted.py"))
    assert made["CustomerDim"].__table__.c.place.type.sql == "point"
    with pytest.raises((PgflowError, TypeError)):
        runpy.run_path(str(HERE / "tables_refused.py"))
