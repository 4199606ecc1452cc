"""Another PostgreSQL database as a source: described, and copied into the stage in binary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from pgflow.declare.sources import SourceTable
from pgflow.errors import SourceFailed, SourceMismatch, StatementFailed
from pgflow.plan.contract import check_contract
from pgflow.plan.decision import Decision
from pgflow.plan.fit import check_instants, check_repeated
from pgflow.plan.readings import tell_unreadable
from pgflow.plan.spec import SyncSpec, TargetColumn
from pgflow.plan.sql import Sql, join, name, raw, sql
from pgflow.plan.statement import Feed, Statement
from pgflow.plan.watermark import since
from pgflow.run import catalogue
from pgflow.run.events import Transferred
from pgflow.run.facts import same_key_types, select_list, table_columns
from pgflow.run.remote.copying import Block, read_blocks, write_blocks
from pgflow.run.remote.literals import inline
from pgflow.run.remote.transport import Carried, as_delivered, carry, is_text
from pgflow.run.remote.visit import SourceSession
from pgflow.run.remote.workers import read_shares, share_out
from pgflow.run.session import Answer, Session
from pgflow.run.sources.origin import Loading, OriginColumn, Tell, own_columns, transfer_answer

#: The server's word for a cast that does not exist.
_CANNOT_CAST = "42846"

#: Types whose order depends on a collation.
_TEXTS = frozenset({"text", "character varying", "bpchar", "name"})


@dataclass
class PostgresOrigin:
    """A query or table in another PostgreSQL database.

    Attributes:
        session: The source's session, in a transaction that sees one instant.
        source: The query in parentheses, or the table.
        label: Where the source is.
        path: How rows get from there, and why.
        release: Gives the source's connections back.
        beside: Opens another connection, which sees the snapshot that is named.
        relation: The source in parentheses, as its server reads it, once the columns are known.
    """

    session: SourceSession
    source: Sql | SourceTable
    label: str
    path: Decision[str]
    release: Callable[[], None]
    beside: Callable[[str], SourceSession]
    relation: Sql = field(default_factory=Sql, init=False)
    _selected: Sql = field(default_factory=Sql, init=False)
    _copies: tuple[Sql, ...] = field(default=(), init=False)
    _workers: int = field(default=1, init=False)
    _carried: tuple[Carried, ...] = field(default=(), init=False)

    def columns(
        self, session: Session, spec: SyncSpec, declared: Sequence[TargetColumn]
    ) -> Sequence[OriginColumn]:
        """Describe the source, and find out how each column travels; see `Origin`."""
        if isinstance(self.source, SourceTable):
            taken = table_columns(self.session, spec, self.source, declared)
            self._selected = select_list(taken)
            self.relation = self._part(name(*self.source.path))
        else:
            self.relation = self.source
        fields = self.session.describe(self.relation, f"read the source of {spec.owner}")
        check_repeated(spec, [f.name for f in fields])
        kept = {c for link in spec.links for c in link.needs}
        kept |= {c for c in (spec.options.incremental_column,) if c is not None}
        self._carried = carry(self.session, session, spec, fields, frozenset(kept))
        own = tuple(as_delivered(each.column) for each in self._carried)
        check_contract(replace(spec, source=replace(spec.source, columns=own)))
        check_instants(spec, own)
        self._check_order(session, spec)
        self._check_casts(spec)
        return [each.column for each in self._carried]

    def proves_unique(self, spec: SyncSpec) -> bool:
        """Ask the source's planner; see `Origin`."""
        own = own_columns([each.column for each in self._carried])
        known = replace(spec, source=replace(spec.source, columns=own))
        keys = set(spec.keys.value)
        if spec.options.on_null_key == "match" or not keys <= {c.name for c in own}:
            return False
        if not same_key_types(known):
            return False
        relation = sql("(SELECT * FROM {s} AS q)", s=self.relation)
        return catalogue.proves_unique(self.session, relation, relation, spec.keys.value)

    def loading(self, spec: SyncSpec) -> Loading:
        """Write the COPY of the source's side; see `Origin`."""
        limit = since(spec.watermark)
        asked = spec.options.transfer_workers or 1
        shares = share_out(self.session, self.source, asked, part=bool(limit.parts))
        parts = [self._part(each) for each in shares.ranges] or [self.relation]
        self._copies = tuple(self._copy(spec, part, limit) for part in parts)
        self._workers = shares.workers
        label = f"{self.label}, in {len(parts)} parts" if shares.ranges else self.label
        feed = Feed(label, self._copies[0])
        return Loading(feed, workers=shares.workers, reason=shares.reason)

    def _part(self, table: Sql) -> Sql:
        return sql("(SELECT {c} FROM {t})", c=self._selected, t=table)

    def _copy(self, spec: SyncSpec, relation: Sql, limit: Sql) -> Sql:
        data = [each for each in self._carried if each.column.name != spec.position_column]
        values = (sql("{v} AS {n}", v=each.value, n=name(each.column.name)) for each in data)
        return sql(
            "COPY (\nSELECT {values}\n  FROM {relation} AS s{limit}\n) TO STDOUT (FORMAT binary)",
            values=join(",\n       ", values),
            relation=relation,
            limit=limit,
        )

    def feed(self, session: Session, statement: Statement, tell: Tell) -> Answer:
        """Pipe the source's COPY into the stage's, both in binary; see `Origin`."""
        try:
            done = self._pipe(session, statement, tell)
        except SourceFailed as error:
            self._tell_unreadable(error)
            raise
        self.release()
        more = {} if self._workers == 1 else {"workers": self._workers}
        return transfer_answer(self, done, **more)

    def close(self) -> None:
        """Give the source's connection back; see `Origin`."""
        self.release()

    # -- copying ----------------------------------------------------------------------

    def _pipe(self, session: Session, statement: Statement, tell: Tell) -> Transferred:
        if self._workers > 1:
            return self._gather(session, statement, tell)
        (copy,) = self._copies
        text, shown = inline(copy, self.session.driver), copy.render()[0]
        with self.session.copying(text, "read the source", shown) as reading:
            blocks = self._blocks(reading, shown)
            with session.copying(statement.text, statement.purpose) as writing:
                done = write_blocks(blocks, writing.write, tell, extra=1)
        return replace(done, rows=writing.cursor.rowcount)

    def _gather(self, session: Session, statement: Statement, tell: Tell) -> Transferred:
        """Have several connections read the source, each some of its pages."""
        question = raw("SELECT pg_export_snapshot() AS name")
        found = self.session.run(question, "let other connections see the same instant").rows
        beside = (self.beside(found[0]["name"]) for _ in range(1, self._workers))
        readers = (self.session, *beside)
        texts = [inline(copy, self.session.driver) for copy in self._copies]
        with (
            closing(read_shares(readers, texts)) as blocks,
            session.copying(statement.text, statement.purpose) as writing,
        ):
            done = write_blocks(blocks, writing.write, tell)
        return replace(done, rows=writing.cursor.rowcount)

    def _blocks(self, reading: psycopg.Copy, shown: str) -> Iterator[Block]:
        """Read the source; its errors are told as its own, whatever they pass on their way."""
        with self.session.failing("read the source", shown):
            yield from read_blocks(reading)

    def _tell_unreadable(self, error: StatementFailed) -> None:
        """Name the columns that a value can be from which their new type does not take."""
        read = [(c.column.name, c.column.stage) for c in self._carried if _is_read(c.column)]
        tell_unreadable(error, read, " Nothing was written.")

    # -- checks -----------------------------------------------------------------------

    def _check_order(self, session: Session, spec: SyncSpec) -> None:
        """Refuse columns that tell what is newer, if they sort differently on the two sides."""
        mark, columns = spec.watermark, {c.column.name: c.column for c in self._carried}
        names = {c.name for c in spec.target.columns}
        order = spec.options.order_by
        if order in columns and order not in names and is_text(columns[order]):
            raise _unordered(spec, "order_by", columns[order])
        if mark is None or not mark.by_value or mark.column not in columns:
            return
        column = columns[mark.column]
        if is_text(column):
            raise _unordered(spec, "incremental_column", column)
        if column.type in _TEXTS and _collation(session) != _collation(self.session):
            raise SourceMismatch(
                f"incremental_column={column.name!r} is {column.type}, and the two databases sort "
                "text differently, so rows would be lost. Take a column of numbers or times.",
                pipeline=spec.owner,
                target=spec.target.label,
            )

    def _check_casts(self, spec: SyncSpec) -> None:
        """Have the source's server say that it can cast as is asked, before it must."""
        values = [sql("{v} AS {n}", v=c.value, n=name(c.column.name)) for c in self._carried]
        try:
            self._describe(values)
        except StatementFailed as error:
            if error.sqlstate != _CANNOT_CAST:
                self._tell_unreadable(error)
                raise
            raise self._miscast(spec, values, error) from error

    def _describe(self, values: Sequence[Sql]) -> None:
        query = sql("(SELECT {v} FROM {r} AS s)", v=join(", ", values), r=self.relation)
        with self.session.connection.begin_nested():
            self.session.describe(query, "cast the source's columns to the target's types")

    def _miscast(
        self, spec: SyncSpec, values: Sequence[Sql], error: StatementFailed
    ) -> SourceMismatch:
        failed = []
        for carried, value in zip(self._carried, values, strict=True):
            try:
                self._describe([value])
            except StatementFailed:
                failed.append(
                    f"{carried.column.name!r} is {carried.column.type}, the target has "
                    f"{spec.target.column(carried.column.name).type}"
                )
        return SourceMismatch(
            f"types do not fit: {'; '.join(failed) or error.diagnostic}. "
            "Cast in the source: CAST(x AS type).",
            pipeline=spec.owner,
            target=spec.target.label,
        )


def _unordered(spec: SyncSpec, option: str, column: OriginColumn) -> SourceMismatch:
    return SourceMismatch(
        f"{option}={column.name!r} is {column.type}, a type that the target's database does not "
        "have, so values cannot be compared there. Cast it to a built-in type in the source.",
        pipeline=spec.owner,
        target=spec.target.label,
    )


def _is_read(column: OriginColumn) -> bool:
    """Whether the source's server makes another type of the column's values."""
    return column.stage not in (column.type, "text")


def _collation(session: Session) -> dict[str, Any]:
    """By what a database sorts text, whatever its version calls that."""
    text = raw(
        "SELECT coalesce(j ->> 'datlocprovider', 'c') AS provider,"
        " coalesce(j ->> 'datlocale', j ->> 'daticulocale', j ->> 'datcollate') AS locale\n"
        "  FROM pg_database d, to_jsonb(d) AS j WHERE d.datname = current_database()"
    )
    return session.run(text, "ask how text is sorted").rows[0]
