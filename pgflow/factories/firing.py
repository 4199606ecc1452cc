"""The instant of a firing, for functions that take it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pgflow.declare.pipeline import PipelineSpec
from pgflow.declare.schedule import PARAMETER
from pgflow.run.firings import firing_text


def with_instant(
    spec: PipelineSpec, firing: datetime | None, parameters: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Give `scheduled_at` to a function that takes it, as the schedule's clocks show it.

    Args:
        spec: The pipeline.
        firing: The instant at which a schedule asked for the run, or None.
        parameters: The run parameters that are given; `scheduled_at` among them wins.

    Raises:
        InvalidInstant: The instant has no time zone.
    """
    if firing is None:
        return parameters
    firing_text(firing)
    known = spec.body.parameters if spec.body is not None else ()
    if PARAMETER in parameters or PARAMETER not in {each.name for each in known}:
        return parameters
    zone = UTC if spec.timing is None else spec.timing.zone
    return {**parameters, PARAMETER: firing.astimezone(zone)}
