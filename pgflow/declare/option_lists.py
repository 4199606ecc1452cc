"""Options that are lists: of columns, of lookups, of checks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pgflow import idents
from pgflow.declare.data_check import DataCheck, check_names
from pgflow.declare.lookups import Lookup
from pgflow.errors import InvalidOption


def column_name(option: str, value: object) -> str:
    """Take the name of a column, or say which option has something else."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise InvalidOption(f"{option}= names {value!r}, which is no column's name: give a text.")
    return idents.truncate(value)


def column_names(option: str, value: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """Take names of columns, each once."""
    if value is None:
        return None
    if isinstance(value, str):
        hint = tuple(re.split(r"\s*,\s*", value.strip()))
        raise InvalidOption(f"{option}={value!r} must be a sequence of names: {option}={hint!r}.")
    given: object = value
    if not isinstance(given, Iterable) or isinstance(given, type):
        raise InvalidOption(f"{option}={value!r} must be a sequence of names: {option}=('id',).")
    names = tuple(column_name(option, name) for name in value)
    if not names:
        raise InvalidOption(f"{option}=() names no column; leave it out to have it inferred.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidOption(f"{option}={names!r} names {spoken(twice)} twice.")
    return names


def lookup_list(value: Sequence[Lookup] | Lookup | None) -> tuple[Lookup, ...] | None:
    """Take lookups one by one; of two that fill one column only the last would count."""
    if value is None:
        return None
    given: object = value
    if isinstance(given, str) or not isinstance(given, (Lookup, Iterable)):
        raise InvalidOption(f"lookups={given!r} must be a list: lookups=[pgflow.Lookup(...)].")
    lookups = (value,) if isinstance(value, Lookup) else tuple(value)
    for lookup in lookups:
        if not isinstance(lookup, Lookup):
            raise InvalidOption(f"lookups= takes pgflow.Lookup(...), not {lookup!r}.")
    columns = [lookup.into for lookup in lookups]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise InvalidOption(f"lookups= fills {spoken(twice)} twice.")
    return lookups


def check_list(checks: object) -> tuple[DataCheck, ...]:
    """Take checks whose names differ."""
    if isinstance(checks, DataCheck):
        return (checks,)
    if isinstance(checks, str) or not isinstance(checks, Iterable):
        raise InvalidOption(f"checks={checks!r} must be a list: checks=[NotNull('email')].")
    return check_names(checks, "checks=")


def spoken(words: Sequence[str]) -> str:
    """Return words as a sentence lists them."""
    return " or ".join(repr(word) for word in words)
