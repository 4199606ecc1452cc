"""`pgflow evolve`: what a source has gained goes into the declaration, then into a migration."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from pgflow.cli.alembic_files import alembic_config
from pgflow.cli.failures import FAILED, OK
from pgflow.cli.output import Output
from pgflow.declare.body import bind_parameters
from pgflow.errors import CannotEvolve, SchemaEvolved
from pgflow.project.evolution import Growth, Rewriting, by_hand, rewrite
from pgflow.project.project import Project


@dataclass(frozen=True)
class Request:
    """What a user asks of `pgflow evolve`.

    Attributes:
        name: The pipeline.
        parameters: Its run parameters.
        config: Alembic's settings; None for those of the project.
        dry_run: Whether the lines are only shown.
    """

    name: str
    parameters: Mapping[str, object]
    config: Path | None
    dry_run: bool


def evolve_pipeline(output: Output, request: Request, modules: Sequence[str] | None) -> int:
    """Change the declaration of a pipeline's targets, and have Alembic write the migration.

    Args:
        output: Where it says what it does.
        request: What is asked for.
        modules: What `--module` said.

    Returns:
        `FAILED` if a declaration can only be changed by hand, or the migration not be written.

    Raises:
        CannotEvolve: The pipeline has not asked for it, or the database is behind its migrations.
    """
    pipeline = Project.load(modules or None).pipeline(request.name)
    grown = _grown(pipeline, request.parameters)
    if not grown:
        output.line(f"Nothing to do: the source of {request.name} has gained nothing.")
        return OK
    growths: dict[type, Growth] = {}
    for target, found in grown:
        declared = target.sync_target.table
        if not isinstance(declared, type):
            return _explain(output, target, found)
        growths.setdefault(declared, Growth(declared, found.added, found.widened))
    rewritings = rewrite(growths.values())
    for each in rewritings:
        output.line(f"{each.path}:")
        for line in each.lines:
            output.line(f"  {line}")
    if request.dry_run:
        output.note("dry run: nothing was written")
        return OK
    return _write(output, request, grown, rewritings)


def _grown(pipeline: Any, given: Mapping[str, object]) -> list[tuple[Any, SchemaEvolved]]:
    body = pipeline.spec.body
    known = body.parameters if body is not None else ()
    values = bind_parameters(known, given, f"pipeline {pipeline.name!r}")
    found = []
    for target in pipeline.sync_targets:
        if target.sync_target.options.schema_mode != "evolve":
            continue
        try:
            target.inspect(values)
        except SchemaEvolved as error:
            found.append((target, error))
    modes = {target.sync_target.options.schema_mode for target in pipeline.sync_targets}
    if "evolve" not in modes:
        raise CannotEvolve(
            f"pipeline {pipeline.name!r} takes no columns that its source gains: give it "
            "schema_mode='evolve'."
        )
    return found


def _explain(output: Output, target: Any, found: SchemaEvolved) -> int:
    output.error(
        f"{target.target_label} is declared by a factory, so its columns are yours to write:"
    )
    for line in by_hand(found.added, found.widened):
        output.line(f"  {line}")
    output.note('Then: alembic revision --autogenerate -m "evolve", alembic upgrade head')
    return FAILED


def _write(
    output: Output,
    request: Request,
    grown: Sequence[tuple[Any, SchemaEvolved]],
    rewritings: Sequence[Rewriting],
) -> int:
    """Write the declaration and the migration, or neither."""
    config = alembic_config(request.config)
    script = ScriptDirectory.from_config(config)
    for target, _ in grown:
        _refuse_behind(target, script)
    before = _files(script)
    columns = [c for _, found in grown for c in (*found.added, *found.widened)]
    message = f"evolve {request.name}: {', '.join(columns)}"
    for each in rewritings:
        each.write()
    written: list[str] = []
    try:
        done = _alembic(Path(str(config.config_file_name)), message)
        written = sorted(_files(script) - before)
    finally:
        if not written:
            for each in rewritings:
                each.undo()
    for path in written:
        output.line(f"wrote {path}")
    if not written or done.returncode != 0:
        output.error(
            "Alembic has complained, so look at it first:"
            if written
            else "the migration could not be written, and the declaration is as it was:"
        )
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        for line in lines[-5:]:
            output.note(f"  {line}")
        return FAILED
    output.line("Read it, then:")
    output.line("  alembic upgrade head")
    return OK


def _refuse_behind(target: Any, script: ScriptDirectory) -> None:
    with target.target_engine().connect() as connection:
        heads = set(MigrationContext.configure(connection).get_current_heads())
    if heads != set(script.get_heads()):
        raise CannotEvolve(
            f"{target.target_label}: the database is at revision {', '.join(sorted(heads)) or '-'}"
            f", the newest is {', '.join(sorted(script.get_heads())) or '-'}. Run alembic upgrade "
            "head first."
        )


def _files(script: ScriptDirectory) -> set[str]:
    return {
        str(p) for d in script.version_locations or [script.versions] for p in Path(d).glob("*.py")
    }


def _alembic(config: Path, message: str) -> subprocess.CompletedProcess[str]:
    """Run Alembic in a process of its own, which reads the declaration as it is now."""
    return subprocess.run(  # noqa: S603  # our own words, and no shell
        [
            *(sys.executable, "-m", "alembic", "-c", str(config)),
            *("revision", "--autogenerate", "-m", message),
        ],
        cwd=config.parent,
        capture_output=True,
        text=True,
        check=False,
    )
