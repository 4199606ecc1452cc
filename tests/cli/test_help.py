"""The command line itself: help, version, usage errors, the entry point."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Invoke, Ran

ROOT = Path(__file__).parents[2]


def test_the_entry_point_is_the_one_of_the_project() -> None:
    """The console script of the package leads to main()."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["pgflow"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_help_names_every_command_and_the_exit_codes(invoke: Invoke) -> None:
    """One look at --help shows what there is, and what scripts can rely on."""
    ran = invoke("--help")
    assert ran.code == 0
    commands = (
        "init",
        "migrate",
        "drift",
        "eject",
        "tenants",
        "demo",
        "list",
        "explain",
        "preview",
        "dry-run",
        "sync",
        "history",
        "connections",
    )
    assert all(f"\n  {command} " in ran.out for command in commands)
    assert "Exit codes: 0 all good, 1 a run failed, 2 wrong usage" in ran.out
    assert "..." not in ran.out.replace("[ARGS]...", ""), "no summary is cut off"


def test_help_loads_neither_sqlalchemy_nor_rich(
    environment: Callable[..., dict[str, str]],
) -> None:
    """What only shows help starts fast."""
    code = (
        "import sys\n"
        "from pgflow.cli.main import app\n"
        "try:\n    app(['sync', '--help'])\n"
        "except SystemExit:\n"
        "    slow = {'sqlalchemy', 'psycopg', 'rich', 'networkx', 'pglast', 'alembic'}\n"
        "    assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment(), timeout=60)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("nothing",),
        ("sync",),
        ("sync", "raw", "--all"),
        ("sync", "raw", "--no-such-option"),
        ("sync", "raw", "--param", "amount"),
        ("sync", "raw", "--effective-at", "yesterday"),
        ("sync", "raw", "--effective-at", "2013-01-02"),
        ("history", "--limit", "0"),
        ("list", "--format", "yaml"),
    ],
)
def test_wrong_usage_ends_with_2(invoke: Invoke, words: tuple[str, ...]) -> None:
    """A command line that cannot be understood does nothing, and ends with 2."""
    ran = invoke(*words)
    assert ran.code == 2
    assert "Usage: pgflow" in ran.out + ran.err


def test_an_instant_without_a_zone_is_explained(invoke: Invoke) -> None:
    """The message shows how the instant is written in full."""
    ran = invoke("sync", "raw", "--effective-at", "2013-01-02")
    assert "has no time zone, so it names no instant; write for instance 2013-01-02T00:00:00Z" in (
        " ".join(ran.err.split())
    )


def test_the_version_is_shown(invoke: Invoke) -> None:
    """--version names pgflow on one line."""
    ran = invoke("--version")
    assert ran.code == 0
    assert ran.out.startswith("pgflow ")
    assert ran.out.count("\n") == 1


def test_the_demo_is_loaded_when_it_is_asked_for(invoke: Invoke) -> None:
    """`pgflow demo` is there, and its help does not build anything."""
    ran = invoke("demo", "--help")
    assert ran.code == 0
    assert "--reset" in ran.out
    assert "--stop" in ran.out


def test_a_character_that_the_terminal_lacks_ends_nothing(
    home: Path, execute: Callable[..., Ran]
) -> None:
    """Output in an encoding without the character shows a question mark in its place."""
    (home / "pgflow.toml").write_text('[connections.default]\ndsn = "dbname=größe"\n')
    ran = execute("connections", "list", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert ran.code == 0
    assert "gr??e" in ran.out or "gr%C3%B6%C3%9Fe" in ran.out
