"""Where a project's Alembic files are."""

from __future__ import annotations

from pathlib import Path

import typer
from alembic.config import Config

from pgflow.connections.settings import project_settings


def alembic_config(given: Path | None) -> Config:
    """Return Alembic's settings for the project in which a command was called.

    Args:
        given: The file, if the user names one; else `alembic.ini` beside `pgflow.toml`.

    Raises:
        typer.BadParameter: There is no such file.
    """
    if given is None:
        settings = project_settings()
        given = (settings.path.parent if settings else Path.cwd()) / "alembic.ini"
    if not given.is_file():
        raise typer.BadParameter(
            f"there is no {given}. Name Alembic's settings with --config FILE, or begin a project "
            "with pgflow init."
        )
    return Config(str(given))
