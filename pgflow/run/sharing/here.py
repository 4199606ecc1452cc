"""Sources in the target's own database, read once: what each target is given of the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pgflow.declare.sources import SourceTable
from pgflow.plan.sql import Sql, join, name, sql
from pgflow.run import catalogue
from pgflow.run.facts import select_list, table_columns, with_target
from pgflow.run.job import Job
from pgflow.run.session import Session
from pgflow.run.sharing.kept import Kept, Offer, attempted


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
    found = {place: _columns(session, source, job) for place, job in jobs.items()}
    lists = {place: columns for place, columns in found.items() if columns is not None}
    original = _original(source, lists.values())
    proofs: dict[tuple[tuple[str, ...], str], bool] = {}
    offers: dict[int, Offer] = {}
    for place, columns in lists.items():
        taken = select_list(columns) if columns else sql("*")
        own = _picked(taken, original) if columns else original
        asked = jobs[place].draft.keys.value, str(own)
        if asked not in proofs:
            proofs[asked] = _proves(session, own, asked[0])
        offers[place] = Offer(_picked(taken, kept.relation), proofs[asked], original=own)
    return original, offers


def _original(source: Sql | SourceTable, lists: Iterable[Mapping[str, str]]) -> Sql:
    """The source, to stand after FROM: of a table, what some target takes."""
    if not isinstance(source, SourceTable):
        return source
    taken = dict.fromkeys(theirs for columns in lists for theirs in columns.values())
    listed = join(", ", (name(each) for each in taken)) if taken else sql("*")
    return _picked(listed, name(*source.path))


def _columns(session: Session, source: Sql | SourceTable, job: Job) -> Mapping[str, str] | None:
    """The source's columns by the target's names for them; None if the source does not fit.

    Of a query, which is taken as it is, there are none.
    """
    if not isinstance(source, SourceTable):
        return {}
    found: list[Mapping[str, str]] = []
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
