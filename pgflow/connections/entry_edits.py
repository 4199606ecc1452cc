"""Changing one entry of a settings file, and leaving everything else in it as it stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from pgflow.connections.settings import SettingsFile, read_settings
from pgflow.connections.whole_file import PRIVATE, SHARED, alone, replace_text
from pgflow.errors import MalformedSettings

_TABLE = "connections"
#: Keys that TOML takes without quotes.
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Edit:
    """What has become of an entry.

    Attributes:
        path: The file.
        existed: Whether there was such an entry before.
        lost_password: Whether a `password` that stood apart was taken out with it.
    """

    path: Path
    existed: bool
    lost_password: bool = False


def set_entry(path: Path, name: str, dsn: str, *, private: bool = True) -> Edit:
    """Write what a connection's name stands for.

    A `password` that stood apart belonged to the former connection string, and is taken out: it
    shall not be sent to another server.

    Args:
        path: The file; it is made if it is not there.
        name: The connection's name.
        dsn: The connection string, in which `${VAR}` stays as it is.
        private: Whether only its owner may read the file; else it keeps its mode.

    Returns:
        What was there before.

    Raises:
        MalformedSettings: The file cannot be read, or its form is one that cannot be changed
            without touching something else.
        UnwritableSettings: The file cannot be written.
    """
    with alone(path) as real:
        file = read_settings(real) or SettingsFile(real, {})
        before = file.connections().get(name)
        wanted = _changed(file, name, {"dsn": dsn})
        text = _text(real)
        nearest = _appended if before is None else _put_in_place
        ways = [partial(way, text, name, dsn) for way in (nearest, _put)]
        replace_text(real, _first_that_says(wanted, ways, real), _mode(real, private))
    return Edit(real, before is not None, isinstance(before, dict) and "password" in before)


def remove_entry(path: Path, name: str, *, private: bool = True) -> Edit:
    """Take an entry out of a file.

    Args:
        path: The file.
        name: The connection's name.
        private: As for `set_entry`.

    Returns:
        Whether it was there; if it was not, the file is left alone.

    Raises:
        MalformedSettings: As for `set_entry`.
        UnwritableSettings: The file cannot be written.
    """
    if read_settings(path) is None:
        return Edit(path, existed=False)
    with alone(path) as real:
        file = read_settings(real)
        if file is None or name not in file.connections():
            return Edit(real, existed=False)
        wanted = _changed(file, name, None)
        text = _text(real)
        ways = [partial(way, text, name) for way in (_cut, _deleted)]
        replace_text(real, _first_that_says(wanted, ways, real), _mode(real, private))
    return Edit(real, existed=True)


def _changed(file: SettingsFile, name: str, entry: dict[str, str] | None) -> dict[str, Any]:
    """What the file is to say afterwards; a table without entries says nothing."""
    data: dict[str, Any] = deepcopy(dict(file.data))
    entries = {**file.connections(), name: entry}
    return _plain({**data, _TABLE: {k: v for k, v in entries.items() if v is not None}})


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in data.items() if k != _TABLE or v}


def _first_that_says(wanted: dict[str, Any], ways: Sequence[Callable[[], str]], path: Path) -> str:
    """Return the first new text that says what is wanted, and nothing else than before.

    Each is read again before it takes the file's place, by the reader that will read the file.
    """
    for way in ways:
        try:
            text = way()
            if _plain(tomllib.loads(text)) == wanted:
                return text
        except (TOMLKitError, tomllib.TOMLDecodeError, LookupError, ValueError, TypeError):
            continue
    raise MalformedSettings(
        f"{path} is written in a form that pgflow does not change without touching other parts of "
        "it. Edit it by hand.",
        path=str(path),
    )


def _text(path: Path) -> str:
    """The file's text with its own line ends."""
    return path.read_bytes().decode() if path.exists() else ""


def _mode(path: Path, private: bool) -> int:
    if private:
        return PRIVATE
    return path.stat().st_mode & 0o777 if path.exists() else SHARED


# -- ways of writing -------------------------------------------------------------------


def _appended(text: str, name: str, dsn: str) -> str:
    """A new entry goes below everything else, which stays byte for byte as it is."""
    line_end = "\r\n" if "\r\n" in text else "\n"
    lines = [f"[{_TABLE}.{_key(name)}]", f"dsn = {_value(dsn)}", ""]
    gap = "" if not text or text.endswith(line_end * 2) else line_end
    end = "" if not text or text.endswith("\n") else line_end
    return text + end + gap + line_end.join(lines)


def _put_in_place(text: str, name: str, dsn: str) -> str:
    """An entry with a heading of its own is changed there, and nothing else is touched."""
    lines = text.splitlines(keepends=True)
    begin, stop = _block(lines, name)
    changed = _put("".join(lines[begin:stop]), name, dsn)
    return "".join([*lines[:begin], changed, *lines[stop:]])


def _put(text: str, name: str, dsn: str) -> str:
    """An entry in another form is left to the library, which keeps what it can."""
    document = tomlkit.parse(text)
    entries: Any = document.setdefault(_TABLE, tomlkit.table(is_super_table=True))
    entry = entries.get(name)
    if not isinstance(entry, dict):
        entries[name] = {"dsn": dsn}
    else:
        for key in [key for key in entry if key != "dsn"]:
            del entry[key]
        entry["dsn"] = dsn
    return tomlkit.dumps(document)


def _cut(text: str, name: str) -> str:
    """An entry with a heading of its own goes with its lines; what stands below it stays.

    Comments behind its last value are those of what follows, or of nobody.
    """
    lines = text.splitlines(keepends=True)
    begin, stop = _block(lines, name)
    while stop > begin + 1 and lines[stop - 1].lstrip()[:1] in ("", "#"):
        stop -= 1
    rest = lines[stop:]
    while rest and not rest[0].strip() and not "".join(lines[:begin][-1:]).strip():
        rest = rest[1:]
    return "".join([*lines[:begin], *rest])


def _block(lines: list[str], name: str) -> tuple[int, int]:
    """The lines from an entry's heading up to the next heading, or to what may be one."""
    headings = [i for i, line in enumerate(lines) if line.lstrip().startswith("[")]
    begin = next((i for i in headings if _entry_of(lines[i]) == name), None)
    if begin is None:
        raise LookupError(name)
    return begin, next((i for i in headings if i > begin), len(lines))


def _entry_of(heading: str) -> str | None:
    """The connection that a heading is about."""
    try:
        entries = tomllib.loads(heading).get(_TABLE)
    except tomllib.TOMLDecodeError:  # a line of an array, or of text
        return None
    if not isinstance(entries, dict):
        return None
    return next((name for name, below in entries.items() if below == {}), None)


def _deleted(text: str, name: str) -> str:
    """An entry in another form is left to the library, which keeps what it can."""
    document: Any = tomlkit.parse(text)
    del document[_TABLE][name]
    return tomlkit.dumps(document)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _value(text: str) -> str:
    return tomlkit.string(text).as_string()
