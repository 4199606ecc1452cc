"""The log of the runs: on by itself, structured, and once."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.checks import SQLCheck
from pgflow.observe.progress import LineProgress, LogProgress
from pgflow.run.events import RunStarted, Silence
from tests.run.test_retries import fail_times


def seen(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Level and event of each record of a run."""
    return [(r.levelname, r.event) for r in caplog.records if hasattr(r, "event")]


def test_runs_log_by_themselves(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    """logging.basicConfig(level=INFO) is enough to see runs; records carry what the text says."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    caplog.set_level(logging.INFO)
    result = pipeline.sync()
    assert seen(caplog) == [("INFO", "started"), ("INFO", "finished")]
    begun, ended = (r for r in caplog.records if hasattr(r, "event"))
    assert begun.name == ended.name == "pgflow.run"
    assert begun.getMessage() == f"p -> w.t: run {result.run_id} begins"
    assert "inserted 1, read 1" in ended.getMessage()
    common = {"run_id": str(result.run_id), "pipeline": "p", "target": "w.t", "dry_run": False}
    assert {name: vars(begun)[name] for name in common} == common
    assert {name: vars(ended)[name] for name in common} == common
    assert (ended.status, ended.mode, ended.counts) == ("success", "merge", result.counts)
    assert ended.seconds == result.targets[0].seconds


def test_a_failure_is_an_error_with_its_class(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The end of a run that failed says why, and counts nothing."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1), (1, "b", 1))
    caplog.set_level(logging.INFO)
    with pytest.raises(pgflow.errors.DuplicateKeys) as caught:
        pipeline.sync()
    assert seen(caplog) == [("INFO", "started"), ("ERROR", "finished")]
    record = caplog.records[-1]
    assert (record.status, record.error_type) == ("failed", "DuplicateKeys")
    assert record.error == str(caught.value)
    assert not any(record.counts.values())


def test_retries_and_warnings_are_warnings_once(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What a run wants its reader to know is one record, whoever watches it."""
    check = SQLCheck("positive", "b > 0", severity="warning")
    pipeline = world.pipe(world.table(), mode="merge", checks=[check])
    world.fill((1, "a", -1))
    fail_times(world, 1, "40001")
    caplog.set_level(logging.INFO)
    lines: list[str] = []
    (result,) = pipeline.sync(observer=LineProgress(lines.append)).targets
    assert len(result.warnings) == 1
    warned = [r for r in caplog.records if getattr(r, "event", "") == "warning"]
    assert [r.warning for r in warned] == list(result.warnings)
    assert sum(result.warnings[0] in r.getMessage() for r in caplog.records) == 1
    (retried,) = (r for r in caplog.records if getattr(r, "event", "") == "retrying")
    assert (retried.levelname, retried.attempt, retried.error_type) == (
        "WARNING", 2, "StatementFailed",
    )  # fmt: skip
    assert retried.delay > 0


def test_statements_are_told_by_their_purpose(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG each statement is a record; no value of a row is in any of them."""
    pipeline = world.pipe(world.table(), mode="scd2")
    world.fill((1, "very secret", 1))
    caplog.set_level(logging.DEBUG, "pgflow")
    pipeline.sync()
    world.run("UPDATE w.s SET a = 'other secret'")
    pipeline.sync()
    purposes = [r.purpose for r in caplog.records if getattr(r, "event", "") == "executing"]
    assert len(purposes) > 2
    assert "secret" not in caplog.text
    assert all("secret" not in str(vars(record)) for record in caplog.records)


def test_another_logger_takes_the_place_of_the_own(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever gives a logger does not get everything twice."""
    pipeline = world.pipe(world.table(), mode="merge")
    caplog.set_level(logging.INFO)
    pipeline.sync(observer=LogProgress(logging.getLogger("mine")))
    assert [r.name for r in caplog.records if hasattr(r, "event")] == ["mine", "mine"]


def test_a_run_that_could_not_begin_is_logged(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The log of a service has it, although there is no run."""
    nowhere = sa.create_engine("postgresql+psycopg://me:hush@127.0.0.1:1/nowhere")
    pipeline = pgflow.Pipeline(
        "p", target=world.table(), source="SELECT 1 AS id", mode="merge", connection=nowhere
    )
    caplog.set_level(logging.INFO)
    with pytest.raises(sa.exc.OperationalError):
        pipeline.sync()
    assert seen(caplog) == [("ERROR", "refused")]
    record = caplog.records[-1]
    assert (record.pipeline, record.target, record.run_id) == ("p", "w.t", None)
    assert record.getMessage().startswith("p -> w.t: could not begin: ")
    assert "hush" not in caplog.text


def test_records_become_json(world: Any) -> None:
    """A formatter of ten lines writes all of it; every attribute is plain data."""
    plain = set(vars(logging.makeLogRecord({})))

    class Json(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            extras = {k: v for k, v in vars(record).items() if k not in plain}
            return json.dumps({"level": record.levelname, "text": record.getMessage(), **extras})

    logger, stream = logging.getLogger("mine.json"), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Json())
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    result = pipeline.dry_run(observer=LogProgress(logger))
    logger.removeHandler(handler)
    data = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {each["run_id"] for each in data} == {str(result.run_id)}
    assert {each["dry_run"] for each in data} == {True}
    assert data[-1]["counts"]["inserted"] == 1


def test_nothing_is_written_where_nobody_listens(
    world: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library configures no handler, and writes to no stream by itself."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1), (1, "b", 1))
    capfd.readouterr()
    with pytest.raises(pgflow.errors.DuplicateKeys):
        pipeline.sync()
    assert capfd.readouterr() == ("", "")


def test_an_observer_that_raises_ends_no_run(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Its error is in the log, once for each of its methods, and the others are told."""

    class Broken(Silence):
        def executing(self, run: RunStarted, statement: Any) -> None:
            raise ValueError("a bug of mine")

        def finished(self, run: RunStarted, result: Any) -> None:
            raise ValueError("another one")

    pipeline = world.pipe(world.table(), mode="scd2")
    world.fill((1, "a", 1))
    pipeline.sync()
    world.fill((1, "b", 1))
    caplog.set_level(logging.INFO)
    assert pipeline.sync(observer=Broken()).inserted == 1
    told = [r.getMessage() for r in caplog.records if r.exc_info]
    assert len(told) == 2
    assert "raised in executing()" in told[0]
    assert "raised in finished()" in told[1]
    assert seen(caplog)[-1] == ("INFO", "finished")


def test_an_observer_from_before_an_event_does_without_it(world: Any) -> None:
    """Events that are added later reach those who know them; nobody else notices."""

    class Old:
        def __init__(self) -> None:
            self.ends: list[str] = []

        def started(self, run: RunStarted) -> None:
            """Nothing."""

        def finished(self, run: RunStarted, result: Any) -> None:
            self.ends.append(result.status)

    old: Any = Old()
    pipeline = world.pipe(world.table(), mode="merge")
    pipeline.sync(observer=old)
    assert old.ends == ["success"]
