"""`pgflow connections` with its options; each command loads what it needs when it is called."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from pgflow.cli.command import command
from pgflow.cli.options import Format, Modules, OutputFormat
from pgflow.cli.output import Output

InProject: TypeAlias = Annotated[
    bool, typer.Option("--project", help="In the project's pgflow.toml instead.")
]

connections = typer.Typer(
    help="Look at connections, and say what they are.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.add_typer(connections, name="connections")


@connections.command("list")
@command
def list_(
    output: Output,
    module: Modules = None,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """List the known connections and where each is said; nothing is opened.

    The project's modules are imported for what they register.
    """
    from pgflow.cli.connections import show_connections

    return show_connections(output, module, as_json=format is Format.json)


@connections.command("check")
@command
def check(
    output: Output,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A connection; by default all.", show_default=False),
    ] = None,
    module: Modules = None,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Open connections, and say who answers.

    The project's modules are imported for what they register.
    """
    from pgflow.cli.connections import probe_connections

    return probe_connections(output, name, module, as_json=format is Format.json)


@connections.command("set")
@command
def set_(
    output: Output,
    assignment: Annotated[
        str,
        typer.Argument(
            metavar="NAME=URL",
            help="The connection's name and URL, in which ${VARIABLE} may stand. NAME=- asks for "
            "the URL, or reads it from standard input.",
            show_default=False,
        ),
    ],
    project: InProject = False,
) -> int:
    """Say what a connection's name stands for.

    It is written into ~/.pgflow/connections.toml, which only you can read.
    """
    from pgflow.cli.connection_entries import set_connection

    return set_connection(output, assignment, project=project)


@connections.command("remove")
@command
def remove(
    output: Output,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A connection.", show_default=False)],
    project: InProject = False,
) -> int:
    """Take a connection out of ~/.pgflow/connections.toml."""
    from pgflow.cli.connection_entries import remove_connection

    return remove_connection(output, name, project=project)
