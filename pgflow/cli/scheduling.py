"""The commands about schedules with their options; each loads what it needs when it is called."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pgflow.cli.command import command
from pgflow.cli.options import Modules, Names, instant, read_instant
from pgflow.cli.output import Output


class Scheduler(StrEnum):
    """Whose definitions `pgflow export` writes."""

    airflow = "airflow"
    prefect = "prefect"
    systemd = "systemd"


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command("worker")(worker)
    app.command("run-due")(run_due)
    app.command("export")(export)


@command
def worker(
    output: Output,
    module: Modules = None,
    init: Annotated[
        bool, typer.Option("--init", help="Create the queue or bring it up to date, and end.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Run what is due, and end when nothing is left.")
    ] = False,
    concurrency: Annotated[
        int, typer.Option(min=1, max=64, help="How many pipelines run at a time.")
    ] = 4,
    connection: Annotated[
        str, typer.Option(metavar="NAME|URL", help="The database that holds the queue.")
    ] = "default",
    direct_dsn: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|URL",
            help="The same database without the pooler that stands in between.",
            show_default=False,
        ),
    ] = None,
    schema: Annotated[str, typer.Option(help="Where the queue lives.")] = "pgflow_queue",
    grace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="How long runs may take to end when the worker is told to stop; then they are "
            "cancelled, and other workers run those firings again.",
        ),
    ] = 30.0,
    heartbeat: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0.1,
            help="How often the worker shows that it lives. One that is silent for three times as "
            "long is taken for dead.",
        ),
    ] = 10.0,
) -> int:
    """Run pipelines by their schedules.

    Any number of workers share a queue in PostgreSQL, which --init creates; each firing is run
    once. SIGTERM and Ctrl-C let runs end, a second one cancels them.
    """
    from pgflow.cli.worker import Posting, init_queue, run_worker

    posting = Posting(direct_dsn or connection, schema)
    if init:
        return init_queue(output, posting)
    return run_worker(
        output,
        posting,
        module,
        concurrency=concurrency,
        grace=grace,
        heartbeat=heartbeat,
        once=once,
    )


@command
def run_due(
    output: Output,
    names: Names = None,
    module: Modules = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="INSTANT",
            help="Run what came after this instant and was not run, instead of after the newest "
            "firing in the history.",
            callback=read_instant,
            show_default=False,
        ),
    ] = None,
    firing: Annotated[
        str | None,
        typer.Option(
            metavar="INSTANT",
            help="Run the firing of exactly this instant, unless it was run. For other schedulers.",
            callback=read_instant,
            show_default=False,
        ),
    ] = None,
    off_schedule: Annotated[
        bool,
        typer.Option(
            "--off-schedule",
            help="With --firing: also an instant at which the schedule does not fire.",
        ),
    ] = False,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry", help="Wait and try again what failed, as often as its schedule says."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is due, and run nothing.")
    ] = False,
) -> int:
    """Run what is due by its schedule, for cron.

    What is due is what the history does not have yet; no worker and no queue is needed. Calling
    this twice at the same time is safe: each firing is run once.
    """
    from pgflow.cli.run_due import Question, run_due_pipelines

    if off_schedule and not firing:
        raise typer.BadParameter("--off-schedule is for --firing.")
    question = Question(
        tuple(names or ()),
        instant(since) if since else None,
        instant(firing) if firing else None,
        off_schedule,
    )
    return run_due_pipelines(output, question, module, dry_run=dry_run, again=retry)


@command
def export(
    output: Output,
    scheduler: Annotated[
        Scheduler,
        typer.Argument(metavar="SCHEDULER", help="Whose definitions.", show_default=False),
    ],
    names: Names = None,
    module: Modules = None,
    directory: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write them.")
    ] = Path(),
    since: Annotated[
        str | None,
        typer.Option(
            metavar="INSTANT",
            help="For Airflow: what fired before this instant is not made up for. By default now, "
            "or what the file says that --force writes over.",
            callback=read_instant,
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over files that are there.")
    ] = False,
) -> int:
    """Write schedules for another scheduler.

    The files hold names and schedules of pipelines, and nothing secret.
    """
    from pgflow.cli.export import export_schedules

    if since and scheduler is not Scheduler.airflow:
        raise typer.BadParameter(f"--since is for Airflow; {scheduler.value} begins when started.")
    return export_schedules(
        output,
        scheduler.value,
        tuple(names or ()),
        module,
        directory,
        since=instant(since) if since else None,
        force=force,
    )
