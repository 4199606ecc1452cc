"""`pgflow migrate`: makes a database as declared, without migration files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, MetaData, text

from pgflow import idents
from pgflow.alembic import turns
from pgflow.alembic.drift import Drift, examine
from pgflow.alembic.execution import execute
from pgflow.alembic.statement import Hazard
from pgflow.alembic.step import Step
from pgflow.alembic.text import formatted
from pgflow.cli.consent import consents
from pgflow.cli.failures import FAILED, OK
from pgflow.cli.output import Output
from pgflow.connections.registry import describe, engine
from pgflow.errors import ManagedByAlembic
from pgflow.project.project import Project

_VERSION_TABLES = text(
    """
    SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relname = 'alembic_version' AND c.relkind IN ('r', 'p')
       AND (n.nspname = ANY(current_schemas(false)) OR n.nspname = ANY(:schemas))
     ORDER BY 1
    """
)


@dataclass(frozen=True)
class Request:
    """What a user asks of `pgflow migrate`.

    Attributes:
        connection: The database.
        dry_run: Whether the steps are only shown.
        yes: Whether hazards are accepted.
        ignore_alembic: Whether Alembic's version table is no hindrance.
        shadow: An empty database to compare in.
    """

    connection: str
    dry_run: bool = False
    yes: bool = False
    ignore_alembic: bool = False
    shadow: str | None = None


def migrate_database(output: Output, request: Request, modules: Sequence[str] | None) -> int:
    """Show what would make a database as declared, and do it.

    Args:
        output: Where the steps are shown.
        request: What is asked for.
        modules: What `--module` said.

    Returns:
        `FAILED` if the user says no.

    Raises:
        ManagedByAlembic: The database is changed by migration files.
        HazardsNotConfirmed: There are hazards, and nobody to ask.
    """
    work = _Work(output, request, Project.load(modules or None).metadatas)
    while not work.take_turn():
        if not _allowed(work.agreed):
            output.note("Nothing was done.")
            return FAILED
    return OK


class _Work:
    """Makes a database as declared, by what was shown and accepted.

    Nobody else migrates while it compares and works, but the user takes time to answer; others
    need not wait for that. So after the answer it compares again.

    Args:
        output: Where the steps are shown.
        request: What is asked for.
        metadata: What is declared.
    """

    def __init__(self, output: Output, request: Request, metadata: Sequence[MetaData]) -> None:
        self._output = output
        self._request = request
        self._metadata = metadata
        self._database = engine(request.connection)
        #: What the user has seen last; nothing but this is done if it is hazardous.
        self.agreed: tuple[Step, ...] = ()

    def take_turn(self) -> bool:
        """Compare, and do what needs no answer, or has got one.

        Returns:
            Whether that was all; if not, `agreed` is shown and has to be accepted.
        """
        if self._request.dry_run:
            return self._take_turn()
        with turns.turn(self._database, "without files"):
            return self._take_turn()

    def _take_turn(self) -> bool:
        found = self._compared()
        steps = found.migration.upgrade
        if not steps:
            self._output.line(f"Nothing to do: {describe(self._database)} is as declared.")
            return True
        is_accepted = _seen(steps) == _seen(self.agreed)
        if not is_accepted:
            if self.agreed:
                self._output.note("The database has changed meanwhile. Now it would take this:")
            _show(self._output, steps)
        if self._request.dry_run:
            self._output.note(f"dry run: {_counted(steps)} not taken")
            return True
        if not is_accepted and not self._request.yes and any(map(hazards, steps)):
            self.agreed = steps
            return False
        execute(self._database, steps, found.settings)
        self._output.line(f"Done: {_counted(steps)}.")
        return True

    def _compared(self) -> Drift:
        with self._database.connect() as connection:
            if not self._request.ignore_alembic and not self._request.dry_run:
                _refuse_managed(connection, self._metadata)
            found = examine(connection, self._metadata, shadow=self._request.shadow)
            connection.rollback()
        return found


def hazards(step: Step) -> tuple[Hazard, ...]:
    """Return what a step does to a database in use, each hazard once."""
    return tuple(dict.fromkeys(each for one in step.statements for each in one.hazards))


def _show(output: Output, steps: Sequence[Step]) -> None:
    for step in steps:
        output.line(f"-- {step.title}")
        for hazard in hazards(step):
            output.line(f"-- ! {hazard.value}")
        for statement in step.statements:
            output.line(f"{formatted(statement.sql)};")
        output.line()


def _seen(steps: Sequence[Step]) -> list[tuple[str, tuple[Hazard, ...], list[str]]]:
    """Return of steps what a user sees of them."""
    return [(each.title, hazards(each), [one.sql for one in each.statements]) for each in steps]


def _allowed(steps: Sequence[Step]) -> bool:
    """Ask about hazards."""
    risky = [step for step in steps if hazards(step)]
    told = tuple(
        f"{step.title} ({', '.join(each.value for each in hazards(step))})" for step in risky
    )
    lines = "\n".join(f"  {each}" for each in told)
    return consents(
        f"Hazardous for a database in use:\n{lines}",
        "Nothing was done, because some steps are hazardous for a database in use: "
        f"{'; '.join(told)}. Accept them with --yes, or call pgflow migrate on a terminal, "
        "which asks.",
        [step.title for step in risky],
    )


def _refuse_managed(connection: Connection, metadata: Sequence[MetaData]) -> None:
    """Stop where Alembic's files say how the database changes."""
    schemas = {table.schema for each in metadata for table in each.tables.values() if table.schema}
    for (schema,) in connection.execute(_VERSION_TABLES, {"schemas": sorted(schemas)}).all():
        table = idents.qualify(schema, "alembic_version")
        if connection.exec_driver_sql(f"SELECT EXISTS (SELECT FROM {table})").scalar():  # noqa: S608  # quoted
            raise ManagedByAlembic(
                f"This database is managed by Alembic: {table} holds a revision. A change made "
                "beside its files would be missing in them. Write a migration (alembic revision "
                "--autogenerate, alembic upgrade head), look only with --dry-run, or, for a "
                "database of your own that will be thrown away, give --ignore-alembic.",
                table=table,
            )


def _counted(steps: Sequence[Step]) -> str:
    return f"{len(steps)} step{'' if len(steps) == 1 else 's'}"
