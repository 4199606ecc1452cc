"""Backfills in the bookkeeping: their steps, and how far each has come."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from pgflow import idents
from pgflow.connections.places import place
from pgflow.errors import BackfillOvertaken, BackfillRefused, MissingTable, StatementFailed
from pgflow.plan.sql import Sql, bind, name, raw, sql
from pgflow.plan.statement import Row, Statement
from pgflow.run.session import Session

#: Steps of one backfill; more of them are a mistake in the step.
MOST = 100_000

#: What can be gone through in steps: the type to count in, and the type of a step.
_COUNTED = {
    "smallint": ("bigint", "bigint"),
    "integer": ("bigint", "bigint"),
    "bigint": ("bigint", "bigint"),
    "numeric": ("numeric", "numeric"),
    "date": ("timestamp without time zone", "interval"),
    "timestamp without time zone": ("timestamp without time zone", "interval"),
    "timestamp with time zone": ("timestamp with time zone", "interval"),
}
_NUMBER = re.compile(r"\s*[-+]?[\d.]+\s*\Z")


@dataclass(frozen=True)
class Range:
    """What a backfill goes through; it is known again by all of this.

    Attributes:
        pipeline: The pipeline's name.
        begin: The first value, as text.
        end: The first value after the last step, as text.
        step: How much of it is one run.
        parameters: The run parameters and the column, as text.
    """

    pipeline: str
    begin: str
    end: str
    step: str
    parameters: str


@dataclass(frozen=True)
class Step:
    """One run of a backfill.

    Attributes:
        number: Its number, from 1.
        of: How many there are.
        begin: The first value that belongs to it, as text.
        end: The first value after it, as text.
    """

    number: int
    of: int
    begin: str
    end: str


@dataclass(frozen=True)
class Progress:
    """How far a backfill has come.

    Attributes:
        done_to: The end of the last step that was committed; None before the first.
        finished: Whether that was the last one.
    """

    done_to: str | None
    finished: bool


def steps(session: Session, kind: str, begin: str, end: str, step: str) -> tuple[Step, ...]:
    """Have the server cut a range into steps, by the arithmetic of the column's own type.

    Args:
        session: A session in a transaction; days and months are those of UTC.
        kind: The column's type.
        begin: The first value, as text.
        end: The first value after the last step, as text.
        step: A number, or an interval such as `1 day` or `6h`.

    Returns:
        The steps in order; the last one may be shorter.

    Raises:
        BackfillRefused: The type cannot be counted in, or the texts are no range of it.
    """
    bare = re.sub(r"\(\d+(,-?\d+)?\)", "", kind)
    if bare not in _COUNTED:
        known = ", ".join(_COUNTED)
        raise BackfillRefused(f"a backfill goes through one of {known}; the column is {kind}.")
    counting, width = _COUNTED[bare]
    if width == "interval" and _NUMBER.match(step):
        raise BackfillRefused(
            f"--step {step!r} has no unit, and the column is {kind}. Write '1 day', '6 hours'."
        )
    _check_words(begin, end)
    session.run(raw("SET LOCAL TimeZone = 'UTC'"), "count in UTC")
    text = sql(
        "SELECT to_jsonb(g.v::{kind}) #>> '{{}}' AS begin,"
        " to_jsonb(coalesce(lead(g.v) OVER (ORDER BY g.v), r.e)::{kind}) #>> '{{}}' AS end\n"
        "  FROM (SELECT {begin}::text::{kind}::{counting} AS b, {end}::text::{kind}::{counting}"
        " AS e, {step}::text::{width} AS s) AS r,\n"
        # Not in FROM, where all of it would be made before the first is taken, even without end.
        "       LATERAL (SELECT generate_series(r.b, r.e, r.s) LIMIT {most}) AS g (v)\n"
        " WHERE g.v < r.e ORDER BY g.v",
        kind=raw(bare),
        counting=raw(counting),
        width=raw(width),
        begin=bind(begin, "from"),
        end=bind(end, "to"),
        step=bind(step, "step"),
        most=raw(str(MOST + 1)),
    )
    try:
        rows = session.run(text, "cut the range into steps").rows
    except StatementFailed as error:
        told = str(error.__cause__ or error).strip().splitlines()[0]
        raise BackfillRefused(f"--from, --to and --step are no range of {kind}: {told}") from error
    _check(rows, begin, end, step)
    pairs = ((str(row["begin"]), str(row["end"])) for row in rows)
    return tuple(Step(i, len(rows), b, e) for i, (b, e) in enumerate(pairs, 1))


def _check_words(begin: str, end: str) -> None:
    """Refuse a word of which each attempt would make another range, so that none could go on."""
    if "now" in (begin.strip().lower(), end.strip().lower()):
        raise BackfillRefused(
            "'now' is another value each time, and a backfill that was interrupted is known again "
            "by its range. Write --from and --to as values, or 'today'."
        )


def _check(rows: Sequence[Row], begin: str, end: str, step: str) -> None:
    if not rows:
        raise BackfillRefused(
            f"from {begin!r} to {end!r} by {step!r} there is no step: --to must come after --from, "
            "and --step must be greater than zero."
        )
    if "infinity" in str(rows[0]["begin"]).lower():
        raise BackfillRefused(
            f"from {begin!r} on there are no steps. Choose a --from that is finite."
        )
    if len(rows) > MOST:
        raise BackfillRefused(
            f"from {begin!r} to {end!r} by {step!r} there are more than {MOST:,} steps. Choose a "
            "larger --step."
        )
    if any(row["begin"] == row["end"] for row in rows):
        raise BackfillRefused(f"--step {step!r} is less than the column can tell apart.")


def begin_backfill(connection: Connection, schema: str, what: Range, *, again: bool) -> Progress:
    """Note that a backfill begins, or find out how far it has come; the caller commits.

    Args:
        connection: A connection in a transaction on the target's database.
        schema: The schema of pgflow's own tables.
        what: What it goes through.
        again: Whether it begins anew although it has begun or was finished before.

    Raises:
        MissingTable: pgflow's own tables are not there, or older.
    """
    session, table = Session(connection, owner=what.pipeline), idents.qualify(schema, "backfills")
    there = sql("SELECT to_regclass({t}::text) IS NOT NULL AS there", t=bind(table, "table"))
    if not session.run(there, "look for the backfills").rows[0]["there"]:
        raise MissingTable(
            f"{what.pipeline}: the database has no table {table} ({place(connection)}). "
            "Run `alembic revision --autogenerate` and `alembic upgrade head`, or `pgflow migrate`."
        )
    fresh = raw("done_to = NULL, steps_done = 0, started_at = clock_timestamp(),")
    text = sql(
        "INSERT INTO {table} AS b (pipeline, range_from, range_to, step, parameters)\n"
        "SELECT {pipeline}::text, {begin}::text, {end}::text, {step}::text, {parameters}::text\n"
        "ON CONFLICT (pipeline, range_from, range_to, step, parameters) DO UPDATE\n"
        "   SET {fresh} updated_at = clock_timestamp(){finished}\n"
        "RETURNING done_to, finished_at IS NOT NULL AS finished",
        table=name(schema, "backfills"),
        fresh=fresh if again else Sql(),
        finished=raw(", finished_at = NULL") if again else Sql(),
        **_values(what),
    )
    row = session.run(text, "note the backfill").rows[0]
    return Progress(row["done_to"], row["finished"])


def guard(schema: str, what: Range, done_to: str | None) -> Statement:
    """Refuse a step that somebody else has done; whoever comes later waits for this run's end."""
    text = sql(
        "SELECT done_to FROM {table} WHERE {known} FOR UPDATE",
        table=name(schema, "backfills"),
        known=_known(what),
    )

    def refuse(found: Sequence[Row]) -> BackfillOvertaken | None:
        if found and found[0]["done_to"] == done_to:
            return None
        return BackfillOvertaken(
            f"{what.pipeline}: the same backfill is being done by somebody else, who has come to "
            f"{found[0]['done_to'] if found else 'its end'} meanwhile. Nothing was written."
        )

    return Statement("make sure that this step is still to be done", text, refuses=refuse)


def advance(schema: str, what: Range, step: Step) -> Statement:
    """Remember that a step is done, in the transaction of its data."""
    text = sql(
        "UPDATE {table} SET done_to = {done_to}::text, steps_done = {number}::bigint,\n"
        "       updated_at = clock_timestamp(), finished_at = {finished}\n WHERE {known}",
        table=name(schema, "backfills"),
        done_to=bind(step.end, "done_to"),
        number=bind(step.number, "steps_done"),
        finished=raw("clock_timestamp()" if step.number == step.of else "NULL"),
        known=_known(what),
    )
    return Statement("remember that the step is done", text)


def _known(what: Range) -> Sql:
    return sql(
        "pipeline = {pipeline}::text AND range_from = {begin}::text AND range_to = {end}::text"
        " AND step = {step}::text AND parameters = {parameters}::text",
        **_values(what),
    )


def _values(what: Range) -> dict[str, Sql]:
    return {key: bind(value, key) for key, value in vars(what).items()}
