"""How the targets of a preview would share a reading: what each would plan with, and what is kept.

A preview keeps nothing. It asks what it has to know of the source itself, and then plans with the
table that the rows would be kept in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pgflow.declare.sources import SourceTable
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, sql
from pgflow.plan.staging import STAGE
from pgflow.plan.statement import Plan, Statement
from pgflow.run.job import Job
from pgflow.run.session import Session
from pgflow.run.sharing.here import offers_here
from pgflow.run.sharing.kept import Kept, Offer, attempted, keeping
from pgflow.run.sharing.origins import KeptOrigin, groups
from pgflow.run.sources.origin import Origin

#: The table that the rows would be kept in; a run adds a random number to its name.
FORESEEN = Kept(datetime.max.replace(tzinfo=UTC), 0, name="pgflow_source")


@dataclass(frozen=True)
class Foresight:
    """How one target would take its part in a reading that is shared.

    Attributes:
        places: The places in the pipeline of the targets that share it.
        asked: What is asked for facts, instead of the source as it was found.
        offer: What the target is given of what is kept; None for one that reads the source and
            has its rows kept when they have come.
        made: The statements that keep the rows, for the target that reads them.
        rows: The planner's estimate of them.
    """

    places: tuple[int, ...]
    asked: Sql | KeptOrigin | None = None
    offer: Offer | None = None
    made: tuple[Statement, ...] = ()
    rows: int | None = None

    def planned_with(self, spec: SyncSpec) -> SyncSpec:
        """Read what would be kept where the source was asked for facts.

        Args:
            spec: What is planned, with its facts.
        """
        offer = self.offer
        if offer is None or offer.original is None:
            return spec
        relation = _replaced(spec.source.relation, offer.original, offer.source)
        shape = replace(
            spec.source,
            relation=relation,
            reads_target=False,
            # A table of the run's own, and the planner has been told what is in it.
            cheap=True,
            estimated_rows=self.rows,
        )
        return replace(spec, source=shape)


def foresee_here(
    session: Session, source: Sql | SourceTable, jobs: Mapping[int, Job], place: int
) -> Foresight | None:
    """Foresee how targets share a source in their own database.

    Args:
        session: The target's session.
        source: The source; it is worth being kept.
        jobs: The targets that may share, by their place in the pipeline.
        place: The place of the one that is looked at.

    Returns:
        None if it reads the source for itself.
    """
    rows, offers, estimate = sql(""), dict[int, Offer](), 0
    with attempted(session):
        rows, found = offers_here(session, source, FORESEEN, jobs)
        estimate = _estimate(session, rows)
        offers = found
    mine = offers.get(place)
    if mine is None or len(offers) < 2:
        return None
    made: Sequence[Statement] = ()
    if place == min(offers):
        made = keeping(FORESEEN, rows, lasting=True, measured=True)
    return Foresight(tuple(offers), mine.original, mine, tuple(made), estimate)


def foresee_elsewhere(
    session: Session, origin: Origin, jobs: Mapping[int, Job], place: int
) -> Foresight | None:
    """Foresee the same of a source that is elsewhere; the arguments are those of `foresee_here`."""
    zoned = origin.session is not None
    kept = replace(FORESEEN, label=origin.label, path=origin.path, zoned=zoned)
    group = next(each for each in groups(session, origin, kept, jobs) if place in each)
    if len(group) < 2:
        return None
    offer = group[place]
    if offer is None:
        return Foresight(tuple(group), made=keeping(kept, STAGE, lasting=True, measured=False))
    return Foresight(tuple(group), KeptOrigin(kept, offer, session), offer)


def with_kept(plan: Plan, made: Sequence[Statement]) -> Plan:
    """Add what keeps the rows to a plan: at its begin, or after the rows have come.

    Args:
        plan: The plan of the target that reads the source.
        made: The statements that keep the rows.
    """
    fed = [at for at, each in enumerate(plan.prepare, 1) if each.feed is not None]
    at = fed[0] if fed else 0
    return replace(plan, prepare=(*plan.prepare[:at], *made, *plan.prepare[at:]))


def _estimate(session: Session, rows: Sql) -> int:
    explain = sql("EXPLAIN (FORMAT JSON) SELECT * FROM {r} AS s", r=rows)
    answer = session.run(explain, "estimate how many rows would be kept").rows[0]
    return int(answer["QUERY PLAN"][0]["Plan"]["Plan Rows"])


def _replaced(text: Sql, old: Sql, new: Sql) -> Sql:
    """Put one fragment in the place of another inside a third."""
    parts, wanted = text.parts, old.parts
    for at in range(len(parts) - len(wanted) + 1):
        if parts[at : at + len(wanted)] == wanted:
            return Sql((*parts[:at], *new.parts, *parts[at + len(wanted) :]))
    return text
