"""The command line itself: help, version, usage errors, the entry point."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from pgflow.cli.main import app

if TYPE_CHECKING:
    from conftest import Invoke, Place, Ran

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


def test_the_usage_of_history_says_what_can_be_typed(invoke: Invoke) -> None:
    """A pipeline's name does not stand before `show` and `prune`, and a bracket stands once."""
    either = (
        "Usage: pgflow history [OPTIONS] [NAME]\n   or: pgflow history show|prune [OPTIONS] ...\n"
    )
    assert invoke("history", "--help").out.startswith(either)
    assert invoke("history", "--nope").err.startswith(either)
    shown = invoke("history", "show", "--help").out
    assert shown.splitlines()[0].replace("{RUN_ID}", "RUN_ID") == (
        "Usage: pgflow history show [OPTIONS] RUN_ID"
    )
    pruned = invoke("history", "prune")
    assert pruned.err.startswith("Usage: pgflow history prune [OPTIONS] [NAME]\n")


def test_an_instant_without_a_zone_is_explained(invoke: Invoke) -> None:
    """The message shows how the instant is written in full."""
    ran = invoke("sync", "raw", "--effective-at", "2013-01-02")
    assert "has no time zone, so it names no instant; write for instance 2013-01-02T00:00:00Z" in (
        " ".join(ran.err.split())
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("history", "--limit", "x"), "value for '--limit': 'x' is no whole number."),
        (("history", "--limit", "0"), "'--limit': 0 is out of range; give at least 1."),
        (("worker", "--grace", "x"), "'--grace': 'x' is no number."),
        (("history", "--status", "succesz"), "is not one of 'running', 'success', 'failed', 'aban"),
        (("history", "--status", "succesz"), "Did you mean 'success'?"),
        (("history", "--since", "3x"), "'--since': '3x' says no time. Write how long ago, such as"),
        (("retry", "--since", "3x"), "or an instant with its time zone, such as 2013-01-02T00:00"),
        (("history", "prune", "--older-than", "3x"), "'--older-than': '3x' is no span of time; w"),
        (("snyc",), "No such command 'snyc'. Did you mean 'sync'?"),
        (("sync", "--all", "--dry-run"), "No such option: --dry-run. To run and roll everything"),
        (("connections", "chek"), "No such command 'chek'. Did you mean 'check'?"),
    ],
)
def test_wrong_usage_names_the_option_and_what_it_takes(
    invoke: Invoke, words: tuple[str, ...], said: str
) -> None:
    """The words are the same with every version of the library that reads the command line."""
    ran = invoke(*words)
    assert (ran.code, ran.out) == (2, "")
    told = " ".join(ran.err.split())
    assert said in told
    assert "Input should" not in told
    assert "Value error" not in told


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


def every_command() -> list[str]:
    """The words of every command, groups and hidden ones left out."""

    def below(command: Any, path: str) -> Iterator[str]:
        for name, found in getattr(command, "commands", {}).items():
            words = f"{path} {name}".strip()
            if not getattr(found, "commands", {}) or found.invoke_without_command:
                yield words
            yield from below(found, words)

    return list(below(typer.main.get_command(app), ""))


@pytest.mark.parametrize("command", every_command())
def test_the_help_of_every_command_ends_with_examples(invoke: Invoke, command: str) -> None:
    """A newcomer sees what to type, and each example is understood by the command line."""
    text = invoke(*command.split(), "--help").out
    examples = text.partition("\n  Examples:\n")[2].splitlines()
    assert examples, f"give pgflow {command} an example in pgflow/cli/examples.py"
    for line in examples:
        words = shlex.split(line)
        assert words[: len(command.split()) + 1] == ["pgflow", *command.split()]
        understand(words[1:])


def understand(words: list[str], command: Any = None, parent: Any = None) -> None:
    """Let typer read the words of a command and of its subcommands, without running any."""
    command = command or typer.main.get_command(app)
    context = command.make_context(words[0] if words else "pgflow", list(words), parent=parent)
    found = getattr(command, "commands", {}).get(words[0]) if words else None
    if found is not None:
        understand(words[1:], found, context)


MISSPELT = {
    ("snyc",): "Did you mean 'sync'?",
    ("connections", "chek"): "Did you mean 'check'?",
    ("sync", "raw", "--parm", "a=1"): "--param",
    ("preview", "raw", "--format", "markdwn"): "'markdown'",
    ("preview", "rwa"): "Did you mean 'raw'?",
    ("explain", "warehouse.repot"): "Did you mean 'warehouse.report'?",
    ("sync", "raw", "-p", "amont=3"): "Did you mean 'amount'?",
    ("connections", "check", "defualt"): "Did you mean 'default'",
    ("sync", "tag:nihgtly"): "Did you mean 'nightly'?",
    ("history", "reprot"): "Did you mean 'report'?",
}


def test_what_is_misspelt_is_suggested(ready: Place, invoke: Invoke) -> None:
    """Commands, options, values, pipelines, tables, parameters, connections and tags."""
    for words, told in MISSPELT.items():
        ran = invoke(*words)
        assert ran.code in (2, 3), words
        assert told in " ".join(ran.err.split())


def test_what_nobody_foresaw_points_to_the_traceback(place: Place, invoke: Invoke) -> None:
    """Exceptions of the user's code end with a hint; what pgflow says itself needs none."""
    hint = "  --debug shows the traceback"
    place.write("raise RuntimeError('mine')\n")
    ran = invoke("list")
    assert (ran.code, ran.err.splitlines()[-1]) == (3, hint)
    assert "Traceback" not in ran.err
    told = invoke("list", "--debug").err
    assert hint not in told
    assert "Traceback" in told
    assert "raise RuntimeError('mine')" in told
    place.write("pgflow.Pipeline('p', target=raw, mode='nothing', source='SELECT 1')\n")
    assert hint not in invoke("list").err
    place.write(
        "def load(conn): raise RuntimeError('mine')\n"
        'p = pgflow.Pipeline("p", target=make("t"), body=load, mode="merge")\n'
    )
    place.create()
    for command in ("sync", "dry-run", "preview"):
        ran = invoke(command, "p")
        assert ran.code == 1
        assert ran.err.splitlines()[-1] == hint
        assert "RuntimeError: mine" in ran.err


@pytest.mark.parametrize("name", ["sync", "dry-run", "preview", "retry"])
def test_no_option_redirects_a_run(name: str) -> None:
    """Which database a pipeline uses is said by its connections' names, never on the way."""
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]  # a group
    words = {option.lstrip("-") for each in command.params for option in each.opts}
    assert not [word for word in words if re.search("connection|dsn|url|database|target", word)]
