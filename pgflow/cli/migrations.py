"""The commands about migrations with their options; each loads what it needs when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from pgflow.cli.command import command
from pgflow.cli.options import Format, Modules, OutputFormat
from pgflow.cli.output import Output

Database: TypeAlias = Annotated[
    str, typer.Argument(metavar="CONNECTION", help="A connection's name, or a URL.")
]
Shadow: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|URL",
        help="An empty database of the same major version to compare in, where the role may not "
        "create schemas in the database itself.",
        show_default=False,
    ),
]
AlembicFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Alembic's settings; alembic.ini beside pgflow.toml if left out.",
        show_default=False,
    ),
]
Yes: TypeAlias = Annotated[
    bool, typer.Option("--yes", "-y", help="Ask nothing: locks and lost data are accepted.")
]

tenants = typer.Typer(
    help="Migrate one declaration in many schemas.", no_args_is_help=True, rich_markup_mode=None
)


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command("init")(init)
    app.command("migrate")(migrate)
    app.command("drift")(drift)
    app.command("grants")(grants)
    app.command("eject")(eject)
    app.add_typer(tenants, name="tenants")


@command
def init(
    output: Output,
    directory: Annotated[
        Path, typer.Argument(metavar="DIRECTORY", help="Where to; made if it is not there.")
    ] = Path(),
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Your database; by default a PostgreSQL server that pgflow starts for you.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Write a project that works, with its first migration."""
    from pgflow.cli.init import init_project

    return init_project(output, directory, url=url)


@command
def migrate(
    output: Output,
    connection: Database = "default",
    module: Modules = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done.")
    ] = False,
    yes: Yes = False,
    ignore_alembic: Annotated[
        bool,
        typer.Option(
            "--ignore-alembic", help="Go on although Alembic's files manage this database."
        ),
    ] = False,
    shadow: Shadow = None,
) -> int:
    """Make a database as the modules declare, without files.

    It is for development: what it does to a table in use is shown before, and asked for.
    """
    from pgflow.cli.migrate import Request, migrate_database

    request = Request(
        connection, dry_run=dry_run, yes=yes, ignore_alembic=ignore_alembic, shadow=shadow
    )
    return migrate_database(output, request, module)


@command
def drift(
    output: Output,
    connection: Database = "default",
    module: Modules = None,
    shadow: Shadow = None,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> int:
    """Say where a database differs from what is declared.

    Exit codes: 0 it does not, 1 it does, 2 it could not be found out.
    """
    from pgflow.cli.drift import show_drift

    as_json = json or format is Format.json
    return show_drift(output, connection, module, shadow=shadow, as_json=as_json)


@command
def grants(
    output: Output,
    connection: Database = "default",
    migrator: Annotated[
        str | None,
        typer.Option(metavar="ROLE", help="Who runs migrations.", show_default=False),
    ] = None,
    loader: Annotated[
        str | None,
        typer.Option(metavar="ROLE", help="Who runs pipelines.", show_default=False),
    ] = None,
    reader: Annotated[
        str | None,
        typer.Option(metavar="ROLE", help="Who reads tables and views.", show_default=False),
    ] = None,
    module: Modules = None,
) -> int:
    """Print the SQL that gives roles their rights.

    It is for the database's owner to run. Ask again after the first migration: rights on tables
    need tables.
    """
    if not (migrator or loader or reader):
        raise typer.BadParameter("name a role with --migrator, --loader or --reader.")
    from pgflow.alembic.rights import Roles
    from pgflow.cli.grants import show_grants

    return show_grants(output, connection, module, Roles(migrator, loader, reader))


@command
def eject(
    output: Output,
    connection: Database = "default",
    module: Modules = None,
    config: AlembicFile = None,
    drop_system_columns: Annotated[
        bool,
        typer.Option(
            "--drop-system-columns",
            help="Also drop _loaded_at, _batch_id and the like; the columns of history stay.",
        ),
    ] = False,
    yes: Yes = False,
) -> int:
    """Write a migration that leaves plain tables.

    pgflow's own tables and the marks in comments go; its downgrade brings them back.
    """
    from pgflow.cli.eject import Request, eject_project

    request = Request(connection, config, drop_system_columns=drop_system_columns, yes=yes)
    return eject_project(output, request, module)


@tenants.command("status")
@command
def tenants_status(
    output: Output,
    connection: Database = "default",
    config: AlembicFile = None,
    format: OutputFormat = Format.text,  # noqa: A002  # the option's name
) -> int:
    """List the tenants with the revision that each has."""
    from pgflow.cli.tenants import show_tenants

    return show_tenants(output, connection, config, as_json=format is Format.json)


@tenants.command("upgrade")
@command
def tenants_upgrade(
    output: Output,
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="Up to which revision.")
    ] = "head",
    connection: Annotated[
        str, typer.Option(metavar="NAME|URL", help="Which database.")
    ] = "default",
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="TENANT", help="Only this tenant. Repeatable.", show_default=False),
    ] = None,
    config: AlembicFile = None,
) -> int:
    """Migrate the tenants, one after the other; one that fails does not stop the others."""
    from pgflow.cli.tenants import move_tenants

    return move_tenants(output, connection, config, revision, only, down=False)


@tenants.command("downgrade")
@command
def tenants_downgrade(
    output: Output,
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="Down to which revision.", show_default=False)
    ],
    connection: Annotated[
        str, typer.Option(metavar="NAME|URL", help="Which database.")
    ] = "default",
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="TENANT", help="Only this tenant. Repeatable.", show_default=False),
    ] = None,
    config: AlembicFile = None,
) -> int:
    """Take the tenants back to an earlier revision, one after the other."""
    from pgflow.cli.tenants import move_tenants

    return move_tenants(output, connection, config, revision, only, down=True)


@tenants.command("add")
@command
def tenants_add(
    output: Output,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The new tenant's schema.", show_default=False)
    ],
    connection: Annotated[
        str, typer.Option(metavar="NAME|URL", help="Which database.")
    ] = "default",
    config: AlembicFile = None,
) -> int:
    """Make the schema of a new tenant, with everything that the migrations make in it."""
    from pgflow.cli.tenants import add_tenant

    return add_tenant(output, connection, config, name)
