"""What has to be run again: what failed last, with the parameters that it had."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgflow.declare.body import Parameter
from pgflow.errors import CannotRepeat, MissingParameter
from pgflow.factories.pipeline import Pipeline
from pgflow.project.batch import Chosen
from pgflow.project.standings import Standing, failed_last
from pgflow.run.records import plain


@dataclass(frozen=True)
class Repeat:
    """A run that is to be repeated.

    Attributes:
        pipeline: The pipeline.
        failed: The runs that failed, by target, in the order of the targets.
        missed: The places of targets after those, which were then not begun any more.
    """

    pipeline: Pipeline
    failed: tuple[Standing, ...]
    missed: tuple[int, ...]

    @property
    def places(self) -> tuple[int, ...]:
        """The places of the targets that it fills, in order."""
        failed = (place for each in self.failed for place in each.places)
        return tuple(sorted({*failed, *self.missed}))

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of these targets."""
        return tuple(self.pipeline.sync_targets[place].target_label for place in self.places)

    def run_of(self, place: int) -> Standing | None:
        """Return the run that failed on a target, or None if none was begun there."""
        return next((each for each in self.failed if place in each.places), None)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The run parameters, as the history has them."""
        return self.failed[0].parameters

    @property
    def effective_at(self) -> datetime | None:
        """The instant that the runs were given."""
        return self.failed[0].effective_at

    def chosen(self) -> Chosen:
        """Return what is to run.

        Raises:
            CannotRepeat: A parameter cannot be given again.
        """
        own = self.pipeline.spec.body.parameters if self.pipeline.spec.body else ()
        values = _values(self, {p.name: p for p in own})
        whole = len(self.places) == len(self.pipeline.sync_targets)
        targets = () if whole else self.places
        return Chosen(self.pipeline, values, self.effective_at, targets, self.failed[0].firing)


@dataclass(frozen=True)
class Repeats:
    """What has to be run again.

    Attributes:
        wanted: The runs to repeat, earliest first.
        earlier: Runs that failed before others with other parameters succeeded, and were never
            repeated.
    """

    wanted: tuple[Repeat, ...]
    earlier: tuple[Standing, ...]


def repeats(
    pipelines: Iterable[Pipeline],
    known: Mapping[str, Sequence[Standing]],
    since: datetime | None = None,
    *,
    earlier: bool = False,
) -> Repeats:
    """Find out what has to be run again.

    Args:
        pipelines: The pipelines to look at.
        known: What `standings` returned.
        since: Only runs that began then or later count as failed.
        earlier: Whether earlier runs are repeated too that failed with parameters with which
            none has succeeded since.

    Returns:
        The runs.
    """
    wanted: list[Repeat] = []
    left: list[Standing] = []
    for pipeline in pipelines:
        found = known.get(pipeline.name, ())
        failed = [each for each in found if each.is_unfinished and _is_since(each, since)]
        last = failed_last(found)
        left += [each for each in failed if each not in last]
        chosen = failed if earlier else [each for each in failed if each in last]
        wanted += _together(pipeline, chosen, found)
    wanted.sort(key=lambda each: min(run.started_at for run in each.failed))
    return Repeats(tuple(wanted), () if earlier else tuple(left))


def narrowed(pipeline: Pipeline, places: Sequence[int]) -> Pipeline:
    """Return a pipeline that fills only some of its targets; all of them if none is named.

    Args:
        pipeline: The pipeline.
        places: The places of targets, from 0.
    """
    if not places:
        return pipeline
    twin = copy.copy(pipeline)
    twin.sync_targets = tuple(pipeline.sync_targets[place] for place in places)
    return twin


def _is_since(found: Standing, since: datetime | None) -> bool:
    return since is None or found.started_at >= since


def _together(
    pipeline: Pipeline, failed: Sequence[Standing], found: Sequence[Standing]
) -> list[Repeat]:
    """Put runs together that had the same parameters: they come from one call."""
    groups: dict[str, list[Standing]] = {}
    for each in failed:
        key = repr((sorted(each.parameters.items()), each.effective_at, each.firing))
        groups.setdefault(key, []).append(each)
    made = []
    for runs in groups.values():
        runs.sort(key=lambda run: run.places)
        missed = _missed(pipeline, runs, found)
        made.append(Repeat(pipeline, tuple(runs), missed))
    return made


def _missed(
    pipeline: Pipeline, failed: Sequence[Standing], found: Sequence[Standing]
) -> tuple[int, ...]:
    """The targets behind the first that failed: without `continue_on_failure` they were not begun.

    A target that has run since, or at the same time, was.
    """
    first = failed[0]
    if pipeline.spec.continue_on_failure and first.status == "failed":
        return ()
    begun = {
        place
        for each in found
        if each.parameters == first.parameters and each.started_at >= first.started_at
        for place in each.places
    }
    behind = range(first.places[0] + 1, len(pipeline.sync_targets))
    return tuple(place for place in behind if place not in begun)


def _values(repeat: Repeat, own: Mapping[str, Parameter]) -> dict[str, Any]:
    """Read the parameters of the history back, as `--param` would."""
    values = {}
    for name, stored in repeat.parameters.items():
        parameter = own.get(name)
        if parameter is None:
            raise _refused(repeat, name, stored, "which the function does not take any more")
        if not parameter.required and plain(parameter.default) == stored:
            continue  # left out, it is the same
        values[name] = _value(repeat, parameter, stored)
    for name, parameter in own.items():
        if parameter.required and name not in values:
            raise _refused(repeat, name, None, "which was not there then, and has no default")
    return values


def _value(repeat: Repeat, parameter: Parameter, stored: Any) -> Any:
    """Read one value; it must be the one that the function was given then, and of its type."""
    value = stored
    try:
        if isinstance(stored, str):
            value = parameter.read(stored)
    except MissingParameter:
        value = None
    if stored is not None and (not parameter.is_readable or plain(value) != stored):
        raise _refused(repeat, parameter.name, stored, "which cannot be read from the history")
    return value


def _refused(repeat: Repeat, name: str, stored: Any, why: str) -> CannotRepeat:
    failed, pipeline = repeat.failed[0], repeat.pipeline.name
    given = " ".join(f"--param {n}={v}" for n, v in failed.parameters.items() if n != name)
    return CannotRepeat(
        f"run {failed.run_id} of {pipeline!r} cannot be repeated: it has the parameter {name!r}"
        f"{'' if stored is None else f' ({stored!r})'}, {why}. Run it yourself "
        f"(pgflow sync {pipeline}{f' {given}' if given else ''}), or leave it out: "
        f"pgflow retry --exclude {pipeline}.",
        pipeline=pipeline,
        parameter=name,
    )
