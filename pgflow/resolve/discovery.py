"""Extensions of installed packages, found by their entry points when somebody asks for them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from pgflow.errors import ExtensionError
from pgflow.resolve.extension import Extension, arrange

#: Where packages name their extensions.
GROUP = "pgflow.extensions"


def installed_extensions(names: Iterable[str] | None = None) -> tuple[Extension, ...]:
    """Load the extensions of installed packages, each once in a process.

    Args:
        names: Names of entry points in the group `pgflow.extensions`; by default all. What they
            depend on comes along, if an entry point bears its name.

    Returns:
        The extensions, each after those that it depends on.

    Raises:
        ExtensionError: There is none of a name, two packages have one name, one cannot be loaded
            or is no extension, or they do not fit together. The package is named.
    """
    found = _entries()
    left = list(found) if names is None else list(names)
    loaded: dict[str, Extension] = {}
    while left:
        name = left.pop(0)
        if name in loaded:
            continue
        if name not in found:
            raise _unknown(name, tuple(found))
        loaded[name] = _load(found[name])
        left += [other for other in loaded[name].depends_on if other in found]
    return tuple(arrange(loaded.values()))


@cache
def _entries() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise ExtensionError(
                f"two packages have an extension {entry.name!r}: {_package(other)} and "
                f"{_package(entry)}. Remove one of them.",
                extensions=(entry.name,),
            )
    return found


@cache
def _load(entry: EntryPoint) -> Extension:
    where = f"extension {entry.name!r} of {_package(entry)} ({entry.value})"
    try:
        made = entry.load()
        if callable(made) and not isinstance(made, Extension):
            made = made()
    except Exception as error:
        raise ExtensionError(
            f"{where} cannot be loaded: {type(error).__name__}: {error}. Mend or remove the "
            "package, or do not ask for the extension.",
            extensions=(entry.name,),
        ) from error
    if not isinstance(made, Extension):
        raise ExtensionError(
            f"{where} is {made!r}: an entry point names an instance of pgflow.Extension, a "
            "subclass of it, or a function that returns one.",
            extensions=(entry.name,),
        )
    if made.name and made.name != entry.name:
        raise ExtensionError(
            f"{where} calls itself {made.name!r}: give the entry point the same name.",
            extensions=(entry.name, made.name),
        )
    made.name = entry.name
    return made


def _package(entry: EntryPoint) -> str:
    found = entry.dist
    return "an unknown package" if found is None else f"{found.name} {found.version}"


def _unknown(name: str, known: tuple[str, ...]) -> ExtensionError:
    nearest = get_close_matches(name, known, 1)
    meant = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return ExtensionError(
        f"no installed package has an extension {name!r}.{meant} Installed are: "
        f"{', '.join(known) or 'none'}.",
        extensions=(name,),
    )
