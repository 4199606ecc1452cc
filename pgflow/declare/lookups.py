"""Lookups: which version of a dimension a row refers to, as of the row's own instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

from pgflow import idents
from pgflow.declare.spelling import spelt_class
from pgflow.errors import InvalidOption

#: What becomes of a row without a version: the run fails, or the column gets NULL, or the
#: unknown member.
Missing = Literal["error", "null", "member"]

_MISSING = get_args(Missing)

#: Everything that can be the matter with a row: a key that the dimension does not have; an instant
#: before the key's first version; one between or after its versions; no key; no instant.
OUTCOMES = ("unknown", "early", "gap", "blank", "undated")


@spelt_class
@dataclass(frozen=True)
class Lookup:
    """Fill a column with the version of a dimension that was valid at a row's own instant.

    Attributes:
        dimension: A class under `@pgflow.table`, a table factory, or its SQLAlchemy table; it
            keeps history (mode `scd2`).
        into: The target's column that gets the version.
        at: The source's column with the instant, of type `timestamptz`.
        on: The source's column with the dimension's key; several columns in the order of the
            keys; or a mapping of source column to key. By default the keys' own names.
        select: The dimension's column that is taken; by default the one that numbers its versions.
        missing: What a row gets whose key the dimension does not have, and, unless said
            otherwise, one that is early, in a gap, or without an instant.
        early: What a row gets whose instant is before the first version of its key; also
            `first_version`.
        gap: What a row gets whose instant is after a version that ended and before the next;
            also `last_version`.
        blank: What a row gets whose key is NULL; by default the unknown member where there is
            one, NULL where the column takes it, else an error.
        member: The unknown member: a value for the column, or a mapping of key to value that
            names a row of the dimension.
    """

    dimension: Any
    into: str
    at: str
    on: str | Sequence[str] | Mapping[str, str] | None = None
    select: str | None = None
    missing: Missing = "error"
    early: Missing | Literal["first_version"] | None = None
    gap: Missing | Literal["last_version"] | None = None
    blank: Missing | None = None
    member: object = None

    def __post_init__(self) -> None:
        for option, allowed in (
            ("missing", _MISSING),
            ("early", (*_MISSING, "first_version", None)),
            ("gap", (*_MISSING, "last_version", None)),
            ("blank", (*_MISSING, None)),
        ):
            value = getattr(self, option)
            if value not in allowed:
                spelt = " or ".join(repr(each) for each in allowed if each is not None)
                raise InvalidOption(f"{self}: {option}={value!r} is unknown. Use {spelt}.")
        asked = "member" in (self.missing, self.early, self.gap, self.blank)
        if asked != (self.member is not None):
            raise InvalidOption(
                f"{self}: "
                + (
                    "'member' stands for the unknown member, and member= does not say which one."
                    if asked
                    else "member= is given, and nothing says where: missing='member', for instance."
                )
            )
        for option in ("into", "at", "select"):
            value = getattr(self, option)
            if value is not None:
                object.__setattr__(self, option, idents.truncate(value))
        object.__setattr__(self, "on", self._columns())

    def __str__(self) -> str:
        return f"Lookup(into={self.into!r})"

    def _columns(self) -> tuple[str, ...] | Mapping[str, str] | None:
        if self.on is None:
            return None
        if isinstance(self.on, Mapping):
            pairs = {idents.truncate(s): idents.truncate(k) for s, k in self.on.items()}
            return MappingProxyType(pairs)
        columns = (self.on,) if isinstance(self.on, str) else self.on
        return tuple(idents.truncate(column) for column in columns)

    def pairs(self, keys: Sequence[str], owner: str) -> tuple[tuple[str, str], ...]:
        """Say which source column holds which key.

        Args:
            keys: The dimension's merge keys.
            owner: Whose lookup it is, for the message.

        Returns:
            Source column and key, for every key in order.

        Raises:
            InvalidOption: A key is left out, or something is none.
        """
        on = self.on
        if on is None:
            found = {key: key for key in keys}
        elif isinstance(on, Mapping):
            found = {key: column for column, key in on.items()}
        else:
            found = dict(zip(keys, on, strict=False)) if len(on) == len(keys) else {}
        if set(found) != set(keys):
            raise InvalidOption(
                f"{owner}: {self}: on={_spelt(on)} does not say which source column holds each key "
                f"of the dimension ({', '.join(keys)}). Give one column for each, in their order, "
                "or a mapping of source column to key."
            )
        return tuple((found[key], key) for key in keys)


def _spelt(on: object) -> str:
    return repr(dict(on)) if isinstance(on, Mapping) else repr(on)
