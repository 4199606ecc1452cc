"""The commands about positions, with their options; each loads what it needs when called."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from pgflow.cli import slot_commands
from pgflow.cli.command import command
from pgflow.cli.options import (
    Connection,
    Format,
    Modules,
    OutputFormat,
    Parameters,
    parameters,
)
from pgflow.cli.output import Output

watermark = typer.Typer(
    help="Show and move how far pipelines have read.", no_args_is_help=True, rich_markup_mode=None
)

Name: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAME", help="A pipeline.", show_default=False)
]
Schema: TypeAlias = Annotated[str, typer.Option(help="Where pgflow's own tables are.")]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.add_typer(watermark, name="watermark")
    slot_commands.add_commands(app)
    app.command("backfill")(backfill)
    app.command("tracking")(tracking)


@watermark.command("show")
@command
def show_watermark(
    output: Output,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A pipeline; by default all.", show_default=False),
    ] = None,
    module: Modules = None,
    connection: Connection = None,
    schema: Schema = "pgflow",
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Show how far incremental pipelines have read."""
    from pgflow.cli.watermark import show_watermarks

    return show_watermarks(
        output,
        name,
        module,
        connection=connection,
        schema=schema,
        as_json=format is Format.json,
    )


@watermark.command("reset")
@command
def reset_watermark(
    output: Output,
    name: Name,
    module: Modules = None,
    param: Parameters = None,
    dry_run: DryRun = False,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Have the next run of a pipeline read everything."""
    from pgflow.cli.watermark import move_watermarks

    return move_watermarks(
        output,
        [name],
        module,
        parameters(param),
        value=None,
        dry_run=dry_run,
        as_json=format is Format.json,
    )


@watermark.command("set")
@command
def set_watermark(
    output: Output,
    name: Name,
    value: Annotated[
        str,
        typer.Argument(
            metavar="VALUE",
            help="A value of the incremental column, times without a zone being in UTC; 'now' for "
            "a snapshot, a horizon or a slot.",
            show_default=False,
        ),
    ],
    module: Modules = None,
    param: Parameters = None,
    dry_run: DryRun = False,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Have the next run of a pipeline read from a certain position on."""
    from pgflow.cli.watermark import move_watermarks

    return move_watermarks(
        output,
        [name],
        module,
        parameters(param),
        value=value,
        dry_run=dry_run,
        as_json=format is Format.json,
    )


@command
def backfill(
    output: Output,
    name: Name,
    begin: Annotated[
        str, typer.Option("--from", metavar="VALUE", help="Where to begin.", show_default=False)
    ],
    end: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="VALUE",
            help="Where to stop: the first value that is not read.",
            show_default=False,
        ),
    ],
    step: Annotated[
        str,
        typer.Option(
            metavar="STEP",
            help="How much is one run: a number, or an interval such as '1 day', in UTC.",
            show_default=False,
        ),
    ],
    column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The source's column to go by; by default the incremental column.",
            show_default=False,
        ),
    ] = None,
    param_from: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The parameter that takes a step's first value; by default 'start'.",
            show_default=False,
        ),
    ] = None,
    param_to: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The parameter that takes the first value after it; by default 'end'.",
            show_default=False,
        ),
    ] = None,
    module: Modules = None,
    param: Parameters = None,
    advance: Annotated[
        bool, typer.Option("--advance", help="At the end, move the watermark there.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Begin anew, whatever was done before.")
    ] = False,
    dry_run: DryRun = False,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Read a range again in steps, each a run.

    A function that takes the parameters start and end is given each step's bounds; otherwise the
    rows are read whose value in the column is within them. Steps that are done are remembered:
    after a failure the same command goes on where it stopped.
    """
    from pgflow.cli.backfill import Request, backfill_pipeline

    if (param_from is None) != (param_to is None):
        raise typer.BadParameter("give --param-from and --param-to together.")
    bounds = None if param_from is None or param_to is None else (param_from, param_to)
    request = Request(
        name, begin, end, step, column, bounds, parameters(param), advance, again, dry_run
    )
    return backfill_pipeline(output, request, module, as_json=format is Format.json)


@command
def tracking(
    output: Output,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="schema.table", show_default=False)],
    column: Annotated[str, typer.Option(help="The column that holds transactions.")] = "xid",
    undo: Annotated[bool, typer.Option("--undo", help="What takes it away again.")] = False,
) -> int:
    """Print the SQL that tracks a table's changes.

    It is for tables that pgflow does not migrate and that pipelines read with
    watermark="snapshot"; tables that pgflow declares take ChangeTrackingPlugin. Nothing is
    executed, and no database is asked: a table that is not there is not noticed.
    """
    from pgflow.cli.watermark import print_tracking

    return print_tracking(output, table, column, undo=undo)
