"""All objects of some schemas, as the server prints them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from pgflow import idents
from pgflow.alembic import dependencies, mentions
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import roles
from pgflow.alembic.literals import literal
from pgflow.alembic.reader import Reader
from pgflow.alembic.registry import KINDS
from pgflow.alembic.snapshot import Snapshot
from pgflow.errors import CatalogueChanging

#: What decides how the server prints things; everything is read under the same.
PRINTING = {
    "search_path": "",
    "quote_all_identifiers": "off",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "lc_monetary": "C",
}

#: How often the catalogue is read, where others change it meanwhile.
_TRIES = 10
#: How the server says that an object is gone that it was about to print.
_VANISHED = frozenset({"XX000", "42P01", "42704", "42883", "3F000", "42703"})


def read(connection: Connection, schemas: Sequence[str]) -> Snapshot:
    """Read all objects of some schemas, and what depends on what.

    Args:
        connection: An open connection; its settings are as before afterwards.
        schemas: The names of the schemas; those that do not exist hold nothing.

    Returns:
        What is there, also what belongs to no schema: roles, extensions.

    Raises:
        CatalogueChanging: Others drop objects of these schemas all the time.
    """
    for _ in range(_TRIES):
        savepoint = connection.begin_nested()
        try:
            found = _read(connection, schemas)
        except DBAPIError as error:
            savepoint.rollback()
            if getattr(error.orig, "sqlstate", None) not in _VANISHED:
                raise
            failure = error
        except BaseException:
            if savepoint.is_active:
                savepoint.rollback()
            raise
        else:
            savepoint.commit()
            return found
    (said, *_) = str(failure.orig).strip().splitlines()
    raise CatalogueChanging(
        f"The objects of {', '.join(map(idents.quote, schemas))} could not be read, because others "
        f"drop some of them meanwhile ({said}). It was tried {_TRIES} times: "
        "wait until they are done, and try again."
    ) from failure


def _read(connection: Connection, schemas: Sequence[str]) -> Snapshot:
    with _printing(connection):
        reader = Reader(connection)
        entities = _entities(reader, schemas)
        edges = dependencies.read(reader, entities)
        return Snapshot(
            version=reader.version,
            entities=entities,
            depends=edges.depends,
            mentions={**mentions.read(entities), **roles.mentions(entities)},
            outsiders=edges.outsiders,
            user=_user(reader),
        )


def tried(
    reader: Reader, schemas: Sequence[str], beside: Mapping[EntityIdentifier, Entity]
) -> Snapshot:
    """Read objects that were only made to be read, in a session that prints names in full.

    Args:
        reader: The database; its settings are `PRINTING`.
        schemas: The schemas in which they are.
        beside: What else there is in the same database.

    Returns:
        What is there and what it needs; not what is mentioned in bodies.
    """
    entities = _entities(reader, schemas)
    depends = dependencies.needs(reader, entities, beside)
    return Snapshot(reader.version, entities, depends, user=_user(reader))


def _entities(reader: Reader, schemas: Sequence[str]) -> dict[EntityIdentifier, Entity]:
    kinds = sorted(KINDS.values(), key=lambda kind: kind.rank)
    return {entity.id: entity for kind in kinds for entity in kind.read(reader, schemas)}


def _user(reader: Reader) -> str:
    user: str = reader.scalar("SELECT current_user::text")
    return user


@contextmanager
def _printing(connection: Connection) -> Iterator[None]:
    names = ", ".join(f"current_setting({literal(name)})" for name in PRINTING)
    before = connection.exec_driver_sql(f"SELECT {names}").one()
    connection.exec_driver_sql(settings(PRINTING))
    try:
        yield
    finally:
        if not _failed(connection):
            connection.exec_driver_sql(settings(dict(zip(PRINTING, before, strict=True))))


def _failed(connection: Connection) -> bool:
    # A failed transaction takes no commands any more, and its end undoes the settings anyway.
    raw = connection.connection.dbapi_connection
    info = getattr(raw, "info", None)
    return getattr(getattr(info, "transaction_status", None), "name", "") == "INERROR"


def settings(values: dict[str, str]) -> str:
    """Return the SQL that gives settings a value until the transaction ends."""
    calls = ", ".join(
        f"set_config({literal(name)}, {literal(value)}, true)" for name, value in values.items()
    )
    return f"SELECT {calls}"
