"""The origin of rows that come as values of Python: matched, checked, and copied as text."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from pgflow.errors import InvalidOption, PgflowError
from pgflow.plan.decision import Decision
from pgflow.plan.spec import SyncSpec, TargetColumn
from pgflow.plan.sql import Sql, bind, raw, sql
from pgflow.plan.staging import STAGE
from pgflow.plan.statement import Feed, Statement
from pgflow.plan.watermark import since
from pgflow.run.events import Transferred
from pgflow.run.failures import statement_failed
from pgflow.run.remote.copying import write_blocks
from pgflow.run.session import Answer, Session
from pgflow.run.sources.blocks import BadValue, Encoder, block
from pgflow.run.sources.matching import Matched, match, unknown
from pgflow.run.sources.origin import Loading, OriginColumn, Tell, transfer_answer
from pgflow.run.sources.reader import BadShape, Batch, Raw, Reader, Wanted
from pgflow.run.sources.refusals import Refusals

#: However the session is set: dates are read year first, and values do not depend on it.
_SETTINGS = {"datestyle": "ISO, YMD", "intervalstyle": "postgres"}


class RowOrigin:
    """Rows that a reader brings.

    Args:
        reader: Reads the source, once.
        path: What the path is called in previews.
    """

    session: Session | None = None
    relation: Sql | None = None

    def __init__(self, reader: Reader, path: str) -> None:
        self._reader = reader
        self._path = path
        self._matched: tuple[Matched, ...] = ()
        self._spec: SyncSpec | None = None

    @property
    def label(self) -> str:
        """Where the rows come from."""
        return self._reader.label

    @property
    def path(self) -> Decision[str]:
        """How rows get from here to the target, and why."""
        return Decision(self._path, self._reader.reason)

    def columns(
        self,
        session: Session,  # noqa: ARG002  # the protocol's
        spec: SyncSpec,
        declared: Sequence[TargetColumn],
    ) -> Sequence[OriginColumn]:
        """Match the source's columns with the target's.

        Raises:
            SourceMismatch: They do not fit.
            BadRow: The first row, which tells the names, cannot be read.
            InvalidOption: The pipeline's position is of a kind that only PostgreSQL has.
        """
        if spec.watermark is not None and not spec.watermark.by_value:
            raise InvalidOption(
                f"{spec.owner}: watermark={spec.watermark.kind!r} reads PostgreSQL's transactions, "
                f"and the source is {self.label}. Use watermark='value' with incremental_column=."
            )
        reader = self._reader
        refusals = Refusals(spec, (), reader)
        try:
            found = reader.describe()
        except BadShape as error:
            raise refusals.shape(error) from None
        if found is None:
            found = unknown(spec)
        elif not found:
            raise refusals.shape(BadShape("has no columns", 1))
        self._matched = match(
            spec,
            found,
            column_map=reader.column_map,
            types=reader.types,
            time_zone=reader.time_zone,
            only={c.name for c in declared} if reader.picks else None,
        )
        selected = reader.query([m.found.name for m in self._matched]) is not None
        return [OriginColumn(m.name, m.base, m.type, m.length, selected) for m in self._matched]

    def proves_unique(self, spec: SyncSpec) -> bool:  # noqa: ARG002  # the protocol's
        """Nothing here knows whether keys repeat."""
        return False

    def loading(self, spec: SyncSpec) -> Loading:
        """Say that the rows come as text, or as the files have them."""
        self._spec = spec
        query = self._reader.query([m.found.name for m in self._matched])
        own = self._reader.format
        options = raw("FORMAT text") if own is None else own.options
        return Loading(Feed(self.label, None if query is None else raw(query)), options)

    def feed(self, session: Session, statement: Statement, tell: Tell) -> Answer:
        """Copy the rows into the stage.

        Raises:
            BadRow: A row cannot be taken; it is named.
            StatementFailed: The server refused something else.
        """
        spec = self._spec
        if spec is None:
            raise RuntimeError("feed() comes after loading()")
        refusals = Refusals(spec, self._matched, self._reader)
        wanted = Wanted(
            tuple(m.found.name for m in self._matched),
            spec,
            session,
            tuple(m.name for m in self._matched),
            tuple(m.base for m in self._matched),
        )
        try:
            with _settled(session):
                done = self._copy(session, statement, refusals, wanted, tell)
        except BaseException:
            # Before the source's connection is given back, which may wait for the unread rest.
            self.close()
            raise
        left_out = _leave_out(session, spec)
        return transfer_answer(self, done, **({"left_out": left_out} if left_out else {}))

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()

    def _copy(
        self,
        session: Session,
        statement: Statement,
        refusals: Refusals,
        wanted: Wanted,
        tell: Tell,
    ) -> Transferred:
        # Before the COPY: during it the target's session can answer nothing else.
        blocks = self._blocks(self._reader.batches(wanted), refusals, wanted)
        driver: Any = session.connection.connection.driver_connection
        text = session.label + statement.text
        try:
            with driver.cursor() as cursor, cursor.copy(text.encode()) as copy:
                return write_blocks(blocks, copy.write, tell)
        except psycopg.Error as error:
            refused = refusals.server(error)
            if refused is not None:
                # The driver's error repeats the value, which must not show everywhere.
                raise refused from None
            if driver.closed:
                session.connection.invalidate(error)
            raise statement_failed(
                error,
                statement.purpose,
                statement.text,
                session.owner,
                guarded=session.guarded,
                defaulted=session.defaulted,
            ) from session.cause(error)
        finally:
            blocks.close()

    def _blocks(
        self, batches: Iterator[Batch | Raw], refusals: Refusals, wanted: Wanted
    ) -> Generator[tuple[bytes, int]]:
        zone = self._reader.time_zone
        encoders = _encoders(self._matched, zone and ZoneInfo(zone), self._reader)
        if self._reader.format is not None:
            yield self._reader.format.header, 0
        while True:
            try:
                batch = next(batches, None)
            except BadShape as error:
                raise refusals.shape(error) from None
            except PgflowError:
                raise
            except Exception as error:
                # Whoever makes the rows has raised it, and knows it by its class.
                whose = f"{wanted.spec.owner} -> {wanted.spec.target.label}"
                error.add_note(f"{whose}: the source raised this; nothing was written.")
                raise
            if batch is None:
                return
            if isinstance(batch, Raw):
                yield batch.data, batch.count
                continue
            try:
                data = block(encoders, batch.columns)
            except BadValue as error:
                raise refusals.value(error, batch.first) from None
            wanted.pace.learn(batch.count, len(data))
            yield data, batch.count


def _encoders(
    matched: Sequence[Matched], zone: tzinfo | str | None, reader: Reader
) -> list[Encoder]:
    given = zone if isinstance(zone, tzinfo) else None
    return [
        Encoder(m.name, m.base, given, reader.documents or m.found.kind == "json", reader.format)
        for m in matched
    ]


@contextmanager
def _settled(session: Session) -> Iterator[None]:
    """Set what decides how the server reads dates, and put it back."""
    ask = ", ".join(f"current_setting('{n}') AS {n}" for n in _SETTINGS)
    before = session.run(raw(f"SELECT {ask}"), "look at how dates are read").rows[0]
    _set(session, _SETTINGS)
    yield
    # After an error the transaction, or its savepoint, takes the settings with it.
    _set(session, before)


def _set(session: Session, settings: dict[str, Any]) -> None:
    calls = sql(
        "SELECT set_config('datestyle', {d}, true), set_config('intervalstyle', {i}, true)",
        d=bind(settings["datestyle"], "datestyle"),
        i=bind(settings["intervalstyle"], "intervalstyle"),
    )
    session.run(calls, "say how dates are read")


def _leave_out(session: Session, spec: SyncSpec) -> int:
    """Take rows from before the position out of the stage; the source may not know them apart."""
    condition = since(spec.watermark)
    if not condition.parts:
        return 0
    text = sql(
        "DELETE FROM {stage} AS d WHERE NOT EXISTS (SELECT FROM (SELECT d.*) AS s{since})",
        stage=STAGE,
        since=condition,
    )
    return max(0, session.run(text, "leave out rows that were read before").count)
