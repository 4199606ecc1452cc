"""Facts for a plan: gathered by a preview without a lock, and again by a run under it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pgflow import bookkeeping
from pgflow.connections.places import place
from pgflow.declare.options import nearest
from pgflow.declare.sources import SourceTable
from pgflow.errors import MissingTable, SourceMismatch
from pgflow.plan.batch import cuts_blanks
from pgflow.plan.decision import UNKNOWN, Decision
from pgflow.plan.fit import check_types, fit
from pgflow.plan.spec import Facts, SourceColumn, SourceShape, SyncSpec, TargetColumn
from pgflow.plan.sql import Sql, join, name, sql
from pgflow.run import catalogue, column_facts
from pgflow.run.job import Job
from pgflow.run.lookups import with_links
from pgflow.run.positions.positions import with_watermark
from pgflow.run.session import Session
from pgflow.run.sources.arrival import from_elsewhere
from pgflow.run.sources.origin import Origin
from pgflow.run.zones import with_local_times

_REMEDY = (
    "Run `alembic revision --autogenerate` (if no revision has it yet) and `alembic upgrade head`, "
    "or `pgflow migrate`{}."
)
_IN_SCRIPT = ", or in a script pgflow.create_all(pgflow.metadata)"
_INTEGERS = frozenset({"smallint", "integer", "bigint"})


def require_tables(session: Session, job: Job, *, target: bool = True) -> int:
    """Refuse to run where the target or pgflow's own tables are missing or of another version.

    Args:
        session: The session.
        job: The job.
        target: Whether it matters if nothing but the target is missing.

    Returns:
        The oldest layout that one of pgflow's own tables has.

    Raises:
        MissingTable: One of them is not in the database.
        OtherLayout: pgflow's own tables are too old, or too new.
    """
    wanted = (job.draft.target.label, *job.own_tables)
    comments = catalogue.comments(session, *wanted)
    missing = [table for table, comment in comments.items() if comment is None]
    if missing and (target or {*missing} & {*job.own_tables}):
        raise MissingTable(
            f"{job.pipeline}: the database has no table {' and no table '.join(missing)} "
            f"({place(session.connection)}). {_REMEDY.format(_IN_SCRIPT)}"
        )
    for table in job.own_tables:
        bookkeeping.check_layout(table, comments[table])
    found = (bookkeeping.layout(comments[table]) for table in job.own_tables)
    return min(bookkeeping.VERSION if layout is None else layout for layout in found)


def gather(session: Session, job: Job, source: Sql | SourceTable | Origin) -> SyncSpec:
    """Fill a draft with what the database says.

    Args:
        session: A session; under the target's lock for a run.
        job: The job.
        source: The source.

    Returns:
        The spec with facts, checked against source and target.

    Raises:
        MissingTable: The target lacks a declared column.
        SourceMismatch: The source does not fit the target.
    """
    spec = with_target(session, job.draft)
    if isinstance(source, (Sql, SourceTable)):
        spec = _from_here(session, spec, job, source)
    else:
        spec = from_elsewhere(session, spec, job, source)
    facts = catalogue.target_facts(session, spec)
    empty = UNKNOWN if _goes_on(spec) else catalogue.is_empty(session, spec.scoped_target)
    version = session.connection.dialect.server_version_info
    return replace(
        spec,
        facts=Facts(
            server_version=int(version[0]) if version else spec.facts.server_version,
            target_exists=True,
            target_empty=empty,
            **facts,
        ),
    )


def _goes_on(spec: SyncSpec) -> bool:
    """Tell whether the run goes on from a position: what is in the target then decides nothing.

    Looking would begin a sequential scan, which finds its first row late in a table that has
    mostly dead ones.
    """
    mark = spec.watermark
    return mark is not None and mark.kind != "window" and isinstance(mark.value, str)


def with_target(session: Session, spec: SyncSpec) -> SyncSpec:
    """Take the columns as the database has them; declared ones must all be there.

    Args:
        session: The target's session.
        spec: What is planned.

    Raises:
        MissingTable: One is not.
    """
    real = {c.name: c for c in column_facts.target_columns(session, spec.target.label)}
    session.defaulted = frozenset(name for name, column in real.items() if column.has_default)
    declared = [c.name for c in spec.target.columns]
    missing = [c for c in (*declared, *spec.target.system.names) if c not in real]
    if missing:
        columns = ", ".join(repr(c) for c in missing)
        noun = "column" if len(missing) == 1 else "columns"
        raise MissingTable(
            f"{spec.owner}: table {spec.target.label} has no {noun} {columns}, which the "
            f"declaration has. {_REMEDY.format('')}{_late(spec, missing)}"
        )
    present = tuple(real[c] for c in declared)
    # Columns that only the database has can be delivered too, and may need a value.
    known = {*declared, *spec.target.system.names}
    others = tuple(c for c in real.values() if c.name not in known)
    return replace(spec, target=replace(spec.target, columns=present + others))


def _late(spec: SyncSpec, missing: Sequence[str]) -> str:
    """What else may be to blame for a column that the pipeline, and not the table, declares."""
    if not {*missing} & {*spec.target.system.names}:
        return ""
    return (
        " A pipeline adds such columns to its target's table: a script declares it before it calls "
        "pgflow.create_all()."
    )


def _from_here(session: Session, spec: SyncSpec, job: Job, source: Sql | SourceTable) -> SyncSpec:
    """Describe a source in the target's own database."""
    given = source
    if isinstance(source, SourceTable):
        source = table_query(session, spec, source, job.draft.target.columns)
    spec = _with_source(session, spec, source)
    spec = with_watermark(session, spec, job, source=given)
    spec = fit(with_links(session, with_local_times(session, spec, spec.source.columns)))
    return replace(spec, source=_with_proof(session, spec))


def _with_source(session: Session, spec: SyncSpec, source: Sql) -> SyncSpec:
    fields = session.describe(source, f"read the source of {spec.owner}")
    found = column_facts.source_columns(session, spec.target, fields)
    check_types(spec, found.misfits)
    reads_target = spec.mode == "truncate" and catalogue.reads(session, source, spec.target.label)
    rows = catalogue.rows_if_cheap(session, source)
    shape = SourceShape(
        source,
        found.columns,
        reads_target=reads_target,
        cheap=rows is not None,
        estimated_rows=rows,
    )
    return replace(spec, source=shape)


def table_query(
    session: Session, spec: SyncSpec, source: SourceTable, declared: Sequence[TargetColumn]
) -> Sql:
    """Select the target's columns from a source table, renamed as its `column_map` says.

    Args:
        session: A session.
        spec: What is planned; its target's columns are known.
        source: The table.
        declared: The target's columns as they were declared.

    Returns:
        A query in parentheses. Columns that fill themselves are left out where the source has
        none of that name.

    Raises:
        SourceMismatch: The source lacks a column that the target needs.
    """
    columns = select_list(table_columns(session, spec, source, declared))
    return sql("(SELECT {c} FROM {r})", c=columns, r=name(*source.path))


def select_list(columns: Mapping[str, str]) -> Sql:
    """Return what stands between SELECT and FROM to take the columns that `table_columns` told."""
    pairs = columns.items()
    return join(", ", (sql("{s} AS {t}", s=name(theirs), t=name(mine)) for mine, theirs in pairs))


def table_columns(
    session: Session, spec: SyncSpec, source: SourceTable, declared: Sequence[TargetColumn]
) -> dict[str, str]:
    """Say which columns of the source `table_query` selects, with the same arguments.

    Returns:
        The source's column by the name under which it is taken.
    """
    relation = name(*source.path)
    have = [f.name for f in session.describe(relation, f"read {source.name}")]
    if spec.options.watermark == "horizon":
        have.append("xmin")  # a column that every table has, and no list of columns shows
    # What only the database has is taken where it is found, and missed by nobody.
    known = {c.name for c in declared}
    looked_up = {link.into for link in spec.links}
    wanted = [
        c.name
        for c in spec.target.columns
        if not c.generated and (c.name in known or not c.nullable or c.name in have)
        if c.name not in looked_up
    ]
    needed = (column for link in spec.links for column in link.needs)
    mark = None if spec.watermark is None else spec.watermark.column or None
    for column in (mark, spec.options.incremental_column, spec.options.order_by, *needed):
        if column is not None and column not in wanted:
            wanted.append(column)
    if spec.options.schema_mode == "evolve":
        taken = {source.source_column(column) for column in wanted}
        taken.update(spec.target.system.names)
        wanted += [column for column in have if column not in taken]
    optional = {c.name for c in spec.target.columns if c.has_default}
    found: dict[str, str] = {}
    for column in wanted:
        theirs = source.source_column(column)
        if theirs in have:
            found[column] = theirs
        elif column in source.column_map or column not in optional:
            raise _lacking(spec, source, column, have)
    return found


def _lacking(
    spec: SyncSpec, source: SourceTable, column: str, have: Sequence[str]
) -> SourceMismatch:
    """Say that a source table lacks a column, and how it comes by it."""
    theirs, mark = source.source_column(column), spec.watermark
    if mark is not None and mark.kind == "snapshot" and column == mark.column:
        said = (
            f"watermark='snapshot' goes by {theirs!r}, the column that tells which transaction "
            f"wrote a row, and {source.name} has none of that name. Print the SQL that adds it: "
            f"`pgflow tracking {source.name}`; or name another one by incremental_column=."
        )
    else:
        said = (
            f"{source.name} has no column {theirs!r} for the target's {column!r}."
            f"{nearest(theirs, have)} Name the source's column by column_map={{{column!r}: ...}}, "
            "or write the SELECT in the function's body."
        )
    return SourceMismatch(said, pipeline=spec.owner, target=spec.target.label)


def _type_of(spec: SyncSpec, column: str) -> str:
    columns = spec.source.columns
    found: list[SourceColumn] = list(columns) if isinstance(columns, tuple) else []
    return next((str(c.type) for c in found if c.name == column), "text")


def _with_proof(session: Session, spec: SyncSpec) -> SourceShape:
    if not spec.keys.value or not same_key_types(spec) or spec.options.on_null_key == "match":
        return spec.source
    relation = sql("(SELECT * FROM {s} AS q)", s=spec.source.relation)
    keys = spec.keys.value
    if catalogue.proves_unique(
        session, spec.target.relation, relation, keys, scanned=spec.source.cheap
    ):
        proof = Decision(True, "the planner proves that the source has each key once")
        return replace(spec.source, unique=proof)
    return spec.source


def same_key_types(spec: SyncSpec) -> bool:
    """A cast could make two keys equal that were not; between integers it cannot.

    Neither could a collation to which different bytes are equal, or a length that cuts blanks.
    """
    for key in spec.keys.value:
        source, target = _type_of(spec, key), spec.target.column(key).type
        if not spec.target.column(key).deterministic or cuts_blanks(spec, key):
            return False
        if source != target and not {source, target} <= _INTEGERS:
            return False
    return True
