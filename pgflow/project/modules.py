"""Importing the modules of a project, and saying in the user's own lines what failed."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType, TracebackType

from pgflow.connections.secrets import conceal
from pgflow.connections.settings import PROJECT_FILE, SettingsFile, project_settings
from pgflow.declare.options import nearest
from pgflow.errors import MalformedSettings, ModuleFailed, NoModules, PgflowError

#: What stands in `pgflow.toml` above the sections.
_KEYS = ("modules", "observers", "on_failure", "extensions")

#: Where code is that users did not write.
_FOREIGN = tuple(
    f"{directory}{os.sep}"
    for directory in (
        Path(__file__).parents[1],
        *(sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib")),
    )
)


def load_modules(names: Sequence[str] | str | None = None) -> tuple[ModuleType, ...]:
    """Import the modules of a project.

    Args:
        names: Module names, or paths that end in `.py`, or a single one. By default `modules` in
            `pgflow.toml` of the working directory, or of its nearest parent that has one.

    Returns:
        The modules. Names are looked for beside `pgflow.toml` (or, without it, in the working
        directory), then where Python looks; that directory stays on `sys.path`, because a
        pipeline's function may import from it when it runs.

    Raises:
        NoModules: Nothing names a module.
        MalformedSettings: `modules` is no list of names.
        ModuleFailed: A module is not found, or raises while it is imported.
    """
    settings = project_settings()
    root = settings.path.parent if settings else Path.cwd()
    given = (names,) if isinstance(names, str) else names
    wanted = listed_modules(settings) if given is None else _checked(given)
    if not wanted:
        raise NoModules(_nothing_named(settings))
    _search(root)
    if names is not None:
        _search(Path.cwd())
    said = f"{settings.path}: modules names {{!r}}, but " if settings and names is None else ""
    return tuple(_load(name, root, said.format(name)) for name in wanted)


def _checked(given: object) -> tuple[str, ...]:
    """Refuse what holds no names of modules, such as the pipelines themselves."""
    names = tuple(given) if isinstance(given, Iterable) else (given,)
    for name in names:
        if not isinstance(name, str) or not name:
            raise NoModules(
                f"{name!r} is no name of a module. Give names such as ['pipelines'], or paths that "
                "end in .py."
            )
    return names


def listed_modules(settings: SettingsFile | None) -> tuple[str, ...]:
    """Return what `modules` in a settings file says.

    Args:
        settings: The file, or None.

    Raises:
        MalformedSettings: It is no list of names.
    """
    if settings is None:
        return ()
    _refuse_unknown_keys(settings)
    listed = settings.data.get("modules", [])
    if not isinstance(listed, list) or not all(isinstance(m, str) and m for m in listed):
        raise MalformedSettings(
            f'{settings.path}: modules is no list of names. Write modules = ["pipelines"] '
            "above the first [section].",
            path=str(settings.path),
        )
    return tuple(listed)


def _refuse_unknown_keys(settings: SettingsFile) -> None:
    """Refuse lines that nobody reads; sections of others may stand there too."""
    for key, value in settings.data.items():
        if key not in _KEYS and not isinstance(value, dict):
            raise MalformedSettings(
                f"{settings.path}: {key!r} is no setting of pgflow.{nearest(key, _KEYS)} "
                f"The settings are {', '.join(_KEYS)}, and [connections.NAME]; what belongs to "
                "other programs stands in sections of their own.",
                path=str(settings.path),
            )


def _nothing_named(settings: SettingsFile | None) -> str:
    where = (
        f"{settings.path} has no modules"
        if settings
        else f"there is no {PROJECT_FILE} in {Path.cwd()} or above it"
    )
    return (
        f"no module to look for pipelines in: {where}. "
        f'Write modules = ["pipelines"] into {PROJECT_FILE}, or give --module NAME.'
    )


def _search(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))


def _load(name: str, root: Path, said: str) -> ModuleType:
    """Import one module; what it raises becomes a sentence, behind who has named the module."""
    try:
        if name.endswith(".py"):
            return _load_file(name, said)
        importlib.invalidate_caches()
        return importlib.import_module(name)
    except ModuleFailed:
        raise
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise ModuleFailed(
                f"{said}there is no module {name!r}: looked in {root}, then where Python looks. "
                "Correct the name, or give a path that ends in .py.",
                module=name,
                place=None,
            ) from None
        raise _failed(name, error) from error
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error


def _load_file(name: str, said: str) -> ModuleType:
    path = Path(name).expanduser().resolve()
    if not path.is_file():
        raise ModuleFailed(
            f"{said}there is no file {path}. Correct the path.", module=name, place=None
        )
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path):
            return module
    _search(path.parent)
    return _execute(path, path.stem if path.stem not in sys.modules else f"{path.stem} ({path})")


def _execute(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Registered before it runs, as `import` does: annotations are looked up there.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _failed(name: str, error: BaseException) -> ModuleFailed:
    place = user_place(error)
    what = str(error) if isinstance(error, PgflowError) else in_words(error)
    where = f"\n  at {place}" if place else ""
    return ModuleFailed(
        f"module {name!r} cannot be imported: {what}{where}", module=name, place=place
    )


def in_words(error: BaseException) -> str:
    """Return an exception as the last line of a traceback shows it."""
    if isinstance(error, SystemExit):
        return "it ends the program (SystemExit); put that under if __name__ == '__main__'"
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    return "".join(traceback.format_exception_only(error)).strip()


def user_place(error: BaseException) -> str | None:
    """Say where in the user's own code an error arose.

    Args:
        error: A caught exception.

    Returns:
        File, line and source of the innermost frame outside pgflow and installed packages. A
        password that the source spells out is not repeated.
    """
    if isinstance(error, SyntaxError) and error.filename:
        text = f" `{conceal(error.text.strip())}`" if error.text else ""
        return f"{error.filename}:{error.lineno}{text}"
    own = [frame for frame in _frames(error.__traceback__) if _is_users(frame.filename)]
    if not own:
        return None
    text = f" `{conceal(own[-1].line)}`" if own[-1].line else ""
    return f"{own[-1].filename}:{own[-1].lineno}{text}"


def _frames(trace: TracebackType | None) -> list[traceback.FrameSummary]:
    return list(traceback.extract_tb(trace))


def _is_users(filename: str) -> bool:
    return not filename.startswith(("<", *_FOREIGN))
