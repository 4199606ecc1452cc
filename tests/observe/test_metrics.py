"""Runs as Prometheus metrics, on real registries."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

import pgflow
from pgflow.errors import MissingExtra
from pgflow.observe.metrics import MetricsObserver
from tests.run.test_retries import fail_times


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """A sample of the pipeline `p` on `w.t`."""
    whose = {"pipeline": "p", "target": "w.t", **labels}
    return registry.get_sample_value(f"pgflow_{name}", whose)


def test_runs_and_rows_are_counted(world: Any) -> None:
    """Successes, failures, rows by count, durations, and when the last success was."""
    registry = CollectorRegistry()
    observer = MetricsObserver(registry)
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1), (2, "b", 2))
    before = time.time()
    pipeline.sync(observer=observer)
    world.fill((1, "A", 1), (2, "b", 2))
    pipeline.sync(observer=observer)
    last = value(registry, "last_success_timestamp_seconds")
    assert last is not None
    assert before <= last <= time.time()
    world.fill((1, "a", 1), (1, "b", 1))
    with pytest.raises(pgflow.errors.DuplicateKeys):
        pipeline.sync(observer=observer)
    assert value(registry, "runs_total", status="success") == 2
    assert value(registry, "runs_total", status="failed") == 1
    assert value(registry, "rows_total", count="inserted") == 2
    assert value(registry, "rows_total", count="updated") == 1
    assert value(registry, "rows_total", count="read") == 4
    assert value(registry, "run_seconds_count") == 3
    assert value(registry, "run_seconds_sum") > 0  # type: ignore[operator]
    assert value(registry, "runs_in_progress") == 0
    assert value(registry, "last_success_timestamp_seconds") == last
    failed = value(registry, "last_failure_timestamp_seconds")
    assert failed is not None
    assert last <= failed <= time.time()


def test_retries_are_counted(world: Any) -> None:
    """Attempts after the first one count, and the run counts once."""
    registry = CollectorRegistry()
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    fail_times(world, 1, "40P01")
    pipeline.sync(observer=MetricsObserver(registry))
    assert value(registry, "run_retries_total") == 1
    assert value(registry, "runs_total", status="success") == 1


def test_a_firing_that_was_done_before_is_not_counted_again(world: Any) -> None:
    """A second worker that finds a firing settled adds no success."""
    registry = CollectorRegistry()
    observer = MetricsObserver(registry)
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    for _ in range(2):
        pipeline.sync(firing=datetime(2024, 1, 1, tzinfo=UTC), observer=observer)
    assert value(registry, "runs_total", status="success") == 1
    assert value(registry, "runs_in_progress") == 0


def test_dry_runs_are_left_out(world: Any) -> None:
    """Nothing that is rolled back moves a number."""
    registry = CollectorRegistry()
    pipeline = world.pipe(world.table(), mode="merge")
    world.fill((1, "a", 1))
    pipeline.dry_run(observer=MetricsObserver(registry))
    assert b'pipeline="p"' not in generate_latest(registry)


def test_a_run_that_could_not_begin_is_a_failed_one(world: Any) -> None:
    """An alert on failures also rings when the database is away."""
    registry = CollectorRegistry()
    nowhere = sa.create_engine("postgresql+psycopg://me@127.0.0.1:1/nowhere")
    pipeline = pgflow.Pipeline(
        "p", target=world.table(), source="SELECT 1 AS id", mode="merge", connection=nowhere
    )
    with pytest.raises(sa.exc.OperationalError):
        pipeline.sync(observer=MetricsObserver(registry))
    assert value(registry, "runs_total", status="failed") == 1
    assert value(registry, "last_failure_timestamp_seconds")
    assert value(registry, "last_success_timestamp_seconds") is None
    assert not value(registry, "runs_in_progress")


def test_there_are_as_many_series_as_targets(world: Any) -> None:
    """Neither runs nor scopes nor parameters add any: labels are names of the declaration."""
    registry = CollectorRegistry()
    observer = MetricsObserver(registry)

    def body(conn: Any, *, least: int) -> str:
        return "SELECT id, a, b FROM w.s WHERE id >= :least"

    pipeline = world.pipe(
        world.table(), None, body=body, mode="merge", scope="id >= :least", on_empty_source="allow"
    )
    world.fill((5, "a", 1))

    def series() -> set[tuple[str, str]]:
        samples = [s for family in registry.collect() for s in family.samples]
        return {(s.name, str(sorted(s.labels.items()))) for s in samples}

    pipeline.sync(least=0, observer=observer)
    before = series()
    for least in range(1, 4):
        pipeline.sync(least=least, observer=observer)
    assert series() == before
    assert value(registry, "runs_total", status="success") == 4


def test_threads_share_the_numbers(world: Any) -> None:
    """Runs at the same time are all counted, by one observer or by several of one registry."""
    registry = CollectorRegistry()
    pipelines = [world.pipe(world.table(f"t{i}"), mode="merge", name=f"p{i}") for i in range(4)]
    world.fill((1, "a", 1))

    def sync(pipeline: Any) -> None:
        pipeline.sync(observer=MetricsObserver(registry))
        pipeline.sync(observer=MetricsObserver(registry))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(sync, pipelines))
    samples = [s for family in registry.collect() for s in family.samples]
    ended = [s.value for s in samples if s.name == "pgflow_runs_total"]
    assert ended == [2, 2, 2, 2]


def test_the_usual_registry_is_the_default() -> None:
    """What a web framework exports has the metrics without further ado; a second one is fine."""
    first, second = MetricsObserver(), MetricsObserver()
    assert first.registry is second.registry is REGISTRY
    assert b"pgflow_runs_total" in generate_latest(REGISTRY)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtra, match=r"pip install 'pgflow\[telemetry\]'"):
        MetricsObserver()
