"""Commands of installed extensions that a project's `pgflow.toml` names."""

from __future__ import annotations

from typing import Any

from pgflow.connections.settings import project_settings
from pgflow.errors import ExtensionError, MalformedSettings


def add_extension_commands(app: Any) -> None:
    """Let the extensions that `extensions = [...]` names add their commands.

    Args:
        app: The command line.

    Raises:
        ExtensionError: An extension cannot be loaded, its hook fails, or it has a command whose
            name is taken.
        MalformedSettings: `extensions` is no list of names.
    """
    for extension in _named():
        if extension.cli is None:
            continue
        taken = _commands(app)
        try:
            extension.cli(app)
        except Exception as error:
            raise ExtensionError(
                f"extension {extension.name!r} cannot add its commands: "
                f"{type(error).__name__}: {error}. Mend or remove its package, or take it out of "
                "extensions in pgflow.toml.",
                extensions=(extension.name,),
            ) from error
        _check_names(extension.name, taken, _commands(app))


def _named() -> tuple[Any, ...]:
    try:
        settings = project_settings()
    except MalformedSettings:
        return ()  # the command says so, if it needs the file
    named = [] if settings is None else settings.data.get("extensions", [])
    if settings is None or named == []:
        return ()
    if not isinstance(named, list) or not all(isinstance(each, str) for each in named):
        raise MalformedSettings(
            f"{settings.path}: 'extensions' is no list of names. Write for instance "
            'extensions = ["audit"].',
            path=str(settings.path),
        )
    from pgflow.resolve.discovery import installed_extensions

    try:
        return installed_extensions(named)
    except ExtensionError as error:
        raise ExtensionError(
            f"{settings.path}: extensions names {named!r}, but {error}", extensions=error.extensions
        ) from error.__cause__


def _commands(app: Any) -> list[str]:
    """The names of all commands and groups."""
    own = [
        each.name or each.callback.__name__.replace("_", "-") for each in app.registered_commands
    ]
    return [*own, *(each.name or each.typer_instance.info.name for each in app.registered_groups)]


def _check_names(extension: str, taken: list[str], now: list[str]) -> None:
    for name in now[:]:
        if now.count(name) > taken.count(name) and name in taken:
            raise ExtensionError(
                f"extension {extension!r} has a command {name!r}, and there is one already. The "
                "extension has to give it another name.",
                extensions=(extension,),
            )
