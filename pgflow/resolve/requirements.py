"""What the factories of a MetaData need of the server, for whoever brings them to a database."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import MetaData

from pgflow.errors import PostgresTooOld
from pgflow.resolve.plugin import Plugin, check_pg_version

_INFO_KEY = "pgflow_requirements"


def note_requirements(metadata: MetaData, owner: str, plugins: Iterable[Plugin]) -> None:
    """Note the plugins of a factory that need a certain server.

    Args:
        metadata: The MetaData that the factory works on.
        owner: The factory, for messages: `SimpleTable 'orders'`.
        plugins: All its plugins.
    """
    needing = tuple(plugin for plugin in plugins if plugin.min_pg_version is not None)
    if needing:
        metadata.info.setdefault(_INFO_KEY, {})[owner] = needing


def check_server(metadata: MetaData, server_version: int | tuple[int, ...]) -> None:
    """Refuse a server that is too old for a plugin of any factory on a MetaData.

    Args:
        metadata: The MetaData.
        server_version: The server's major version, `server_version_info`, or libpq's number.

    Raises:
        PostgresTooOld: A plugin needs a newer server; the message names it and its factory.
    """
    noted: dict[str, tuple[Plugin, ...]] = metadata.info.get(_INFO_KEY, {})
    for owner, plugins in noted.items():
        try:
            check_pg_version(server_version, plugins)
        except PostgresTooOld as error:
            raise PostgresTooOld(
                f"{owner}: {error}",
                required=error.required,
                server_version=error.server_version,
                plugins=error.plugins,
            ) from None
