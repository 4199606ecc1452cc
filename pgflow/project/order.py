"""The order of pipelines: whoever reads a table comes after those that write it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pgflow.errors import PipelineCycle
from pgflow.factories.pipeline import Pipeline
from pgflow.project.reading import Relation, looks_up, reads, refers_to, writes
from pgflow.project.views import below, declared_views

__all__ = ["Relation", "dependencies", "looks_up", "ordered", "reads", "references", "writes"]

#: For each pipeline the names of others.
Others = Mapping[str, tuple[str, ...]]


def ordered(pipelines: Iterable[Pipeline]) -> tuple[Pipeline, ...]:
    """Order pipelines so that each comes after those whose targets its source reads.

    What a source reads is taken from `source=`, `source_table=`, and the SQL that a function
    returns literally; functions are not called, because they may have side effects. A pipeline
    of which this is not known keeps its place in the order of declaration. Names without a schema
    are taken to be in `public`. The dimensions that a pipeline's lookups read count in any case;
    tables that foreign keys lead to come first where nothing speaks against it.

    Args:
        pipelines: In the order of declaration.

    Returns:
        The same pipelines.

    Raises:
        PipelineCycle: Pipelines read what the others write.
        InvalidSource: A source's SQL cannot be read.
    """
    given = {pipeline.name: pipeline for pipeline in pipelines}
    reading, referring = dependencies(given.values()), references(given.values())
    return tuple(given[name] for name in arranged(given, reading, referring))


def arranged(names: Iterable[str], reading: Others, referring: Others) -> tuple[str, ...]:
    """Order names by what is known of their pipelines.

    Args:
        names: In the order that they have unless something speaks against it.
        reading: What `dependencies` returned for these pipelines.
        referring: What `references` returned.

    Raises:
        PipelineCycle: Pipelines depend on each other.
    """
    before = _with_references(reading, referring)
    done: dict[str, None] = {}
    for name in names:
        if name not in done:
            _finish(name, before, done)
    return tuple(done)


def dependencies(pipelines: Iterable[Pipeline]) -> Others:
    """Say for each pipeline which others write what it reads or looks up; none is its own.

    Args:
        pipelines: The pipelines among which to look.

    Returns:
        Names by name, in the order of the pipelines.

    Raises:
        InvalidSource: A source's SQL cannot be read.
    """
    given = tuple(pipelines)
    metadatas = {id(t.target_table.metadata): t for p in given for t in p.sync_targets}
    views = declared_views(target.target_table.metadata for target in metadatas.values())
    wanted = {
        p.name: [each for found in (*reads(p), *looks_up(p)) for each in below(found, views)]
        for p in given
    }
    return _writers(given, wanted)


def references(pipelines: Iterable[Pipeline]) -> Others:
    """Say for each pipeline which others fill the tables that its foreign keys lead to."""
    given = tuple(pipelines)
    return _writers(given, {p.name: refers_to(p) for p in given})


def _writers(pipelines: Sequence[Pipeline], wanted: Mapping[str, Sequence[Relation]]) -> Others:
    writers: dict[Relation, list[str]] = {}
    for pipeline in pipelines:
        for relation in writes(pipeline):
            writers.setdefault(relation, []).append(pipeline.name)
    found = {}
    for name, relations in wanted.items():
        names = {w: None for relation in relations for w in writers.get(relation, ()) if w != name}
        found[name] = tuple(names)
    return found


def _with_references(reading: Others, referring: Others) -> dict[str, tuple[str, ...]]:
    """Add what foreign keys say, as long as it makes no circle."""
    before = dict(reading)
    for name, others in referring.items():
        for other in others:
            if name not in upstream([other], before):
                before[name] = (*before[name], other)
    return before


def upstream(names: Iterable[str], before: Others) -> set[str]:
    """Return pipelines with everything that they depend on, however far away.

    Args:
        names: The pipelines.
        before: What `dependencies` returned.
    """
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left.extend(before.get(name, ()))
    return found


def turned(before: Others) -> Others:
    """Turn dependencies around: for each pipeline those that depend on it."""
    found: dict[str, tuple[str, ...]] = dict.fromkeys(before, ())
    for name, others in before.items():
        for other in others:
            found[other] = (*found.get(other, ()), name)
    return found


def _finish(name: str, before: Others, done: dict[str, None]) -> None:
    """Add a pipeline to those that are done, after those that come before it."""
    chain = [(name, iter(before[name]))]
    inside = {name}
    while chain:
        here, left = chain[-1]
        following = next((each for each in left if each not in done), None)
        if following is None:
            done[here] = None
            chain.pop()
        elif following in inside:
            path = [each for each, _ in chain]
            raise _cycle([*path[path.index(following) :], following])
        else:
            inside.add(following)
            chain.append((following, iter(before[following])))


def _cycle(chain: list[str]) -> PipelineCycle:
    spoken = " reads from ".join(repr(name) for name in chain)
    order = ", then ".join(reversed(chain[:-1]))
    return PipelineCycle(
        f"these pipelines wait for each other: {spoken}. Sync them one by one in the order that "
        f"is right (pgflow sync {order}), or let one of them read something "
        "else.",
        chain=tuple(chain),
    )
