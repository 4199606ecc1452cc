"""The parts that the targets of a pipeline have in one reading of its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from pgflow.declare.sources import SourceTable
from pgflow.plan.decision import Decision
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql
from pgflow.plan.staging import STAGE
from pgflow.plan.statement import Plan, Statement
from pgflow.run.events import Observer, RunStarted
from pgflow.run.execution import Execution
from pgflow.run.facts import same_key_types
from pgflow.run.job import Job
from pgflow.run.result import READ_BY
from pgflow.run.session import Session
from pgflow.run.sharing import origins
from pgflow.run.sharing.foresight import Foresight, foresee_elsewhere, foresee_here, with_kept
from pgflow.run.sharing.here import offers_here
from pgflow.run.sharing.kept import (
    GONE,
    POOLED,
    Kept,
    Offer,
    attempted,
    keep,
    keeping,
    missing,
    moment,
)
from pgflow.run.sharing.origins import OTHER_COLUMNS, KeptOrigin, RecordedOrigin
from pgflow.run.sharing.reading import Locate, Reading
from pgflow.run.sources.ends import Located
from pgflow.run.sources.origin import Origin, OriginColumn

#: The subject under which a run's details say how the source was read.
READING = "reading"

_LAST = "no target that follows can take the same rows"
_BY_ITSELF = "the function did the work itself"
_FUNCTION = "the function uses its connection, so that each target's transaction calls it"


def _nothing() -> None:
    """Need nothing to be done: what was kept stays with its transaction."""


@dataclass
class Share:
    """What the targets of one run of a pipeline share.

    Attributes:
        jobs: The targets that may share, by their place in the pipeline.
        refused: Why the others do not, by theirs.
        lasting: Whether what is kept outlives a transaction; where one holds all of the targets,
            the caller's or a dry run's, it need not.
        connected: Whether the pipeline's function takes connections.
        save: Is called when rows were kept that must stay, whatever becomes of the target.
        why: Why an earlier target has kept nothing, where the source is to blame.
        kept: What is kept at present.
        names: The temporary tables that were made.
        failed: The targets that failed, by their place.
    """

    jobs: Mapping[int, Job]
    refused: Mapping[int, str] = field(default_factory=dict)
    lasting: bool = True
    connected: bool = False
    save: Callable[[], None] = _nothing
    why: str = ""
    kept: list[Kept] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    failed: set[int] = field(default_factory=set)

    def for_target(self, place: int) -> Kept | None:
        """Return what is kept for a target.

        Args:
            place: Its place.
        """
        return next((each for each in reversed(self.kept) if place in each.offers), None)

    def unserved(self, place: int) -> dict[int, Job]:
        """Return the targets after one that nothing is kept for.

        Args:
            place: Its place.
        """
        return {
            at: job for at, job in self.jobs.items() if at > place and self.for_target(at) is None
        }

    def forget(self, place: int) -> None:
        """Forget what a target has kept in an attempt before, which was rolled back.

        Args:
            place: Its place.
        """
        self.kept = [each for each in self.kept if each.reader != place]

    def clear(self) -> None:
        """Forget everything: the tables are dropped."""
        self.kept.clear()
        self.names.clear()

    def add(self, kept: Kept) -> None:
        """Remember what was kept; its transaction may yet be rolled back.

        Args:
            kept: That.
        """
        self.save()
        self.kept.append(kept)
        self.names.append(kept.name)

    def reader(self, kept: Kept) -> int:
        """Return the place of the target whose count of rows read is that of the reading.

        Args:
            kept: What is kept. Where the target that read it has failed, another one counts it.
        """
        return min({kept.reader, *kept.offers} - self.failed)


@dataclass
class Part(Reading):
    """One target's part.

    Attributes:
        share: What is shared.
        place: The target's place in the pipeline, from 0.
    """

    share: Share
    place: int
    _said: str = ""
    _reader: str = ""
    _taken: Offer | None = None
    _made: tuple[Statement, ...] = ()
    _sight: Foresight | None = None
    _keep: Callable[[Session, Sequence[Statement]], str] = field(init=False, repr=False)

    # -- running ----------------------------------------------------------------------

    def locate(
        self, session: Session, locate: Locate, observer: Observer, run: RunStarted
    ) -> Located:
        """Take what an earlier target has kept, or read the source and keep it; see `Reading`."""
        self._taken, self._made, self._reader = None, (), ""
        self._keep = partial(keep, observer=observer, run=run)
        self.share.forget(self.place)
        self._alone(self.share.refused.get(self.place, self.share.why or _LAST))
        if self.place in self.share.refused:
            return locate()
        kept = self.share.for_target(self.place)
        if kept is not None:
            why = missing(session, kept, self.share.jobs[self.place])
            if not why:
                reader = self.share.reader(kept)
                if reader != self.place:
                    self._reader = self.share.jobs[reader].draft.target.label
                return self._from_kept(session, kept, kept.offers[self.place])
            self._alone(why)
            if why == GONE:
                self.share.kept.remove(kept)
        elif any(self.place in each.refused for each in self.share.kept):
            self._alone(OTHER_COLUMNS)
        later = self.share.unserved(self.place)
        if not later:
            return locate()
        when = moment(session)
        found = locate()
        if when.pooled and self.share.lasting:
            self._blame(POOLED)
            return found
        return self._reading(session, found, Kept(when.at, self.place, path=found.path), later)

    def fitted(self, spec: SyncSpec) -> SyncSpec:
        """Plan with what was known of the source when it was read; see `Reading`."""
        offer = self._taken
        if offer is None:
            return spec
        if offer.columns:
            return origins.staged_again(spec, offer)
        if not offer.proven or spec.options.on_null_key == "match" or not same_key_types(spec):
            return spec
        proof = Decision(True, "the planner proves that the source has each key once")
        return replace(spec, source=replace(spec.source, unique=proof))

    def noted(self, done: Execution) -> Execution:
        """Say how the source was read; see `Reading`."""
        done.details[READING] = self._said
        if self._reader:
            done.details[READ_BY] = self._reader
        if self._made:
            done.plan = with_kept(done.plan, self._made)
        return done

    def _from_kept(self, session: Session, kept: Kept, offer: Offer) -> Located:
        self._taken, self._said = offer, _spoken(_once(1 + len(kept.offers)))
        if offer.columns:
            return Located(KeptOrigin(kept, offer, session), kept.path)
        return Located(offer.source, kept.path)

    def _reading(
        self, session: Session, found: Located, kept: Kept, later: Mapping[int, Job]
    ) -> Located:
        """Have the rows of a source kept: now, or when they come from elsewhere."""
        source = found.source
        if isinstance(source, Mapping):
            self._blame(_BY_ITSELF)
            return found
        if self.share.connected and found.used:
            self._blame(_FUNCTION)
            return found
        if isinstance(source, Origin):
            kept = replace(kept, label=source.label, zoned=source.session is not None)
            recorded = RecordedOrigin(source, self._recorder(source, kept, later))
            return replace(found, source=recorded)
        mine = self._kept_here(session, source, kept, later)
        return found if mine is None else mine

    def _kept_here(
        self, session: Session, source: Sql | SourceTable, kept: Kept, later: Mapping[int, Job]
    ) -> Located | None:
        """Keep the rows of a source in this database, and read them there too."""
        jobs = {self.place: self.share.jobs[self.place], **later}
        offers: dict[int, Offer] = {}
        # What is wrong with the source, the run finds out as it always does.
        with attempted(session):
            rows, offers = offers_here(session, source, kept, jobs)
        mine = offers.pop(self.place, None)
        if mine is None or not offers:
            return None
        self._made = keeping(kept, rows, lasting=self.share.lasting, measured=True)
        why = self._keep(session, self._made)
        if why:
            self._alone(why)
            return None
        kept = replace(kept, offers=offers)
        self.share.add(kept)
        return self._from_kept(session, kept, mine)

    def _recorder(
        self, origin: Origin, kept: Kept, later: Mapping[int, Job]
    ) -> Callable[[Session, Sequence[OriginColumn]], Callable[[], None]]:
        def record(session: Session, columns: Sequence[OriginColumn]) -> Callable[[], None]:
            offers, refused = origins.shares(session, origin, kept, columns, later)
            known = replace(kept, offers=offers, refused=refused)
            return lambda: self._record(session, known)

        return record

    def _record(self, session: Session, kept: Kept) -> None:
        """Keep what has come into the stage."""
        if not kept.offers:
            self.share.kept.append(kept)  # with why they read again
            return
        self._made = keeping(kept, STAGE, lasting=self.share.lasting, measured=False)
        why = self._keep(session, self._made)
        if why:
            self._alone(why)
            return
        self.share.add(kept)
        self._said = _spoken(_once(1 + len(kept.offers)))

    def _blame(self, why: str) -> None:
        self.share.why = why
        self._alone(why)

    def _alone(self, why: str) -> None:
        self._made = ()
        self._said = _spoken(_again(self.place, why))

    # -- looking ----------------------------------------------------------------------

    def foresee(self, session: Session, found: Located, *, itself: bool) -> Located:
        """Find out for a preview how the source would be read; see `Reading`."""
        source = found.source
        if self.place in self.share.refused:
            return self._for_itself(found, self.share.refused[self.place])
        if isinstance(source, Mapping):
            return self._for_itself(found, _BY_ITSELF)
        if self.share.connected and found.used:
            return self._for_itself(found, _FUNCTION)
        if moment(session).pooled:
            return self._for_itself(found, POOLED)
        jobs = self.share.jobs
        if isinstance(source, Origin):
            sight = foresee_elsewhere(session, source, jobs, self.place)
            why = OTHER_COLUMNS if self.place > min(jobs) else _LAST
        else:
            sight, why = foresee_here(session, source, jobs, self.place), _LAST
        if sight is None:
            return self._for_itself(found, why)
        names = (self.share.jobs[place].draft.target.label for place in sorted(sight.places))
        self.foreseen = _once(len(sight.places), f"shared by {', '.join(names)}")
        if itself:
            return found
        self._sight = sight
        return found if sight.asked is None else replace(found, source=sight.asked)

    def foretold(self, spec: SyncSpec) -> SyncSpec:
        """Plan with what would be kept; see `Reading`."""
        if self._sight is None:
            return spec
        self._taken = self._sight.offer
        return self.fitted(self._sight.planned_with(spec))

    def shown(self, plan: Plan) -> Plan:
        """Show what a run would keep; see `Reading`."""
        return plan if self._sight is None else with_kept(plan, self._sight.made)

    def _for_itself(self, found: Located, why: str) -> Located:
        self.foreseen = _again(self.place, why)
        return found


def _once(count: int, why: str = "") -> Decision[str]:
    return Decision(f"once for {count} targets", why)


def _again(place: int, why: str) -> Decision[str]:
    return Decision("again" if place else "for this target only", why)


def _spoken(reading: Decision[str]) -> str:
    """Say how the source is read, and why."""
    return f"read {reading.value}" + (f": {reading.reason}" if reading.reason else "")
