"""The databases of a project: where the histories of its pipelines are."""

from __future__ import annotations

from collections.abc import Iterable

from pgflow.factories.pipeline import Pipeline
from pgflow.observe.histories import Place


def places(pipelines: Iterable[Pipeline]) -> tuple[Place, ...]:
    """Say where runs of pipelines are recorded: in the database of each target.

    Args:
        pipelines: The pipelines.

    Returns:
        Each place once, in the order of declaration.
    """
    found: dict[Place, None] = {}
    for pipeline in pipelines:
        for target in pipeline.sync_targets:
            own, shared = target.sync_target.target_connection, pipeline.spec.target_connection
            named = shared if own is None else own
            place = Place("default" if named is None else named, target.config.utility_schema)
            found[place] = None
    return tuple(found)
