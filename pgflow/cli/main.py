"""The commands with their options; each loads what it needs only when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated

import typer

from pgflow.cli import contracts, migrations, positions, signals
from pgflow.cli.command import command
from pgflow.cli.options import (
    All,
    Connection,
    Continue,
    EffectiveAt,
    Format,
    Modules,
    Names,
    OutputFormat,
    Parameters,
    instant,
    parameters,
)
from pgflow.cli.output import Output

app = typer.Typer(
    name="pgflow",
    help="PostgreSQL tables and pipelines as composable factories.",
    epilog="Exit codes: 0 all good, 1 a run failed, 2 wrong usage, 3 a declaration, module or "
    "connection cannot be used, 130 interrupted, 143 terminated.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
connections = typer.Typer(help="Look at connections.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(connections, name="connections")
migrations.add_commands(app)
positions.add_commands(app)
contracts.add_commands(app)


def main() -> None:
    """Run the command line; the process ends with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character must not end a run.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    signals.end_as_interrupted()
    try:
        app(prog_name="pgflow")
    except KeyboardInterrupt as interrupt:
        sys.exit(signals.exit_code(interrupt))


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
    name: Annotated[str, typer.Argument(help="A pipeline or a table.", show_default=False)],
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
    param: Parameters = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Every statement, also of several targets.")
    ] = False,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Show what a sync would do, and why, without writing.

    Functions of pipelines are called for their SQL, so what else they do is done.
    """
    from pgflow.cli.pipelines import preview_pipelines
    from pgflow.cli.selection import select

    chosen = select(names, all_, module, parameters(param))
    return preview_pipelines(output, chosen, verbose=verbose, as_json=format is Format.json)


@app.command("dry-run")
@command
def dry_run(
    output: Output,
    names: Names = None,
    module: Modules = None,
    all_: All = False,
    param: Parameters = None,
    effective_at: EffectiveAt = None,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Run pipelines, count rows, and roll everything back.

    Every target is tried, also after one has failed.

    Functions of pipelines are called for their SQL, so what else they do is done.
    """
    from pgflow.cli.selection import select
    from pgflow.cli.sync import Order, sync_pipelines

    chosen = select(names, all_, module, parameters(param))
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
    param: Parameters = None,
    effective_at: EffectiveAt = None,
    continue_: Continue = False,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Run pipelines."""
    from pgflow.cli.selection import select
    from pgflow.cli.sync import Order, sync_pipelines

    chosen = select(names, all_, module, parameters(param))
    at = instant(effective_at) if effective_at else None
    order = Order(chosen, effective_at=at, dry_run=False, go_on=continue_)
    return sync_pipelines(output, order, as_json=format is Format.json)


@app.command("history")
@command
def history(
    output: Output,
    name: Annotated[
        str | None, typer.Argument(help="A pipeline; by default all.", show_default=False)
    ] = None,
    module: Modules = None,
    limit: Annotated[int, typer.Option(min=1, help="How many runs at most.")] = 20,
    connection: Connection = None,
    schema: Annotated[str, typer.Option(help="Where pgflow's own tables are.")] = "pgflow",
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Show the latest runs, latest first."""
    from pgflow.cli.history import show_history

    return show_history(
        output,
        name,
        module,
        limit=limit,
        connection=connection,
        schema=schema,
        as_json=format is Format.json,
    )


@connections.command("list")
@command
def list_connections(
    output: Output,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """List the known connections and where each is said; nothing is opened."""
    from pgflow.cli.connections import show_connections

    return show_connections(output, as_json=format is Format.json)


@connections.command("check")
@command
def check_connections(
    output: Output,
    name: Annotated[
        str | None, typer.Argument(help="A connection; by default all.", show_default=False)
    ] = None,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Open connections, and say who answers."""
    from pgflow.cli.connections import probe_connections

    return probe_connections(output, name, as_json=format is Format.json)
