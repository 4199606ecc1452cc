"""What a mode adds to a table, said as data: the system columns, and what scd2 needs as keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Column

from pgflow import idents
from pgflow.declare.options import SyncOptions
from pgflow.declare.system_columns import SystemColumns
from pgflow.emit.objects import sql_text
from pgflow.errors import InvalidSystemColumns, MissingMergeKey

Kind = Literal["stamp", "instant", "batch", "flag", "hash", "number"]

#: For each name that `system_columns=` takes: its attribute in `SystemColumns`, what it holds,
#: and whether a table can do without it.
_CATALOGUE: dict[str, tuple[str, Kind, bool]] = {
    "_loaded_at": ("loaded_at", "stamp", True),
    "_batch_id": ("batch_id", "batch", True),
    "_changed_at": ("changed_at", "instant", True),
    "_deleted_at": ("deleted_at", "instant", False),
    "valid_from": ("valid_from", "instant", False),
    "valid_to": ("valid_to", "instant", False),
    "is_current": ("is_current", "flag", True),
    "_closed_batch_id": ("closed_batch_id", "batch", True),
    "_confirmed_at": ("confirmed_at", "instant", False),
    "row_hash": ("row_hash", "hash", False),
}
#: The modes of which each has columns of its own.
MODES = ("append", "truncate", "merge", "scd1", "scd2")

#: A column that a table has only when it is asked for: it numbers the versions of scd2.
VERSION_ID = "version_id"

_LOADED = ("_loaded_at", "_batch_id")
_HISTORY = ("valid_from", "valid_to", "is_current", "_closed_batch_id")
_BY_MODE: dict[str, tuple[str, ...]] = {
    "append": _LOADED,
    "truncate": _LOADED,
    "merge": _LOADED,
    "scd1": (*_LOADED, "_changed_at"),
    "scd2": (*_LOADED, *_HISTORY),
}


@dataclass(frozen=True)
class SystemColumn:
    """One column that a mode needs.

    Attributes:
        role: Its usual name.
        name: Its name in this table.
        kind: What it holds.
        nullable: Whether it takes NULL.
        flags: For `is_current`: the column whose NULL makes a version current.
        backfill: What rows get that are there before the column is, as SQL. A column that is there
            keeps what it has, NULLs too: nobody knows since when such a row is valid.
    """

    role: str
    name: str
    kind: Kind
    nullable: bool = True
    flags: str = ""
    backfill: str = ""

    def make(self) -> Column[Any]:
        """Return a new column for a table."""
        if self.kind == "stamp":
            default = sa.text("now()")
            return Column(self.name, _type(self.kind), nullable=False, server_default=default)
        if self.kind == "flag":
            current = sql_text(f"{idents.quote(self.flags)} IS NULL")
            computed = sa.Computed(current, persisted=True)
            return Column(self.name, _type(self.kind), computed, nullable=False)
        if self.kind == "number":
            return Column(self.name, _type(self.kind), sa.Identity(always=True), nullable=False)
        info = {"backfill_when_new": self.backfill} if self.backfill else None
        return Column(self.name, _type(self.kind), nullable=self.nullable, info=info)


@dataclass(frozen=True)
class Amendment:
    """What a table gets so that a mode can fill it.

    Attributes:
        mode: The mode.
        keys: The merge keys; they matter to scd2 alone.
        columns: The columns that are added where the table does not have them.
        system: The names of the system columns.
        version_id: scd2: the column that numbers the versions, if one was asked for.
        match_nulls: Whether NULLs in keys count as equal.
    """

    mode: str
    keys: tuple[str, ...] = ()
    columns: tuple[SystemColumn, ...] = ()
    system: SystemColumns = field(default_factory=SystemColumns)
    version_id: str | None = None
    match_nulls: bool = False

    @property
    def keeps_history(self) -> bool:
        """Whether a merge key has many rows."""
        return self.system.valid_to is not None

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The columns that identify a version; empty for other modes than scd2."""
        return (*self.keys, self.system.valid_from) if self.system.valid_from else ()


def system_columns(
    mode: str,
    keys: tuple[str, ...] = (),
    options: SyncOptions | None = None,
    overrides: Mapping[str, str | None] = MappingProxyType({}),
    *,
    owner: str = "",
) -> Amendment:
    """Say what a mode adds to a table.

    Args:
        mode: A built-in mode; a mode of the user's own names one (`Mode.columns`).
        keys: The merge keys.
        options: The options of the sync; soft deletes, hashes and NULL keys add columns.
        overrides: New names by usual name, or None to leave a column out.
        owner: Who asks, for messages.

    Returns:
        The amendment. Nothing is changed.

    Raises:
        InvalidSystemColumns: An override names no system column, leaves out one that the mode
            needs, or gives two columns one name.
        MissingMergeKey: The mode is scd2 and there are no keys.
    """
    given = options or SyncOptions()
    match = given.on_null_key == "match"
    check_overrides(overrides, owner)
    wanted = _wanted(mode, given)
    names = {role: _chosen(role, overrides) for role in wanted}
    present = {role: name for role, name in names.items() if name is not None}
    if mode == "scd2" and not keys:
        raise MissingMergeKey(
            f"{owner or 'mode scd2'}: a history needs to know what makes a row unique. Give "
            "keys=, or declare __merge_keys__, natural_key() or Unique(...), or pk() on the table."
        )
    version_id = overrides.get(VERSION_ID) if mode == "scd2" else None
    _check_distinct([*present.values(), *([version_id] if version_id else [])], owner)
    kept = tuple(map(idents.truncate, keys)) if mode == "scd2" or match else ()
    return _amendment(mode, kept, tuple(present.items()), version_id, match)


@lru_cache(maxsize=256)
def _amendment(
    mode: str,
    keys: tuple[str, ...],
    present: tuple[tuple[str, str], ...],
    version_id: str | None,
    match: bool,
) -> Amendment:
    """Put an amendment together; most tables of a project get one of a few."""
    names = dict(present)
    columns = tuple(_column(role, name, names) for role, name in present)
    if version_id is not None:
        columns += (SystemColumn(VERSION_ID, version_id, "number", nullable=False),)
    system = SystemColumns(**{_CATALOGUE[role][0]: name for role, name in present})
    return Amendment(mode, keys, columns, system, version_id, match)


def check_overrides(overrides: Mapping[str, str | None], owner: str = "") -> None:
    """Refuse `system_columns=` entries that no mode can follow.

    Args:
        overrides: New names by usual name, or None to leave a column out.
        owner: Who says it, for messages.

    Raises:
        InvalidSystemColumns: An entry names no system column, or leaves out one that cannot be.
    """
    for role, name in overrides.items():
        if role == VERSION_ID and name is not None:
            idents.check(name)
        elif role not in _CATALOGUE:
            close = get_close_matches(str(role), [*_CATALOGUE, VERSION_ID], n=1)
            meant = f" Did you mean {close[0]!r}?" if close else ""
            raise InvalidSystemColumns(
                f"{owner or 'system_columns='}: {role!r} is no system column.{meant} There are "
                f"{', '.join(_CATALOGUE)}, and {VERSION_ID} on request.",
                column=str(role),
            )
        elif name is not None:
            idents.check(name)
        elif not _CATALOGUE[role][2]:
            removable = ", ".join(r for r, (_, _, optional) in _CATALOGUE.items() if optional)
            raise InvalidSystemColumns(
                f"{owner or 'system_columns='}: {role!r} cannot be left out, the modes that have "
                f"it need it. It can be renamed; {removable} can be left out.",
                column=role,
            )


def _wanted(mode: str, options: SyncOptions) -> tuple[str, ...]:
    wanted = _BY_MODE[mode]
    if options.handle_deletes == "soft" and mode in ("merge", "scd1"):
        wanted += ("_deleted_at",)
    if options.keep_confirmations and mode == "scd2":
        wanted += ("_confirmed_at",)
    if options.change_detection == "hash" and mode in ("merge", "scd1", "scd2"):
        wanted += ("row_hash",)
    return wanted


def _chosen(role: str, overrides: Mapping[str, str | None]) -> str | None:
    name = overrides.get(role, role)
    return None if name is None else idents.truncate(name)


def _check_distinct(names: list[str], owner: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidSystemColumns(
            f"{owner or 'system_columns='}: two system columns would be called {twice[0]!r}.",
            column=twice[0],
        )


def _column(role: str, name: str, present: Mapping[str, str]) -> SystemColumn:
    kind = _CATALOGUE[role][1]
    nullable = role not in ("_loaded_at", "valid_from", "is_current")
    flags = present["valid_to"] if kind == "flag" else ""
    backfill = _first_version(present) if role == "valid_from" else ""
    return SystemColumn(role, name, kind, nullable, flags, backfill)


def _first_version(present: Mapping[str, str]) -> str:
    """Say since when rows are known that become first versions: when they were last written.

    A table that had no such column has got it by then, and it says when it did.
    """
    loaded_at = present.get("_loaded_at")
    return idents.quote(loaded_at) if loaded_at is not None else "now()"


def _type(kind: Kind) -> sa.types.TypeEngine[Any]:
    made: sa.types.TypeEngine[Any] = _TYPES[kind]()
    return made


_TYPES: dict[Kind, Any] = {
    "stamp": lambda: sa.DateTime(timezone=True),
    "instant": lambda: sa.DateTime(timezone=True),
    "batch": sa.Uuid,
    "flag": sa.Boolean,
    "hash": sa.LargeBinary,
    "number": sa.BigInteger,
}
