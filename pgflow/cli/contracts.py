"""The commands about contracts and erasure, with their options; each loads what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from pgflow.cli.command import command
from pgflow.cli.options import Connection, Format, Modules, OutputFormat, Parameters, parameters
from pgflow.cli.output import Output

Schema: TypeAlias = Annotated[str, typer.Option(help="Where pgflow's own tables are.")]

quarantine = typer.Typer(
    help="Rows that checks have kept out.", no_args_is_help=True, rich_markup_mode=None
)


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command("forget")(forget)
    app.command("evolve")(evolve)
    app.add_typer(quarantine, name="quarantine")


@command
def forget(
    output: Output,
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="A table, with its schema.", show_default=False)
    ],
    key: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY",
            help="column=value for each column; of a key of one column its value is enough.",
            show_default=False,
        ),
    ] = None,
    null: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN", help="A column that is NULL. Repeatable.", show_default=False
        ),
    ] = None,
    module: Modules = None,
    connection: Annotated[
        str, typer.Option(metavar="NAME|URL", help="Which database.")
    ] = "default",
    schema: Annotated[
        str | None,
        typer.Option(
            help="Where pgflow's own tables are; by default what the project says.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count what would be erased.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Erase a key from a table and from all traces of it.

    What is erased is shown as numbers, and asked for. It cannot be undone.
    """
    from pgflow.cli.forget import Request, forget_key

    if not (key or null):
        raise typer.BadParameter("name the key: its value, or column=value for each column.")
    request = Request(
        table, tuple(key or ()), tuple(null or ()), connection, schema, dry_run=dry_run, yes=yes
    )
    return forget_key(output, request, module, as_json=format is Format.json)


@command
def evolve(
    output: Output,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A pipeline.", show_default=False)],
    module: Modules = None,
    param: Parameters = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="Alembic's settings; alembic.ini beside pgflow.toml if left out.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show the lines of the declaration.")
    ] = False,
) -> int:
    """Declare what a source has gained, and write its migration.

    It is for pipelines with schema_mode="evolve". The database is left alone.
    """
    from pgflow.cli.evolve import Request, evolve_pipeline

    request = Request(name, parameters(param), config, dry_run=dry_run)
    return evolve_pipeline(output, request, module)


@quarantine.command("show")
@command
def show_quarantine(
    output: Output,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A pipeline; by default all.", show_default=False),
    ] = None,
    module: Modules = None,
    limit: Annotated[int, typer.Option(min=1, help="How many rows at most.")] = 20,
    connection: Connection = None,
    schema: Schema = "pgflow",
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Show the rows that checks have kept out, latest first."""
    from pgflow.cli.quarantine import show_quarantine

    return show_quarantine(
        output,
        name,
        module,
        limit=limit,
        connection=connection,
        schema=schema,
        as_json=format is Format.json,
    )


@quarantine.command("purge")
@command
def purge_quarantine(
    output: Output,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A pipeline; by default all.", show_default=False),
    ] = None,
    module: Modules = None,
    older_than: Annotated[
        int | None,
        typer.Option(min=0, metavar="DAYS", help="Only older rows.", show_default=False),
    ] = None,
    connection: Connection = None,
    schema: Schema = "pgflow",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
) -> int:
    """Delete rows of the quarantine.

    Without --older-than it asks first: the newest rows may be nowhere else.
    """
    from pgflow.cli.quarantine import purge

    return purge(
        output, name, module, days=older_than, connection=connection, schema=schema, yes=yes
    )
