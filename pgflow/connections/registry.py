"""Names, URLs and credentials into SQLAlchemy engines, one for each database and process."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from sqlalchemy import URL, Connection, Engine, create_engine, event

from pgflow.connections.dsn import Target, is_dsn, read_dsn, read_embedded

# Whoever asks for an engine may ask here where it leads.
from pgflow.connections.places import Description as Description
from pgflow.connections.places import describe as describe
from pgflow.connections.places import describe_open as describe_open
from pgflow.connections.places import known_as, tell_place
from pgflow.connections.settings import find_entry, search_further
from pgflow.errors import BadCredentials, NotAConnection, UnknownConnection

#: What names a database: a connection's name, a connection string, a URL or an engine.
Connectable: TypeAlias = str | URL | Engine

#: Asked for each new connection: a password, or arguments for the driver.
Credentials: TypeAlias = Callable[[], str | Mapping[str, object]]

#: Connections that an engine keeps open; each thread of a flow takes one.
_POOL_SIZE = 5

#: Transaction poolers hand statements of one client to several servers, so none is prepared.
#: The application's name is a fallback: a DSN, a service file or PGAPPNAME may name another.
_CONNECT_ARGS = {"prepare_threshold": None, "fallback_application_name": "pgflow"}


@dataclass(frozen=True)
class _Registered:
    target: Connectable | None
    credentials: Credentials | None
    place: str = ""


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
        BadCredentials: Credentials are given for an engine, which already knows how to connect,
            or they are no function.
        NotAConnection: The name is no text, or what it shall stand for is no database.
    """
    if not isinstance(name, str) or not name or is_dsn(name):
        raise NotAConnection(
            f"register({type(name).__name__}): the first argument is the connection's name, such "
            "as 'warehouse', the second one its URL."
        )
    check_connectable(url, f"register({name!r})")
    _check_credentials(credentials)
    if isinstance(url, Engine):
        _refuse_credentials(credentials)
    caller = sys._getframe(1)
    place = f"register() in {caller.f_code.co_filename}:{caller.f_lineno}"
    with _guard:
        _registered[name] = _Registered(url, credentials, place)


def unregister(name: str) -> None:
    """Forget what was registered for a name; nothing happens if nothing was."""
    with _guard:
        _registered.pop(name, None)


def registered() -> dict[str, str]:
    """Return the names that code has said the database of, and where it was said."""
    return {name: each.place for name, each in _registered.items() if each.target is not None}


def registered_url(name: str) -> URL:
    """Return what a name was registered for, as it is written; nothing is started or opened.

    Args:
        name: One of those that `registered()` returns.
    """
    target = _registered[name].target
    if isinstance(target, Engine):
        return target.url
    return read_dsn(target or "", f"register({name!r})").url


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
    _check_credentials(credentials)
    wanted = target if url is None else url
    password = name = None
    origin = "the given url"
    if isinstance(wanted, str) and not is_dsn(wanted) and url is None:
        name = wanted
        said = _registered.get(wanted, _Registered(None, None))
        credentials = credentials or said.credentials
        origin = f"register({wanted!r})"
        if said.target is not None:
            wanted = said.target
        else:
            try:
                entry = find_entry(wanted, also=registered())
            except UnknownConnection:
                if search_further():
                    return engine(target, credentials=credentials)
                raise
            wanted, password, origin = entry.dsn, entry.password, entry.origin
    if isinstance(wanted, Engine) and not wanted.dialect.is_async:
        _refuse_credentials(credentials)
        return _known(wanted, name)
    if not isinstance(wanted, (str, URL)):
        raise NotAConnection(_not_a_connection(wanted))
    found = _resolve(read_dsn(wanted, origin), origin)
    if password is not None:
        found = Target(found.url.set(password=password), found.secrets)
    return _known(_cached(found, credentials), name)


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


def _check_credentials(given: object) -> None:
    if given is not None and not callable(given):
        raise BadCredentials(
            f"credentials= takes a function without arguments, not {type(given).__name__}: it is "
            "asked for each new connection. A password that stays the same belongs into the URL."
        )


def _refuse_credentials(credentials: Credentials | None) -> None:
    if credentials is not None:
        raise BadCredentials(
            "credentials= is given together with an engine, which already knows how to connect. "
            "Give a URL instead of the engine, or leave credentials= out."
        )


def _resolve(target: Target, origin: str) -> Target:
    """Start the embedded server that a DSN names; other targets are what they are."""
    found = read_embedded(target.url, origin)
    if found is None:
        return target
    # Most processes never use it, and it needs modules that only POSIX has.
    from pgflow.connections.embedded import EmbeddedServer

    name, database = found
    server = EmbeddedServer(name)
    return Target(server.url(database) if database else server.url())


def _known(found: Engine, name: str | None) -> Engine:
    if name is not None:
        known_as(found, name)
    return found


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
    tell_place(created)
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
