"""What a table is declared to be, whichever way it was declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal, TypedDict

from sqlalchemy import Column
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.schema import CreateColumn

from pgflow import idents
from pgflow.declare.data_check import DataCheck
from pgflow.declare.lookups import Lookup
from pgflow.declare.options import OPTION_NAMES, Scope, SyncOptions
from pgflow.declare.spelling import advice
from pgflow.errors import InvalidOption


@dataclass(frozen=True)
class KeyCandidate:
    """Columns by which a row can be recognised.

    Attributes:
        columns: Their names, in order.
        origin: Where this was said, such as `natural_key()`; not compared.
    """

    columns: tuple[str, ...]
    origin: str = field(default="", compare=False)


_DIALECT = PGDialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's dialects are not annotated
# SQLAlchemy 2.0 doubles backslashes until it has asked a server, which has no need of it.
_DIALECT._backslash_escapes = False


#: What a table is told besides its pipelines' options.
_TABLE_OPTIONS = (
    "schema",
    "name",
    "metadata",
    "base",
    "mode",
    "system_columns",
    "renamed_from",
    "plugins",
    "extra_plugins",
    "config",
)


class SyncDefaults(TypedDict, total=False):
    """Options that a table may give to its pipelines; `SyncOptions` explains each."""

    keys: Sequence[str]
    compare_columns: Sequence[str]
    update_columns: Sequence[str]
    event_timestamp_column: str
    keep_confirmations: bool
    ttl: timedelta
    handle_deletes: Literal["soft", "hard"] | None
    scope: Scope
    order_by: str
    on_duplicate: Literal["error", "first", "last"]
    on_null_key: Literal["error", "match"]
    on_empty_source: Literal["error", "allow"]
    max_delete_ratio: float
    change_detection: Literal["values", "exact", "hash"]
    replace: Literal["truncate", "delete"]
    schema_mode: Literal["strict", "ignore_extra", "evolve"]
    incremental_column: str
    lookback: timedelta | int
    watermark: Literal["value", "snapshot", "horizon", "slot"]
    on_null_watermark: Literal["read", "skip", "error"]
    lookups: Sequence[Lookup] | Lookup
    checks: Sequence[DataCheck] | DataCheck
    sample_keys: bool
    lock_timeout: timedelta
    force_path: Literal["same_db", "copy"]
    transfer_workers: int


def sync_defaults(owner: str, mode: str | None, defaults: Mapping[str, Any]) -> SyncOptions:
    """Turn keyword arguments of a table into options for its pipelines.

    Args:
        owner: Whose they are, for the message.
        mode: The mode that stands on the table.
        defaults: The keyword arguments.

    Returns:
        The options.

    Raises:
        InvalidOption: A keyword is no option, or its value is malformed.
    """
    for option in defaults:
        if option not in OPTION_NAMES:
            raise InvalidOption(
                f"{owner}: {option}= is no option of a table or of a sync."
                f"{advice(option, (*_TABLE_OPTIONS, *OPTION_NAMES))}"
            )
    try:
        return SyncOptions(mode=mode, **defaults)
    except InvalidOption as error:
        raise InvalidOption(f"{owner}: {error}") from None


@dataclass(frozen=True, eq=False)
class TableSpec:
    """A declared table. The decorator and the factories yield the same one for the same table.

    Attributes:
        name: The table's name, as the server stores it.
        schema: Its schema.
        items: Columns, constraints and pgflow's items, as declared.
        primary_key: The columns of the declared primary key, in order, and where it was said.
        unique_constraints: The declared unique constraints, natural keys first.
        merge_keys: What `__merge_keys__` says; empty if nothing.
        mode: The mode that stands on the table, or None.
        system_columns: New names of system columns, and None for those to be left out.
        options: What the table says to its pipelines.
        table_options: What SQLAlchemy's `Table` takes besides, such as `comment`.
        renamed_from: What the table was called, perhaps with its schema, or None.
    """

    name: str
    schema: str
    items: tuple[Any, ...] = ()
    primary_key: KeyCandidate = KeyCandidate(())
    unique_constraints: tuple[KeyCandidate, ...] = ()
    merge_keys: tuple[str, ...] = ()
    mode: str | None = None
    system_columns: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    options: SyncOptions = field(default_factory=SyncOptions)
    table_options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    renamed_from: str | None = None

    @property
    def label(self) -> str:
        """The qualified name, for messages."""
        return idents.qualify(self.schema, self.name)

    @property
    def columns(self) -> tuple[Column[Any], ...]:
        """The declared columns."""
        return tuple(item for item in self.items if isinstance(item, Column))

    @property
    def all_table_options(self) -> dict[str, Any]:
        """What SQLAlchemy's `Table` takes besides, with what migrations read in `Table.info`."""
        options = dict(self.table_options)
        if self.renamed_from is not None:
            options["info"] = {**(options.get("info") or {}), "renamed_from": self.renamed_from}
        return options

    def key_candidates(self, keys: tuple[str, ...] | None = None) -> tuple[KeyCandidate, ...]:
        """List what could serve as merge key, the one that wins first.

        The order is `keys=`, `__merge_keys__`, the unique constraints and natural keys as
        declared, the primary key.

        Args:
            keys: What the pipeline or the table says with `keys=`; by default the table's.

        Returns:
            The candidates that are not empty, each with where it was said.
        """
        candidates = (
            KeyCandidate(keys or self.options.keys or (), "keys="),
            KeyCandidate(self.merge_keys, "__merge_keys__"),
            *self.unique_constraints,
            self.primary_key,
        )
        return tuple(candidate for candidate in candidates if candidate.columns)

    def describe(self) -> dict[str, Any]:
        """Return the declaration as plain values, equal for equal tables.

        Returns:
            Names, keys, options, and columns and items as SQL text.
        """
        return {
            "name": self.name,
            "schema": self.schema,
            "columns": [_column_sql(column) for column in self.columns],
            "items": sorted(str(item) for item in self.items if not isinstance(item, Column)),
            "primary_key": self.primary_key.columns,
            "unique_constraints": [unique.columns for unique in self.unique_constraints],
            "merge_keys": self.merge_keys,
            "mode": self.mode,
            "system_columns": dict(self.system_columns),
            "options": self.options.given(),
            "table_options": dict(self.table_options),
            "renamed_from": self.renamed_from,
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TableSpec) and self.describe() == other.describe()

    def __hash__(self) -> int:
        return hash((self.schema, self.name))


def _column_sql(column: Column[Any]) -> str:
    return str(CreateColumn(column).compile(dialect=_DIALECT)).strip()
