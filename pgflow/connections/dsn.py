"""Connection strings of every spelling into one: a SQLAlchemy URL for psycopg 3."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import unquote

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from pgflow.errors import MalformedDsn

#: What pgflow speaks to PostgreSQL with.
DRIVER = "postgresql+psycopg"

#: What a URL begins with that names a server of pgflow's own.
EMBEDDED = "embedded"

#: Connection parameters that are secret and have no place of their own in a URL.
_SECRETS = frozenset({"sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"})

_POSTGRES = re.compile(r"postgres(ql)?(\+\w+)?://")
_KEY_VALUE = re.compile(r"\s*[a-z_]+\s*=")

#: What was meant as one of these and is misspelt, such as `postgres//me:secret@host/x`.
_MISSPELT = re.compile(r":[^@]*@|password\s*=", re.IGNORECASE)

#: SQLAlchemy decodes the database's name since 2.1.
_KEEPS_DATABASE_ENCODED = make_url("x:///%20").database == "%20"


@dataclass(frozen=True)
class Target:
    """A database to connect to.

    Attributes:
        url: Its URL; a password stands only where SQLAlchemy hides it.
        secrets: Further secret arguments for the driver.
    """

    url: URL
    secrets: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, hash=False
    )

    @property
    def is_postgres(self) -> bool:
        """Whether it is reached through psycopg 3."""
        return self.url.drivername == DRIVER


def is_dsn(text: str) -> bool:
    """Tell a connection string from a connection's name.

    A misspelt one is none's name either: errors repeat names, and it may hold a password.
    """
    return _is_readable(text) or _MISSPELT.search(text) is not None


def _is_readable(text: str) -> bool:
    return "://" in text or _KEY_VALUE.match(text) is not None


def read_dsn(dsn: str | URL, origin: str = "the given url") -> Target:
    """Read a connection string.

    Args:
        dsn: A `postgres://` or `postgresql://` URL with or without a driver, libpq's `key=value`
            words, or a URL of another database, which is returned as it is.
        origin: Where it came from, for errors.

    Returns:
        The database it names.

    Raises:
        MalformedDsn: It cannot be read. The error does not repeat any part of it.
    """
    if isinstance(dsn, URL):
        return _target(dsn) if _is_postgres(dsn) else Target(dsn)
    text = dsn.strip()
    if not _is_readable(text):
        raise _malformed(origin, "is neither a URL nor key=value words")
    match = _POSTGRES.match(text)
    if "://" in text and not match and not _KEY_VALUE.match(text):
        return Target(_url(text, origin))
    if match is None:
        return _target(_from_libpq(text, origin))
    rest = text[match.end() :]
    several_hosts = "," in rest.partition("/")[0].rpartition("@")[2]
    if several_hosts:
        return _target(_from_libpq(f"postgresql://{rest}", origin))
    return _target(_checked(_url(f"{DRIVER}://{rest}", origin), origin))


def read_embedded(url: URL, origin: str) -> tuple[str, str | None] | None:
    """Read which embedded server a URL names, and which of its databases.

    Args:
        url: Any URL.
        origin: Where it came from, for errors.

    Returns:
        The server's name, and the database's if the URL has one; None for another database's URL.

    Raises:
        MalformedDsn: It names an embedded server in another form than `embedded://name/database`.
    """
    if url.drivername != EMBEDDED:
        return None
    if not url.host or url.username or url.port or url.query:
        raise MalformedDsn(
            f"The connection string from {origin} is not of the form embedded://name or "
            "embedded://name/database. Leave user, port and options out.",
            origin=origin,
        )
    return url.host, url.database or None


def _is_postgres(url: URL) -> bool:
    return _POSTGRES.match(f"{url.drivername}://") is not None


def _target(url: URL) -> Target:
    """Move what is secret out of the query, which SQLAlchemy shows."""
    query = dict(url.query)
    secrets = {key: str(query.pop(key)) for key in sorted(_SECRETS & query.keys())}
    user, password = (query.pop(key, None) for key in ("user", "password"))
    plain = URL.create(
        DRIVER,
        _word(user) or url.username,
        _word(password) or url.password,
        url.host,
        url.port,
        url.database,
        query,
    )
    return Target(plain, MappingProxyType(secrets))


def _word(value: object) -> str | None:
    return None if value is None else str(value)


def _url(text: str, origin: str) -> URL:
    try:
        return make_url(text)
    except ArgumentError:
        problem = "is not a URL"
    except ValueError:
        problem = "has a port that is not a number"
    raise _malformed(origin, problem)


def _checked(url: URL, origin: str) -> URL:
    """Find what an unquoted password spoils, and sockets written in the host's place."""
    host = unquote(url.host or "")
    if "@" in host:
        raise _malformed(origin, "has more than one '@'")
    if _KEEPS_DATABASE_ENCODED and url.database:
        url = url.set(database=unquote(url.database))
    if host.startswith("/"):
        port = {"port": str(url.port)} if url.port else {}
        return url._replace(host=None, port=None).update_query_dict({"host": host, **port})
    return url


def _from_libpq(text: str, origin: str) -> URL:
    try:
        words = {key: str(value) for key, value in conninfo_to_dict(text).items()}
    except ProgrammingError:
        # The driver's message may repeat a part of the password.
        problem = "is not what libpq reads as a connection string"
    else:
        query = {key: words[key] for key in words if key not in ("user", "password", "dbname")}
        if "@" not in query.get("host", ""):
            return URL.create(
                DRIVER,
                words.get("user"),
                words.get("password"),
                None,
                None,
                words.get("dbname"),
                query,
            )
        problem = "has more than one '@'"
    raise _malformed(origin, problem)


def _malformed(origin: str, problem: str) -> MalformedDsn:
    return MalformedDsn(
        f"The connection string from {origin} {problem}. Write "
        "postgresql://user:password@host:5432/database, with '@' in a password as %40, '/' as %2F "
        "and '%' as %25, or host=... dbname=... words.",
        origin=origin,
    )
