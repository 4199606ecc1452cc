"""Sources in the target's own database, read once: what each target is given of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgflow.declare.sources import SourceTable
from pgflow.plan.sql import Sql, name, sql
from pgflow.run import catalogue
from pgflow.run.facts import table_columns, with_target
from pgflow.run.job import Job
from pgflow.run.session import Session
from pgflow.run.sharing.kept import Kept, Offer, attempted


def whole(source: Sql | SourceTable) -> Sql:
    """Return a source with all of its columns, to stand after FROM.

    Args:
        source: The source.
    """
    if isinstance(source, SourceTable):
        return sql("(SELECT * FROM {t})", t=name(*source.path))
    return source


def offers_here(
    session: Session, source: Sql | SourceTable, kept: Kept, jobs: Mapping[int, Job]
) -> tuple[Sql, dict[int, Offer]]:
    """Say what is to be kept of a source, and what each target is given of it.

    What the source proves of its keys is asked before it is read: its tables cannot lose or change
    a constraint until the transaction ends.

    Args:
        session: The session.
        source: The source.
        kept: The table that the rows will be in.
        jobs: The targets, by their place in the pipeline.

    Returns:
        The rows to keep, to stand after FROM, and the offers. A target to which the source does
        not fit gets none; it finds out why by itself.
    """
    lists = {place: _columns(session, source, job) for place, job in jobs.items()}
    fitting = {place: columns for place, columns in lists.items() if columns is not None}
    same = len({str(columns) for columns in fitting.values()}) == 1
    original = whole(source)
    if isinstance(source, SourceTable) and same:
        original = _picked(next(iter(fitting.values())), name(*source.path))
    proofs: dict[tuple[str, ...], bool] = {}
    offers: dict[int, Offer] = {}
    for place, columns in fitting.items():
        keys = jobs[place].draft.keys.value
        own = original if same else _picked(columns, original)
        if keys not in proofs:
            proofs[keys] = _proves(session, own, keys)
        rows = _picked(sql("*") if same else columns, kept.relation)
        offers[place] = Offer(rows, proofs[keys], original=own)
    return original, offers


def _columns(session: Session, source: Sql | SourceTable, job: Job) -> Sql | None:
    """The select list by which a target takes its columns from the source; None if it cannot."""
    if not isinstance(source, SourceTable):
        return sql("*")
    found: list[Sql] = []
    with attempted(session):
        spec = with_target(session, job.draft)
        found.append(table_columns(session, spec, source, job.draft.target.columns))
    return found[0] if found else None


def _picked(columns: Sql, relation: Sql) -> Sql:
    return sql("(SELECT {c} FROM {r} AS q)", c=columns, r=relation)


def _proves(session: Session, rows: Sql, keys: Sequence[str]) -> bool:
    """Ask the planner whether no two rows can share these keys."""
    proofs: list[bool] = []
    with attempted(session):
        proofs.append(bool(keys) and catalogue.proves_unique(session, rows, rows, keys))
    return proofs == [True]
