"""How rows go into a target, as declared: every option of a sync, and which modes it fits."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.elements import TextClause

from pgflow import idents
from pgflow.errors import InvalidOption, NotSupportedYet

#: A limit to a part of the target: SQL text (which may use run parameters as `:name`), SQLAlchemy
#: text with bound values, or a SQLAlchemy expression.
Scope = str | TextClause | ColumnElement[bool]

#: Option values that can be spelt out.
CHOICES: dict[str, tuple[str, ...]] = {
    "handle_deletes": ("soft", "hard"),
    "on_duplicate": ("first", "last"),
    "on_null_key": ("error", "match"),
    "on_empty_source": ("error", "allow"),
    "change_detection": ("values", "exact", "hash"),
    "replace": ("truncate", "delete"),
    "schema_mode": ("strict", "ignore_extra"),
    "watermark": ("value",),
}

#: Values of the design that this version does not have.
_LATER = {
    ("schema_mode", "evolve"): "migrate the target with Alembic and use schema_mode='strict'",
    ("watermark", "snapshot"): "use watermark='value' with lookback=",
    ("watermark", "slot"): "use watermark='value' with lookback=",
}

_COLUMN_LISTS = ("keys", "compare_columns", "update_columns")
_COLUMNS = ("order_by", "incremental_column", "event_timestamp_column")


@dataclass(frozen=True, kw_only=True)
class SyncOptions:
    """The options of one target. None means that nobody has said anything.

    Attributes:
        mode: `append`, `truncate`, `merge`, `scd1`, `scd2`, or a registered mode.
        keys: Merge keys; they win over whatever the table declares.
        compare_columns: scd1, scd2: columns whose change counts as a change of the row.
        update_columns: merge: columns that are compared and written.
        event_timestamp_column: scd2: the column that holds each row's own instant.
        ttl: scd2: how long a current version stays open without being delivered.
        handle_deletes: What happens to keys that the source no longer delivers: nothing, `soft`
            (scd2 closes the version, merge and scd1 stamp `_deleted_at`) or `hard` (delete).
        scope: Limits the run to a part of the target.
        order_by: The column that says which of two rows with one key is newer.
        on_duplicate: Which of several rows with one key in a batch is taken, by `order_by`.
        on_null_key: `error`, or `match` to treat NULLs in keys as equal.
        on_empty_source: `error`, or `allow` to let an empty source empty the target.
        max_delete_ratio: The share of live target rows (0 to 1) above which deleting aborts.
        change_detection: `values` (the types' own equality), `exact` (to the byte), or `hash`
            (a stored hash).
        replace: truncate: `truncate`, or `delete` to let readers with older snapshots go on.
        schema_mode: `strict`, or `ignore_extra` to drop source columns that the target lacks.
        incremental_column: Read only rows from the last seen value of this column on.
        lookback: How far before the last seen value an incremental run starts.
        watermark: How the position of an incremental pipeline is kept: `value`.
        lock_timeout: How long to wait for another run on the same target.
    """

    mode: str | None = None
    keys: tuple[str, ...] | None = None
    compare_columns: tuple[str, ...] | None = None
    update_columns: tuple[str, ...] | None = None
    event_timestamp_column: str | None = None
    ttl: timedelta | None = None
    handle_deletes: str | None = None
    scope: Scope | None = None
    order_by: str | None = None
    on_duplicate: str | None = None
    on_null_key: str | None = None
    on_empty_source: str | None = None
    max_delete_ratio: float | None = None
    change_detection: str | None = None
    replace: str | None = None
    schema_mode: str | None = None
    incremental_column: str | None = None
    lookback: timedelta | int | None = None
    watermark: str | None = None
    lock_timeout: timedelta | None = None

    def __post_init__(self) -> None:
        for option in _COLUMN_LISTS:
            object.__setattr__(self, option, _columns(option, getattr(self, option)))
        for option in _COLUMNS:
            value = getattr(self, option)
            if value is not None:
                object.__setattr__(self, option, idents.truncate(value))
        for option, choices in CHOICES.items():
            _check_choice(option, getattr(self, option), choices)
        ratio = self.max_delete_ratio
        if ratio is not None and not 0 <= ratio <= 1:
            raise InvalidOption(
                f"max_delete_ratio={ratio!r} is no share of the target's rows: give a number "
                "from 0 to 1."
            )
        for option in ("ttl", "lock_timeout"):
            value = getattr(self, option)
            if value is not None and (not isinstance(value, timedelta) or value < timedelta(0)):
                raise InvalidOption(f"{option}={value!r} must be a timedelta that is not negative.")

    def over(self, defaults: SyncOptions) -> SyncOptions:
        """Fill what these options leave open from weaker ones.

        Args:
            defaults: The options of the pipeline, or of the table.

        Returns:
            Options in which each value is the stronger one that was given.
        """
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(defaults, **{k: v for k, v in given.items() if v is not None})

    def given(self) -> dict[str, Any]:
        """Return the options that were given, by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


#: Names of all options, for whoever collects them from keyword arguments.
OPTION_NAMES = tuple(f.name for f in fields(SyncOptions))

_KEYED = frozenset({"append", "merge", "scd1", "scd2"})
_FITS: dict[str, frozenset[str]] = {
    "keys": _KEYED,
    "compare_columns": frozenset({"scd1", "scd2"}),
    "update_columns": frozenset({"merge"}),
    "event_timestamp_column": frozenset({"scd2"}),
    "ttl": frozenset({"scd2"}),
    "handle_deletes": frozenset({"merge", "scd1", "scd2"}),
    "order_by": _KEYED,
    "on_duplicate": _KEYED,
    "on_null_key": _KEYED,
    "change_detection": frozenset({"merge", "scd1", "scd2"}),
    "replace": frozenset({"truncate"}),
    "incremental_column": _KEYED,
    "lookback": _KEYED,
    "watermark": _KEYED,
}
_BUILT_IN = _KEYED | {"truncate"}


def check_fit(options: SyncOptions, owner: str) -> None:
    """Refuse options that do not fit the mode or each other.

    Args:
        options: Complete options; `mode` is set. A mode of the user's own takes every option.
        owner: Who declared them, for the message.

    Raises:
        InvalidOption: An option does not fit; the message says which, and what would.
        NotSupportedYet: The option belongs to a later version.
    """
    mode = options.mode or ""
    if mode in _BUILT_IN:
        for option in options.given():
            allowed = _FITS.get(option)
            if allowed is not None and mode not in allowed:
                raise InvalidOption(
                    f"{owner}: {option}= does not fit mode {mode!r}; "
                    f"it goes with {_spoken(sorted(allowed))}." + _advice(option, mode)
                )
    _check_pairs(options, owner)


def _check_pairs(options: SyncOptions, owner: str) -> None:
    if options.handle_deletes == "hard" and options.mode == "scd2":
        raise InvalidOption(
            f"{owner}: handle_deletes='hard' would erase history; with mode 'scd2' use "
            "handle_deletes='soft', which closes the current version."
        )
    if options.incremental_column and options.handle_deletes:
        raise InvalidOption(
            f"{owner}: handle_deletes= needs the whole source, incremental_column= reads a part "
            "of it, and every row that it leaves out would look deleted. Drop one of them."
        )
    needs = (
        ("lookback", "incremental_column"),
        ("watermark", "incremental_column"),
        ("on_duplicate", "order_by"),
    )
    for option, needed in needs:
        if getattr(options, option) is not None and getattr(options, needed) is None:
            raise InvalidOption(f"{owner}: {option}= needs {needed}=, which is not given.")
    if options.max_delete_ratio is not None and not (options.handle_deletes or options.ttl):
        raise InvalidOption(
            f"{owner}: max_delete_ratio= guards handle_deletes=, which is not given."
        )
    if options.ttl is not None and options.handle_deletes is not None:
        raise InvalidOption(
            f"{owner}: handle_deletes='soft' closes every key that is not delivered at once, so "
            "ttl= would have nothing left to do. Drop one of them."
        )
    if options.event_timestamp_column is not None:
        raise NotSupportedYet(
            f"{owner}: event_timestamp_column= (history by the rows' own instants) is not part of "
            "this version. Leave it out, and versions begin at the run's instant, or give the "
            "instant by sync(effective_at=...)."
        )


def check_columns(options: SyncOptions, columns: Collection[str], owner: str) -> None:
    """Refuse options that name columns which the target does not have.

    Columns that may stand in the source alone (the incremental and the order column) are
    looked for when the source is known.

    Args:
        options: The options of one target.
        columns: The target's column names.
        owner: Who declared them, for the message.

    Raises:
        InvalidOption: A column is unknown; the message offers the nearest name.
    """
    for option in (*_COLUMN_LISTS, "event_timestamp_column"):
        value = getattr(options, option)
        names = (value,) if isinstance(value, str) else value or ()
        for column in names:
            if column not in columns:
                raise InvalidOption(
                    f"{owner}: {option}= names {column!r}, which is no column of the target."
                    f"{nearest(column, columns)} It has: {', '.join(columns)}."
                )


def nearest(word: str, words: Collection[str]) -> str:
    """Return ` Did you mean ...?` for the word that looks most alike, or nothing."""
    from difflib import get_close_matches

    folded = {each.lower(): each for each in words}
    close = get_close_matches(word.lower(), list(folded), n=1)
    return f" Did you mean {folded[close[0]]!r}?" if close else ""


def _columns(option: str, value: Sequence[str] | str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        hint = tuple(re.split(r"\s*,\s*", value.strip()))
        raise InvalidOption(f"{option}={value!r} must be a sequence of names: {option}={hint!r}.")
    names = tuple(idents.truncate(name) for name in value)
    if not names:
        raise InvalidOption(f"{option}=() names no column; leave it out to have it inferred.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidOption(f"{option}={names!r} names {_spoken(twice)} twice.")
    return names


def _check_choice(option: str, value: object, choices: tuple[str, ...]) -> None:
    if value is None or value in choices:
        return
    way_out = _LATER.get((option, str(value)))
    if way_out is not None:
        raise NotSupportedYet(f"{option}={value!r} is not part of this version; {way_out}.")
    raise InvalidOption(
        f"{option}={value!r} is unknown.{nearest(str(value), choices)} Use {_spoken(choices)}."
    )


def _advice(option: str, mode: str) -> str:
    if option == "compare_columns" and mode == "merge":
        return " merge compares and writes update_columns=."
    if mode == "truncate":
        return " truncate replaces the whole target."
    return ""


def _spoken(words: Sequence[str]) -> str:
    return " or ".join(repr(word) for word in words)
