"""`pgflow grants`: the SQL that gives a migrator, a loader and a reader what they need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Engine

from pgflow.alembic.rights import Relation, Roles, Section, Work, needed
from pgflow.cli.failures import OK
from pgflow.cli.output import Output
from pgflow.connections.registry import engine
from pgflow.declare.checks import Relationship
from pgflow.declare.options import SyncOptions
from pgflow.errors import PgflowError
from pgflow.factories.pipeline import Pipeline
from pgflow.plugins.row_checks import parent_table
from pgflow.plugins.sync_keys import CHECKS
from pgflow.project.order import Relation as Place
from pgflow.project.order import looks_up, reads, writes
from pgflow.project.project import Project
from pgflow.project.reading import reading

#: The modes that never write a row that is there.
_INSERTING = ("append", "truncate")
#: The modes that delete only if they are told to.
_UPDATING = ("merge", "scd1")


def show_grants(
    output: Output, connection: str, modules: Sequence[str] | None, roles: Roles
) -> int:
    """Write the statements that a database's owner runs for some roles.

    Args:
        output: Where to.
        connection: The database.
        modules: What `--module` said.
        roles: Who gets rights.

    Returns:
        `OK`.
    """
    project = Project.load(modules or None)
    database = engine(connection)
    with database.connect() as conn:
        default = conn.dialect.default_schema_name or "public"
        work = _work(project.pipelines.values(), connection, database, default)
        sections = needed(conn, project.metadatas, roles, work)
        conn.rollback()
    for number, section in enumerate(sections):
        for line in (*([""] if number else []), *_lines(section)):
            output.line(line)
    return OK


def _lines(section: Section) -> Iterator[str]:
    yield f"-- {section.title}."
    for remark in section.remarks:
        yield f"-- {remark}"
    for statement in section.statements:
        yield f"{statement};"


def _work(pipelines: Iterable[Pipeline], connection: str, database: Engine, default: str) -> Work:
    """Gather what pipelines do in one database."""
    written: dict[Relation, set[str]] = defaultdict(set)
    read: set[Relation] = set()
    remarks = []
    for pipeline in pipelines:
        targets = zip(writes(pipeline), pipeline.spec.targets, strict=True)
        for (declared, schema, name), target in targets:
            if _is_same(declared, connection, database):
                written[schema or default, name] |= _privileges(target.options)
        for declared, schema, name in (*reads(pipeline), *looks_up(pipeline), *_refers(pipeline)):
            if _is_same(declared, connection, database):
                read.add((schema or default, name))
        if not reading(pipeline).complete:
            remarks.append(
                f"{pipeline.name} reads what its function says: grant SELECT on that as well."
            )
    return Work(
        {relation: frozenset(rights) for relation, rights in written.items()}, read, remarks
    )


def _refers(pipeline: Pipeline) -> Iterator[Place]:
    """Give the tables that checks look into, which are beside the targets."""
    for (declared, _, _), target in zip(writes(pipeline), pipeline.sync_targets, strict=True):
        for check in (*(target.sync_target.options.checks or ()), *target.ctx[CHECKS]):
            if isinstance(check, Relationship):
                table = parent_table(check)
                yield declared, table.schema, table.name


def _privileges(options: SyncOptions) -> set[str]:
    """Return what a pipeline needs on its target."""
    found = {"SELECT", "INSERT"}
    if options.mode not in _INSERTING:
        found.add("UPDATE")
    updating = options.mode in _UPDATING and options.handle_deletes != "hard"
    if options.mode != "append" and not updating:
        found.add("DELETE")
    if options.mode == "truncate" and options.replace != "delete" and options.scope is None:
        found.add("TRUNCATE")
    return found


def _is_same(declared: Any, connection: str, database: Engine) -> bool:
    """Tell whether what a pipeline calls its connection is the database at hand."""
    if declared == connection:
        return True
    try:
        return engine(declared).url == database.url
    except PgflowError:
        # A connection that cannot be used here cannot be this one, which can.
        return False
