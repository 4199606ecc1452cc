"""Runs as OpenTelemetry spans, by the real SDK."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import pgflow
from pgflow.errors import MissingExtra
from pgflow.observe.tracing import TracingObserver
from tests.run.test_retries import fail_times
from tests.sync.sync_children import session, until


class Traces:
    """A provider whose spans can be looked at."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.observer = TracingObserver(self.provider)

    def runs(self) -> list[ReadableSpan]:
        """The spans of runs, in the order in which they ended."""
        return [s for s in self.exporter.get_finished_spans() if s.kind is SpanKind.INTERNAL]

    def statements(self, run: ReadableSpan) -> list[ReadableSpan]:
        """The spans below a run's."""
        return [
            s
            for s in self.exporter.get_finished_spans()
            if s.parent is not None and s.parent.span_id == run.context.span_id
        ]


@pytest.fixture
def traces() -> Traces:
    """An observer whose spans are kept in memory."""
    return Traces()


def test_a_run_is_a_span_with_its_statements_below(world: Any, traces: Traces) -> None:
    """Attributes have the names of the semantic conventions, and counts are among them."""
    pipeline = world.pipe(world.table(), mode="scd2")
    world.fill((1, "a", 1), (2, "b", 2))
    pipeline.sync()
    world.fill((1, "A", 1), (2, "b", 2))
    result = pipeline.sync(observer=traces.observer)
    (run,) = traces.runs()
    assert run.name == "sync p"
    assert run.status.status_code is StatusCode.UNSET
    url = world.engine.url
    expected = {
        "db.system.name": "postgresql",
        "db.namespace": url.database,
        "server.address": url.query["host"],
        "server.port": int(url.query["port"]),
        "db.collection.name": "w.t",
        "pgflow.pipeline": "p",
        "pgflow.run_id": str(result.run_id),
        "pgflow.mode": "scd2",
        "pgflow.dry_run": False,
        "pgflow.status": "success",
        "pgflow.rows.inserted": 1,
        "pgflow.rows.closed": 1,
        "pgflow.rows.read": 2,
    }
    found = dict(run.attributes or {})
    assert {name: found.get(name) for name in expected} == expected
    below = traces.statements(run)
    assert len(below) >= 2
    assert {span.kind for span in below} == {SpanKind.CLIENT}
    planned = [s.purpose for s in (*result.plan.prepare, *result.plan.statements)]
    names = [s.name for s in below]
    assert names == [purpose for purpose in planned if purpose in names], "in order"
    assert sum(s.attributes["pgflow.rows"] for s in below if "close" in s.name) >= 1
    assert all(run.start_time <= s.start_time <= s.end_time <= run.end_time for s in below)
    assert len(traces.exporter.get_finished_spans()) == 1 + len(below), "every span has ended"


def test_the_current_span_is_the_parent(world: Any, traces: Traces) -> None:
    """A run is part of the trace of whoever began it, in each of several threads."""
    tracer = traces.provider.get_tracer("test")
    names = ("t0", "t1", "t2")
    pipelines = [world.pipe(world.table(name), mode="merge", name=name) for name in names]
    world.fill((1, "a", 1))

    def sync(pipeline: Any) -> int:
        with tracer.start_as_current_span(f"request {pipeline.name}") as request:
            pipeline.sync(observer=traces.observer)
        return request.get_span_context().trace_id

    with ThreadPoolExecutor(3) as pool:
        ids = dict(zip(names, pool.map(sync, pipelines), strict=True))
    runs = {r.name: r for r in traces.runs() if r.name.startswith("sync")}
    assert {name: run.context.trace_id for name, run in runs.items()} == {
        f"sync {name}": trace for name, trace in ids.items()
    }
    assert len(set(ids.values())) == 3
    for run in runs.values():
        below = traces.statements(run)
        assert below
        assert {s.attributes["pgflow.run_id"] for s in below} == {run.attributes["pgflow.run_id"]}


def test_a_run_that_is_awaited_has_the_span_of_its_task(world: Any, traces: Traces) -> None:
    """The thread in which it runs knows the task's span."""
    tracer = traces.provider.get_tracer("test")
    pipeline = world.pipe(world.table(), mode="merge")

    async def main() -> int:
        with tracer.start_as_current_span("request") as request:
            await pipeline.sync_async(observer=traces.observer)
        return request.get_span_context().span_id

    parent = asyncio.run(main())
    (run,) = (span for span in traces.runs() if span.name == "sync p")
    assert run.parent is not None
    assert run.parent.span_id == parent


def test_a_failed_run_is_an_error(world: Any, traces: Traces) -> None:
    """The span has the exception, the server's code, and so has the statement that failed."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    fail_times(world, 1, "22012")
    with pytest.raises(pgflow.PgflowError):
        pipeline.sync(observer=traces.observer)
    (run,) = traces.runs()
    failed = [s for s in traces.statements(run) if s.status.status_code is StatusCode.ERROR]
    assert len(failed) == 1
    for span in (run, *failed):
        assert span.status.status_code is StatusCode.ERROR
        assert "not now" in (span.status.description or "")
        assert span.attributes["error.type"] == "StatementFailed"
        assert span.attributes["db.response.status_code"] == "22012"
        assert "exception" in [event.name for event in span.events]
    assert run.attributes["pgflow.status"] == "failed"
    assert "pgflow.rows.inserted" not in run.attributes


def test_retries_are_events(world: Any, traces: Traces) -> None:
    """A deadlock that was tried again is an event, its statement an error, the run none."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    fail_times(world, 1, "40P01")
    pipeline.sync(observer=traces.observer)
    (run,) = traces.runs()
    (retried,) = (event for event in run.events if event.name == "retrying")
    assert retried.attributes["pgflow.attempt"] == 2
    assert retried.attributes["db.response.status_code"] == "40P01"
    states = [s.status.status_code for s in traces.statements(run)]
    assert states.count(StatusCode.ERROR) == 1
    assert run.status.status_code is StatusCode.UNSET


def test_waiting_is_an_event(world: Any, database: str, traces: Traces) -> None:
    """A run that waits for another one says for whom."""
    pipeline = world.pipe(world.table(), mode="merge")
    with ThreadPoolExecutor(1) as pool, session(database) as other:
        other.execute("BEGIN")
        from pgflow.run.locks import lock_key

        other.execute("SELECT pg_advisory_xact_lock(%s)", [lock_key("target w.t")])
        running = pool.submit(pipeline.sync, observer=traces.observer)
        until(
            lambda: world.run(
                "SELECT FROM pg_stat_activity WHERE datname = current_database()"
                " AND wait_event = 'advisory'"
            ),
            "the run to wait",
        )
        other.execute("COMMIT")
        running.result()
    (run,) = traces.runs()
    (waited,) = (event for event in run.events if event.name == "waiting")
    assert "server process" in waited.attributes["pgflow.holders"][0]


def test_nothing_secret_is_in_a_span(world: Any, database: str, traces: Traces) -> None:
    """No password, no bound value; SQL only if it is asked for, with `$1` for values."""
    url = sa.engine.make_url(database).set(password="hush")
    pipeline = pgflow.Pipeline(
        "p", target=world.table(), mode="merge", connection=url,
        source=pgflow.Query("SELECT :x AS a, 1 AS id, 2 AS b", {"x": "value of mine"}),
    )  # fmt: skip
    pgflow.create_all(world.metadata, connection=world.engine)
    pipeline.sync(observer=traces.observer)

    def body() -> Any:
        raise ValueError("no")  # the traceback quotes postgresql://me:hush@db/x

    broken = world.pipe(world.table("u"), None, body=body, name="broken", mode="merge")
    with pytest.raises(ValueError, match="no"):
        broken.sync(observer=traces.observer)
    text = "".join(span.to_json() for span in traces.exporter.get_finished_spans())
    assert "postgresql://me:***@db/x" in text
    assert "hush" not in text
    assert "value of mine" not in text
    assert "db.query.text" not in text

    world.run("UPDATE w.t SET a = 'x'")
    pipeline.sync(observer=TracingObserver(traces.provider, query_text=True))
    spans = traces.exporter.get_finished_spans()
    shown = [s.attributes["db.query.text"] for s in spans if "db.query.text" in s.attributes]
    assert any("$1" in text for text in shown)
    assert "value of mine" not in "".join(span.to_json() for span in spans)


def test_a_transfer_leaves_its_size(world: Any, far: Any, traces: Traces) -> None:
    """What came from another database is counted on the run."""
    far.run("INSERT INTO w.s SELECT i, 'x', i FROM generate_series(1, 500) AS i")
    pipeline = world.pipe(world.table(), mode="merge", source_connection=far.engine)
    pipeline.sync(observer=traces.observer)
    (run,) = traces.runs()
    assert run.attributes["pgflow.transfer.rows"] == 500
    assert run.attributes["pgflow.transfer.bytes"] > 500


def test_a_run_that_could_not_begin_is_a_span(world: Any, traces: Traces) -> None:
    """A database that does not answer is seen in the traces."""
    nowhere = sa.create_engine("postgresql+psycopg://me@127.0.0.1:1/nowhere")
    pipeline = pgflow.Pipeline(
        "p", target=world.table(), source="SELECT 1 AS id", mode="merge", connection=nowhere
    )
    with pytest.raises(sa.exc.OperationalError):
        pipeline.sync(observer=traces.observer)
    (run,) = traces.runs()
    assert (run.name, run.status.status_code) == ("sync p", StatusCode.ERROR)
    assert run.attributes["error.type"] == "OperationalError"


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingExtra, match=r"pip install 'pgflow\[telemetry\]'"):
        TracingObserver()


def test_spans_that_go_nowhere_are_warned_of_once(
    world: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any provider the first run warns; with one, global or given, none does."""
    monkeypatch.delenv("OTEL_PYTHON_TRACER_PROVIDER", raising=False)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    observer = TracingObserver()
    assert not caplog.records, "a program may set its provider later"
    pipeline.sync(observer=observer)
    pipeline.sync(observer=observer)
    (said,) = [each.message for each in caplog.records if each.name == "pgflow.observe"]
    assert "no tracer provider" in said
    caplog.clear()
    pipeline.sync(observer=Traces().observer)
    late = TracingObserver()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", Traces().provider)
    pipeline.sync(observer=late)
    assert not [each for each in caplog.records if each.name == "pgflow.observe"]
