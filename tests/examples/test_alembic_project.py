"""`examples/alembic_project` is what a newcomer gets: made fresh by the real command line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

EXAMPLE = Path(__file__).parents[2] / "examples" / "alembic_project"
SOURCES = Path(__file__).parents[2]
PGFLOW = ("-c", "from pgflow.cli.main import main; main()")
ALEMBIC = ("-m", "alembic")

Run = Callable[..., str]


@pytest.fixture
def run(database: str, tmp_path: Path) -> Run:
    """Runs Python in a directory; the connection `default` is the test's database."""

    def run(directory: Path, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", *words],
            cwd=directory,
            env={
                **os.environ,
                "HOME": str(tmp_path),
                "PGFLOW_DSN": database,
                "PYTHONPATH": str(SOURCES),
                "PYTHONWARNINGS": "error",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def plain(directory: Path) -> dict[str, str]:
    """The files of a project by their names, revisions and dates taken out."""

    def timeless(content: str) -> str:
        content = re.sub(r"Create Date: .*", "Create Date: ...", content)
        return re.sub(r"\b[0-9a-f]{12}\b", "...", content)

    return {
        re.sub(r"[0-9a-f]{12}_", "", path.relative_to(directory).as_posix()): timeless(
            path.read_text(encoding="utf-8")
        )
        for path in directory.rglob("*")
        if path.is_file() and path.name != "README.md" and "__pycache__" not in path.parts
    }


def schemas(engine: Engine) -> set[str]:
    """The schemas of the database."""
    with engine.connect() as connection:
        return set(connection.execute(text("SELECT nspname FROM pg_namespace")).scalars())


def test_the_example_is_what_a_newcomer_gets(run: Run, tmp_path: Path, engine: Engine) -> None:
    """Init, upgrade, sync, change, autogenerate, downgrade: the same files, and nothing left."""
    run(tmp_path, *PGFLOW, "init", "alembic_project")
    project = tmp_path / "alembic_project"
    run(project, *ALEMBIC, "upgrade", "head")
    assert "warehouse.server_setting" in run(project, *PGFLOW, "sync", "--all")
    shutil.copy(EXAMPLE / "warehouse.py", project)
    run(project, *ALEMBIC, "revision", "--autogenerate", "-m", "categories")
    run(project, *ALEMBIC, "upgrade", "head")
    run(project, *PGFLOW, "sync", "--all")
    assert "No new upgrade operations detected" in run(project, *ALEMBIC, "check")
    assert plain(project) == plain(EXAMPLE)
    with engine.connect() as connection:
        query = "SELECT count(DISTINCT category) > 5 FROM warehouse.current_setting"
        assert connection.scalar(text(query))
    run(project, *ALEMBIC, "downgrade", "-1")
    run(project, *ALEMBIC, "downgrade", "base")
    assert schemas(engine).isdisjoint({"warehouse", "pgflow"})


def test_the_example_runs_as_its_readme_says(run: Run, engine: Engine) -> None:
    """The files that are checked in work as they are."""
    run(EXAMPLE, *ALEMBIC, "upgrade", "head")
    run(EXAMPLE, *PGFLOW, "sync", "--all")
    assert "server_settings" in run(EXAMPLE, *PGFLOW, "history")
    assert "No new upgrade operations detected" in run(EXAMPLE, *ALEMBIC, "check")
    assert "No drift" in run(EXAMPLE, *PGFLOW, "drift")
    assert "Nothing to do" in run(EXAMPLE, *PGFLOW, "migrate", "--dry-run")
    run(EXAMPLE, *ALEMBIC, "downgrade", "base")
    assert schemas(engine).isdisjoint({"warehouse", "pgflow"})


def test_the_example_s_sql_can_be_written_without_a_database(run: Run) -> None:
    """`alembic upgrade head --sql` prints what the migrations would run."""
    printed = run(EXAMPLE, *ALEMBIC, "upgrade", "head", "--sql")
    assert "CREATE VIEW warehouse.current_setting AS" in printed
    assert printed.count("INSERT INTO alembic_version") == 1
