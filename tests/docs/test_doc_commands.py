"""The commands of the documentation exist, with the options that it gives them."""

from __future__ import annotations

import re
import shlex
import tomllib
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from pgflow.cli.main import app
from tests.docs.doc_pages import ROOT, pages

#: What a wrong command line raises; typer exports only what inherits from it.
UsageError: Any = typer.BadParameter.__base__

#: Shell loops of the pages go over days.
_VARIABLE = re.compile(r"\$\{?\w+\}?")

SHELLS = ("sh", "bash", "shell", "console")


def _commands(word: str) -> list[tuple[str, list[str]]]:
    """Lines of shell blocks that begin with a word, each with where it stands."""
    found = []
    for page in pages():
        for block in page.blocks:
            if block.language not in SHELLS or block.skipped:
                continue
            for number, line in enumerate(_joined(block.lines), block.line):
                line = _VARIABLE.sub("2024-01-01", line.strip().removeprefix("$ "))
                words = shlex.split(line, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words = words[1:]
                if words and words[0].rsplit("/", 1)[-1] == word:
                    found.append((f"{page.name}:{number}", _until_pipe(words[1:])))
    return found


def _joined(lines: tuple[str, ...]) -> list[str]:
    return "\n".join(lines).replace("\\\n", " ").splitlines()


def _until_pipe(words: list[str]) -> list[str]:
    ends = [i for i, word in enumerate(words) if word in ("|", "||", "&&", ";", ">", "2>", "&")]
    return words[: ends[0]] if ends else words


@pytest.mark.parametrize("where, words", _commands("pgflow"))
def test_pgflow_commands_exist(where: str, words: list[str]) -> None:
    """A `pgflow` command of a page is understood by the command line."""
    try:
        _understand(typer.main.get_command(app), "pgflow", words)
    except typer.Exit:  # --help and --version
        return
    except UsageError as error:
        pytest.fail(f"{where}: pgflow {shlex.join(words)}: {error.format_message()}")


def _understand(command: Any, name: str, words: list[str], parent: Any = None) -> None:
    """Let typer read the words of a command and of its subcommands, without running any."""
    context = command.make_context(name, list(words), parent=parent)
    if isinstance(command, TyperGroup) and words:
        at = next(i for i, word in enumerate(words) if not word.startswith("-"))
        found = command.get_command(context, words[at])
        if found is None and command.invoke_without_command:
            return  # the group has understood its words itself
        if found is None:
            raise UsageError(f"there is no command {words[at]!r}")
        _understand(found, words[at], words[at + 1 :], context)


@pytest.mark.parametrize(
    "words", [["past"], ["history", "--most", "3"], ["connections", "show"], ["sync", "--all=3"]]
)
def test_a_wrong_command_is_found(words: list[str]) -> None:
    """A command that does not exist, or that lacks an option, is not understood."""
    with pytest.raises(UsageError):
        _understand(typer.main.get_command(app), "pgflow", words)


@pytest.mark.parametrize("where, words", _commands("make"))
def test_make_targets_exist(where: str, words: list[str]) -> None:
    """A `make` command of a page names a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wanted = [word for word in words if "=" not in word and not word.startswith("-")]
    assert set(wanted) <= targets, f"{where}: make has no target {set(wanted) - targets}"


def test_extras_exist() -> None:
    """Every `pgflow[extra]` of the documentation is an extra of the project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = set(project["optional-dependencies"])
    for page in pages():
        text = page.path.read_text()
        named = {e.strip() for m in re.findall(r"pgflow\[([\w, ]+)\]", text) for e in m.split(",")}
        assert named <= known, f"{page.name} names extras {named - known}"
