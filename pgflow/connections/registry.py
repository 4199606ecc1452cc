"""Names, URLs and credentials into SQLAlchemy engines, one for each database and process."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event

from pgflow.connections.dsn import Target, is_dsn, read_dsn
from pgflow.connections.settings import find_entry
from pgflow.errors import BadCredentials, MalformedDsn, NotAConnection

#: What names a database: a connection's name, a connection string, a URL or an engine.
Connectable: TypeAlias = str | URL | Engine

#: Asked for each new connection: a password, or arguments for the driver.
Credentials: TypeAlias = Callable[[], str | Mapping[str, object]]

#: Connections that an engine keeps open; each thread of a flow takes one.
_POOL_SIZE = 5

#: Transaction poolers hand statements of one client to several servers, so none is prepared.
#: The application's name is a fallback: a DSN, a service file or PGAPPNAME may name another.
_CONNECT_ARGS = {"prepare_threshold": None, "fallback_application_name": "pgflow"}

_EMBEDDED = "embedded"


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


@dataclass(frozen=True)
class _Registered:
    target: Connectable | None
    credentials: Credentials | None


_registered: dict[str, _Registered] = {}
_engines: dict[tuple[Target, Credentials | None], Engine] = {}
_made: WeakKeyDictionary[Engine, tuple[Target, Credentials | None]] = WeakKeyDictionary()
_guard = threading.RLock()


def register(
    name: str, url: Connectable | None = None, *, credentials: Credentials | None = None
) -> None:
    """Say in code what a connection's name stands for, or who gives its credentials.

    Args:
        name: The connection's name. What was registered for it before is replaced.
        url: The database; it wins over variables and files. Without it the name is looked up as
            usual, and only the credentials come from here.
        credentials: A callable without arguments, asked for each new connection. It returns a
            password, or a mapping of arguments for the driver.

    Raises:
        BadCredentials: Credentials are given for an engine, which already knows how to connect.
    """
    if isinstance(url, Engine):
        _refuse_credentials(credentials)
    with _guard:
        _registered[name] = _Registered(url, credentials)


def unregister(name: str) -> None:
    """Forget what was registered for a name; nothing happens if nothing was."""
    with _guard:
        _registered.pop(name, None)


def engine(
    target: Connectable = "default",
    *,
    url: str | URL | None = None,
    credentials: Credentials | None = None,
) -> Engine:
    """Return the engine of a database; the same one whenever it is asked for in this process.

    Args:
        target: A connection's name, a connection string, a URL, or an engine, which is returned.
        url: The database, given explicitly; then `target` is not looked up.
        credentials: As in `register()`; an engine belongs to its credentials.

    Returns:
        An engine with up to five idle connections, each tested before it is handed out. For
        PostgreSQL it uses psycopg 3 and prepares no statements.

    Raises:
        UnknownConnection: No place knows the name.
        NotAConnection: This is something else, such as an open connection or an async engine.
        MalformedDsn: The connection string cannot be read.
        MalformedSettings: A settings file is broken.
        UnsetVariable: The entry uses a variable that is not set.
        BadCredentials: Credentials are given for an engine.
    """
    wanted = target if url is None else url
    password = None
    origin = "the given url"
    if isinstance(wanted, str) and not is_dsn(wanted) and url is None:
        registered = _registered.get(wanted, _Registered(None, None))
        credentials = credentials or registered.credentials
        origin = f"register({wanted!r})"
        if registered.target is not None:
            wanted = registered.target
        else:
            entry = find_entry(wanted)
            wanted, password, origin = entry.dsn, entry.password, entry.origin
    if isinstance(wanted, Engine) and not wanted.dialect.is_async:
        _refuse_credentials(credentials)
        return wanted
    if not isinstance(wanted, (str, URL)):
        raise NotAConnection(_not_a_connection(wanted))
    found = _resolve(read_dsn(wanted, origin), origin)
    if password is not None:
        found = Target(found.url.set(password=password), found.secrets)
    return _cached(found, credentials)


def connect(
    target: Connectable = "default",
    *,
    url: str | URL | None = None,
    credentials: Credentials | None = None,
) -> Connection:
    """Open a connection; use it in a `with` statement, which closes it.

    Args:
        target: As in `engine()`.
        url: As in `engine()`.
        credentials: As in `engine()`.

    Returns:
        A SQLAlchemy connection; nothing is committed unless you say so.

    Raises:
        UnknownConnection: As `engine()` does, and so do its other errors.
        sqlalchemy.exc.OperationalError: The server cannot be reached, or refuses.
    """
    return engine(target, url=url, credentials=credentials).connect()


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


def driver_arguments(engine: Engine) -> dict[str, Any]:
    """Return what psycopg is given to connect to where an engine leads, for those who do so alone.

    Args:
        engine: An engine that `engine()` made. Of others only the URL is known.

    Returns:
        Arguments for the driver, secrets among them; credentials are asked for anew.
    """
    target, credentials = _made.get(engine, (Target(engine.url), None))
    _, found = engine.dialect.create_connect_args(target.url)
    arguments = {**found, **_CONNECT_ARGS, **target.secrets}
    if credentials is not None:
        _asking(credentials)(None, None, (), arguments)
    return arguments


def dispose() -> None:
    """Close every idle connection of this process; engines open new ones when they need them."""
    with _guard:
        for each in _engines.values():
            each.dispose()
        _engines.clear()


def check_connectable(given: object, owner: str) -> None:
    """Refuse what can never lead to a database, before anybody connects.

    Args:
        given: A connection's name, a connection string, a URL, an engine, or None.
        owner: Who was given it, for the message.

    Raises:
        NotAConnection: It is something else.
    """
    if given is not None and not isinstance(given, (str, URL, Engine)):
        raise NotAConnection(f"{owner}: {_not_a_connection(given)}")


def _not_a_connection(given: object) -> str:
    """Say what to give in the place of something that names no database."""
    found = type(given).__name__
    if isinstance(given, Engine):
        found = f"the engine of an async driver ({given.url.drivername})"
    return (
        f"{found} is no connection. Give a connection's name, a URL, or a SQLAlchemy Engine that "
        "create_engine() made. An open connection joins its own transaction by "
        "sync(connection=...); asyncio awaits a run by sync_async()."
    )


def _words(value: str | tuple[str, ...] | None) -> str | None:
    return ",".join(value) if isinstance(value, tuple) else value


def _refuse_credentials(credentials: Credentials | None) -> None:
    if credentials is not None:
        raise BadCredentials(
            "credentials= is given together with an engine, which already knows how to connect. "
            "Give a URL instead of the engine, or leave credentials= out."
        )


def _resolve(target: Target, origin: str) -> Target:
    """Start the embedded server that a DSN names; other targets are what they are."""
    url = target.url
    if url.drivername != _EMBEDDED:
        return target
    if not url.host or url.username or url.port or url.query:
        raise MalformedDsn(
            f"The connection string from {origin} is not of the form embedded://name or "
            "embedded://name/database. Leave user, port and options out.",
            origin=origin,
        )
    # Most processes never use it, and it needs modules that only POSIX has.
    from pgflow.connections.embedded import EmbeddedServer

    server = EmbeddedServer(url.host)
    return Target(server.url(url.database) if url.database else server.url())


def _cached(target: Target, credentials: Credentials | None) -> Engine:
    with _guard:
        found = _engines.get((target, credentials))
        if found is None:
            found = _engines[target, credentials] = _create(target, credentials)
        return found


def _create(target: Target, credentials: Credentials | None) -> Engine:
    if target.is_postgres:
        created = create_engine(
            target.url,
            connect_args={**_CONNECT_ARGS, **target.secrets},
            pool_size=_POOL_SIZE,
            # A round trip (35 µs on a socket) that spares a run the connection that a restart
            # or a firewall has closed since.
            pool_pre_ping=True,
        )
    else:
        created = create_engine(target.url)
    _made[created] = (target, credentials)
    if credentials is not None:
        event.listen(created, "do_connect", _asking(credentials))
    return created


def _asking(credentials: Credentials) -> Callable[..., None]:
    """Return the listener that asks for credentials before each new connection."""

    def listener(_dialect: object, _record: object, _args: object, kwargs: dict[str, Any]) -> None:
        given: object = credentials()
        if isinstance(given, str):
            kwargs["password"] = given
        elif isinstance(given, Mapping):
            kwargs.update(given)
        else:
            raise BadCredentials(
                f"The credentials callable {_named(credentials)} returned "
                f"{type(given).__name__!r}. Return a password as text, or a mapping of "
                "connection arguments."
            )

    return listener


def _named(function: Callable[..., object]) -> str:
    return repr(getattr(function, "__qualname__", type(function).__name__))


def _after_fork() -> None:
    """Leave the parent's connections alone: two processes on one connection garble both."""
    global _guard  # another thread of the parent may hold it for ever
    _guard = threading.RLock()
    for each in _engines.values():
        each.dispose(close=False)
    _engines.clear()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(dispose)
