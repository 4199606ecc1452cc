"""How migrations are made and run: arguments of `configure()`, then `[migrations]` in a file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pgflow.connections.settings import SettingsFile, project_settings
from pgflow.errors import MalformedMigrationSettings

#: Tables from this size on are changed by statements that let others go on working.
BIG_TABLE_BYTES = 32 * 1024 * 1024

_TABLE = "migrations"
_DURATION = re.compile(r"\d+ ?(?:us|ms|s|min|h|d)?")

# env.py has no other way to hand over what it says to what Alembic calls later.
_latest: list[MigrationSettings] = []


@dataclass(frozen=True, kw_only=True)
class MigrationSettings:
    """How migrations are made and run.

    Attributes:
        shadow: An empty database of the same major version in which declared objects are made to
            be compared: a connection's name or a URL. None to use scratch schemas, which are
            rolled back, in the database itself.
        owner: The name of the migration history in pgflow's marks; None to take it from
            Alembic's version table.
        adopt: Mark declared objects that no migration has made, so that a later one may drop
            them.
        big_table_bytes: From this size on a table's indexes and constraints are made without
            locking others out.
        lock_timeout: How long a statement in a transaction waits for a lock; "0" for ever.
        lock_retries: How often a migration is tried again that did not get its locks.
        online_lock_timeout: The same wait for statements that lock nobody out, such as
            CREATE INDEX CONCURRENTLY, which waits for all running transactions.
        online_statement_timeout: How long such a statement may take at all.
        tenants: The table `[migrations.tenants]`, as it is.
    """

    shadow: str | None = None
    owner: str | None = None
    adopt: bool = False
    big_table_bytes: int = BIG_TABLE_BYTES
    lock_timeout: str = "5s"
    lock_retries: int = 10
    online_lock_timeout: str = "10min"
    online_statement_timeout: str = "0"
    tenants: Mapping[str, Any] = field(default_factory=dict)


def read_migration_settings(
    explicit: Mapping[str, object] | None = None, file: SettingsFile | None = None
) -> MigrationSettings:
    """Put arguments and the project's file together; arguments win.

    Args:
        explicit: Arguments by the names of the settings; None stands for "not given".
        file: The project's settings; looked for as usual if None is given.

    Raises:
        MalformedMigrationSettings: A setting is not known, or its value makes no sense.
        MalformedSettings: pgflow.toml cannot be read.
    """
    file = project_settings() if file is None else file
    settings = MigrationSettings()
    if file is not None:
        said = file.data.get(_TABLE, {})
        place = f"[{_TABLE}] in {file.path}"
        if not isinstance(said, Mapping):
            raise MalformedMigrationSettings(
                f"{file.path}: '{_TABLE}' is not a table. Write [{_TABLE}] and below it, for "
                'example, lock_timeout = "5s".'
            )
        settings = replace(settings, **_checked(said, place))
    given = {key: value for key, value in (explicit or {}).items() if value is not None}
    return replace(settings, **_checked(given, "configure()"))


def use(settings: MigrationSettings) -> None:
    """Make settings those of the following migrations of this process."""
    _latest[:] = [settings]


def current_settings() -> MigrationSettings:
    """Return what `configure()` said last; without any call what pgflow.toml says."""
    return _latest[0] if _latest else read_migration_settings()


def _checked(said: Mapping[str, object], place: str) -> dict[str, Any]:
    known = {each.name for each in fields(MigrationSettings)}
    for key in said:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise MalformedMigrationSettings(
                f"{place} has the unknown key {key!r}. {hint}Known are: {', '.join(sorted(known))}."
            )
    return {key: _value(key, value, place) for key, value in said.items()}


def _value(key: str, value: object, place: str) -> object:
    if key == "tenants":
        right, wanted = isinstance(value, Mapping), "a table"
    elif key == "adopt":
        right, wanted = isinstance(value, bool), "true or false"
    elif key in ("big_table_bytes", "lock_retries"):
        right = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        wanted = "a whole number, 0 or more"
    elif key.endswith("_timeout"):
        right = isinstance(value, str) and _DURATION.fullmatch(value) is not None
        wanted = 'a duration with its unit, such as "500ms", "5s" or "10min"; "0" for no limit'
    else:
        right, wanted = isinstance(value, str), "a text"
    if not right:
        raise MalformedMigrationSettings(f"{place}: {key!r} is {value!r}, but must be {wanted}.")
    return value
