"""`pgflow init`: a project that works at once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pgflow.cli.failures import FAILED, OK, sentence
from pgflow.cli.output import Output
from pgflow.connections.dsn import read_dsn
from pgflow.connections.registry import engine
from pgflow.connections.settings import PROJECT_FILE, variable
from pgflow.errors import FilesExist

#: What is written, relative to the project's directory; each is a file `.template` in
#: `project_files`.
FILES = (
    PROJECT_FILE,
    "warehouse.py",
    "alembic.ini",
    "migrations/env.py",
    "migrations/script.py.mako",
)

#: Where the migrations go.
VERSIONS = "migrations/versions"

_EMBEDDED = """\
# A PostgreSQL server that pgflow starts for you and that keeps its data between runs.
# To connect to it with psql, let it run: pgflow server start.
# For a server of your own: dsn = "postgresql://me@localhost/mydb\""""
_GIVEN = """\
# Secrets can stay outside: "${VARIABLE}" stands for the environment variable of that name."""

_FIRST = ("alembic", "revision", "--autogenerate", "-m", "first tables")


@dataclass(frozen=True)
class NewProject:
    """A project that is about to be written.

    Attributes:
        directory: Where to.
        dsn: Where its connection `default` leads.
    """

    directory: Path
    dsn: str

    @classmethod
    def plan(cls, directory: Path, url: str | None) -> NewProject:
        """Decide on everything before anything is written.

        Args:
            directory: Where to; it need not be there yet.
            url: The connection string of a database; None for an embedded server.

        Raises:
            MalformedDsn: The URL cannot be read.
            FilesExist: Some of the files are there already.
        """
        directory = directory.absolute()
        if url is not None:
            read_dsn(url, "--url")
        present = [name for name in (*FILES, VERSIONS) if (directory / name).exists()]
        if directory.exists() and not directory.is_dir():
            present = [str(directory)]
        if present:
            raise FilesExist(
                f"{directory} holds already: {', '.join(present)}. pgflow init never overwrites a "
                "file, and has written nothing. Give it another directory, or move those away.",
                directory=str(directory),
                files=tuple(present),
            )
        return cls(directory, url if url is not None else f"embedded://{server_name(directory)}")

    def write(self) -> None:
        """Write the files; none of them is there."""
        for name in FILES:
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # A connection string may hold a password, so nobody else reads this file.
            mode = 0o600 if name == PROJECT_FILE else 0o666
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
                file.write(self._text(name))
        (self.directory / VERSIONS).mkdir()

    def _text(self, name: str) -> str:
        place = resources.files("pgflow.cli").joinpath("project_files", f"{name}.template")
        text = place.read_text(encoding="utf-8")
        if name != PROJECT_FILE:
            return text
        comment = _EMBEDDED if self.dsn.startswith("embedded://") else _GIVEN
        return text.replace("@COMMENT@", comment).replace("@DSN@", _toml(self.dsn))


def init_project(output: Output, directory: Path, *, url: str | None) -> int:
    """Write a project, make its first migration, and say what to do next.

    Args:
        output: Where it says what it does.
        directory: Where to.
        url: The connection string of a database; None for an embedded server.

    Returns:
        `FAILED` if the database was reached, but the first migration could not be made.
    """
    project = NewProject.plan(directory, url)
    project.write()
    for name in FILES:
        output.line(f"wrote {_shown(project.directory / name)}")
    output.line()
    reason = _unreachable(project)
    if reason is not None:
        _explain_without_database(output, project, reason)
        return OK
    done = _run(project, *_FIRST)
    if done.returncode != 0:
        output.error(f"the first migration could not be made:\n{_last_lines(done)}")
        output.note(f"All files are written. Try again with: {_spelt(_FIRST)}")
        return FAILED
    for path in sorted((project.directory / VERSIONS).glob("*.py")):
        output.line(f"wrote {_shown(path)}, the first migration")
    output.line()
    _say_next(output, project)
    return OK


def server_name(directory: Path) -> str:
    """Make the name of an embedded server from a directory's name.

    Args:
        directory: A directory whose name may be anything.

    Returns:
        A name that `embedded://` takes.
    """
    plain = re.sub(r"[^a-z0-9_]+", "_", directory.name.lower()).strip("_")
    return plain[:40] or "project"


def _unreachable(project: NewProject) -> str | None:
    """Try the connection that the project's commands will use; say why it fails."""
    try:
        with engine(_effective_dsn(project)[0]).connect():
            return None
    except Exception as error:  # the reason is shown, whatever a driver raises
        return sentence(error)


def _effective_dsn(project: NewProject) -> tuple[str, str | None]:
    """Return the connection string that counts, and the variable that gives it, if one does."""
    for name in (variable("default"), "PGFLOW_DSN"):
        if os.environ.get(name):
            return os.environ[name], name
    return project.dsn, None


def _explain_without_database(output: Output, project: NewProject, reason: str) -> None:
    output.line("There is no first migration yet, because the database cannot be reached:")
    for line in reason.splitlines():
        output.line(f"  {line.strip()}")
    output.line("Once it can:")
    for command in (*_enter(project), _spelt(_FIRST), *_COMMANDS):
        output.line(f"  {command}")


def _say_next(output: Output, project: NewProject) -> None:
    name = _effective_dsn(project)[1]
    if name is not None:
        output.line(f"The variable {name} names the database, before pgflow.toml does.")
    output.line("Next:")
    for command in (*_enter(project), *_COMMANDS):
        output.line(f"  {command}")
    output.line("Then change warehouse.py, and:")
    output.line('  alembic revision --autogenerate -m "what has changed"')
    output.line("  alembic upgrade head")


_COMMANDS = ("alembic upgrade head", "pgflow sync --all")


def _enter(project: NewProject) -> tuple[str, ...]:
    if project.directory == Path.cwd():
        return ()
    return (f"cd {_quoted(_shown(project.directory))}",)


def _run(project: NewProject, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project, as a user would, in a process of its own."""
    return subprocess.run(  # noqa: S603  # our own words, and no shell
        [sys.executable, "-m", *words],
        cwd=project.directory,
        capture_output=True,
        text=True,
        check=False,
    )


def _last_lines(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in lines[-5:])


def _spelt(words: tuple[str, ...]) -> str:
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    return word if re.fullmatch(r"[\w./:@%+=,-]+", word) else f"'{word}'"


def _shown(path: Path) -> str:
    """Write a path as short as the user would."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _toml(value: str) -> str:
    # JSON's strings are TOML's basic strings, but for a DEL character, which no URL has.
    return json.dumps(value, ensure_ascii=False)
