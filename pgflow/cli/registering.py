"""Importing the project's modules for the connections that they register."""

from __future__ import annotations

from collections.abc import Sequence

from pgflow.cli.output import Output
from pgflow.connections.settings import project_settings
from pgflow.errors import PgflowError


def import_modules(output: Output, modules: Sequence[str] | None) -> None:
    """Import the project's modules, which may say by register() what a name stands for.

    Args:
        output: Where it is said that a module cannot be imported; the command goes on.
        modules: What `--module` said, or None for those that the project lists.
    """
    try:
        settings = project_settings()
        if not modules and (settings is None or not settings.data.get("modules")):
            return
        from pgflow.project.modules import load_modules

        load_modules(modules or None)
    except PgflowError as error:
        output.note(f"what the project's modules register is not known: {error}")
