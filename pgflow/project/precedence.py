"""Which pipelines of a run have to wait for which: all that keeps two of them from overlapping."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pgflow.errors import InvalidSource
from pgflow.factories.pipeline import Pipeline
from pgflow.project.order import Others, arranged, dependencies, references
from pgflow.project.reading import reading, refers_to, writes


@dataclass(frozen=True)
class Precedence:
    """The pipelines of a run in an order that works, and what each of them waits for.

    Attributes:
        pipelines: The pipelines, readers after writers.
        needs: For each name those that must have succeeded, as it depends on them.
        follows: For each name those that must be over: they fill the same target, or foreign keys
            join their targets, or nobody knows what the pipeline reads and they stand before it.
    """

    pipelines: tuple[Pipeline, ...]
    needs: Mapping[str, frozenset[str]]
    follows: Mapping[str, frozenset[str]]


def precedence(chosen: Iterable[Pipeline], project: Iterable[Pipeline] = ()) -> Precedence:
    """Say which pipelines of a run have to wait for which.

    Args:
        chosen: What is to run.
        project: All pipelines: two that are chosen also depend on each other through others.

    Returns:
        The pipelines in order, with what each waits for.

    Raises:
        PipelineCycle: Pipelines of the run read what the others write.
        InvalidSource: A source's SQL cannot be read.
    """
    run = {pipeline.name: pipeline for pipeline in chosen}
    if len(run) == 1:
        # Nothing to find out, and nothing that is broken elsewhere should matter.
        alone: dict[str, frozenset[str]] = dict.fromkeys(run, frozenset())
        return Precedence(tuple(run.values()), alone, alone)
    # Whose source cannot be read stops only the runs that it is part of.
    others = {p.name: p for p in project if p.name not in run and _is_readable(p)}
    before = dependencies({**others, **run}.values())
    needs = {name: _through(name, run, before) for name in run}
    names = arranged(run, needs, references(run.values()))
    order = tuple(run[name] for name in names)
    return Precedence(order, {n: frozenset(others) for n, others in needs.items()}, _follows(order))


def _is_readable(pipeline: Pipeline) -> bool:
    try:
        reading(pipeline)
    except InvalidSource:
        return False
    return True


def _through(name: str, run: Container[str], before: Others) -> tuple[str, ...]:
    """The nearest pipelines of a run that one depends on, perhaps by way of others."""
    found: dict[str, None] = {}
    seen = {name}
    left = list(before[name])
    while left:
        other = left.pop(0)
        if other in seen:
            continue
        seen.add(other)
        if other in run:
            found[other] = None
        else:
            left.extend(before[other])
    return tuple(found)


def _follows(run: Sequence[Pipeline]) -> dict[str, frozenset[str]]:
    """What has to be over, each of it earlier in the order, so that nobody waits in a circle."""
    found: dict[str, frozenset[str]] = {}
    writers: dict[object, set[str]] = {}
    referrers: dict[object, set[str]] = {}
    for pipeline in run:
        name, keys = pipeline.name, refers_to(pipeline)
        others = set(found) if not reading(pipeline).complete else set()
        for relation in (*writes(pipeline), *keys):
            others |= writers.get(relation, set())
        for relation in writes(pipeline):
            others |= referrers.get(relation, set())
            writers.setdefault(relation, set()).add(name)
        for relation in keys:
            referrers.setdefault(relation, set()).add(name)
        found[name] = frozenset(others - {name})
    return found
