"""How rows go into a target, as declared: every option of a sync, and which modes it fits."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.elements import TextClause

from pgflow.declare.data_check import DataCheck
from pgflow.declare.limits import check_lookback, check_ratio, check_scope
from pgflow.declare.lookups import Lookup
from pgflow.declare.option_lists import (
    check_list,
    column_name,
    column_names,
    lookup_list,
    spoken,
)
from pgflow.declare.spelling import nearest as nearest
from pgflow.errors import InvalidOption

#: A limit to a part of the target: SQL text (which may use run parameters as `:name`), SQLAlchemy
#: text with bound values, or a SQLAlchemy expression.
Scope = str | TextClause | ColumnElement[bool]

#: Option values that can be spelt out.
CHOICES: dict[str, tuple[str, ...]] = {
    "handle_deletes": ("soft", "hard"),
    "on_duplicate": ("error", "first", "last"),
    "on_null_key": ("error", "match"),
    "on_empty_source": ("error", "allow"),
    "change_detection": ("values", "exact", "hash"),
    "replace": ("truncate", "delete"),
    "force_path": ("same_db", "copy"),
    "schema_mode": ("strict", "ignore_extra", "evolve"),
    "watermark": ("value", "snapshot", "horizon", "slot"),
    "on_null_watermark": ("read", "skip", "error"),
}

#: The column that tells which transaction wrote a row, where the declaration names none.
_POSITION_COLUMNS = {"snapshot": "xid", "horizon": "xmin"}

_COLUMN_LISTS = ("keys", "compare_columns", "update_columns")
_COLUMNS = ("order_by", "incremental_column", "event_timestamp_column")


#: Before any instant of `datetime` by this much there still is one of PostgreSQL, which begins in
#: 4714 BC.
_LONGEST = timedelta(days=4700 * 365)


@dataclass(frozen=True, kw_only=True)
class SyncOptions:
    """The options of one target. None means that nobody has said anything.

    Attributes:
        mode: `append`, `truncate`, `merge`, `scd1`, `scd2`, or a registered mode.
        keys: Merge keys; they win over whatever the table declares.
        compare_columns: scd1, scd2: columns whose change counts as a change of the row.
        update_columns: merge: columns that are compared and written.
        event_timestamp_column: scd2: the column that holds each row's own instant.
        keep_confirmations: scd2 with event time: whether each version keeps the newest instant at
            which it was delivered again, unchanged.
        ttl: scd2: how long a current version stays open without being delivered.
        handle_deletes: What happens to keys that the source no longer delivers: nothing, `soft`
            (scd2 closes the version, merge and scd1 stamp `_deleted_at`) or `hard` (delete).
        scope: Limits the run to a part of the target.
        order_by: The column that says which of two rows with one key is newer.
        on_duplicate: `error`, or which of several rows with one key in a batch is taken, by
            `order_by`: `first` or `last`.
        on_null_key: `error`, or `match` to treat NULLs in keys as equal.
        on_empty_source: `error`, or `allow` to let an empty source empty the target.
        max_delete_ratio: The share of live target rows (0 to 1) above which deleting aborts.
        change_detection: `values` (the types' own equality), `exact` (to the byte), or `hash`
            (a stored hash).
        replace: truncate: `truncate`, or `delete` to let readers with older snapshots go on.
        schema_mode: `strict`; `ignore_extra` drops source columns that the target lacks, `evolve`
            has `pgflow evolve` write the migration for them.
        incremental_column: Read only rows from the last seen value of this column on. With
            `snapshot` and `horizon` the column that tells which transaction wrote a row.
        lookback: How far before the last seen value an incremental run starts.
        watermark: How the position of an incremental pipeline is kept: `value`, `snapshot` (the
            source has a column of transaction numbers), `horizon` (by the server's own numbers),
            or `slot` (the source's log, deletes included).
        on_null_watermark: Rows whose incremental column is NULL: `read` them in every run,
            `skip` them, or `error`.
        lookups: Columns that get the version of a dimension, as of the row's own instant.
        checks: What must hold of the rows that the source delivers; see `pgflow.checks`.
        sample_keys: Whether errors, results and the history may name keys of rows.
        lock_timeout: How long to wait for another run on the same target.
        force_path: How rows get from the source to the target, whatever pgflow finds out itself:
            `same_db` (the target's server reads the source) or `copy` (by way of this process).
        transfer_workers: How many connections read a source table of another PostgreSQL database.
    """

    mode: str | None = None
    keys: tuple[str, ...] | None = None
    compare_columns: tuple[str, ...] | None = None
    update_columns: tuple[str, ...] | None = None
    event_timestamp_column: str | None = None
    keep_confirmations: bool | None = None
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
    on_null_watermark: str | None = None
    lookups: tuple[Lookup, ...] | None = None
    checks: tuple[DataCheck, ...] | None = None
    sample_keys: bool | None = None
    lock_timeout: timedelta | None = None
    force_path: str | None = None
    transfer_workers: int | None = None

    def __post_init__(self) -> None:
        for option in _COLUMN_LISTS:
            object.__setattr__(self, option, column_names(option, getattr(self, option)))
        for option in _COLUMNS:
            value = getattr(self, option)
            if value is not None:
                object.__setattr__(self, option, column_name(option, value))
        for option, choices in CHOICES.items():
            _check_choice(option, getattr(self, option), choices)
        object.__setattr__(self, "lookups", lookup_list(self.lookups))
        if self.checks is not None:
            object.__setattr__(self, "checks", check_list(self.checks))
        for option in ("sample_keys", "keep_confirmations"):
            if not isinstance(getattr(self, option), (bool, type(None))):
                raise InvalidOption(f"{option}={getattr(self, option)!r} must be True or False.")
        check_lookback(self.lookback)
        check_scope(self.scope)
        check_ratio(self.max_delete_ratio)
        workers = self.transfer_workers
        if workers is not None and (type(workers) is not int or not 1 <= workers <= 32):
            raise InvalidOption(
                f"transfer_workers={workers!r} must be a number of connections, from 1 to 32."
            )
        for option in ("ttl", "lock_timeout"):
            value = getattr(self, option)
            if value is not None and (not isinstance(value, timedelta) or value < timedelta(0)):
                raise InvalidOption(f"{option}={value!r} must be a timedelta that is not negative.")
        if self.ttl is not None and self.ttl > _LONGEST:
            raise InvalidOption(
                f"ttl={self.ttl!r} reaches back beyond any instant that PostgreSQL knows. Leave it "
                "out where versions stay open."
            )

    def over(self, defaults: SyncOptions) -> SyncOptions:
        """Fill what these options leave open from weaker ones.

        Args:
            defaults: The options of the pipeline, or of the table.

        Returns:
            Options in which each value is the stronger one that was given.
        """
        given = self.given()
        if not given or not defaults.given():
            return self if given else defaults
        return replace(defaults, **given)

    @property
    def incremental(self) -> bool:
        """Whether a run reads only what is new."""
        return self.incremental_column is not None or self.watermark is not None

    def completed(self) -> SyncOptions:
        """Name the column that tells transactions, where nobody has; leave out what says nothing.

        `on_duplicate="error"` is what happens anyway. Said nearer, it wins over a table's choice.
        """
        said = replace(self, on_duplicate=None) if self.on_duplicate == "error" else self
        column = _POSITION_COLUMNS.get(self.watermark or "")
        if column is None or self.incremental_column is not None:
            return said
        return replace(said, incremental_column=column)

    def given(self) -> dict[str, Any]:
        """Return the options that were given, by name."""
        values = ((name, getattr(self, name)) for name in OPTION_NAMES)
        return {name: value for name, value in values if value is not None}


#: Names of all options, for whoever collects them from keyword arguments.
OPTION_NAMES = tuple(f.name for f in fields(SyncOptions))

_KEYED = frozenset({"append", "merge", "scd1", "scd2"})
_FITS: dict[str, frozenset[str]] = {
    "keys": _KEYED,
    "compare_columns": frozenset({"scd1", "scd2"}),
    "update_columns": frozenset({"merge"}),
    "event_timestamp_column": frozenset({"scd2"}),
    "keep_confirmations": frozenset({"scd2"}),
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
    "on_null_watermark": _KEYED,
}
_BUILT_IN = _KEYED | {"truncate"}


def check_fit(options: SyncOptions, owner: str) -> None:
    """Refuse options that do not fit the mode or each other.

    Args:
        options: Complete options; `mode` is set. A mode of the user's own takes every option.
        owner: Who declared them, for the message.

    Raises:
        InvalidOption: An option does not fit; the message says which, and what would.
    """
    mode = options.mode or ""
    if mode in _BUILT_IN:
        for option in options.given():
            allowed = _FITS.get(option)
            if allowed is not None and mode not in allowed:
                raise InvalidOption(
                    f"{owner}: {option}= does not fit mode {mode!r}; "
                    f"it goes with {spoken(sorted(allowed))}." + _advice(option, mode)
                )
    _check_pairs(options, owner)


def _check_pairs(options: SyncOptions, owner: str) -> None:
    if options.handle_deletes == "hard" and options.mode == "scd2":
        raise InvalidOption(
            f"{owner}: handle_deletes='hard' would erase history; with mode 'scd2' use "
            "handle_deletes='soft', which closes the current version."
        )
    if options.watermark == "slot":
        _check_slot(options, owner)
    elif options.incremental_column and options.handle_deletes:
        raise InvalidOption(
            f"{owner}: handle_deletes= needs the whole source, incremental_column= reads a part "
            "of it, and every row that it leaves out would look deleted. Drop one of them, or "
            "use watermark='slot', which sees deletes."
        )
    needs = (
        ("lookback", "incremental_column"),
        *([] if options.watermark == "slot" else [("watermark", "incremental_column")]),
        ("on_null_watermark", "incremental_column"),
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
    _check_watermark(options, owner)
    _check_event_time(options, owner)


_OF_VALUES = ("lookback", "on_null_watermark")


def _check_watermark(options: SyncOptions, owner: str) -> None:
    if options.watermark in (None, "value"):
        return
    for option in _OF_VALUES:
        if getattr(options, option) is not None:
            raise InvalidOption(
                f"{owner}: {option}= is about values of a column, and watermark="
                f"{options.watermark!r} knows each row by the transaction that wrote it. Drop it."
            )


def _check_slot(options: SyncOptions, owner: str) -> None:
    """A slot names the keys that changed; nothing else limits or orders what is read."""
    for option in ("incremental_column", "max_delete_ratio", "event_timestamp_column", "ttl"):
        if getattr(options, option) is not None:
            raise InvalidOption(
                f"{owner}: {option}= does not go with watermark='slot', which reads the keys that "
                "the source's log names, and follows deletes one by one. Drop it."
            )


def _check_event_time(options: SyncOptions, owner: str) -> None:
    column = options.event_timestamp_column
    if column is None:
        if options.keep_confirmations:
            raise InvalidOption(
                f"{owner}: keep_confirmations= keeps the rows' own instants and needs "
                "event_timestamp_column=, which is not given."
            )
        return
    if column in (options.keys or ()):
        raise InvalidOption(
            f"{owner}: event_timestamp_column={column!r} is one of keys=, so that every instant "
            "would be a key of its own. Leave it out of keys=: the instant tells the versions of "
            "a key apart."
        )
    if column in (options.compare_columns or ()):
        raise InvalidOption(
            f"{owner}: event_timestamp_column={column!r} is one of compare_columns=. A later "
            "instant alone is no change; leave it out of compare_columns=."
        )
    if options.on_duplicate is not None and options.order_by == column:
        raise InvalidOption(
            f"{owner}: order_by={column!r} is the event column, and every instant of a key is "
            "kept. on_duplicate= chooses among rows of one key and one instant; order by a column "
            "that tells those apart."
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


def _check_choice(option: str, value: object, choices: tuple[str, ...]) -> None:
    if value is None or value in choices:
        return
    raise InvalidOption(
        f"{option}={value!r} is unknown.{nearest(str(value), choices)} Use {spoken(choices)}."
    )


def _advice(option: str, mode: str) -> str:
    if option == "compare_columns" and mode == "merge":
        return " merge compares and writes update_columns=."
    if mode == "truncate":
        return " truncate replaces the whole target."
    return ""
