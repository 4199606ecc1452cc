"""Runs as Prometheus metrics; needs the extra `telemetry`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pgflow.errors import MissingExtra
from pgflow.run.events import RunStarted, Silence
from pgflow.run.result import TargetResult

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

#: Upper bounds of the classes into which durations are sorted, in seconds.
BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600)

_WHOSE = ("pipeline", "target")


class _Metrics:
    """The metrics on one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        def counter(name: str, text: str, *more: str) -> Counter:
            return Counter(f"pgflow_{name}", text, (*_WHOSE, *more), registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"pgflow_{name}", text, _WHOSE, registry=registry)

        self.runs = counter("runs_total", "Runs that ended, by how they did.", "status")
        self.rows = counter("rows_total", "Rows of successful runs, by count.", "count")
        self.retries = counter("run_retries_total", "Attempts after a run's first one.")
        self.waits = counter("run_waits_total", "Runs that waited for another on their target.")
        self.seconds = Histogram(
            "pgflow_run_seconds", "How long runs took.", _WHOSE, registry=registry, buckets=BUCKETS
        )
        self.active = gauge("runs_in_progress", "Runs that have begun and not ended.")
        self.success = gauge(
            "last_success_timestamp_seconds", "When the latest successful run ended."
        )
        self.failure = gauge(
            "last_failure_timestamp_seconds", "When the latest failed run ended, or did not begin."
        )


_known: WeakKeyDictionary[Any, _Metrics] = WeakKeyDictionary()
_guard = threading.Lock()


# Observers are told more than a count needs; hence the arguments that are not used.
class MetricsObserver(Silence):
    """Counts runs and rows. Dry runs are left out.

    Labels are the pipeline, the target, and the status or the name of a count, so that there are
    as many series as the project has targets, however often they run.

    Args:
        registry: Where the metrics are registered; prometheus_client's own `REGISTRY` by default.
            Several observers of one registry share them.

    Raises:
        MissingExtra: prometheus_client is not installed.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        try:
            from prometheus_client import REGISTRY
        except ImportError as error:
            raise MissingExtra(
                "MetricsObserver needs prometheus_client. Install it: "
                "pip install 'pgflow[telemetry]'"
            ) from error
        #: Where the metrics are registered.
        self.registry: CollectorRegistry = REGISTRY if registry is None else registry
        with _guard:
            if self.registry not in _known:
                _known[self.registry] = _Metrics(self.registry)
            self._metrics = _known[self.registry]

    def started(self, run: RunStarted) -> None:
        """Count the run as one in progress."""
        if not run.dry_run:
            self._metrics.active.labels(run.pipeline, run.target).inc()

    def waiting(self, run: RunStarted, holders: tuple[str, ...]) -> None:  # noqa: ARG002
        """Count the wait."""
        if not run.dry_run:
            self._metrics.waits.labels(run.pipeline, run.target).inc()

    def retrying(
        self,
        run: RunStarted,
        error: Exception,  # noqa: ARG002
        attempt: int,  # noqa: ARG002
        delay: float,  # noqa: ARG002
    ) -> None:
        """Count the attempt."""
        if not run.dry_run:
            self._metrics.retries.labels(run.pipeline, run.target).inc()

    def finished(self, run: RunStarted, result: TargetResult) -> None:
        """Count the run, its time and its rows."""
        if run.dry_run:
            return
        whose = (run.pipeline, run.target)
        self._metrics.active.labels(*whose).dec()
        if "settled_by" in result.details:  # an earlier run had done it, and was counted
            return
        self._metrics.runs.labels(*whose, result.status).inc()
        self._metrics.seconds.labels(*whose).observe(result.seconds)
        if result.status != "success":
            self._metrics.failure.labels(*whose).set_to_current_time()
            return
        self._metrics.success.labels(*whose).set_to_current_time()
        for name, value in result.counts.items():
            self._metrics.rows.labels(*whose, name).inc(value)

    def refused(self, pipeline: str, result: TargetResult) -> None:
        """Count a run that could not begin as one that failed."""
        self._metrics.runs.labels(pipeline, result.target, result.status).inc()
        self._metrics.failure.labels(pipeline, result.target).set_to_current_time()
