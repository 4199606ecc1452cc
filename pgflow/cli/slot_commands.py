"""The commands about slots, with their options; each loads what it needs when called."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from pgflow.cli.command import command
from pgflow.cli.options import Connection, Format, Modules, OutputFormat, Parameters, parameters
from pgflow.cli.output import Output

slots = typer.Typer(
    help="Replication slots of pipelines with watermark='slot'.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.add_typer(slots, name="slots")


@slots.command("list")
@command
def list_slots(
    output: Output,
    connection: Connection = None,
    schema: Annotated[str, typer.Option(help="Where pgflow's own tables are.")] = "pgflow",
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """List pgflow's slots on a server: who reads them, and how much log is kept for them."""
    from pgflow.cli.slots import show_slots

    return show_slots(output, connection, schema, as_json=format is Format.json)


@slots.command("create")
@command
def create_slots(
    output: Output,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A pipeline.", show_default=False)],
    module: Modules = None,
    param: Parameters = None,
    unlimited_wal: Annotated[
        bool,
        typer.Option(
            "--unlimited-wal", help="Also where the server would fill its disk for the slot."
        ),
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Make the publication and the slot that a pipeline reads.

    What will be executed is shown, and asked for: from then on the server keeps its log until the
    pipeline has read it.
    """
    from pgflow.cli.slots import make_slots

    return make_slots(
        output,
        (name, module, parameters(param)),
        unlimited_wal=unlimited_wal,
        dry_run=dry_run,
        yes=yes,
        as_json=format is Format.json,
    )


@slots.command("drop")
@command
def drop_slots(
    output: Output,
    names: Annotated[
        list[str], typer.Argument(metavar="SLOT", help="Slots by name.", show_default=False)
    ],
    connection: Connection = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> int:
    """Drop slots and their publications, so that the server no longer keeps log for them.

    A pipeline that still reads one stops, until its slot is created and its watermark reset.
    """
    from pgflow.cli.slots import drop_named

    return drop_named(output, names, connection, dry_run=dry_run, yes=yes)
