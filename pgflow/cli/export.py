"""`pgflow export`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
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


def export_schedules(
    output: Output,
    scheduler: str,
    names: tuple[str, ...],
    modules: Sequence[str] | None,
    directory: Path,
    *,
    force: bool,
) -> int:
    """Write the schedules of pipelines as another scheduler reads them.

    Args:
        output: Where to say what was written.
        scheduler: Whose definitions.
        names: Pipelines; all that have a schedule if there are none.
        modules: What `--module` said.
        directory: Where to; made if it is not there.
        force: Whether files that are there are written over.

    Raises:
        CannotExport: A schedule cannot be said exactly; nothing was written.
        FilesExist: A file is there; nothing was written.
    """
    project = Project.load(modules or None)
    chosen = project.select(names) if names else project.in_order
    given = definitions(chosen)
    files = _WRITERS[scheduler](given, _place(modules))
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


def _place(modules: Sequence[str] | None) -> Place:
    settings = project_settings()
    directory = Path.cwd() if settings is None else Path(settings.path).parent
    command = shutil.which("pgflow", path=str(Path(sys.executable).parent)) or "pgflow"
    return Place(directory.resolve(), command, tuple(modules or ()))
