"""`pgflow export`."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pgflow.cli.failures import OK
from pgflow.cli.output import Output
from pgflow.connections.settings import project_settings
from pgflow.errors import FilesExist
from pgflow.project.project import Project
from pgflow.schedule.export.airflow import airflow
from pgflow.schedule.export.definitions import Definition, Place, definitions
from pgflow.schedule.export.prefect import prefect
from pgflow.schedule.export.systemd import systemd

_WRITERS: Mapping[str, Callable[[Sequence[Definition], Place], Mapping[str, str]]] = {
    "airflow": airflow,
    "prefect": prefect,
    "systemd": systemd,
}


_BEGIN = re.compile(r'^BEGIN = datetime\.fromisoformat\("([-+:.\dT]+)"\)', re.MULTILINE)


def export_schedules(
    output: Output,
    scheduler: str,
    names: tuple[str, ...],
    modules: Sequence[str] | None,
    directory: Path,
    *,
    since: datetime | None,
    force: bool,
) -> int:
    """Write the schedules of pipelines as another scheduler reads them.

    Args:
        output: Where to say what was written.
        scheduler: Whose definitions.
        names: Pipelines; all that have a schedule if there are none.
        modules: What `--module` said.
        directory: Where to; made if it is not there.
        since: What fired before is not made up for. By default what a file that is written over
            says, or now.
        force: Whether files that are there are written over.

    Raises:
        CannotExport: A schedule cannot be said exactly; nothing was written.
        FilesExist: A file is there; nothing was written.
    """
    project = Project.load(modules or None)
    chosen = project.select(names) if names else project.on_schedule
    given = definitions(chosen)
    place = replace(_place(modules), written=directory.resolve())
    files = _WRITERS[scheduler](given, replace(place, begin=since or _begun(directory)))
    known = tuple(name for name in files if (directory / name).exists())
    if known and not force:
        raise FilesExist(
            f"{', '.join(known)} in {directory} exists, so nothing was written. Give --force to "
            "write over it.",
            directory=str(directory),
            files=known,
        )
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
        output.line(str(directory / name))
    left = [p.name for p in chosen if p.name not in {each.name for each in given}]
    if left:
        output.note(f"left out, as they have no schedule: {', '.join(left)}")
    return OK


def _begun(directory: Path) -> datetime:
    """Return since when Airflow has made up for what was missed: it is to go on where it is."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        found = _BEGIN.search((directory / "pgflow_dags.py").read_text(encoding="utf-8"))
        if found:
            return datetime.fromisoformat(found[1])
    return datetime.now(UTC)


def _place(modules: Sequence[str] | None) -> Place:
    settings = project_settings()
    directory = Path.cwd() if settings is None else Path(settings.path).parent
    command = shutil.which("pgflow", path=str(Path(sys.executable).parent)) or "pgflow"
    there = directory.resolve()
    return Place(there, command, tuple(_seen_from(there, each) for each in modules or ()))


def _seen_from(directory: Path, module: str) -> str:
    """Return a module as it is called in the project's directory; files may be said from here."""
    if not module.endswith(".py"):
        return module
    path = Path(module).resolve()
    return str(path.relative_to(directory) if path.is_relative_to(directory) else path)
