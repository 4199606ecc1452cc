"""Who watches every run of a project, as `observers` and `on_failure` in `pgflow.toml` say."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterable
from typing import Any

from pgflow.connections.settings import SettingsFile
from pgflow.declare.hook import check_hook
from pgflow.declare.options import nearest
from pgflow.errors import InvalidOption, MalformedSettings, ModuleFailed
from pgflow.factories.pipeline import Pipeline
from pgflow.observe.failure import Hook
from pgflow.project.modules import load_modules
from pgflow.run.events import Observer


class ProjectWatch:
    """The observers and the hook of a project, made when the first run begins.

    Args:
        settings: The project's `pgflow.toml`.
    """

    def __init__(self, settings: SettingsFile) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._observers: tuple[Observer, ...] | None = None
        self._hook: Hook | None = None
        # A line that cannot be right is refused with the project, not by the first run.
        self._names, self._hook_name = _names(settings), _hook_name(settings)

    def observers(self) -> tuple[Observer, ...]:
        """Return who watches every run."""
        with self._lock:
            if self._observers is None:
                self._observers = tuple(self._observer(name) for name in self._names)
            return self._observers

    def on_failure(self) -> Hook | None:
        """Return what is called for failed runs of pipelines that name nothing themselves."""
        with self._lock:
            if self._hook is None and self._hook_name is not None:
                self._hook = self._find_hook(self._hook_name)
            return self._hook

    def _observer(self, name: str) -> Observer:
        made = self._made(name)
        if not hasattr(made, "finished"):
            raise MalformedSettings(
                f"{self._settings.path}: observers names {name!r}, which gives {made!r}, and that "
                "is no observer. Name a class, or a function without arguments that makes one; "
                "pgflow.run.events.Silence is the class to inherit from.",
                path=str(self._settings.path),
            )
        observer: Observer = made
        return observer

    def _made(self, name: str) -> Any:
        found = self._find(name, "observers")
        if not callable(found):
            return found
        try:
            inspect.signature(found).bind()
        except TypeError:
            raise MalformedSettings(
                f"{self._settings.path}: observers names {name!r}, which cannot be called without "
                "arguments. Name a function that makes the observer.",
                path=str(self._settings.path),
            ) from None
        except ValueError:  # what is written in C may hide its signature
            pass
        return found()

    def _find_hook(self, name: str) -> Hook:
        found: Hook = self._find(name, "on_failure")
        try:
            check_hook(found, str(self._settings.path))
        except InvalidOption as error:
            raise MalformedSettings(str(error), path=str(self._settings.path)) from None
        return found

    def _find(self, name: str, key: str) -> Any:
        """Import what a text of the form module:attribute names."""
        module_name, _, attribute = name.partition(":")
        try:
            (module,) = load_modules([module_name])
        except ModuleFailed as error:
            raise ModuleFailed(
                f"{self._settings.path}: {key} names {name!r}, but {error}",
                module=error.module,
                place=error.place,
            ) from error.__cause__
        found = getattr(module, attribute, None)
        if found is None:
            raise MalformedSettings(
                f"{self._settings.path}: {key} names {name!r}, but {module_name} has no "
                f"{attribute!r}.{nearest(attribute, vars(module))}",
                path=str(self._settings.path),
            )
        return found


def attach(pipelines: Iterable[Pipeline], settings: SettingsFile | None) -> None:
    """Let the observers and the hook of a project watch its pipelines.

    Args:
        pipelines: The pipelines.
        settings: The project's `pgflow.toml`, or None.

    Raises:
        MalformedSettings: `observers` or `on_failure` has the wrong shape.
    """
    watch = None if settings is None else ProjectWatch(settings)
    for pipeline in pipelines:
        pipeline.watch = watch


def _names(settings: SettingsFile) -> tuple[str, ...]:
    listed = settings.data.get("observers", [])
    if not isinstance(listed, list) or not all(_is_reference(each) for each in listed):
        raise MalformedSettings(
            f"{settings.path}: observers is no list of the form "
            f'["module:Class", "module:function"]: {listed!r}. Write it above the first [section].',
            path=str(settings.path),
        )
    return tuple(listed)


def _hook_name(settings: SettingsFile) -> str | None:
    name = settings.data.get("on_failure")
    if name is not None and not _is_reference(name):
        raise MalformedSettings(
            f'{settings.path}: on_failure is not of the form "module:function": {name!r}.'
            f"{_dotted(name)} Write it above the first [section].",
            path=str(settings.path),
        )
    return name


def _dotted(name: object) -> str:
    """Respell a name that has a dot where the colon stands."""
    if not isinstance(name, str) or ":" in name or "." not in name:
        return ""
    module, _, attribute = name.rpartition(".")
    return f' Did you mean "{module}:{attribute}"?'


def _is_reference(text: object) -> bool:
    if not isinstance(text, str):
        return False
    module, _, attribute = text.partition(":")
    return bool(module) and attribute.isidentifier()
