"""The examples run as their README files say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

EXAMPLES = Path(__file__).parents[2] / "examples"
CLI = ("-c", "from pgflow.cli.main import main; main()")

Run = Callable[..., str]


@pytest.fixture
def run(database: str) -> Run:
    """Runs Python in an example's directory, whose `default` connection is the test's database."""

    def run(example: str, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", *words],
            cwd=EXAMPLES / example,
            env={**os.environ, "PGFLOW_DSN": database, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def role(engine: Engine) -> Iterator[str]:
    """The name of a role that does not exist yet, and does not afterwards."""
    name = f"guest_{uuid4().hex[:8]}"
    yield name
    with engine.begin() as connection:
        connection.execute(text(f"DROP ROLE IF EXISTS {name}"))


def execute(engine: Engine, statement: str) -> None:
    """Run one statement."""
    with engine.begin() as connection:
        connection.execute(text(statement))


def test_ten_lines_keeps_the_history_of_a_role(run: Run, engine: Engine, role: str) -> None:
    """A role that comes, changes and goes has two versions, both ended."""
    run("ten_lines", "roles.py")
    for change in ("CREATE ROLE {}", "ALTER ROLE {} LOGIN", "DROP ROLE {}"):
        execute(engine, change.format(role))
        assert "success" in run("ten_lines", *CLI, "sync", "roles")
    query = text(
        "SELECT can_login, valid_to IS NOT NULL FROM audit.role WHERE name = :name"
        " ORDER BY valid_from"
    )
    with engine.connect() as connection:
        versions = [tuple(row) for row in connection.execute(query, {"name": role})]
    assert versions == [(False, True), (True, True)]


def test_ten_lines_can_be_previewed_and_looked_up(run: Run) -> None:
    """The other commands of its README work."""
    run("ten_lines", "roles.py")
    assert "merge key" in run("ten_lines", *CLI, "preview", "roles")
    assert "audit.role" in run("ten_lines", *CLI, "history")


def test_price_history_prints_what_its_readme_says(run: Run) -> None:
    """Counts and prices are those of the README, to the letter; only seconds differ."""
    readme = (EXAMPLES / "price_history" / "README.md").read_text()
    (promised,) = re.findall(r"```\n(.*?)```", readme, re.DOTALL)

    def without_seconds(printed: str) -> str:
        return re.sub(r"\d+\.\d+ s", "s", printed)

    assert without_seconds(run("price_history", "prices.py")) == without_seconds(promised)


def test_price_history_is_consistent(run: Run, engine: Engine) -> None:
    """What the example leaves is a history without overlaps, and a broken one is found."""
    run("price_history", "prices.py")
    code = (
        "import prices, pgflow; from pgflow.testing import assert_scd2\n"
        "with pgflow.connect() as c: assert_scd2(c, prices.Price)"
    )
    run("price_history", "-c", code)
    execute(engine, "UPDATE price_history.price SET valid_to = '2024-03-25Z' WHERE price = 8.00")
    with pytest.raises(AssertionError, match="BrokenHistory"):
        run("price_history", "-c", code)


def test_the_package_with_plugins_passes_its_own_tests(database: str) -> None:
    """Columns, statements and a mode come from a package that pgflow does not know."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pyproject.toml"],
        cwd=EXAMPLES / "custom_plugin",
        env={**os.environ, "TEST_DATABASE_URL": database, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^6 passed", done.stdout, re.MULTILINE)
