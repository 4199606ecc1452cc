"""The instants at which a schedule fires, also where clocks are put forward or back.

A cron expression speaks of the clocks on the wall. Where they skip an hour, what would have fired
in it fires once when they have been put forward. Where they repeat one, it fires the first time
only. An expression whose hours are all of them (`*/15 * * * *`) means time that passes: it fires in
each hour that there is, in a repeated one twice, in a skipped one not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from croniter import croniter

from pgflow.declare.schedule import Schedule

#: How far from an instant a change of the clocks can make its wall clock ambiguous.
_AROUND = timedelta(hours=3)


class Calendar:
    """When a schedule fires.

    Args:
        schedule: The schedule.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._cron = schedule.cron
        self._zone = schedule.zone
        hours = croniter.expand(schedule.cron)[0][1]
        self._hourly = hours == ["*"] or len(set(hours)) == 24

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield what fires after one instant, up to another one, in order.

        Args:
            after: Not itself among them.
            until: Itself among them if something fires then.
        """
        for instant in self._following(after):
            if instant > until:
                return
            yield instant

    def next(self, after: datetime) -> datetime:
        """Return what fires first after an instant."""
        return next(self._following(after))

    def newest(self, until: datetime) -> datetime:
        """Return what fired last before or at an instant."""
        steady = self._is_steady(until)
        clock = self._clock(until if steady else until - _AROUND)
        # Half a minute later, as what fires on the minute itself counts.
        walk = croniter(self._cron, clock + timedelta(seconds=30), ret_type=datetime)
        while not (found := [i for i in self._instants(walk.get_prev()) if i <= until]):
            pass
        newest = max(found)
        return newest if steady else max([newest, *self.between(newest, until)])

    def irregular(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield what fires although the wall clock alone would not say so.

        That is what would have fired in a skipped hour, and what fires in the second of two
        repeated ones. Other schedulers leave it out.

        Args:
            after: Clocks that change from this instant on are looked at.
            until: Up to this one.
        """
        for change, seconds in self._changes(after, until):
            end = change + timedelta(seconds=abs(seconds) - 1)
            for instant in self.between(change - timedelta(seconds=1), end):
                local = instant.astimezone(self._zone)
                if local.fold or not croniter.match(self._cron, local.replace(tzinfo=None)):
                    yield instant

    def _changes(self, after: datetime, until: datetime) -> Iterator[tuple[datetime, float]]:
        """Yield when the clocks change, and by how many seconds."""
        day, after = timedelta(days=1), after.replace(microsecond=0)
        while after < until:
            ends = (after, after + day)
            before, later = (each.astimezone(self._zone).utcoffset() for each in ends)
            if before is not None and later is not None and before != later:
                yield self._change(after, after + day), (later - before).total_seconds()
            after += day

    def _following(self, after: datetime) -> Iterator[datetime]:
        start = self._clock(after)
        if not self._is_steady(after):
            start -= _AROUND
        last = after
        waiting: list[datetime] = []
        for clock in croniter(self._cron, start, ret_type=datetime).all_next():
            instants = self._instants(clock)
            if self._hourly and len(instants) > 1:
                # A repeated hour is yielded as it passes: the first time whole, then the second.
                waiting += instants
                continue
            for instant in [*sorted(waiting), *instants]:
                if instant > last:
                    yield instant
                    last = instant
            waiting = []

    def _instants(self, clock: datetime) -> tuple[datetime, ...]:
        """Return when the clocks of the zone show a time and something fires."""
        first, second = (clock.replace(tzinfo=self._zone, fold=f).astimezone(UTC) for f in (0, 1))
        if first == second:
            return (first,)
        if first > second:  # skipped: each reading takes the offset of the other side
            return () if self._hourly else (self._change(second, first),)
        return (first, second) if self._hourly else (first,)

    def _change(self, before: datetime, after: datetime) -> datetime:
        """Find the instant at which the clocks change."""
        offset = before.astimezone(self._zone).utcoffset()
        while after - before > timedelta(seconds=1):
            middle = (before + (after - before) / 2).replace(microsecond=0)
            if middle.astimezone(self._zone).utcoffset() == offset:
                before = middle
            else:
                after = middle
        return after

    def _clock(self, instant: datetime) -> datetime:
        return instant.astimezone(self._zone).replace(tzinfo=None, fold=0)

    def _is_steady(self, instant: datetime) -> bool:
        """Whether the clocks of the zone run on around an instant."""
        ends = (instant - _AROUND, instant + _AROUND)
        return len({end.astimezone(self._zone).utcoffset() for end in ends}) == 1
