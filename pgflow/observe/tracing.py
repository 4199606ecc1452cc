"""Runs as OpenTelemetry spans; needs the extra `telemetry`."""

from __future__ import annotations

import logging
import threading
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pgflow.connections.registry import Description
from pgflow.connections.secrets import conceal
from pgflow.errors import MissingExtra
from pgflow.plan.statement import Plan, Statement
from pgflow.run.events import RunStarted, Silence, Transferred
from pgflow.run.result import TargetResult
from pgflow.run.sources.origin import TRANSFER

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider


_logger = logging.getLogger("pgflow.observe")


@dataclass
class _Open:
    """The spans of a run that is going on."""

    run: Span
    statement: Span | None = None


class TracingObserver(Silence):
    """Makes a span of each run, and below it one of each statement.

    A run's span is a child of the span that is current where the run was begun. Attributes follow
    the semantic conventions for databases where these have a name for them, else they begin with
    `pgflow.`. Neither passwords nor bound values are among them. Where nobody has set a provider
    when a run begins, a warning says once that no span goes anywhere.

    Args:
        provider: Makes the tracer; OpenTelemetry's global one by default.
        query_text: Whether statements' spans show their SQL. Values that pgflow binds are not in
            it, but literals of your own queries are.

    Raises:
        MissingExtra: The OpenTelemetry API is not installed.
    """

    def __init__(self, provider: TracerProvider | None = None, *, query_text: bool = False) -> None:
        try:
            from opentelemetry import trace
        except ImportError as error:
            raise MissingExtra(
                "TracingObserver needs the OpenTelemetry API. Install it: "
                "pip install 'pgflow[telemetry]'"
            ) from error
        self._trace = trace
        self._tracer = trace.get_tracer("pgflow", tracer_provider=provider)
        self._query_text = query_text
        self._is_looked_up = provider is None
        self._open: dict[UUID, _Open] = {}
        self._lock = threading.Lock()

    def started(self, run: RunStarted) -> None:
        """Begin the run's span."""
        self._look_for_provider()
        attributes: dict[str, Any] = {
            **_database(run.where),
            "db.collection.name": run.target,
            "pgflow.pipeline": run.pipeline,
            "pgflow.run_id": str(run.run_id),
            "pgflow.mode": run.mode,
            "pgflow.dry_run": run.dry_run,
        }
        name = f"{'dry run' if run.dry_run else 'sync'} {run.pipeline}"
        span = self._tracer.start_span(name, attributes=attributes)
        with self._lock:
            self._open[run.run_id] = _Open(span)

    def waiting(self, run: RunStarted, holders: tuple[str, ...]) -> None:
        """Note whom the run waits for."""
        self._note(run, "waiting", {"pgflow.holders": list(holders)})

    def planned(self, run: RunStarted, plan: Plan) -> None:
        """Note that the plan is made."""
        count = len(plan.prepare) + len(plan.statements)
        self._note(run, "planned", {"pgflow.statements": count})

    def executing(self, run: RunStarted, statement: Statement) -> None:
        """Begin the statement's span."""
        found = self._open.get(run.run_id)
        if found is None:
            return
        self._end(found, None)
        attributes: dict[str, Any] = {**_database(run.where), "pgflow.run_id": str(run.run_id)}
        attributes["db.query.summary"] = statement.purpose
        if self._query_text:
            attributes["db.query.text"] = statement.text
        found.statement = self._tracer.start_span(
            statement.purpose,
            context=self._trace.set_span_in_context(found.run),
            kind=self._trace.SpanKind.CLIENT,
            attributes=attributes,
        )

    def executed(
        self,
        run: RunStarted,
        statement: Statement,  # noqa: ARG002  # it is the one that was begun
        rows: int,
    ) -> None:
        """End the statement's span."""
        found = self._open.get(run.run_id)
        if found is not None and found.statement is not None:
            found.statement.set_attribute("pgflow.rows", rows)
            self._end(found, None)

    def transferring(self, run: RunStarted, progress: Transferred) -> None:
        """Keep how much has come."""
        found = self._open.get(run.run_id)
        span = None if found is None else found.statement or found.run
        if span is not None:
            span.set_attribute("pgflow.transfer.rows", progress.rows)
            span.set_attribute("pgflow.transfer.bytes", progress.bytes)

    def retrying(self, run: RunStarted, error: Exception, attempt: int, delay: float) -> None:
        """Note why the run starts again."""
        found = self._open.get(run.run_id)
        if found is not None:
            self._end(found, error)
        said = {"pgflow.attempt": attempt, "pgflow.delay": delay, **_kind(error)}
        self._note(run, "retrying", {**said, "exception.message": str(error)})

    def finished(self, run: RunStarted, result: TargetResult) -> None:
        """End the run's span."""
        with self._lock:
            found = self._open.pop(run.run_id, None)
        if found is None:
            return
        self._end(found, result.error)
        span = found.run
        span.set_attribute("pgflow.status", result.status)
        for name, value in result.counts.items() if result.status == "success" else ():
            span.set_attribute(f"pgflow.rows.{name}", value)
        for name, value in _moved(result).items():
            span.set_attribute(f"pgflow.transfer.{name}", value)
        for warning in result.warnings:
            span.add_event("warning", {"pgflow.warning": warning})
        self._close(span, result.error)

    def refused(self, pipeline: str, result: TargetResult) -> None:
        """Make a span of a run that could not begin."""
        self._look_for_provider()
        names = {"db.collection.name": result.target, "pgflow.pipeline": pipeline}
        said = {"db.system.name": "postgresql", **names, "pgflow.status": result.status}
        self._close(self._tracer.start_span(f"sync {pipeline}", attributes=said), result.error)

    def _look_for_provider(self) -> None:
        """Warn where spans go nowhere; not earlier, as programs may set the provider later."""
        if not self._is_looked_up:
            return
        self._is_looked_up = False
        if isinstance(self._trace.get_tracer_provider(), self._trace.ProxyTracerProvider):
            _logger.warning(
                "TracingObserver makes no spans: OpenTelemetry has no tracer provider. Call "
                "opentelemetry.trace.set_tracer_provider() before the run, or give the observer "
                "one: TracingObserver(provider)."
            )

    def _note(self, run: RunStarted, event: str, attributes: dict[str, Any]) -> None:
        found = self._open.get(run.run_id)
        if found is not None:
            found.run.add_event(event, attributes)

    def _end(self, found: _Open, error: BaseException | None) -> None:
        """End the statement's span, if there is one that has not ended."""
        span, found.statement = found.statement, None
        if span is not None:
            self._close(span, error)

    def _close(self, span: Span, error: BaseException | None) -> None:
        if error is not None:
            trace = conceal("".join(traceback.format_exception(error)))
            span.record_exception(error, {"exception.stacktrace": trace})
            for name, value in _kind(error).items():
                span.set_attribute(name, value)
            first = str(error).partition("\n")[0]
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, first))
        span.end()


def _database(where: Description | None) -> dict[str, Any]:
    """Where a run's target is, by the names of the semantic conventions."""
    found: dict[str, Any] = {"db.system.name": "postgresql"}
    if where is None:
        return found
    if where.database:
        found["db.namespace"] = where.database
    if where.host:
        found["server.address"] = where.host
    if where.port and where.port.isdigit():
        found["server.port"] = int(where.port)
    return found


def _moved(result: TargetResult) -> dict[str, int]:
    """How much came from elsewhere, if anything did."""
    parts = result.details.get(TRANSFER, ())
    return {name: sum(part[name] for part in parts) for name in ("rows", "bytes") if parts}


def _kind(error: BaseException) -> dict[str, str]:
    """The class of an error, and the server's code for it where there is one."""
    found = {"error.type": type(error).__name__}
    code = getattr(error, "sqlstate", None)
    if isinstance(code, str) and code:
        found["db.response.status_code"] = code
    return found
