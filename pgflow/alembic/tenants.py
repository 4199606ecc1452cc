"""One declaration in many schemas: the migrations of one schema, run for each tenant's own.

The files are written for one schema, the template. For a tenant its name is put in their SQL's
place right before a statement is sent, so that a file needs nothing to be run for tenants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateSchema

from pgflow import idents
from pgflow.alembic import offline, running, turns
from pgflow.alembic.concealment import first_line
from pgflow.alembic.respelling import Respelling
from pgflow.alembic.settings import current_settings
from pgflow.connections.settings import SettingsFile
from pgflow.errors import MalformedSettings

#: Where each tenant's schema says which revision it has.
VERSION_TABLE = "alembic_version"

#: What is sent in the place of a statement that is not a tenant's: it does nothing.
_NOTHING = "SELECT"

_KEYS = frozenset({"schema", "names", "query"})
_EXAMPLE = (
    'Write [migrations.tenants] and below it schema = "tenant", and names = ["acme", "globex"] or '
    'query = "SELECT schema_name FROM public.customers".'
)
_Steps: TypeAlias = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Tenancy:
    """Which tenants there are, and the schema that migrations are written for.

    Attributes:
        template: The schema of the declaration.
        names: The tenants' schemas; empty if a query gives them.
        query: A query whose first column gives them; None if they are listed.
    """

    template: str
    names: tuple[str, ...] = ()
    query: str | None = None

    @classmethod
    def read(cls, settings: SettingsFile | None) -> Tenancy:
        """Read `[migrations.tenants]` in `pgflow.toml`.

        Args:
            settings: The file, or None.

        Raises:
            MalformedSettings: It is not there, or says something else.
        """
        where = str(settings.path) if settings else "pgflow.toml"
        migrations = settings.data.get("migrations", {}) if settings else {}
        found = migrations.get("tenants") if isinstance(migrations, dict) else None
        wrong = _complaint(found)
        if wrong or not isinstance(found, dict):
            raise MalformedSettings(f"{where}: {wrong}. {_EXAMPLE}", path=where)
        names = tuple(idents.truncate(name) for name in found.get("names", ()))
        return cls(idents.truncate(found["schema"]), names, found.get("query"))

    def respelling(self, tenant: str) -> Respelling:
        """Return how the SQL of the migrations is respelled for a tenant.

        Marks in comments name the tenant's own history. Otherwise autogenerate, which knows the
        template only, would take the tenants' tables for its own, and drop them.
        """
        return Respelling(self.template, tenant, f"{tenant}.{VERSION_TABLE}")

    def tenants(self, connection: Connection) -> tuple[str, ...]:
        """Return the tenants' schemas, each once, in the order of the list or the query.

        Args:
            connection: The database that is asked, if there is a query.
        """
        if self.query is None:
            found = list(self.names)
        else:
            rows = connection.exec_driver_sql(
                self.query, execution_options={"no_parameters": True}
            ).all()
            found = [idents.truncate(str(row[0])) for row in rows]
        return tuple(dict.fromkeys(name for name in found if name != self.template))


@dataclass(frozen=True)
class Position:
    """How far a tenant is.

    Attributes:
        tenant: The tenant's schema.
        revisions: Its revisions; empty if it has none.
        exists: Whether the schema is there.
        pending: How many revisions are to come up to the newest ones.
    """

    tenant: str
    revisions: tuple[str, ...]
    exists: bool
    pending: int


def position(connection: Connection, script: ScriptDirectory, tenant: str) -> Position:
    """Ask how far a tenant is.

    Args:
        connection: A connection to the database.
        script: The project's migrations.
        tenant: The tenant's schema.
    """
    exists = has_schema(connection, tenant)
    context = MigrationContext.configure(connection, opts={"version_table_schema": tenant})
    revisions = tuple(sorted(context.get_current_heads())) if exists else ()
    # A step is a revision to be run; alembic.command counts the same way.
    current: Any = revisions  # Alembic takes several, and is annotated for one
    pending = script._upgrade_revs("heads", current)
    return Position(tenant, revisions, exists, len(pending))


def main_is_current(connection: Connection, script: ScriptDirectory) -> bool:
    """Whether the template and all that tenants share have the newest revisions."""
    heads = MigrationContext.configure(connection).get_current_heads()
    return set(heads) == set(script.get_heads())


def move(
    connection: Connection,
    config: Config,
    script: ScriptDirectory,
    respelling: Respelling,
    revision: str,
    *,
    down: bool = False,
) -> None:
    """Migrate one tenant, in transactions of its own, giving up soon on locks and trying again.

    Args:
        connection: A connection without an open transaction; it is committed, or rolled back if
            something fails.
        config: Alembic's settings.
        script: The project's migrations.
        respelling: From the template to the tenant.
        revision: Where to, as `alembic upgrade` and `alembic downgrade` take it.
        down: Whether this is a downgrade.

    Raises:
        AmbiguousSchema: A statement cannot be respelled for the tenant.
        LockNotGranted: No try got its locks.
    """
    begun: list[str] = []

    def steps(current: Any, _context: Any) -> Any:
        # Private, but it is what alembic.command calls; env.py, which the command would run,
        # knows nothing of tenants.
        find = script._downgrade_revs if down else script._upgrade_revs
        for step in find(revision, current):
            begun[:] = [step.revision.revision]
            yield step

    with EnvironmentContext(config, script, fn=steps, destination_rev=revision) as environment:
        environment.configure(
            connection=connection,
            version_table=VERSION_TABLE,
            version_table_schema=respelling.new,
        )

        def run() -> None:
            with environment.begin_transaction():
                if not has_schema(connection, respelling.new):
                    connection.execute(CreateSchema(respelling.new, if_not_exists=True))
                with respelled(connection, respelling):
                    environment.run_migrations()

        settings = current_settings()
        offline.install()
        with turns.turn(connection.engine, idents.qualify(respelling.new, VERSION_TABLE)):
            try:
                running.patiently(
                    environment.get_context(),
                    connection,
                    run,
                    timeout=settings.lock_timeout,
                    retries=settings.lock_retries,
                )
            except Exception as error:
                error.add_note(_whereabouts(begun, error))
                raise


def has_schema(connection: Connection, name: str) -> bool:
    """Whether a schema is there."""
    query = text("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = :name)")
    return bool(connection.scalar(query, {"name": name}))


@contextmanager
def respelled(connection: Connection, respelling: Respelling) -> Iterator[None]:
    """Respell every statement of a connection; what is not the tenant's is not sent.

    Args:
        connection: The connection.
        respelling: From the template to the tenant.

    Yields:
        None.
    """

    def listener(
        _connection: object,
        _cursor: object,
        statement: str,
        parameters: object,
        context: Any,
        _many: bool,
    ) -> tuple[str, object]:
        plain = bool(context.execution_options.get("no_parameters"))
        by = respelling if plain else _doubled(respelling)
        if not by.concerns(statement):
            return _NOTHING, type(parameters)()
        return by.text(statement), parameters

    event.listen(connection, "before_cursor_execute", listener, retval=True)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", listener)


def _whereabouts(begun: Sequence[str], error: BaseException | None) -> str:
    """Name the revision that failed, and the first line of the statement."""
    place = f"in revision {begun[0]}" if begun else "before the first revision"
    while error is not None:
        if isinstance(error, DBAPIError) and error.statement:
            return f"{place}: {first_line(error.statement)}"
        error = error.__cause__
    return place


def _doubled(by: Respelling) -> Respelling:
    """Spell names as they stand in statements whose percent signs the driver will halve."""
    old, new, history = (each.replace("%", "%%") for each in (by.old, by.new, by.history or ""))
    return Respelling(old, new, history or None)


def _complaint(found: object) -> str | None:
    """Say what is wrong with the settings, or nothing."""
    if not isinstance(found, dict):
        return "there is no [migrations.tenants]"
    unknown = sorted(set(found) - _KEYS)
    if unknown:
        return f"[migrations.tenants] has the unknown key {unknown[0]!r}"
    if not isinstance(found.get("schema"), str) or not found["schema"]:
        return "[migrations.tenants] has no text 'schema'"
    names = found.get("names", [])
    if not isinstance(names, list) or not all(isinstance(each, str) and each for each in names):
        return "'names' in [migrations.tenants] is no list of names"
    if not isinstance(found.get("query", ""), str):
        return "'query' in [migrations.tenants] is no text"
    if ("names" in found) == ("query" in found):
        return "[migrations.tenants] needs either 'names' or 'query'"
    return None
