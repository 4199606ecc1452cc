"""What a mode is given to plan with: target, source, decisions, and the facts that are known."""

from __future__ import annotations

from dataclasses import dataclass, field

from pgflow import idents
from pgflow.declare.options import SyncOptions
from pgflow.declare.system_columns import SystemColumns
from pgflow.plan.decision import UNKNOWN, Decision, Unknown
from pgflow.plan.link import Link
from pgflow.plan.sql import Sql, bind, name, raw
from pgflow.plan.statement import Statement


@dataclass(frozen=True)
class TargetColumn:
    """A column of the target.

    Attributes:
        name: Its name.
        type: The SQL type to which source values are cast before they are compared. Types that
            an explicit cast would truncate stand without their length, so that writing a value
            that is too long fails.
        nullable: Whether it takes NULL.
        has_default: Whether it fills itself when it is not written.
        generated: Whether it cannot be written at all.
        always_identity: Whether writing it needs OVERRIDING SYSTEM VALUE.
        comparable: Whether its type has an equality of its own; the others compare as text.
        length: The n of varchar(n) and char(n).
        domain: Whether its type is a domain over `type`.
        collation: Its collation, spelt as SQL, if it is not the database's.
        deterministic: Whether only equal bytes are equal text to that collation.
        hidden_equality: The schema of its type's `=`, if the search path does not find it.
        base: The number and the modifier of `type` in the catalogue, once they were read.
    """

    name: str
    type: str
    nullable: bool = True
    has_default: bool = False
    generated: bool = False
    always_identity: bool = False
    comparable: bool = True
    length: int | None = None
    domain: bool = False
    collation: str | None = None
    deterministic: bool = True
    hidden_equality: str | None = None
    base: tuple[int, int] | None = None


@dataclass(frozen=True)
class TargetShape:
    """The target as the plan sees it.

    Attributes:
        schema: Its schema, or None if the search path finds it.
        name: Its name.
        columns: Its columns without pgflow's own.
        system: pgflow's own columns.
        primary_key: The columns of its primary key.
    """

    schema: str | None
    name: str
    columns: tuple[TargetColumn, ...]
    system: SystemColumns = field(default_factory=SystemColumns)
    primary_key: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The qualified name, quoted where it needs it."""
        return idents.qualify(self.schema, self.name)

    @property
    def relation(self) -> Sql:
        """The qualified name as a fragment."""
        return name(self.schema, self.name)

    def column(self, column: str) -> TargetColumn:
        """Return a column by name."""
        return next(c for c in self.columns if c.name == column)


@dataclass(frozen=True)
class SourceColumn:
    """A column that the source delivers.

    Attributes:
        name: Its name.
        type: Its SQL type, without the length of varchar(n) and char(n), or UNKNOWN.
        length: That length.
    """

    name: str
    type: str | Unknown = UNKNOWN
    length: int | None = None


@dataclass(frozen=True)
class Stage:
    """A temporary table that holds the batch before anything looks at it.

    Attributes:
        reason: Why there is one.
        fill: The statements that make and fill it.
        rejects: Whether rows may be taken out of it again. Their keys are then in a table of
            their own, and count as delivered.
    """

    reason: str
    fill: tuple[Statement, ...]
    rejects: bool = False


@dataclass(frozen=True)
class SourceShape:
    """The source as the plan sees it.

    Attributes:
        relation: A query in parentheses, or a table's name.
        columns: What it delivers, or UNKNOWN.
        unique: Whether no two of its rows share a merge key, and what proves it; UNKNOWN if
            nobody could ask.
        reads_target: Whether it reads the target itself.
        cheap: Whether it is a whole table, which costs less to read again than to keep.
        estimated_rows: The planner's estimate of its rows, or None.
        stage: The stage that `relation` is, if the rows are put into one first.
        selected: Whether SQL delivers its columns, which names them; not so rows and files.
    """

    relation: Sql
    columns: tuple[SourceColumn, ...] | Unknown = UNKNOWN
    unique: Decision[bool] | Decision[Unknown] = field(
        default_factory=lambda: Decision(False, "not proven; checked on every batch")
    )
    reads_target: bool = False
    cheap: bool = False
    estimated_rows: int | None = None
    stage: Stage | None = None
    selected: bool = True


@dataclass(frozen=True)
class Watermark:
    """How far an incremental pipeline has read.

    Attributes:
        table: The bookkeeping table that keeps it.
        column: The source column that it is about; a slot's has none.
        type: The column's SQL type, or UNKNOWN.
        value: The position as text: the last seen value, a snapshot, a transaction's number, or
            a place in the log; None before the first run; UNKNOWN.
        lookback: How far before that value to start, as an SQL interval or number.
        applied: Whether the source holds only rows from there on already.
        kind: What the position is: `value`, `snapshot`, `horizon` or `slot`; or `window`, where
            only the rows from `value` to below `now` are read, whatever was read before.
        nulls: What becomes of rows whose value is NULL: `read`, `skip` or `error`.
        now: Where the source's server was before the run read anything, as text; None for values,
            which are found in the rows.
        ahead: horizon: the first transaction number that was not taken then.
        details: What the position is bound to, as JSON.
        changes: slot: where the source's changes are read.
    """

    table: Sql
    column: str
    type: str | Unknown = UNKNOWN
    value: str | Unknown | None = UNKNOWN
    lookback: Sql | None = None
    applied: bool = False
    kind: str = "value"
    nulls: str = "read"
    now: str | None = None
    ahead: int = 0
    details: str | None = None
    changes: object | None = None

    @property
    def by_value(self) -> bool:
        """Whether the position is a value of the rows themselves."""
        return self.kind in ("value", "window")

    @property
    def label(self) -> str:
        """What the bookkeeping calls the column: positions of two kinds never pass for another."""
        if self.by_value:
            return self.column
        return f"{self.kind}({self.column})"


@dataclass(frozen=True)
class Facts:
    """What the database said, each fact known or UNKNOWN.

    Attributes:
        server_version: The major version.
        target_exists: Whether the target table is there.
        target_empty: Whether it (or its part in scope) has no rows.
        keys_indexed: Whether a unique index of the target covers exactly the merge keys.
        referenced: Whether a foreign key of another table points at the target.
        may_truncate: Whether the role may TRUNCATE it.
        estimated_rows: The planner's estimate of its rows.
    """

    server_version: int | Unknown = UNKNOWN
    target_exists: bool | Unknown = UNKNOWN
    target_empty: bool | Unknown = UNKNOWN
    keys_indexed: bool | Unknown = UNKNOWN
    referenced: bool | Unknown = UNKNOWN
    may_truncate: bool | Unknown = UNKNOWN
    estimated_rows: int | Unknown = UNKNOWN


@dataclass(frozen=True)
class SyncSpec:
    """Everything that a mode needs to plan one target.

    Attributes:
        owner: The pipeline's name.
        target: The target.
        source: The source.
        options: Complete options; `mode` is set.
        keys: The merge keys, with the reason for them; empty where there are none.
        compare: The columns whose change counts, with the reason.
        instant: The instant of the run, as a column expression.
        batch_id: The run's id, as an expression.
        scope: The limit to a part of the target, as a condition on unqualified columns.
        scope_name: The limit as text, for locks and bookkeeping.
        watermark: The position of an incremental pipeline.
        facts: What is known of the database.
        rehearsal: Whether the run will be rolled back and must not lock readers out.
        explicit_instant: Whether the caller gave the instant.
        mode_reason: Who said which mode.
        links: Lookups of dimension versions, by which the source gets more columns.
        path: How rows get from the source to the target.
        hazards: What an operator should know of the source; previews and runs tell it.
    """

    owner: str
    target: TargetShape
    source: SourceShape
    options: SyncOptions
    keys: Decision[tuple[str, ...]]
    compare: Decision[tuple[str, ...]]
    instant: Sql = field(default_factory=lambda: bind(None, "instant"))
    batch_id: Sql = field(default_factory=lambda: bind(None, "run_id"))
    scope: Sql | None = None
    scope_name: str = ""
    watermark: Watermark | None = None
    facts: Facts = field(default_factory=Facts)
    rehearsal: bool = False
    explicit_instant: bool = False
    mode_reason: str = ""
    links: tuple[Link, ...] = ()
    path: Decision[str] = field(default_factory=lambda: Decision("not known", ""))
    hazards: tuple[str, ...] = ()

    @property
    def mode(self) -> str:
        """The mode's name."""
        return self.options.mode or ""

    @property
    def looks_again(self) -> bool:
        """Whether a statement reads the source again rather than keep its rows."""
        limited = self.watermark is not None and not self.watermark.applied
        return self.source.cheap and not limited

    @property
    def position_column(self) -> str | None:
        """The source column that tells transactions and is no data; a target keeps its own."""
        of_transactions = self.options.watermark in ("snapshot", "horizon")
        return self.options.incremental_column if of_transactions else None

    @property
    def arriving(self) -> tuple[str, ...] | None:
        """The data columns of the rows before lookups, which add some and use some up.

        None while the source's columns are unknown.
        """
        if isinstance(self.source.columns, Unknown):
            return None
        added = {each.into for each in self.links} | {self.position_column}
        own = [column.name for column in self.source.columns if column.name not in added]
        return tuple(dict.fromkeys([*own, *(c for each in self.links for c in each.needs)]))

    @property
    def delivered(self) -> tuple[str, ...]:
        """Target columns that the source delivers, in the target's order.

        While the source's columns are unknown, those that it must deliver.
        """
        if isinstance(self.source.columns, Unknown):
            fillable = [c for c in self.target.columns if not c.generated]
            return tuple(c.name for c in fillable if not c.has_default or c.name in self.keys.value)
        have = {c.name for c in self.source.columns} - {self.position_column}
        return tuple(c.name for c in self.target.columns if c.name in have and not c.generated)

    @property
    def values(self) -> tuple[str, ...]:
        """Delivered columns that are no keys."""
        return tuple(c for c in self.delivered if c not in self.keys.value)

    @property
    def scoped_target(self) -> Sql:
        """`target`, or `target WHERE scope`, to stand after FROM."""
        if self.scope is None:
            return self.target.relation
        return self.target.relation + raw(" WHERE ") + self.scope

    @property
    def history(self) -> Sql:
        """The target's rows in scope, to stand after FROM with an alias."""
        if self.scope is None:
            return self.target.relation
        return raw("(SELECT * FROM ") + self.scoped_target + raw(")")
