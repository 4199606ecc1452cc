"""Where connections lead, in words that hold no secret: for previews, the history and errors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any
from weakref import WeakKeyDictionary, ref

import psycopg
from sqlalchemy import Connection, Engine, event

#: The names by which engines were asked for; several may lead to one database.
_names: WeakKeyDictionary[Engine, dict[str, None]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Description:
    """Where an engine leads, without anything secret.

    Attributes:
        dialect: The kind of database, such as `postgresql`.
        host: The host, several separated by commas, or the socket's directory; None if not given.
        port: The port or ports; None if not given.
        database: The database's name; None if not given.
        user: The user's name; None if not given.
        service: The entry of libpq's service file that says the rest, or None.
    """

    dialect: str
    host: str | None
    port: str | None
    database: str | None
    user: str | None
    service: str | None = None

    def __str__(self) -> str:
        hosts = self.host.split(",") if self.host else []
        ports = self.port.split(",") if self.port else []
        pairs = zip_longest(hosts, ports[: len(hosts)], fillvalue="")
        where = ",".join(f"{host}:{port}" if port else host for host, port in pairs)
        parts = [
            f"database {self.database!r}" if self.database else self._unnamed,
            f"at {where}" if where else "",
            f"as {self.user}" if self.user else "",
        ]
        return f"{self.dialect} " + " ".join(part for part in parts if part)

    @property
    def _unnamed(self) -> str:
        return f"service {self.service!r}" if self.service else "the default database"


def describe(engine: Engine) -> Description:
    """Say where an engine leads: host, database and user, never a password.

    Args:
        engine: Any engine.

    Returns:
        The description; `str()` of it is one line.
    """
    url = engine.url
    return Description(
        dialect=engine.dialect.name,
        host=url.host or _words(url.query.get("host")),
        port=str(url.port) if url.port else _words(url.query.get("port")),
        database=url.database,
        user=url.username,
        service=_words(url.query.get("service")),
    )


def describe_open(connection: Connection) -> Description:
    """Say where an open connection really leads, whoever said so: URL, service file or variable.

    Args:
        connection: A connection. Of databases other than PostgreSQL only the URL is known.

    Returns:
        The description, complete for PostgreSQL.
    """
    said = describe(connection.engine)
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        return said
    info = driver.info
    several = "," in (said.host or "")
    return replace(
        said,
        host=said.host or info.host or None,
        port=said.port if said.port or several else str(info.port),
        database=info.dbname,
        user=info.user,
    )


def known_as(engine: Engine, name: str) -> None:
    """Note that an engine is the one of a connection's name.

    Args:
        engine: The engine.
        name: The connection's name.
    """
    _names.setdefault(engine, {})[name] = None


def place(where: Engine | Connection) -> str:
    """Say which connection this is and where it leads, for messages about what was found there.

    Args:
        where: An engine, or an open connection, of which more is known.

    Returns:
        Such as `connection 'default': postgresql database 'dw' at localhost:5432 as loader`.
    """
    found = where if isinstance(where, Engine) else where.engine
    said = describe(where) if isinstance(where, Engine) else describe_open(where)
    return f"{_named(found)}{said}"


def tell_place(engine: Engine) -> None:
    """Have errors of connecting carry a note that says which connection it was.

    Args:
        engine: The engine; whoever else listens for `do_connect` has to come before.
    """
    own = ref(engine)  # an engine that nobody has any more shall go at once

    def connect(dialect: Any, _record: object, args: Any, kwargs: dict[str, Any]) -> object:
        try:
            return dialect.connect(*args, **kwargs)
        except dialect.dbapi.Error as error:
            found = own()
            if found is not None:
                error.add_note(place(found))
            raise

    event.listen(engine, "do_connect", connect)


def _named(engine: Engine) -> str:
    names = _names.get(engine)
    return f"connection {' or '.join(map(repr, names))}: " if names else ""


def _words(value: str | tuple[str, ...] | None) -> str | None:
    return ",".join(value) if isinstance(value, tuple) else value
