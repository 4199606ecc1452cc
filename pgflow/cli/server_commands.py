"""`pgflow server` with its options; each command loads what it needs when it is called."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from pgflow.cli.command import command
from pgflow.cli.options import Format, Modules, OutputFormat
from pgflow.cli.output import Output

Embedded: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="CONNECTION",
        help="A connection whose URL is embedded://NAME/DATABASE, or such a URL.",
    ),
]

server = typer.Typer(
    help="Start, stop and look at an embedded server.\n\nIt starts by itself when a command needs "
    "it, and stops with the last one that does. To connect by psql or another program, let it run.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.add_typer(server, name="server")


@server.command("start")
@command
def start(
    output: Output,
    connection: Embedded = "default",
    module: Modules = None,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Start the server, and leave it running until it is stopped.

    Its URL and the psql line are shown. One that runs already goes on, and now stays too.
    """
    from pgflow.cli.server import start_server

    return start_server(output, connection, module, as_json=format is Format.json)


@server.command("stop")
@command
def stop(output: Output, connection: Embedded = "default", module: Modules = None) -> int:
    """Stop the server for everybody; its data stays.

    Whatever is connected to it is cut off. The next command that needs it starts it again.
    """
    from pgflow.cli.server import stop_server

    return stop_server(output, connection, module)


@server.command("status")
@command
def status(
    output: Output,
    connection: Embedded = "default",
    module: Modules = None,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Say whether the server runs, and for whom; start nothing.

    The exit code is 0 if it runs, and 1 if not.
    """
    from pgflow.cli.server import show_server

    return show_server(output, connection, module, as_json=format is Format.json)
