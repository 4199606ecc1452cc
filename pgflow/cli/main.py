"""The commands with their options; each loads what it needs only when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated

import typer

from pgflow.cli import (
    connection_commands,
    contracts,
    drawing,
    examples,
    extensions,
    history_commands,
    migrations,
    positions,
    scheduling,
    server_commands,
    signals,
)
from pgflow.cli.command import command, run
from pgflow.cli.durations import moment, read_moment
from pgflow.cli.options import (
    All,
    Continue,
    EffectiveAt,
    Exclude,
    Format,
    Modules,
    Names,
    OutputFormat,
    Parameters,
    PreviewFormat,
    Workers,
    instant,
    parameters,
)
from pgflow.cli.output import Output
from pgflow.cli.usage import UsageGroup

app = typer.Typer(
    name="pgflow",
    help="PostgreSQL tables and pipelines as composable factories.\n\nBegin with pgflow demo, or "
    "with pgflow init in an empty directory. The help of each command ends with examples.",
    epilog="Exit codes: 0 all good, 1 a run failed, 2 wrong usage, 3 a declaration, module or "
    "connection cannot be used, 130 interrupted, 143 terminated.",
    cls=UsageGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
history_commands.add_commands(app)
connection_commands.add_commands(app)
server_commands.add_commands(app)
migrations.add_commands(app)
positions.add_commands(app)
contracts.add_commands(app)
scheduling.add_commands(app)
drawing.add_commands(app)


def main() -> None:
    """Run the command line; the process ends with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character must not end a run.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    signals.end_as_interrupted()
    try:
        extended = run(Output(debug="--debug" in sys.argv), extend)
        if extended:
            sys.exit(extended)
        app(prog_name="pgflow")
    except KeyboardInterrupt as interrupt:
        sys.exit(signals.exit_code(interrupt))


def extend() -> int:
    """Add the commands of the extensions that the project names."""
    extensions.add_extension_commands(app)
    return 0


def show_version(asked: bool) -> None:
    """Print the version and end."""
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            Output().line(f"pgflow {version('pgflow')}")
        except PackageNotFoundError:
            Output().line("pgflow (run from its sources, not installed)")
        raise typer.Exit


@app.callback()
def pgflow(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """PostgreSQL tables and pipelines as composable factories."""


@app.command("demo")
@command
def demo(
    output: Output,
    reset: Annotated[bool, typer.Option("--reset", help="Begin with an empty database.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the demo's server.")] = False,
    connection: Annotated[
        str | None,
        typer.Option(
            "--connection", metavar="NAME|URL", help="Another server than the demo's own."
        ),
    ] = None,
) -> int:
    """Build a warehouse from real data, on a PostgreSQL of its own."""
    module = importlib.import_module("pgflow.cli.demo.command")
    code: int = module.run_demo(output, reset=reset, stop=stop, connection=connection)
    return code


@app.command("list")
@command
def list_(
    output: Output,
    module: Modules = None,
    tables: Annotated[bool, typer.Option("--tables", help="Tables too.")] = False,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """List the pipelines of the project."""
    from pgflow.cli.pipelines import list_project

    return list_project(output, module, tables=tables, as_json=format is Format.json)


@app.command("explain")
@command
def explain(
    output: Output,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A pipeline or a table.", show_default=False)
    ],
    module: Modules = None,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Show the plugins of a pipeline or table in order, and why."""
    from pgflow.cli.pipelines import explain_name

    return explain_name(output, name, module, as_json=format is Format.json)


@app.command("preview")
@command
def preview(
    output: Output,
    names: Names = None,
    module: Modules = None,
    all_: All = False,
    exclude: Exclude = None,
    param: Parameters = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Every statement, also of several targets.")
    ] = False,
    analyze: Annotated[
        bool,
        typer.Option("--analyze", help="With the server's own plan (EXPLAIN) of each statement."),
    ] = False,
    format: Annotated[  # noqa: A002  # the option's name
        PreviewFormat,
        typer.Option(
            "--format", help="How to write it: markdown is for pull requests.", case_sensitive=False
        ),
    ] = PreviewFormat.text,
) -> int:
    """Show what a sync would do, and why, without writing.

    Functions of pipelines are called for their SQL, so what else they do is done.
    """
    from pgflow.cli.pipelines import preview_pipelines
    from pgflow.cli.selection import select

    chosen = select(names, all_, module, parameters(param), exclude)
    return preview_pipelines(output, chosen, verbose=verbose, analyze=analyze, style=format)


@app.command("dry-run")
@command
def dry_run(
    output: Output,
    names: Names = None,
    module: Modules = None,
    all_: All = False,
    exclude: Exclude = None,
    param: Parameters = None,
    effective_at: EffectiveAt = None,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Run pipelines, count rows, and roll everything back.

    Every target is tried, also after one has failed. Each pipeline is rolled back by itself, so
    readers do not see what the writers before them would write.

    Functions of pipelines are called for their SQL, so what else they do is done.
    """
    from pgflow.cli.selection import select
    from pgflow.cli.sync import Order, sync_pipelines

    chosen = select(names, all_, module, parameters(param), exclude)
    at = instant(effective_at) if effective_at else None
    order = Order(chosen, effective_at=at, dry_run=True, go_on=True)
    return sync_pipelines(output, order, as_json=format is Format.json)


@app.command("sync")
@command
def sync(
    output: Output,
    names: Names = None,
    module: Modules = None,
    all_: All = False,
    exclude: Exclude = None,
    param: Parameters = None,
    effective_at: EffectiveAt = None,
    continue_: Continue = False,
    workers: Workers = None,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Run pipelines.

    Readers run after writers, independent ones at the same time. Functions of pipelines are called
    in threads then, unless --workers is 1.
    """
    from pgflow.cli.selection import select_from
    from pgflow.cli.sync import Order, sync_pipelines

    found = select_from(names, all_, module, parameters(param), exclude)
    order = Order(
        found.chosen,
        effective_at=instant(effective_at) if effective_at else None,
        dry_run=False,
        go_on=continue_,
        workers=workers,
        project=found.project,
    )
    return sync_pipelines(output, order, as_json=format is Format.json)


@app.command("retry")
@command
def retry(
    output: Output,
    names: Names = None,
    module: Modules = None,
    exclude: Exclude = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="AGO|INSTANT",
            help="Only runs that began since: 12h, 7d, or 2013-01-02T00:00:00Z.",
            callback=read_moment,
            show_default=False,
        ),
    ] = None,
    earlier: Annotated[
        bool,
        typer.Option(
            "--earlier",
            help="Also earlier runs that failed with parameters with which none succeeded since.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would run.")] = False,
    continue_: Continue = False,
    workers: Workers = None,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Run again what failed last.

    It gets the parameters that it had. Of several targets those run that failed, and those that
    were not begun then. Without a NAME all pipelines of the project are looked at.
    """
    begun = None if since is None else moment(since)
    from pgflow.cli.retry import Asked, retry_failed

    asked = Asked(names or (), exclude or (), module, begun, earlier, dry_run, continue_, workers)
    return retry_failed(output, asked, as_json=format is Format.json)


examples.teach(app)
