"""`pgflow history` and its commands, with their options; each loads what it needs when called."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, TypeAlias

import typer
from typer.core import TyperGroup

from pgflow.cli.command import command
from pgflow.cli.durations import moment, read_moment, read_span, span
from pgflow.cli.options import Format, Modules, OutputFormat
from pgflow.cli.output import Output


class Status(StrEnum):
    """How a run can stand."""

    running = "running"
    success = "success"
    failed = "failed"
    abandoned = "abandoned"


class HistoryGroup(TyperGroup):
    """`pgflow history [NAME]`, unless the first word is one of its commands.

    A pipeline of such a name is asked for after `--`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Leave the words of a command to that command; read all others as one's own."""
        if args and args[0] in self.commands:
            ctx.invoked_subcommand = args[0]
            ctx.args = list(args)
            return args
        ctx.allow_extra_args, ctx.allow_interspersed_args = False, True
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        """Leave NAME out of the usage of a command below: it does not stand before its name."""
        params = super().get_params(ctx)
        return (
            params
            if ctx.command is self
            else [p for p in params if p.param_type_name != "argument"]
        )

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Write a line for the history itself, and one for what is below it."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] [NAME]")
        below = "|".join(self.commands)
        formatter.write_usage(ctx.command_path, f"{below} [OPTIONS] ...", prefix="   or: ")

    def invoke(self, ctx: Any) -> Any:
        """Run the command, or show the history."""
        if ctx.invoked_subcommand is None:
            return super().invoke(ctx)
        with ctx:
            name, found, args = self.resolve_command(ctx, ctx.args)
            if found is None:
                return None
            with found.make_context(name, args, parent=ctx) as inner:
                return found.invoke(inner)


history = typer.Typer(
    cls=HistoryGroup,
    invoke_without_command=True,
    rich_markup_mode=None,
)

Connections: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--connection",
        metavar="NAME|URL",
        help="The connection to ask. Repeatable: runs of several databases are put together.",
        show_default=False,
    ),
]
Everywhere: TypeAlias = Annotated[
    bool, typer.Option("--all-connections", help="Every database that the project writes to.")
]
Schema: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Where pgflow's own tables are; by default what the project says.",
        show_default=False,
    ),
]
Name: TypeAlias = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="A pipeline; by default all.", show_default=False),
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.add_typer(history, name="history")


@history.callback()
@command
def show_history(
    output: Output,
    name: Name = None,
    module: Modules = None,
    limit: Annotated[int, typer.Option(min=1, help="How many runs at most.")] = 20,
    status: Annotated[
        list[Status] | None,
        typer.Option(help="Only runs that stand so. Repeatable.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="AGO|INSTANT",
            help="Only runs that began since: 12h, 7d, or 2013-01-02T00:00:00Z.",
            callback=read_moment,
            show_default=False,
        ),
    ] = None,
    connection: Connections = None,
    all_connections: Everywhere = False,
    schema: Schema = None,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Show the latest runs, latest first."""
    begun = None if since is None else moment(since)
    where = _where(module, connection, all_connections, schema)
    from pgflow.cli import history as work

    statuses = tuple(each.value for each in status or ())
    filters = work.Filters(limit, statuses, begun)
    return work.show_history(
        output, name, work.Where(*where), filters, as_json=format is Format.json
    )


@history.command("show")
@command
def show_run(
    output: Output,
    run_id: Annotated[
        str,
        typer.Argument(
            metavar="RUN_ID",
            help="The run's id, or its first characters, four at least.",
            show_default=False,
        ),
    ],
    module: Modules = None,
    connection: Connections = None,
    all_connections: Everywhere = False,
    schema: Schema = None,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Show everything that is known of one run."""
    where = _where(module, connection, all_connections, schema)
    from pgflow.cli import history as work

    return work.show_run(output, run_id, work.Where(*where), as_json=format is Format.json)


@history.command("prune")
@command
def prune(
    output: Output,
    older_than: Annotated[
        str,
        typer.Option(
            metavar="AGE",
            help="How long ago a run must have ended: 90d, 12w.",
            callback=read_span,
            show_default=False,
        ),
    ],
    name: Name = None,
    module: Modules = None,
    keep_last: Annotated[
        int,
        typer.Option(
            min=1, help="How many of the latest runs of each pipeline, target and scope stay."
        ),
    ] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count what would be deleted.")
    ] = False,
    connection: Connections = None,
    all_connections: Everywhere = False,
    schema: Schema = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """Delete old runs from the history.

    Runs that are going on, or still needed, stay: the latest run and the latest success of each
    pipeline, target and scope, and what watermarks and the quarantine name.
    """
    age = span(older_than)
    where = _where(module, connection, all_connections, schema)
    from pgflow.cli import history as work

    retention = work.Retention(name, age, keep_last, dry_run)
    return work.prune(output, work.Where(*where), retention, yes=yes, as_json=format is Format.json)


def _where(
    module: list[str] | None, connection: list[str] | None, everywhere: bool, schema: str | None
) -> tuple[tuple[str, ...], bool, list[str] | None, str | None]:
    if connection and everywhere:
        raise typer.BadParameter("give --connection or --all-connections, not both.")
    return tuple(connection or ()), everywhere, module, schema
