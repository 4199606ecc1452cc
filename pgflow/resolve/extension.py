"""Bundles of plugins and hooks that belong together, such as everything about one API server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import MetaData

from pgflow.errors import ExtensionError
from pgflow.resolve.wiring import PluginSource


@dataclass(kw_only=True)
class Extension:
    """A named bundle that a `Config` takes into use.

    Make one directly, or subclass it (also as a dataclass of your own) and give the fields
    other defaults.

    Attributes:
        name: How other extensions and messages call it.
        plugins: Plugins for every factory under the configuration.
        depends_on: Names of the extensions whose plugins and hooks come first.
        alembic: Called when Alembic is configured, or None.
        cli: Called with the command line's application, or None.
    """

    name: str = ""
    plugins: Sequence[PluginSource] = ()
    depends_on: Sequence[str] = ()
    alembic: Callable[[Any], object] | None = None
    cli: Callable[[Any], object] | None = None

    def configure_metadata(self, metadata: MetaData) -> None:
        """Put onto the MetaData what the extension needs there; nothing unless overridden.

        Args:
            metadata: The MetaData that the configuration was attached to.
        """


def arrange(extensions: Iterable[Extension]) -> list[Extension]:
    """Order extensions so that each comes after those it depends on.

    Args:
        extensions: All extensions of a configuration; ties keep this order.

    Returns:
        The same extensions, ordered.

    Raises:
        ExtensionError: One is no extension or has no name, two have one name, one depends on
            a name that is not there, or they depend on each other in a circle.
    """
    waiting = _by_name(extensions)
    _check_dependencies(waiting)
    done: dict[str, Extension] = {}
    while waiting:
        ready = [name for name, one in waiting.items() if all(d in done for d in one.depends_on)]
        if not ready:
            raise _cycle(waiting)
        done[ready[0]] = waiting.pop(ready[0])
    return list(done.values())


def _by_name(extensions: Iterable[Extension]) -> dict[str, Extension]:
    named: dict[str, Extension] = {}
    for extension in extensions:
        if not isinstance(extension, Extension):
            raise ExtensionError(
                f"{extension!r} is no extension: give an instance of pgflow.Extension or of a "
                "subclass of it."
            )
        if not extension.name:
            raise ExtensionError(
                f"An extension of class {type(extension).__name__} has no name: give it one, as "
                'in Extension(name="audit").'
            )
        if extension.name in named:
            raise ExtensionError(
                f"Extension {extension.name!r} is used twice: use it once, or give the second "
                "another name.",
                extensions=(extension.name,),
            )
        named[extension.name] = extension
    return named


def _check_dependencies(named: dict[str, Extension]) -> None:
    for name, extension in named.items():
        if isinstance(extension.depends_on, str):
            raise ExtensionError(
                f"Extension {name!r} has depends_on={extension.depends_on!r}: write a list of "
                "names.",
                extensions=(name,),
            )
        absent = [other for other in extension.depends_on if other not in named]
        if absent:
            listed = ", ".join(repr(other) for other in absent)
            raise ExtensionError(
                f"Extension {name!r} depends on {listed}, which is not in use. Use it first, or "
                "both in one call: config.use(first, second).",
                extensions=(name, *absent),
            )


def _cycle(waiting: dict[str, Extension]) -> ExtensionError:
    chain = [next(iter(waiting))]
    while len(set(chain)) == len(chain):
        chain.append(next(d for d in waiting[chain[-1]].depends_on if d in waiting))
    chain = chain[chain.index(chain[-1]) :]
    return ExtensionError(
        f"Extensions depend on each other: {' -> '.join(chain)}. Remove one of the dependencies.",
        extensions=tuple(chain),
    )
