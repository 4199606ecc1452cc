"""Which embedded server a connection leads to, found out without starting it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import URL

from pgflow.connections.dsn import is_dsn, read_dsn, read_embedded
from pgflow.connections.embedded import EmbeddedServer
from pgflow.connections.postmaster import SUPERUSER
from pgflow.connections.registry import registered, registered_url
from pgflow.connections.settings import find_entry
from pgflow.errors import NotEmbedded


@dataclass(frozen=True)
class EmbeddedConnection:
    """A connection that leads to an embedded server.

    Attributes:
        server: The server.
        database: The database's name.
    """

    server: EmbeddedServer
    database: str

    @classmethod
    def find(cls, connection: str) -> EmbeddedConnection:
        """Look a connection up.

        Args:
            connection: Its name, or `embedded://name/database`.

        Raises:
            NotEmbedded: It leads elsewhere.
            UnknownConnection: No place knows the name; other errors are those of `find_entry()`.
            MalformedDsn: It cannot be read.
            InvalidServerName: The server's name has characters that no server's name has.
        """
        url, origin = _read(connection)
        found = read_embedded(url, origin)
        if found is None:
            shown = url.render_as_string(hide_password=True)
            given = is_dsn(connection)
            subject = "The given url" if given else f"The connection {connection!r} of {origin}"
            raise NotEmbedded(
                f"{subject} leads to {shown}. pgflow starts and stops only servers of its own: "
                "give a connection whose dsn is embedded://NAME/DATABASE, or that URL itself.",
                connection=origin if given else connection,
                leads_to=shown,
            )
        name, database = found
        return cls(EmbeddedServer(name), database or SUPERUSER)


def _read(connection: str) -> tuple[URL, str]:
    """Return where a connection leads as it is written, and who says so."""
    if is_dsn(connection):
        return read_dsn(connection).url, "the given url"
    said = registered().get(connection)
    if said is not None:
        return registered_url(connection), said
    entry = find_entry(connection, also=registered())
    return read_dsn(entry.dsn, entry.origin).url, entry.origin
