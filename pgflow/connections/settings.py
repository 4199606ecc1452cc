"""Where connection names are looked up: environment variables, then TOML files."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgflow.errors import MalformedDsn, MalformedSettings, UnknownConnection, UnsetVariable

#: The project's settings, looked for in the working directory and its parents.
PROJECT_FILE = "pgflow.toml"

_VARIABLE = re.compile(r"(\$?)\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PREFIX = "PGFLOW_DSN"

#: What may be done before a name counts as unknown.
_searches: list[Callable[[], object]] = []


@dataclass(frozen=True)
class Entry:
    """What a name stands for, and who says so.

    Attributes:
        name: The connection's name.
        origin: The variable or the file's entry that was used.
        dsn: The connection string, variables put in.
        password: The password, where the entry gives it apart, else None.
    """

    name: str
    origin: str
    dsn: str = field(repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class SettingsFile:
    """A TOML file that was read.

    Attributes:
        path: The file.
        data: What it says, variables not put in.
    """

    path: Path
    data: Mapping[str, Any] = field(repr=False)

    def connections(self) -> Mapping[str, Any]:
        """Return the table `[connections]`, empty if there is none.

        Raises:
            MalformedSettings: `connections` is no table.
        """
        found = self.data.get("connections", {})
        if not isinstance(found, dict):
            raise self._malformed("'connections' is not a table", "[connections.default]")
        return found

    def entry(self, name: str) -> Entry | None:
        """Read one entry, or return None if the file does not have it.

        Args:
            name: The connection's name.

        Raises:
            MalformedSettings: The entry has no text `dsn`, or keys that are not known.
            UnsetVariable: A value uses an environment variable that is not set.
        """
        values = self.connections().get(name)
        if values is None:
            return None
        title = f"[connections.{_key(name)}]"
        if not isinstance(values, dict) or not isinstance(values.get("dsn"), str):
            raise self._malformed(f"{title} has no text 'dsn'", title)
        unknown = sorted(set(values) - {"dsn", "password"})
        if unknown or not isinstance(values.get("password", ""), str):
            culprit = f"the unknown key {unknown[0]!r}" if unknown else "a 'password' without text"
            raise self._malformed(f"{title} has {culprit}", title)
        texts = {key: self._expand(value, f"{title} {key}") for key, value in values.items()}
        return Entry(name, f"{title} in {self.path}", texts["dsn"], texts.get("password"))

    def _expand(self, value: str, entry: str) -> str:
        """Put environment variables in; what they hold is not looked at again."""

        def held(variable: str) -> str:
            if variable not in os.environ:
                raise UnsetVariable(
                    f"{entry} in {self.path} uses ${{{variable}}}, but the environment variable "
                    f"{variable!r} is not set. Set it, or write $${{{variable}}} if the value "
                    "shall hold that text itself.",
                    variable=variable,
                    entry=entry,
                    path=str(self.path),
                )
            return os.environ[variable]

        return fill(value, held)

    def _malformed(self, what: str, title: str) -> MalformedSettings:
        return MalformedSettings(
            f"{self.path}: {what}. Write {title} and below it "
            'dsn = "postgresql://user@host/database", and if it is given apart, password = "...".',
            path=str(self.path),
        )


def fill(value: str, held: Callable[[str], str]) -> str:
    """Put something in the place of each `${VAR}`; `$${VAR}` becomes the text `${VAR}`.

    Args:
        value: A value of a settings file.
        held: Returns what stands for a variable's name.
    """

    def replacement(match: re.Match[str]) -> str:
        literal, variable = match.groups()
        return match[0][1:] if literal else held(variable)

    return _VARIABLE.sub(replacement, value)


def read_settings(path: Path) -> SettingsFile | None:
    """Read a settings file.

    Args:
        path: The file.

    Returns:
        What it says, or None if there is no such file.

    Raises:
        MalformedSettings: It cannot be read, or is not TOML; the error names file and line.
    """
    # Scripts that give URLs never pay for the parser.
    import tomllib

    try:
        return SettingsFile(path, tomllib.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        why = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise MalformedSettings(
            f"{path} is not valid TOML: {why}. Correct it; text values stand in double quotes.",
            path=str(path),
        ) from None
    except OSError as error:
        raise MalformedSettings(
            f"{path} cannot be read: {error.strerror}. Make it a file that you may read.",
            path=str(path),
        ) from error


def project_settings(start: Path | None = None) -> SettingsFile | None:
    """Read the project's `pgflow.toml`.

    Args:
        start: Where to begin; the working directory by default.

    Returns:
        The file in that directory, or in its nearest parent that has one; None without any.

    Raises:
        MalformedSettings: That file cannot be read.
    """
    start = Path.cwd() if start is None else start.absolute()
    for directory in (start, *start.parents):
        found = read_settings(directory / PROJECT_FILE)
        if found is not None:
            return found
    return None


def user_settings() -> SettingsFile | None:
    """Read the user's `~/.pgflow/connections.toml`, or return None if there is none.

    Raises:
        MalformedSettings: The file cannot be read.
    """
    return read_settings(user_path())


def user_path() -> Path:
    """Return where the user's own connections are, whether there is such a file or not."""
    return Path.home() / ".pgflow" / "connections.toml"


def variable(name: str) -> str:
    """Return the environment variable that names a connection.

    Args:
        name: The connection's name; it is put in capitals, and what a variable's name cannot
            have becomes `_`. Names that differ only there share a variable.
    """
    return f"{_PREFIX}_{re.sub(r'[^A-Z0-9]', '_', name.upper())}"


def find_entry(name: str, also: Mapping[str, str] | None = None) -> Entry:
    """Look a connection up.

    Args:
        name: Its name.
        also: Names that are known elsewhere, and where, for the error.

    Returns:
        The entry of the first place that has it.

    Raises:
        UnknownConnection: No place has it; the error lists the places and the nearest name.
        MalformedDsn: Its environment variable is set, but empty.
        MalformedSettings: A file that had to be read is broken.
        UnsetVariable: Its entry uses a variable that is not set.
    """
    for candidate in _variables(name):
        if candidate in os.environ:
            return _from_environment(name, candidate)
    for file in _files():
        entry = file.entry(name)
        if entry is not None:
            return entry
    raise _unknown(name, also or {})


@contextmanager
def last_resort(search: Callable[[], object]) -> Iterator[None]:
    """Have something done, once, before a name counts as unknown.

    Args:
        search: Imports modules, for instance, which may register the name.
    """
    _searches.append(search)
    try:
        yield
    finally:
        if search in _searches:
            _searches.remove(search)


def search_further() -> bool:
    """Do what was left to be done before a name counts as unknown; say whether anything was."""
    if not _searches:
        return False
    _searches.pop()()
    return True


def known_names() -> dict[str, str]:
    """Return every name that can be looked up, and the place that decides it.

    A name that stands only in a variable is given in lower case, as variables do not keep it.

    Raises:
        MalformedSettings: A file is broken.
    """
    return {name: places[0] for name, places in mentions().items()}


def mentions() -> dict[str, tuple[str, ...]]:
    """Return every name that can be looked up, and all places that have it, the first one decides.

    Raises:
        MalformedSettings: A file is broken.
    """
    found: dict[str, list[str]] = {}
    for file in _files():
        for name in file.connections():
            found.setdefault(name, []).append(place_in(file.path, name))
    claimed = {each for name in found for each in _variables(name)}
    for each in sorted(os.environ):
        if each not in claimed and (each == _PREFIX or each.startswith(f"{_PREFIX}_")):
            found.setdefault(each[len(_PREFIX) + 1 :].lower() or "default", [])
    for name, places in found.items():
        have = (each for each in _variables(name) if each in os.environ)
        places[:0] = (f"the environment variable {each}" for each in have)
    return {name: tuple(places) for name, places in sorted(found.items()) if places}


def place_in(path: Path, name: str) -> str:
    """Say where in a settings file a connection's entry stands."""
    return f"[connections.{_key(name)}] in {path}"


def _variables(name: str) -> list[str]:
    own = variable(name)
    return [own, _PREFIX] if name == "default" else [own]


def _from_environment(name: str, each: str) -> Entry:
    dsn = os.environ[each]
    origin = f"the environment variable {each}"
    if not dsn.strip():
        raise MalformedDsn(
            f"The connection {name!r} comes from {origin}, which is set, but empty. "
            "Give it a connection string, or unset it.",
            origin=origin,
        )
    return Entry(name, origin, dsn)


def _files() -> Iterator[SettingsFile]:
    for found in (project_settings(), user_settings()):
        if found is not None:
            yield found


def _key(name: str) -> str:
    """Write a name as a TOML key."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'


def _unknown(name: str, also: Mapping[str, str]) -> UnknownConnection:
    project = project_settings()
    user = user_settings()
    places = (
        *(f"the environment variable {each}" for each in _variables(name)),
        str(project.path) if project else f"{PROJECT_FILE} in {Path.cwd()} and above (none found)",
        str(user.path) if user else f"{user_path()} (no such file)",
    )
    known = {**known_names(), **also}
    near = difflib.get_close_matches(name, known, 1)
    nearest = near[0] if near else None
    hint = f" Did you mean {nearest!r} ({known[nearest]})?" if nearest else ""
    return UnknownConnection(
        f"No connection is called {name!r}. Looked at: {'; '.join(places)}.{hint} "
        f"Set {places[0].rpartition(' ')[2]}, or add [connections.{_key(name)}] with a dsn to one "
        "of the files. A connection of register() is known once the module that calls it is "
        "imported.",
        name=name,
        places=places,
        nearest=nearest,
    )
