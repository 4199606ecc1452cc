"""Runs as events of OpenLineage, told while they happen, to a file or to whoever takes them."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from pgflow.connections.registry import Description
from pgflow.errors import PgflowError, RunCancelled
from pgflow.graph.datasets import dataset
from pgflow.graph.openlineage import EVENTS, JobWriter, facet, instant, producer
from pgflow.graph.resolution import require_sqlglot
from pgflow.project.project import Project
from pgflow.run.events import RunStarted, Silence
from pgflow.run.result import TargetResult

_log = logging.getLogger("pgflow.observe")

_ERROR = "1-0-1/ErrorMessageRunFacet"
_NOMINAL = "1-0-1/NominalTimeRunFacet"
_STATISTICS = "1-0-2/OutputStatisticsOutputDatasetFacet"

#: The counts that are rows written into the target.
_WRITTEN = ("inserted", "updated", "closed")

#: Takes an event, as JSON without line ends.
Emit = Callable[[str], object]


class LineageObserver(Silence):
    """Tells of each run as RunEvents of OpenLineage: START, then COMPLETE, FAIL or ABORT.

    Dry runs are not told. A run that could not begin is told as one that failed, with an id that
    nothing else bears.

    Args:
        emit: A file, to which each event is appended as a line; or a function that takes it. The
            function is called in the run's thread, and what it raises ends no run.
        project: Whose pipelines run. Without it events have no datasets.
        namespace: Whose jobs the pipelines are; the same as for the events of jobs.
        columns: Whether the origins of columns are part of it.

    Raises:
        MissingExtra: Columns are asked for, and sqlglot is not installed.
    """

    def __init__(
        self,
        emit: Emit | str | os.PathLike[str],
        project: Project | None = None,
        *,
        namespace: str = "pgflow",
        columns: bool = False,
    ) -> None:
        if columns:
            require_sqlglot()
        self._emit: Emit = emit if callable(emit) else _File(emit)
        self._namespace = namespace
        self._jobs: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._project = project
        self._columns = columns

    def started(self, run: RunStarted) -> None:
        """Tell that a run begins."""
        if not run.dry_run:
            self._tell("START", run)

    def finished(self, run: RunStarted, result: TargetResult) -> None:
        """Tell how it ended."""
        if not run.dry_run:
            self._tell(_outcome(result), run, result)

    def refused(self, pipeline: str, result: TargetResult) -> None:
        """Tell of a run that could not begin."""
        run = RunStarted(uuid4(), pipeline, result.target, dry_run=False)
        self._tell("START", run)
        self._tell(_outcome(result), run, result)

    def _tell(self, kind: str, run: RunStarted, result: TargetResult | None = None) -> None:
        job = self._job(run.pipeline)
        outputs = [dict(each) for label, each in job["outputs"] if label == run.target]
        if len(outputs) > 1:  # tables of one name in several databases
            outputs = [each for each in outputs if _is_in(each, run.where)]
        facets: dict[str, Any] = {}
        if run.firing is not None:
            facets["nominalTime"] = facet(_NOMINAL, nominalStartTime=instant(run.firing))
        if result is not None and result.error is not None:
            said = {"message": str(result.error), "programmingLanguage": "PYTHON"}
            facets["errorMessage"] = facet(_ERROR, **said)
        if kind == "COMPLETE" and result is not None and len(outputs) == 1:
            rows = sum(result.counts.get(name, 0) for name in _WRITTEN)
            outputs[0]["outputFacets"] = {"outputStatistics": facet(_STATISTICS, rowCount=rows)}
        event = {
            "eventType": kind,
            "eventTime": instant(datetime.now(UTC)),
            "producer": producer(),
            "schemaURL": f"{EVENTS}RunEvent",
            "run": {"runId": str(run.run_id), "facets": facets},
            "job": job["job"],
            "inputs": job["inputs"],
            "outputs": outputs,
        }
        self._emit(json.dumps(event, ensure_ascii=False))

    def _job(self, name: str) -> dict[str, Any]:
        """Describe a pipeline, once; where that cannot be, by its name alone."""
        with self._lock:
            if name not in self._jobs:
                try:
                    self._jobs[name] = self._described(name)
                except PgflowError as error:
                    _log.warning("events of %s have no datasets: %s", name, error)
                    self._jobs[name] = self._bare(name)
            return self._jobs[name]

    def _described(self, name: str) -> dict[str, Any]:
        found = None if self._project is None else self._project.pipelines.get(name)
        if self._project is None or found is None:
            return self._bare(name)
        now = datetime.now(UTC)
        writer = JobWriter(self._project, self._namespace, now, columns=self._columns)
        event = writer.event(found)
        labels = [each.target_label for each in found.sync_targets]
        outputs = list(zip(labels, event["outputs"], strict=True))
        return {"job": event["job"], "inputs": event["inputs"], "outputs": outputs}

    def _bare(self, name: str) -> dict[str, Any]:
        return {"job": {"namespace": self._namespace, "name": name}, "inputs": [], "outputs": []}


class _File:
    """Appends lines to a file, whole ones, also where several processes do so."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path

    def __call__(self, line: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        descriptor = os.open(self._path, flags, 0o644)
        try:
            left = f"{line}\n".encode()
            while left:
                left = left[os.write(descriptor, left) :]
        finally:
            os.close(descriptor)


def _is_in(described: dict[str, Any], where: Description | None) -> bool:
    """Whether a described table is in a database."""
    if where is None:
        return False
    begins = f"{where.database}."
    same = described["namespace"] == dataset(where, None, "").namespace
    return same and str(described["name"]).startswith(begins)


def _outcome(result: TargetResult) -> str:
    if isinstance(result.error, RunCancelled) or "settled_by" in result.details:
        return "ABORT"
    return "COMPLETE" if result.status == "success" else "FAIL"
