"""The function that is told of failed runs: when it is called, and with what."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import InvalidOption, MissingParameter, RunCancelled, TargetsFailed
from pgflow.factories.backfill import Backfill
from pgflow.factories.watched import begun_again
from pgflow.observe.failure import Failure
from pgflow.run.events import RunStarted, Silence


class Told:
    """Remembers failures, and what the history said when it was told."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.failures: list[Failure] = []
        self.statuses: list[str] = []
        self.sessions: list[int] = []

    def __call__(self, failure: Failure) -> None:
        self.failures.append(failure)
        rows = self.world.run(
            "SELECT status FROM pgflow.runs WHERE run_id = %s", str(failure.run_id)
        )
        self.statuses += [row[0] for row in rows]
        ((busy,),) = self.world.run(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%%' "
        )
        self.sessions.append(busy)


def refuse(world: Any, table: str = "t", sqlstate: str = "22012") -> None:
    """Let every write to a target fail."""
    world.run(
        "CREATE FUNCTION w.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" RAISE EXCEPTION 'not now' USING ERRCODE = '{sqlstate}'; END $$"
    )
    world.run(
        f"CREATE TRIGGER fail BEFORE INSERT ON w.{table} FOR EACH STATEMENT"
        " EXECUTE FUNCTION w.fail()"
    )


def test_it_is_called_when_the_history_knows(world: Any) -> None:
    """After the failed run is recorded, with no transaction open, once, with what is known."""
    told = Told(world)
    pipeline = world.pipe(world.table(), mode="merge", on_failure=told)
    world.fill((1, "a", 1))
    assert pipeline.sync().inserted == 1
    assert told.failures == []
    world.run("TRUNCATE w.t")
    refuse(world)
    with pytest.raises(pgflow.PgflowError, match="not now") as caught:
        pipeline.sync()
    (failure,) = told.failures
    assert (told.statuses, told.sessions) == (["failed"], [0])
    assert (failure.pipeline, failure.target) == ("p", "w.t")
    assert failure.error is caught.value
    assert failure.run_id == caught.value.run_id
    assert failure.result.status == "failed"
    assert failure.result.seconds > 0
    assert str(failure).startswith("p -> w.t failed: ")
    assert failure.to_dict()["error_type"] == "StatementFailed"


def test_it_is_called_once_after_the_last_attempt(world: Any) -> None:
    """Attempts that are followed by another one are no failure."""
    told = Told(world)
    pipeline = world.pipe(world.table(), mode="merge", on_failure=told)
    world.fill((1, "a", 1))
    refuse(world, sqlstate="23505")
    with pytest.raises(pgflow.PgflowError):
        pipeline.sync()
    assert len(told.failures) == 1
    assert world.run("SELECT attempts FROM pgflow.runs") == [(2,)]


def test_it_waits_for_whoever_begins_the_run_again(world: Any) -> None:
    """A worker that tries a firing three times has one failure, after the third."""
    failures: list[Failure] = []
    pipeline = world.pipe(world.table(), mode="merge", on_failure=failures.append)
    world.fill((1, "a", 1))
    refuse(world)
    for attempt in range(3):
        assert failures == []
        last = attempt == 2
        with begun_again(lambda error, last=last: not last), pytest.raises(pgflow.PgflowError):
            pipeline.sync()
    assert [failure.target for failure in failures] == ["w.t"]

    async def awaited() -> None:
        with begun_again(lambda error: True):
            await pipeline.sync_async()

    with pytest.raises(pgflow.PgflowError):
        asyncio.run(awaited())
    assert len(failures) == 1
    with pytest.raises(pgflow.PgflowError):
        asyncio.run(pipeline.sync_async())
    assert len(failures) == 2


def test_an_error_of_the_function_has_its_run(world: Any) -> None:
    """What the user's own code raises is told with the run that recorded it."""

    def body(conn: Any) -> str:
        raise ValueError("my own")

    told = Told(world)
    pipeline = world.pipe(world.table(), None, body=body, mode="merge", on_failure=told)
    with pytest.raises(ValueError, match="my own"):
        pipeline.sync()
    (failure,) = told.failures
    assert world.run("SELECT run_id FROM pgflow.runs") == [(failure.run_id,)]


def test_each_target_that_failed_is_told(world: Any) -> None:
    """Of several targets those that failed are told, when all of them are over."""
    told = Told(world)
    tables = [world.table(name) for name in ("t", "u", "v")]
    pipeline = world.pipe(
        None, targets=tables, mode="merge", continue_on_failure=True, on_failure=told
    )
    world.fill((1, "a", 1))
    refuse(world, "t")
    world.run("CREATE TRIGGER f BEFORE INSERT ON w.v FOR EACH STATEMENT EXECUTE FUNCTION w.fail()")
    with pytest.raises(TargetsFailed):
        pipeline.sync()
    assert [failure.target for failure in told.failures] == ["w.t", "w.v"]
    assert told.statuses == ["failed", "failed"]
    assert world.run("SELECT count(*) FROM w.u") == [(1,)]


def test_a_run_that_could_not_begin_is_told(world: Any) -> None:
    """A database that does not answer is a failure too; the history knows nothing of it."""
    failures: list[Failure] = []
    nowhere = sa.create_engine("postgresql+psycopg://me@127.0.0.1:1/nowhere")
    table = world.table()
    pipeline = pgflow.Pipeline(
        "p", target=table, source="SELECT 1 AS id", mode="merge", connection=nowhere,
        on_failure=failures.append,
    )  # fmt: skip
    with pytest.raises(sa.exc.OperationalError) as caught:
        pipeline.sync()
    (failure,) = failures
    assert (failure.target, failure.run_id, failure.error) == ("w.t", None, caught.value)


def test_dry_runs_and_what_somebody_stops_are_no_failure(world: Any) -> None:
    """Nobody is called at night for a rehearsal, a cancelled run, or a wrong call."""
    failures: list[Failure] = []

    class Stops(Silence):
        def executing(self, run: RunStarted, statement: Any) -> None:
            raise KeyboardInterrupt

    class Cancels(Silence):
        def executing(self, run: RunStarted, statement: Any) -> None:
            pgflow.cancel_runs()

    def body(conn: Any, *, day: int) -> str:
        return "SELECT id, a, b FROM w.s WHERE id > :day"

    pipeline = world.pipe(world.table(), None, body=body, mode="merge", on_failure=failures.append)
    world.fill((1, "a", 1))
    with pytest.raises(KeyboardInterrupt):
        pipeline.sync(day=0, observer=Stops())
    with pytest.raises(RunCancelled):
        pipeline.sync(day=0, observer=Cancels())
    with pytest.raises(MissingParameter):
        pipeline.sync()
    refuse(world)
    with pytest.raises(pgflow.PgflowError, match="not now"):
        pipeline.dry_run(day=0)
    assert failures == []
    with pytest.raises(pgflow.PgflowError, match="not now"):
        pipeline.sync(day=0)
    assert len(failures) == 1


def test_a_run_in_a_transaction_of_its_caller_is_its_callers_matter(world: Any) -> None:
    """The transaction is still open, and the caller decides what becomes of it."""
    failures: list[Failure] = []
    pipeline = world.pipe(world.table(), mode="merge", on_failure=failures.append)
    world.fill((1, "a", 1))
    refuse(world)
    with world.engine.begin() as live, pytest.raises(pgflow.PgflowError, match="not now"):
        pipeline.sync(connection=live)
    assert failures == []


def test_what_it_raises_hides_nothing(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The run's own error comes out, with a note; the log has both, and the run is recorded."""

    def broken(failure: Failure) -> None:
        raise OSError("no network")

    pipeline = world.pipe(world.table(), mode="merge", on_failure=broken)
    world.fill((1, "a", 1))
    refuse(world)
    with caplog.at_level(logging.ERROR), pytest.raises(pgflow.PgflowError, match="not now") as it:
        pipeline.sync()
    assert it.value.__notes__ == ["on_failure could not be told: OSError: no network"]
    assert "on_failure raised for p -> w.t" in caplog.text
    assert "no network" in caplog.text
    assert world.run("SELECT status FROM pgflow.runs") == [("failed",)]


def test_the_nearest_one_is_called(world: Any) -> None:
    """A pipeline's own function goes before that of its configuration."""
    told: list[str] = []
    config = pgflow.Config(on_failure=lambda failure: told.append(f"config {failure.pipeline}"))
    own = {"on_failure": lambda failure: told.append(f"own {failure.pipeline}")}
    world.fill((1, "a", 1))
    table = world.table()
    for name, options in (("first", own), ("second", {})):
        pipeline = world.pipe(table, mode="merge", name=name, config=config, **options)
        if name == "first":
            refuse(world)
        with pytest.raises(pgflow.PgflowError):
            pipeline.sync()
    assert told == ["own first", "config second"]


def test_a_configuration_on_the_metadata_counts(world: Any) -> None:
    """One line on the MetaData is enough for every pipeline on it."""
    told: list[str] = []
    pgflow.Config(on_failure=lambda failure: told.append(failure.target)).attach(world.metadata)
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    refuse(world)
    with pytest.raises(pgflow.PgflowError):
        pipeline.sync()
    assert told == ["w.t"]


def test_a_step_of_a_backfill_tells_too(world: Any) -> None:
    """Whoever starts a backfill in the evening hears of it."""
    failures: list[Failure] = []
    pipeline = world.pipe(
        world.table(), mode="merge", incremental_column="id", on_failure=failures.append
    )
    world.fill((1, "a", 1))
    refuse(world)
    with pytest.raises(pgflow.PgflowError, match="not now"):
        list(Backfill(pipeline, "0", "10", "5").run())
    assert [failure.target for failure in failures] == ["w.t"]


@pytest.mark.parametrize(
    "hook, what",
    [
        ("mail", "'mail' is no function"),
        (3, "3 is no function"),
        (lambda: None, r".*lambda>\(\) cannot be called with the failure alone \(too many"),
        (lambda a, b: None, r".*\(a, b\) cannot .* Give a function of one argument: def tell"),
    ],
)
def test_what_cannot_be_called_is_refused(world: Any, hook: Any, what: str) -> None:
    """A pipeline or a configuration with it is refused where it is declared."""
    with pytest.raises(InvalidOption, match=f"pipeline 'p': on_failure={what}"):
        world.pipe(world.table(), mode="merge", on_failure=hook)
    with pytest.raises(InvalidOption, match=f"Config: on_failure={what}"):
        pgflow.Config(on_failure=hook)


def test_an_async_function_is_refused(world: Any) -> None:
    """Nobody would await it, so it would never run."""

    async def mail(failure: Failure) -> None:
        """Never awaited."""

    with pytest.raises(InvalidOption, match=r"on_failure=.*mail is async, and nobody would await"):
        world.pipe(world.table(), mode="merge", on_failure=mail)
