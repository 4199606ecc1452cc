"""`pgflow eject`: writes a migration that leaves plain tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import rev_id
from sqlalchemy import Connection

from pgflow.alembic.drift import examine
from pgflow.alembic.eject import ejection
from pgflow.alembic.rendering import indented, step_lines
from pgflow.alembic.settings import MigrationSettings
from pgflow.alembic.step import Step
from pgflow.cli.alembic_files import alembic_config
from pgflow.cli.consent import consents
from pgflow.cli.failures import FAILED, OK
from pgflow.cli.output import Output
from pgflow.connections.registry import engine
from pgflow.errors import CannotEject
from pgflow.project.project import Project

_LOST = (
    "The migration drops pgflow's own tables: the history of runs and the watermarks are lost "
    "when it is applied. Its downgrade makes the tables again, empty."
)


@dataclass(frozen=True)
class Request:
    """What a user asks of `pgflow eject`.

    Attributes:
        connection: The database.
        config: Alembic's settings; None for those of the project.
        drop_system_columns: Whether columns that tell of runs go too.
        yes: Whether the loss is accepted.
    """

    connection: str
    config: Path | None = None
    drop_system_columns: bool = False
    yes: bool = False


def eject_project(output: Output, request: Request, modules: Sequence[str] | None) -> int:
    """Write the migration, and say what is left to do by hand.

    Args:
        output: Where to.
        request: What is asked for.
        modules: What `--module` said.

    Returns:
        `FAILED` if the user says no.

    Raises:
        CannotEject: The database is not as declared, or something needs what would go.
        HazardsNotConfirmed: There is nobody to ask.
    """
    script = ScriptDirectory.from_config(alembic_config(request.config))
    metadata = Project.load(modules or None).metadatas
    with engine(request.connection).connect() as connection:
        _refuse_behind(connection, script)
        drift = examine(connection, metadata)
        connection.rollback()
    migration = ejection(drift, metadata, drop_system_columns=request.drop_system_columns)
    if not migration.upgrade:
        output.line("Nothing to do: there is nothing of pgflow's in the database.")
        return OK
    if not _allowed(request):
        output.note("Nothing was written.")
        return FAILED
    path = _write(script, migration.upgrade, migration.downgrade, drift.settings)
    output.line(f"wrote {path}")
    output.line("Read it, then:")
    output.line("  alembic upgrade head")
    output.line(
        "After that declare the tables without pgflow, and name them in env.py, with "
        "include_schemas=True and an include_name that leaves other people's tables out. The page "
        '"How to leave pgflow" has such an env.py.'
    )
    return OK


def _refuse_behind(connection: Connection, script: ScriptDirectory) -> None:
    heads = set(MigrationContext.configure(connection).get_current_heads())
    if heads and heads != set(script.get_heads()):
        raise CannotEject(
            f"The database is at revision {', '.join(sorted(heads))}, and the newest is "
            f"{', '.join(sorted(script.get_heads()))}. Run alembic upgrade head first."
        )


def _allowed(request: Request) -> bool:
    return request.yes or consents(
        _LOST,
        f"Nothing was written. {_LOST} Accept that with --yes, or call pgflow eject on a "
        "terminal, which asks.",
        [_LOST],
    )


def _write(
    script: ScriptDirectory,
    upgrade: Sequence[Step],
    downgrade: Sequence[Step],
    settings: MigrationSettings,
) -> Path:
    """Write the revision as autogenerate would."""
    made = script.generate_revision(
        rev_id(),
        "eject pgflow",
        head="head",
        imports="",
        upgrades=_body(upgrade, settings),
        downgrades=_body(downgrade, settings),
    )
    if made is None:  # Alembic's annotation; it happens only for templates that make no file
        raise CannotEject("Alembic has written no file. Look at file_template in alembic.ini.")
    return Path(made.path)


def _body(steps: Sequence[Step], settings: MigrationSettings) -> str:
    return indented("\n".join(step_lines(steps, settings)))
