"""Erasure: one key leaves a table's every version, the quarantine, and what runs have quoted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Table
from sqlalchemy.engine import Connection

from pgflow import bookkeeping, idents
from pgflow.bookkeeping import SCHEMA
from pgflow.connections.places import place
from pgflow.connections.registry import engine
from pgflow.declare.options import nearest
from pgflow.emit.state import state_of
from pgflow.errors import CannotForget, MissingTable, StatementFailed, TargetLocked
from pgflow.plan.spec import TargetColumn
from pgflow.plan.sql import Sql, bind, join, name, raw, sql
from pgflow.resolve.config import Config
from pgflow.run import catalogue, column_facts, joining, locks
from pgflow.run.erasing import quarantine, traces
from pgflow.run.erasing.erased_key import ErasedKey, key_text
from pgflow.run.session import Session

_LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True)
class Erasure:
    """What was erased, without the key.

    Attributes:
        erasure_id: Its row in `pgflow.erasures`; None for a dry run.
        target: The table's qualified name.
        versions: Rows that were deleted from the table: all versions of a history.
        quarantined: Rows that were deleted from the quarantine.
        samples: Keys and error texts that were removed from the history of runs.
        dry_run: Whether everything was rolled back.
    """

    erasure_id: UUID | None
    target: str
    versions: int
    quarantined: int
    samples: int
    dry_run: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "erasure_id": str(self.erasure_id) if self.erasure_id else None,
            "target": self.target,
            "versions": self.versions,
            "quarantined": self.quarantined,
            "samples": self.samples,
            "dry_run": self.dry_run,
        }

    def __str__(self) -> str:
        would = "would erase" if self.dry_run else "erased"
        rows = "row" if self.versions == 1 else "rows"
        quotations = "quotation" if self.samples == 1 else "quotations"
        return (
            f"{self.target}: {would} {self.versions} {rows} of the table, {self.quarantined} of "
            f"the quarantine, {self.samples} {quotations} in the history of runs"
        )


def forget(
    table: Any,
    key: object,
    *,
    connection: Any = "default",
    schema: str | None = None,
    dry_run: bool = False,
    lock_timeout: timedelta = locks.DEFAULT_TIMEOUT,
) -> Erasure:
    """Erase a key: from every version, the quarantine, sample keys and error texts of runs.

    Args:
        table: A class under `@pgflow.table`, a table factory, a Core table, or `schema.table`.
        key: The values by column, None for NULL; or the value of a key of one column.
        connection: A name, a URL, an engine, or a connection in a transaction, which it joins.
        schema: Where pgflow's own tables are; by default where the table's configuration says.
        dry_run: Whether to count only, and roll everything back.
        lock_timeout: How long to wait for a run on the table.

    Returns:
        How much was erased; `pgflow.erasures` keeps the same.

    Raises:
        CannotForget: The key names no column, or rows of other tables refer to its rows.
        MissingTable: The table, or one of pgflow's own, is not in the database.
        TargetLocked: A run held the table for too long.
    """
    declared = _declared(table)
    own = schema or (SCHEMA if declared is None else Config.of(declared.metadata).utility_schema)
    with _transaction(connection, dry_run) as live:
        session = Session(live, "pgflow forget", owner="forget")
        before = _enter(session, live, connection)
        label = _label(session, table if declared is None else declared)
        _require(session, label, own)
        known_as = _known_as(session, label)
        for each in known_as:
            _lock(session, each, own, lock_timeout)
        erased = ErasedKey(session, _columns(session, label, declared, key))
        erased.check()
        _refuse_references(session, label, erased)
        versions = _delete(session, label, erased)
        with erased.comparison():
            quarantined = quarantine.erase(session, own, known_as, erased)
            samples = traces.erase(session, own, known_as, erased)
        done = Erasure(None if dry_run else uuid4(), label, versions, quarantined, samples, dry_run)
        if not dry_run:
            _record(session, own, done)
        if before:
            joining.leave(session, before)
    return done


def _enter(session: Session, live: Connection, given: Any) -> dict[str, str]:
    """Settle what the erasure needs; a caller's transaction gets its own settings back."""
    before = joining.settings(session) if live is given else {}
    session.run(raw("SET LOCAL row_security = off"), "refuse hidden rows")
    return before


@contextmanager
def _transaction(connection: Any, dry_run: bool) -> Iterator[Connection]:
    """A transaction of its own, or a part of the caller's."""
    if isinstance(connection, Connection):
        joining.require_read_committed(Session(connection, owner="forget"), connection)
        with connection.begin_nested() as savepoint:
            yield connection
            if dry_run:
                savepoint.rollback()
        return
    with engine(connection).connect() as opened:
        live = opened.execution_options(isolation_level="READ COMMITTED")
        with live.begin() as transaction:
            yield live
            if dry_run:
                transaction.rollback()


def _declared(table: Any) -> Table | None:
    """The Core table behind a declaration; None for a name."""
    if isinstance(table, str):
        return None
    made = vars(table).get("__factory__", table) if isinstance(table, type) else table
    found = made if isinstance(made, Table) else getattr(made, "table", None)
    if not isinstance(found, Table):
        raise CannotForget(
            f"{table!r} is no table. Give a class under @pgflow.table, a table factory, a "
            "SQLAlchemy Table, or its name as 'schema.table'."
        )
    return found


def _label(session: Session, table: Table | str) -> str:
    """The name under which runs know the table."""
    if isinstance(table, Table):
        return idents.qualify(table.schema, table.name)
    text = sql(
        "SELECT n.nspname AS schema, c.relname AS name, c.relkind IN ('r', 'p') AS is_table,"
        " CASE WHEN c.relispartition THEN pg_partition_root(c.oid)::regclass::text END AS root"
        " FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass({t}::text)",
        t=bind(table, "table"),
    )
    rows = session.run(text, "look for the table").rows
    if not rows:
        raise MissingTable(f"the database has no table {table} ({place(session.connection)}).")
    found = rows[0]
    if not found["is_table"]:
        raise CannotForget(f"{table} is no table. Name the table that its rows come from.")
    if found["root"] is not None:
        raise CannotForget(
            f"{table} is a partition of {found['root']}, whose other partitions may have the key "
            "too. Name that table."
        )
    return idents.qualify(found["schema"] if "." in table else None, found["name"])


def _known_as(session: Session, label: str) -> tuple[str, ...]:
    """The names under which runs may know the table: with its schema, and without where it can."""
    text = sql(
        "SELECT n.nspname AS schema, c.relname AS name, pg_table_is_visible(c.oid) AS visible"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = to_regclass({t}::text)",
        t=bind(label, "table"),
    )
    found = session.run(text, "look where the table is").rows[0]
    bare = [idents.qualify(None, found["name"])] if found["visible"] else []
    return tuple(sorted({label, idents.qualify(found["schema"], found["name"]), *bare}))


def _require(session: Session, label: str, schema: str) -> None:
    own = [idents.qualify(schema, t) for t in ("runs", "quarantine", "erasures")]
    comments = catalogue.comments(session, label, *own)
    missing = [table for table, comment in comments.items() if comment is None]
    if missing:
        raise MissingTable(
            f"the database has no table {' and no table '.join(missing)} "
            f"({place(session.connection)}). Migrate it: `alembic revision "
            "--autogenerate` and `alembic upgrade head`, or `pgflow migrate`."
        )
    for table in own:
        bookkeeping.check_layout(table, comments[table])


def _lock(session: Session, label: str, schema: str, timeout: timedelta) -> None:
    """Wait until no run is at work on the table, in whatever scope."""
    ((key, shared),) = locks.target_locks(label, "")
    if locks.try_lock(session, key, shared):
        return
    try:
        with session.connection.begin_nested():
            locks.wait_lock(session, key, shared, timeout)
    except StatementFailed as error:
        if error.sqlstate != _LOCK_NOT_AVAILABLE:
            raise
        held_by = locks.holders(session, key, name(schema, "runs"))
        raise TargetLocked(
            f"forget: {label} is held by {' and '.join(held_by) or 'a run'}. Nothing was erased; "
            "do it again later.",
            target=label,
            holders=held_by,
        ) from error


def _columns(
    session: Session, label: str, declared: Table | None, key: object
) -> dict[TargetColumn, str | None]:
    """The key's columns as the database has them, with their values as text."""
    real = {column.name: column for column in column_facts.target_columns(session, label)}
    given = key if isinstance(key, Mapping) else {_only_key(session, label, declared): key}
    if not given:
        raise CannotForget("the key is empty: give the value of at least one column.")
    for column in given:
        if column not in real:
            raise CannotForget(
                f"{label} has no column {column!r}.{nearest(str(column), list(real))} "
                f"It has: {', '.join(real)}."
            )
        if not real[column].comparable:
            raise CannotForget(
                f"{label}: {column!r} is {real[column].type}, a type without an equality. Name "
                "the row by other columns."
            )
    return {real[column]: key_text(value) for column, value in given.items()}


def _only_key(session: Session, label: str, declared: Table | None) -> str:
    """The column of a key of one column."""
    columns = [] if declared is None else _declared_key(declared)
    if not columns:
        columns = _primary_key(session, label)
    if len(columns) != 1:
        known = f" Its key is ({', '.join(columns)})." if columns else " It has no primary key."
        raise CannotForget(
            f"{label}: one value alone names no row.{known} Give column=value for each column."
        )
    return columns[0]


def _declared_key(table: Table) -> list[str]:
    """The key of a history's versions, which is no primary key; else the primary key."""
    state = state_of(table)
    kept = [amendment.keys for amendment in state.amendments if state.system.valid_from]
    own = [c.name for c in table.primary_key.columns if c.name != state.system.valid_from]
    return list(kept[0]) if kept and kept[0] else own


def _primary_key(session: Session, label: str) -> list[str]:
    text = sql(
        "SELECT a.attname AS name FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
        " AND a.attnum = ANY (i.indkey) WHERE i.indisprimary AND i.indrelid = {t}::regclass",
        t=bind(label, "table"),
    )
    rows = session.run(text, "look for the table's key").rows
    return [str(row["name"]) for row in rows if row["name"] != "valid_from"]


_REFERENCES = """
SELECT k.conname AS name, n.nspname AS schema, c.relname AS table,
       (SELECT array_agg(a.attname ORDER BY u.p) FROM unnest(k.conkey) WITH ORDINALITY u(n, p)
          JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n) AS here,
       (SELECT array_agg(a.attname ORDER BY u.p) FROM unnest(k.confkey) WITH ORDINALITY u(n, p)
          JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n) AS there,
       k.conrelid = {target}::regclass AS own
  FROM pg_constraint k
  JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype = 'f' AND k.conparentid = 0
   AND (k.confrelid = {target}::regclass
        OR k.confrelid IN (SELECT relid FROM pg_partition_tree({target}::regclass)))
 ORDER BY n.nspname, c.relname, k.conname"""


def _refuse_references(session: Session, label: str, erased: ErasedKey) -> None:
    """Rows of other tables that point at the key's rows are the user's to decide about."""
    found = session.run(
        sql(_REFERENCES, target=bind(label, "target")), "look for foreign keys"
    ).rows
    told = []
    for reference in found:
        pairs = zip(reference["here"], reference["there"], strict=True)
        match = join(" AND ", (sql("r.{h} = t.{t}", h=name(h), t=name(t)) for h, t in pairs))
        others = sql(" AND ({c}) IS NOT TRUE", c=erased.rows("r")) if reference["own"] else Sql()
        text = sql(
            "SELECT count(*) AS rows FROM {referring} AS r WHERE EXISTS"
            " (SELECT FROM {target} AS t WHERE {key} AND {match}){others}",
            referring=name(reference["schema"], reference["table"]),
            target=raw(label),
            key=erased.rows("t"),
            match=match,
            others=others,
        )
        rows = session.run(text, f"count the rows of {reference['table']} that refer to it").rows
        if rows[0]["rows"]:
            where = idents.qualify(reference["schema"], reference["table"])
            told.append(f"{rows[0]['rows']} rows of {where} ({reference['name']})")
    if told:
        raise CannotForget(
            f"{label}: foreign keys point at the rows of this key: {', '.join(told)}. Nothing was "
            "erased. Erase those rows first, or let them point elsewhere.",
            references=tuple(told),
        )


def _delete(session: Session, label: str, erased: ErasedKey) -> int:
    text = sql("DELETE FROM {t} AS t WHERE {key}", t=raw(label), key=erased.rows("t"))
    return session.run(text, f"erase rows of {label}").count


def _record(session: Session, schema: str, done: Erasure) -> None:
    """Note that a key was erased, and never which."""
    text = sql(
        "INSERT INTO {erasures} (erasure_id, target, versions, quarantined, samples)\n"
        "SELECT {id}::uuid, {target}::text, {versions}::bigint, {quarantined}::bigint,"
        " {samples}::bigint",
        erasures=name(schema, "erasures"),
        id=bind(done.erasure_id, "erasure_id"),
        target=bind(done.target, "target"),
        versions=bind(done.versions, "versions"),
        quarantined=bind(done.quarantined, "quarantined"),
        samples=bind(done.samples, "samples"),
    )
    session.run(text, "record the erasure")
