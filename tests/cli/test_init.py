"""`pgflow init`: a project that works at once."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, inspect

if TYPE_CHECKING:
    from conftest import Invoke, Ran

FILES = {
    "pgflow.toml",
    "warehouse.py",
    "alembic.ini",
    "migrations/env.py",
    "migrations/script.py.mako",
}

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


def files(directory: Path) -> set[str]:
    """The files below a directory, by their paths in it."""
    found = (path for path in directory.rglob("*") if path.is_file())
    return {p.relative_to(directory).as_posix() for p in found if "__pycache__" not in p.parts}


def alembic(project: Path, environment: Callable[..., dict[str, str]], *words: str) -> str:
    """Run Alembic in a project, as a user would."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic", *words],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, environment: Callable[..., dict[str, str]]) -> None:
    """Lets processes of the command itself find pgflow, and makes their warnings errors."""
    for name in ("PYTHONPATH", "PYTHONWARNINGS"):
        monkeypatch.setenv(name, environment()[name])
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")


@pytest.mark.usefixtures("sources")
def test_a_new_project_works_at_once(
    home: Path,
    invoke: Invoke,
    execute: Callable[..., Ran],
    environment: Callable[..., dict[str, str]],
    database: str,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Init, upgrade, sync, and the next autogenerate is empty; the directory's name may be any."""
    ran = invoke("init", "my shop-1", "--url", database)
    assert ran.code == 0, ran.err
    project = home / "my shop-1"
    (migration,) = files(project) - FILES
    assert re.fullmatch(r"migrations/versions/[0-9a-f]+_first_tables\.py", migration)
    assert f"wrote my shop-1/{migration}, the first migration" in ran.out
    assert "cd 'my shop-1'" in ran.out
    assert "import pgflow" not in (project / migration).read_text()
    alembic(project, environment, "upgrade", "head")
    monkeypatch.chdir(project)
    synced = execute("sync", "--all")
    assert synced.code == 0, synced.err
    assert "warehouse.server_setting" in synced.out
    assert "No new upgrade operations detected" in alembic(project, environment, "check")
    alembic(project, environment, "downgrade", "base")
    assert {"warehouse", "pgflow"}.isdisjoint(inspect(engine).get_schema_names())


def test_without_a_database_it_says_what_to_do_later(home: Path, invoke: Invoke) -> None:
    """All files are there; only the first migration waits until the database can be reached."""
    ran = invoke("init", "shop", "--url", NOWHERE)
    assert ran.code == 0
    assert files(home / "shop") == FILES
    assert (home / "shop/migrations/versions").is_dir()
    assert "There is no first migration yet, because the database cannot be reached" in ran.out
    assert "  alembic revision --autogenerate -m 'first tables'\n" in ran.out
    assert "  cd shop\n" in ran.out


@pytest.mark.parametrize("present", ["warehouse.py", "migrations/env.py", "migrations/versions/a"])
def test_nothing_is_overwritten(home: Path, invoke: Invoke, present: str) -> None:
    """One file in the way, and nothing at all is written; the message names it."""
    path = home / present
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    ran = invoke("init", "--url", NOWHERE)
    assert ran.code == 1
    assert files(home) == {present}
    assert path.read_text() == "mine"
    named = "migrations/versions" if "versions" in present else present
    assert f"{home} holds already: {named}. pgflow init never overwrites a file" in ran.err


def test_a_file_in_the_place_of_the_directory_is_left_alone(home: Path, invoke: Invoke) -> None:
    """A name that is a file is refused like any other that is taken."""
    (home / "shop").write_text("mine")
    ran = invoke("init", "shop", "--url", NOWHERE)
    assert ran.code == 1
    assert (home / "shop").read_text() == "mine"


def test_a_password_is_read_by_nobody_else_and_stands_in_one_file(
    home: Path, invoke: Invoke
) -> None:
    """The connection string is only in pgflow.toml, which only its owner reads."""
    invoke("init", "shop", "--url", "postgresql://me:s3cr3t@127.0.0.1:1/x")
    holding = [name for name in FILES if "s3cr3t" in (home / "shop" / name).read_text()]
    assert holding == ["pgflow.toml"]
    assert stat.S_IMODE((home / "shop/pgflow.toml").stat().st_mode) == 0o600


def test_an_unreadable_url_is_refused_before_anything_is_written(
    home: Path, invoke: Invoke
) -> None:
    """A wrong URL leaves no half of a project."""
    ran = invoke("init", "shop", "--url", "postgresql://me:a@b:1:2/x")
    assert ran.code == 3
    assert not (home / "shop").exists()


def test_the_embedded_server_is_named_after_the_directory(
    home: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --url the project has a server of its own, whatever its directory is called."""
    # Where the variable leads is tried; nothing is started.
    monkeypatch.setenv("PGFLOW_DSN", NOWHERE)
    invoke("init", "Süßes & Co")
    assert 'dsn = "embedded://s_es_co"' in (home / "Süßes & Co" / "pgflow.toml").read_text()


@pytest.mark.usefixtures("sources")
def test_a_variable_that_names_the_database_is_mentioned(
    home: Path, invoke: Invoke, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PGFLOW_DSN wins over the file, here as everywhere, and that is said."""
    monkeypatch.setenv("PGFLOW_DSN", database)
    ran = invoke("init", "--url", NOWHERE)
    assert ran.code == 0, ran.err
    assert "The variable PGFLOW_DSN names the database, before pgflow.toml does." in ran.out
    assert "cd " not in ran.out


@pytest.mark.usefixtures("sources")
def test_a_first_migration_that_fails_is_told_with_its_reason(
    home: Path, invoke: Invoke, engine: Engine, database: str
) -> None:
    """A database with another project's revisions is refused by Alembic, and nothing is lost."""
    with engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE alembic_version (version_num text PRIMARY KEY)")
        conn.exec_driver_sql("INSERT INTO alembic_version VALUES ('theirs')")
    ran = invoke("init", "--url", database)
    assert ran.code == 1
    assert "the first migration could not be made" in ran.err
    assert "theirs" in ran.err
    assert files(home) == FILES
    assert list((home / "migrations/versions").iterdir()) == []
