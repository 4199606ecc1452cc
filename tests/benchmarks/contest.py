"""One case, both sides in turn, each run from the same state; both must leave the same tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

from psycopg import sql
from sqlalchemy import URL, create_engine

from tests.benchmarks.cases import Case
from tests.benchmarks.databases import Databases
from tests.benchmarks.declarations import declare
from tests.benchmarks.meter import Cost, Meter
from tests.benchmarks.script import run
from tests.benchmarks.server import dial

#: The instant of every measured run, after everything that the prepared history holds.
INSTANT = datetime(2025, 1, 1, tzinfo=UTC)

#: Columns that hold the time of writing: only whether they are set can be compared.
_TIMES = ("_loaded_at", "_changed_at")
#: Columns that hold the id of a run: only whether it is the measured one can be compared.
_RUNS = ("_batch_id", "_closed_batch_id")


#: A server process, and the run that it will do, which returns the run's id.
Ready = tuple[int, Callable[[], UUID | None]]
Side = Callable[[Case, URL], AbstractContextManager[Ready]]

#: Percent of the target beyond which a run leaves new statistics behind.
_LARGE = 10

#: What a process that runs for a while knows already: the catalogue's rows on these tables.
_WARM = "EXPLAIN SELECT FROM bench.source JOIN bench.target USING (id), pgflow.runs"


@dataclass(frozen=True)
class Outcome:
    """What a run left behind.

    Attributes:
        counts: The counts in the history.
        content: How many rows the target has, and a hash over all of them.
        analyzed: Whether the target's statistics are as new as its rows.
    """

    counts: tuple[int, ...]
    content: tuple[int, ...]
    analyzed: bool


@dataclass(frozen=True)
class Contest:
    """The costs of a case.

    Attributes:
        case: The case.
        hand: One cost for each run of the hand-written script.
        pgflow: One cost for each run of pgflow.
    """

    case: Case
    hand: tuple[Cost, ...]
    pgflow: tuple[Cost, ...]

    def and_more(self, more: Contest) -> Contest:
        """Return the costs of both contests over one case."""
        return Contest(self.case, self.hand + more.hand, self.pgflow + more.pgflow)


class UnequalOutcomeError(Exception):
    """Both sides did not do the same, so their costs cannot be compared."""


def hold(case: Case, databases: Databases, runs: int) -> Contest:
    """Run a case by hand and by pgflow, in turn.

    Args:
        case: The case.
        databases: Where to run it.
        runs: How often each side runs.

    Returns:
        What it cost.

    Raises:
        UnequalOutcomeError: The sides left different tables or counts.
    """
    hand: list[Cost] = []
    pgflow: list[Cost] = []
    with databases.prepared(case) as template:
        for number in range(runs):
            sides: list[tuple[Side, list[Cost]]] = [(by_hand, hand), (by_pgflow, pgflow)]
            found = []
            # Who begins changes, as what else the machine does may have a rhythm.
            for side, costs in sides if number % 2 == 0 else reversed(sides):
                with databases.copy(template) as url:
                    cost, run_id = _measured(side, case, url)
                    costs.append(cost)
                    found.append(outcome(url, run_id))
            if found[0] != found[1]:
                raise UnequalOutcomeError(f"{case.name}: {found[0]} is not {found[1]}")
    return Contest(case, tuple(hand), tuple(pgflow))


def _measured(side: Side, case: Case, url: URL) -> tuple[Cost, UUID | None]:
    ids: list[UUID | None] = []
    with side(case, url) as (backend, work):
        cost = Meter.of(backend).measure(lambda: ids.append(work()))
    return cost, ids[0]


@contextmanager
def by_hand(case: Case, url: URL) -> Iterator[Ready]:
    """Make the hand-written run ready, on a warm connection.

    Yields:
        The server process that will do it, and the run.
    """

    def work() -> UUID:
        run_id = uuid4()
        analyze = ("analyze.sql",) if case.written > _LARGE else ()
        for script in ("begin.sql", case.script, *analyze):
            run(connection, script, run_id=run_id, instant=INSTANT, mode=case.mode)
        return run_id

    with dial(url) as connection:
        connection.execute(_WARM)
        yield connection.info.backend_pid, work


@contextmanager
def by_pgflow(case: Case, url: URL) -> Iterator[Ready]:
    """Make pgflow's run ready, on a warm connection.

    Yields:
        The server process that will do it, and the run.
    """
    engine = create_engine(url, pool_size=1, max_overflow=0)
    pipeline = declare(case, engine).pipeline
    with engine.connect() as connection:
        backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    try:
        pipeline.plan()
        yield backend, lambda: pipeline.sync(effective_at=INSTANT).targets[0].run_id
    finally:
        engine.dispose()


def outcome(url: URL, run_id: UUID | None) -> Outcome:
    """Say what a run left behind, apart from what must differ between two runs."""
    with dial(url) as connection:
        counts = connection.execute(
            "SELECT inserted, updated, closed, deleted, unchanged, skipped, read"
            " FROM pgflow.runs WHERE run_id = %s AND status = 'success'",
            [run_id],
        ).fetchone()
        columns = connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'bench.target'::regclass"
            " AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        ).fetchall()
        fingerprint = connection.execute(_fingerprint([c for (c,) in columns], run_id)).fetchone()
        analyzed = connection.execute(_ANALYZED).fetchone()
    return Outcome(tuple(counts or ()), tuple(fingerprint or ()), bool(analyzed and analyzed[0]))


#: A server process has reported everything when its connection is closed.
_ANALYZED = """
SELECT n_mod_since_analyze = 0 AND analyze_count > 0
  FROM pg_stat_user_tables
 WHERE relid = 'bench.target'::regclass
"""


def _fingerprint(columns: list[str], run_id: UUID | None) -> sql.Composed:
    return sql.SQL(
        "SELECT count(*), coalesce(sum(hash_record_extended(ROW({})::record, 0)::numeric), 0)"
        " FROM bench.target"
    ).format(sql.SQL(", ").join(_comparable(column, run_id) for column in columns))


def _comparable(column: str, run_id: UUID | None) -> sql.Composable:
    if column in _TIMES:
        return sql.SQL("{} IS NULL").format(sql.Identifier(column))
    if column in _RUNS:
        return sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(run_id))
    return sql.Identifier(column)
