"""`pgflow demo`: a year of flights arrives in an operational system, and a warehouse follows."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import typer

from pgflow.cli.demo import operations, story, warehouse
from pgflow.cli.demo.activity import Activity
from pgflow.cli.demo.data import Data, File
from pgflow.cli.demo.site import SERVER, Site
from pgflow.cli.demo.tally import CHANGES, Tally, in_words, listing
from pgflow.cli.output import Output
from pgflow.connections.embedded import EmbeddedServer
from pgflow.connections.registry import describe
from pgflow.errors import BatchError, TablesOutOfDate
from pgflow.factories.pipeline import Pipeline
from pgflow.project.contents import find
from pgflow.project.order import ordered
from pgflow.project.project import arguments

MODULE = warehouse.__name__

#: The pipeline whose plan is shown.
_SHOWN = "plane_bases"

_OTHER_STATE = (
    "The demo's tables are not as a demo leaves them; pgflow demo --reset drops them and begins "
    "again."
)


def run_demo(
    output: Output, *, reset: bool = False, stop: bool = False, connection: str | None = None
) -> int:
    """Build the warehouse, or bring it up to date if it is there.

    Args:
        output: Where the demo tells what it does.
        reset: Drop what an earlier demo has made, and begin again.
        stop: Stop the demo's server, and do nothing else.
        connection: A connection's name or a URL instead of the demo's own server.

    Returns:
        The exit code.

    Raises:
        MissingDemoData: The extra with the data is not installed.
        MissingServerBinaries: The extra with the server is not installed.
        SchemaTaken: The database has a schema `ops` or `warehouse` that is not the demo's.
    """
    if stop:
        if reset or connection:
            raise typer.BadParameter("--stop goes alone.")
        return _stop(output)
    begun = time.perf_counter()
    data = Data.find()
    demo = Demo(output, data, _site(output, connection))
    with demo.site.alone():
        try:
            demo.build(reset=reset)
        except (BatchError, TablesOutOfDate) as error:
            error.add_note(_OTHER_STATE)
            raise
        demo.summarise(time.perf_counter() - begun)
    return 0


class Demo:
    """One run of the demo.

    Args:
        output: Where it tells what it does.
        data: The files.
        site: Where it takes place.
    """

    def __init__(self, output: Output, data: Data, site: Site) -> None:
        self.site = site
        self._output = output
        self._data = data
        self._console = output.console
        self._pipelines = ordered(find([warehouse]).pipelines.values())
        self._tallies = {each.name: Tally(each) for each in self._pipelines}

    def build(self, *, reset: bool) -> None:
        """Create what is missing, and follow the airlines' system day by day."""
        if reset:
            self.site.reset()
        with self._activity("creating tables"):
            created = self.site.prepare(self._data)
        self._introduce(created)
        with self.site.engine.connect() as connection:
            days = operations.days_to_come(connection)
        events: tuple[File, ...] = ()
        if created or len(days) > 1:
            with self._activity("reading the files"):
                events = operations.read_events(self._data)
        for day in days:
            self._follow(day, events)
            if created and day == days[0]:
                self._show_steps()

    def summarise(self, seconds: float) -> None:
        """Say what came of it."""
        with self.site.engine.connect() as connection:
            self._output.listing(listing(list(self._tallies.values()), connection))
            self._lines("", *_verdict(self._tallies.values()), "")
            self._lines(*story.one_plane(connection), "")
        self._lines(f"All of it took {seconds:.1f} seconds.", "", *self._ways_on())

    def _introduce(self, created: bool) -> None:
        self._lines(
            f"Database: {describe(self.site.engine)}",
            "ops        what the airlines' own system knows: flights that left New York in 2013",
            "warehouse  what pgflow makes of it, as pgflow/cli/demo/warehouse.py declares",
            "",
        )
        if not created:
            self._lines("Both are there from an earlier demo; --reset begins again.", "")
            return
        self._lines("How each table is filled, and why:", "")
        for pipeline in self._pipelines:
            self._lines(*story.decisions(pipeline), "")

    def _show_steps(self) -> None:
        """Show a plan; after the first day, because into an empty table all rows just go in."""
        pipeline = next(each for each in self._pipelines if each.name == _SHOWN)
        steps = story.steps(pipeline.preview().targets[0])
        self._lines(f"From now on {_SHOWN} takes these steps, in one transaction:", *steps, "")

    def _follow(self, day: date, events: tuple[File, ...]) -> None:
        """Let a day happen, then sync every pipeline."""
        with self._activity(f"{day}: flights arrive"), self.site.engine.begin() as connection:
            new = operations.arrive(connection, events, day)
        self._lines(f"{day}  {story.arrivals(new)}")
        instant = datetime(day.year, day.month, day.day, tzinfo=UTC)
        values = arguments(self._pipelines, {"day": day})
        for pipeline, own in zip(self._pipelines, values, strict=True):
            self._sync(pipeline, own, instant)
        self._lines("")

    def _sync(self, pipeline: Pipeline, values: dict[str, Any], instant: datetime) -> None:
        """Sync a pipeline at the day's own instant, which is when new versions begin."""
        with self._activity(f"{pipeline.name}: sync"):
            result = pipeline.sync(effective_at=instant, **values)
        counted = in_words(self._tallies[pipeline.name].add(result))
        self._lines(f"  {pipeline.name:<15}  {result.mode:<8}  {result.seconds:6.2f} s  {counted}")

    def _ways_on(self) -> Iterable[str]:
        pgflow, server = _program(), self.site.server
        if server is None:
            yield "Look around, with a connection 'default' that leads to this database:"
        else:
            yield "The server goes on running. Connect with:"
            yield f"  {server.psql_command()}"
            yield f"Stop it with {pgflow} demo --stop; the data stays."
            yield ""
            yield "Look around:"
            yield f"  export PGFLOW_DSN=embedded://{SERVER}"
        yield f"  {pgflow} list --tables --module {MODULE}"
        yield f"  {pgflow} explain {_SHOWN} --module {MODULE}"
        yield f"  {pgflow} preview flights --module {MODULE}"
        yield f"  {pgflow} history"

    def _activity(self, what: str) -> Activity:
        return Activity(self._console, what)

    def _lines(self, *lines: str) -> None:
        for line in lines:
            self._output.line(line)


def _site(output: Output, connection: str | None) -> Site:
    if connection is not None:
        return Site.own(connection)
    if not EmbeddedServer(SERVER).running:
        output.line("Starting a PostgreSQL server for the demo ...")
    with Activity(output.console, "starting PostgreSQL"):
        return Site.embedded()


def _program() -> str:
    """Return how this program was called, where plain `pgflow` would not find it."""
    called = sys.argv[0]
    if Path(called).name != "pgflow" or shutil.which("pgflow") == shutil.which(called):
        return "pgflow"
    return called


def _stop(output: Output) -> int:
    server = EmbeddedServer(SERVER)
    if server.running:
        server.stop()
        output.line(f"The demo's server is stopped; its data stays in {server.place}.")
    else:
        output.line("The demo's server is not running.")
    return 0


def _verdict(tallies: Iterable[Tally]) -> Iterable[str]:
    """Say what changed over all tables."""
    tallies = list(tallies)
    total = {name: sum(tally.counted[name] for tally in tallies) for name in CHANGES}
    history = next(tally for tally in tallies if tally.pipeline.name == _SHOWN)
    if any(total.values()):
        yield "In all: " + ", ".join(f"{name} {count:,}" for name, count in total.items()) + "."
        opened, closed = history.counted["inserted"], history.counted["closed"]
        yield f"Versions of plane_base: {opened:,} opened, {closed:,} of them closed since."
    else:
        yield "Every pipeline ran again. Inserted 0, updated 0, closed 0, deleted 0: nothing has"
        yield "changed in ops, so nothing was changed in the warehouse."
    if sum(tally.counted["replaced"] for tally in tallies):
        yield "Replaced rows are those that mode truncate wrote again, as it does in every run."
