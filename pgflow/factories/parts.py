"""Which targets of a pipeline may share one reading of its source, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Engine

from pgflow.factories.sync_target import SyncTarget
from pgflow.run.job import Job
from pgflow.run.sharing.part import Part, Share

_INCREMENTAL = "the target goes on from a position of its own"
_OTHER_PATH = "the target has another force_path="
_NEIGHBOUR = "no target beside this one is on the same connection"
_NOBODY = "no other target can take the same rows"


@dataclass(frozen=True)
class _Member:
    """A target as it is grouped with others; without an engine it fails when its turn comes."""

    place: int
    job: Job | None
    engine: Engine | None


def parts(
    targets: Sequence[SyncTarget],
    values: Mapping[str, object],
    *,
    lasting: bool = True,
) -> dict[int, Part]:
    """Give each target its part; a single target needs none.

    Targets that follow each other on one connection may share. A connection is held from the first
    of them to the last, and no longer: the next database may be in need of it.

    Args:
        targets: The targets in order.
        values: The run parameters.
        lasting: Whether each target has a transaction of its own.

    Returns:
        The parts by the target's place, from 0.
    """
    if len(targets) < 2:
        return {}
    found: dict[int, Part] = {}
    for group in _groups([_member(place, each, values) for place, each in enumerate(targets)]):
        share = _share(targets[0], group, lasting)
        found.update({member.place: Part(share, member.place) for member in group})
    return found


def _member(place: int, target: SyncTarget, values: Mapping[str, object]) -> _Member:
    try:
        return _Member(place, target.job(values), target.target_engine())
    except Exception:  # whatever it is, the target's own run raises it
        return _Member(place, None, None)


def _groups(members: Sequence[_Member]) -> list[list[_Member]]:
    found: list[list[_Member]] = []
    for member in members:
        before = found[-1][-1].engine if found else None
        if before is not None and before is member.engine:
            found[-1].append(member)
        else:
            found.append([member])
    return found


def _share(target: SyncTarget, group: Sequence[_Member], lasting: bool) -> Share:
    body = target.spec.body
    jobs: dict[int, Job] = {}
    refused: dict[int, str] = {}
    for member in group:
        why = ""
        if member.job is None or len(group) == 1:
            why = _NEIGHBOUR
        elif member.job.draft.watermark is not None:
            why = _INCREMENTAL
        elif jobs and _path(next(iter(jobs.values()))) != _path(member.job):
            why = _OTHER_PATH
        if why or member.job is None:
            refused[member.place] = why
        else:
            jobs[member.place] = member.job
    if len(jobs) == 1:
        refused.update(dict.fromkeys(jobs, _NOBODY))
        jobs = {}
    connected = body is not None and body.connections > 0
    return Share(jobs, refused, lasting, connected)


def _path(job: Job) -> str | None:
    return job.draft.options.force_path
