"""`pgflow connections set` and `remove`."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import typer

from pgflow.cli.failures import OK
from pgflow.cli.output import Output
from pgflow.connections.dsn import is_dsn, read_dsn
from pgflow.connections.entry_edits import remove_entry, set_entry
from pgflow.connections.settings import (
    PROJECT_FILE,
    SettingsFile,
    fill,
    mentions,
    place_in,
    project_settings,
    read_settings,
    user_path,
)
from pgflow.errors import MalformedDsn, UnknownConnection, UnsetVariable

_FORM = (
    "write NAME=URL, such as warehouse='postgresql://loader@db.example.com/warehouse', or NAME=- "
    "to type the URL unseen, or to read it from standard input."
)


def set_connection(output: Output, assignment: str, *, project: bool) -> int:
    """Write what a connection's name stands for into a file.

    Args:
        output: Where to say what was written.
        assignment: `NAME=URL` or `NAME=-`.
        project: Whether the project's file is meant and not the user's.

    Raises:
        typer.BadParameter: The assignment has another form, or a password would be written into
            the project's file.
        MalformedDsn: The URL cannot be read; nothing was written.
    """
    name, given = _taken_apart(assignment)
    dsn = _typed(name) if given == "-" else given
    path = _path(project)
    leads_to = _checked(path, name, dsn)
    spelt_out = _has_literal_password(dsn)
    if project and spelt_out:
        raise typer.BadParameter(
            f"{path} is the project's, which others read and repositories keep, and the URL of "
            f"{name!r} has a password. Write ${{VARIABLE}} in its place, or leave --project out."
        )
    edit = set_entry(path, name, dsn, private=not project)
    verb = "replaced" if edit.existed else "set"
    output.line(f"{verb} {place_in(path, name)}: {leads_to}")
    if edit.lost_password:
        output.note("the password that stood apart was taken out: it was for the former URL")
    if spelt_out and given != "-":
        output.note(
            "the password stood on the command line, where the shell's history keeps it and other "
            f"users of this machine may see it; {name}=- asks for the URL instead"
        )
    _tell_who_decides(output, name, path)
    return OK


def remove_connection(output: Output, name: str, *, project: bool) -> int:
    """Take a connection out of a file.

    Args:
        output: Where to say what was removed.
        name: The connection's name.
        project: Whether the project's file is meant and not the user's.

    Raises:
        typer.BadParameter: A URL was given, which is not repeated, as it may hold a password.
        UnknownConnection: The file does not have it; the error says who has.
    """
    if is_dsn(name):
        raise typer.BadParameter("that is a URL; give the connection's name alone.")
    path = _path(project)
    edit = remove_entry(path, name, private=not project)
    if not edit.existed:
        raise _not_there(path, name)
    output.line(f"removed {place_in(path, name)}")
    places = mentions().get(name, ())
    if places:
        output.note(f"{name!r} is now what {places[0]} says")
    return OK


def _taken_apart(assignment: str) -> tuple[str, str]:
    """Read NAME=URL; what is refused is not repeated, as it may hold a password."""
    name, equals, given = assignment.partition("=")
    if not equals or not given.strip():
        raise typer.BadParameter(f"that names no connection and its URL; {_FORM}")
    if "://" in name or not name.strip() or name != name.strip() or not name.isprintable():
        raise typer.BadParameter(f"what stands before '=' is no connection's name; {_FORM}")
    return name, given


def _typed(name: str) -> str:
    """Take the URL from where no list of processes and no shell's history shows it."""
    if sys.stdin.isatty():
        try:
            text = getpass.getpass(f"URL of {name}: ")
        except EOFError:
            text = ""
    else:
        text = sys.stdin.readline()
    if not text.strip():
        raise typer.BadParameter("standard input has no URL.")
    return text.strip()


def _path(project: bool) -> Path:
    if not project:
        return user_path()
    found = project_settings()
    return Path.cwd() / PROJECT_FILE if found is None else found.path


def _checked(path: Path, name: str, dsn: str) -> str:
    """Read the URL as it will be read, and say where it leads."""
    try:
        entry = SettingsFile(path, {"connections": {name: {"dsn": dsn}}}).entry(name)
    except UnsetVariable as error:
        return f"leads to what ${{{error.variable}}} will say, which is not set here"
    read = read_dsn("" if entry is None else entry.dsn, "the command line")
    return read.url.render_as_string(hide_password=True)


def _has_literal_password(dsn: str) -> bool:
    """Whether a password stands there itself, and not the names of variables alone."""
    try:
        return any(_secrets(dsn, stand_in).strip(stand_in) for stand_in in ("1", "2"))
    except MalformedDsn:
        return False


def _secrets(dsn: str, stand_in: str) -> str:
    """All that is secret in it, with something in the place of each variable."""
    target = read_dsn(fill(dsn, lambda _: stand_in), "the command line")
    return "".join([target.url.password or "", *target.secrets.values()])


def _tell_who_decides(output: Output, name: str, path: Path) -> None:
    """Say so if another place wins over the file."""
    places = mentions().get(name, ())
    if places and places[0] != place_in(path, name):
        output.note(f"{places[0]} wins over it")


def _not_there(path: Path, name: str) -> UnknownConnection:
    file = read_settings(path)
    have = list(file.connections()) if file else []
    near = next(iter(get_close_matches(name, have, 1)), None)
    hint = f" Did you mean {near!r}?" if near else ""
    return UnknownConnection(
        f"{path} has no connection {name!r}.{hint} It has: {', '.join(have) or 'none'}."
        f"{_elsewhere(name, mentions().get(name, ()))}",
        name=name,
        places=(str(path),),
        nearest=near,
    )


def _elsewhere(name: str, places: Sequence[str]) -> str:
    if not places:
        return ""
    return f" {name!r} is what {places[0]} says: change it there."
