"""`pgflow tenants`: one declaration in many schemas."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from pgflow import idents
from pgflow.alembic.concealment import concealed
from pgflow.alembic.tenants import Tenancy, main_is_current, move, position
from pgflow.cli.alembic_files import alembic_config
from pgflow.cli.failures import FAILED, OK, sentence
from pgflow.cli.output import Output
from pgflow.connections.registry import engine
from pgflow.connections.settings import project_settings
from pgflow.observe.listing import Listing


@dataclass(frozen=True)
class _Place:
    """Where the tenants are, and what migrates them."""

    engine: Engine
    config: Config
    script: ScriptDirectory
    tenancy: Tenancy

    @classmethod
    def find(cls, connection: str, config: Path | None) -> _Place:
        tenancy = Tenancy.read(project_settings())
        alembic = alembic_config(config)
        return cls(engine(connection), alembic, ScriptDirectory.from_config(alembic), tenancy)

    def tenants(self) -> tuple[str, ...]:
        with self.engine.connect() as connection:
            return self.tenancy.tenants(connection)


def show_tenants(output: Output, connection: str, config: Path | None, *, as_json: bool) -> int:
    """Write which revision each tenant has."""
    place = _Place.find(connection, config)
    with place.engine.connect() as conn:
        found = [position(conn, place.script, name) for name in place.tenancy.tenants(conn)]
    if as_json:
        output.json(
            [
                {
                    "tenant": each.tenant,
                    "exists": each.exists,
                    "revisions": list(each.revisions),
                    "pending": each.pending,
                }
                for each in found
            ]
        )
        return OK
    rows = tuple(
        (
            each.tenant,
            ", ".join(each.revisions) or ("none" if each.exists else "no schema"),
            str(each.pending),
        )
        for each in found
    )
    output.listing(Listing(("tenant", "revision", "pending"), rows, frozenset({"pending"})))
    return OK


def move_tenants(
    output: Output,
    connection: str,
    config: Path | None,
    revision: str,
    only: Sequence[str] | None,
    *,
    down: bool,
) -> int:
    """Migrate tenants one after the other, and list at the end those that failed.

    Returns:
        `FAILED` if one failed.

    Raises:
        typer.BadParameter: `--only` names a tenant that there is not.
    """
    place = _Place.find(connection, config)
    tenants = place.tenants()
    unknown = [name for name in only or () if name not in tenants]
    if unknown:
        raise typer.BadParameter(
            f"there is no tenant {unknown[0]!r}. There are: {', '.join(tenants) or 'none'}."
        )
    chosen = [name for name in tenants if not only or name in only]
    if not chosen:
        output.note("There are no tenants.")
    return _move_each(output, place, chosen, revision, down=down)


def add_tenant(output: Output, connection: str, config: Path | None, name: str) -> int:
    """Make the schema of a new tenant.

    Raises:
        typer.BadParameter: The name is that of the template.
    """
    place = _Place.find(connection, config)
    name = idents.truncate(name)
    if name == place.tenancy.template:
        raise typer.BadParameter(f"{name!r} is the schema that the migrations are written for.")
    code = _move_each(output, place, [name], "heads", down=False)
    if code == OK and name not in place.tenants():
        where = "names" if place.tenancy.query is None else "what query gives"
        output.note(
            f"{name} is not among the tenants yet: add it to {where} in [migrations.tenants], or "
            "it misses the next migration."
        )
    return code


def _move_each(
    output: Output, place: _Place, tenants: Iterable[str], revision: str, *, down: bool
) -> int:
    tenants = list(tenants)
    failed: dict[str, Exception] = {}
    for number, tenant in enumerate(tenants, 1):
        begun = time.perf_counter()
        try:
            what = _move(place, tenant, revision, down=down)
        except Exception as error:  # whatever befalls one tenant must not stop the others
            failed[tenant] = error
            what = "failed"
        seconds = time.perf_counter() - begun
        output.line(f"[{number}/{len(tenants)}] {tenant}: {what} ({seconds:.2f} s)")
    for tenant, reason in failed.items():
        output.error(f"{tenant}: {_told(reason)}", reason)
    if failed:
        _advise(output, place, failed, len(tenants), down=down)
    return FAILED if failed else OK


def _move(place: _Place, tenant: str, revision: str, *, down: bool) -> str:
    """Migrate one tenant, and say in words from where to where."""
    with place.engine.connect() as connection:
        before = position(connection, place.script, tenant).revisions
        connection.rollback()
        by = place.tenancy.respelling(tenant)
        move(connection, place.config, place.script, by, revision, down=down)
        after = position(connection, place.script, tenant).revisions
    if before == after:
        return f"is at {_words(after)}"
    return f"{_words(before)} -> {_words(after)}"


def _advise(
    output: Output, place: _Place, failed: Iterable[str], total: int, *, down: bool
) -> None:
    names = list(failed)
    output.note(
        f"{total - len(names)} of {total} tenants are done. Not done: {', '.join(names)}. What "
        "failed is rolled back. Run the command again once the cause is gone."
    )
    with place.engine.connect() as connection:
        if not down and not main_is_current(connection, place.script):
            output.note(
                "The database itself is not at the newest revision. What tenants share is made "
                "there: run alembic upgrade head first."
            )


def _told(reason: Exception) -> str:
    """Say what went wrong, in which revision and with which statement."""
    what = sentence(reason)
    if isinstance(reason, DBAPIError):
        # The server quotes the line of a migration that it stumbled over.
        what = concealed(what)
    notes = (note for note in getattr(reason, "__notes__", ()) if note not in what)
    return "\n  ".join([what, *notes])


def _words(revisions: Sequence[str]) -> str:
    return ", ".join(revisions) or "base"
