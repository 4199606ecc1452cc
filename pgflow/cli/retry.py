"""`pgflow retry`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgflow.cli.failures import OK
from pgflow.cli.output import Output
from pgflow.cli.sync import Order, sync_pipelines
from pgflow.observe.listing import Listing
from pgflow.observe.report import instant
from pgflow.project.project import Project
from pgflow.project.repeats import Repeat, Repeats, repeats
from pgflow.project.selection import Selection
from pgflow.project.standings import Standing, standings
from pgflow.run.records import GRACE_SECONDS


@dataclass(frozen=True)
class Asked:
    """What is to be repeated, and how.

    Attributes:
        names: Words that choose pipelines; none for all.
        exclude: Words for those that are left out.
        modules: What `--module` said.
        since: Only runs that began then or later; None for all.
        earlier: Whether earlier runs with other parameters count too.
        dry_run: Whether it is only shown.
        go_on: Whether pipelines that do not depend on a failed one run after it.
        workers: How many run at the same time.
    """

    names: Sequence[str]
    exclude: Sequence[str]
    modules: Sequence[str] | None
    since: datetime | None
    earlier: bool
    dry_run: bool
    go_on: bool
    workers: int | None


def retry_failed(output: Output, asked: Asked, *, as_json: bool) -> int:
    """Run again what failed last, or show what that is."""
    project = Project.load(asked.modules or None)
    words = asked.names or project.pipelines
    pipelines = Selection(project.pipelines).chosen(words, asked.exclude).values()
    known = standings(pipelines)
    found = repeats(pipelines, known, asked.since, earlier=asked.earlier)
    # What cannot be repeated is told before anything runs.
    chosen = tuple(repeat.chosen() for repeat in found.wanted)
    code = OK
    if asked.dry_run:
        _show(output, found, as_json=as_json)
    elif not chosen:
        output.note("nothing failed")
        if as_json:
            output.json([])
    else:
        order = Order(
            chosen,
            effective_at=None,
            dry_run=False,
            go_on=asked.go_on,
            workers=asked.workers,
            project=tuple(project.pipelines.values()),
        )
        code = sync_pipelines(output, order, as_json=as_json)
    _tell_earlier(output, found)
    _tell_running(output, known.values())
    return code


def _show(output: Output, found: Repeats, *, as_json: bool) -> None:
    if as_json:
        output.json([_plain(each) for each in found.wanted])
    elif found.wanted:
        output.listing(_listing(found.wanted))
    else:
        output.note("nothing failed")


def _plain(repeat: Repeat) -> dict[str, Any]:
    return {
        "pipeline": repeat.pipeline.name,
        "targets": list(repeat.targets),
        "parameters": dict(repeat.parameters),
        "effective_at": repeat.effective_at.isoformat() if repeat.effective_at else None,
        "failed": [
            {
                "run_id": str(run.run_id),
                "target": run.target,
                "status": run.status,
                "started_at": run.started_at.isoformat(),
                "error": run.error,
            }
            for run in repeat.failed
        ],
    }


def _listing(wanted: Sequence[Repeat]) -> Listing:
    headings = ("pipeline", "target", "parameters", "failed", "status", "error")
    rows = []
    for repeat in wanted:
        for place, target in zip(repeat.places, repeat.targets, strict=True):
            run = repeat.run_of(place)
            rows.append(
                (
                    repeat.pipeline.name,
                    target,
                    _parameters(repeat),
                    instant(run.started_at) if run else "",
                    run.status if run else "not run",
                    (run.error or "") if run else "",
                )
            )
    return Listing(
        headings,
        tuple(rows),
        faint=frozenset({"parameters"}),
        below=("parameters", "failed", "target"),
        wrapping=frozenset({"error"}),
    )


def _parameters(repeat: Repeat) -> str:
    given = [f"{name}={value}" for name, value in repeat.parameters.items()]
    if repeat.effective_at is not None:
        given.append(f"effective at {instant(repeat.effective_at)}")
    return " ".join(given)


def _tell_earlier(output: Output, found: Repeats) -> None:
    """Say what is not repeated, although nothing has made up for it."""
    if not found.earlier:
        return
    names = ", ".join(sorted({run.pipeline for run in found.earlier}))
    count = len(found.earlier)
    output.note(
        f"not repeated: {count} earlier run{'s' if count > 1 else ''} of {names}, which failed "
        "with parameters with which none has succeeded since; --earlier repeats them too."
    )


def _tell_running(output: Output, known: Iterable[Sequence[Standing]]) -> None:
    """Say what may yet fail, or has: a process that is killed holds no lock that could tell."""
    names = {each.pipeline for own in known for each in own if each.status == "running"}
    if names:
        output.note(
            f"not repeated: {', '.join(sorted(names))}, of which a run shows as running. If its "
            f"process was killed, that shows {GRACE_SECONDS} seconds after its begin."
        )
