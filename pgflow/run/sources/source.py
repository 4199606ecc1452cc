"""Turning a pipeline's declared source, or what its function returned, into a delivery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.sql import ClauseElement

from pgflow.declare.pipeline import PipelineSpec
from pgflow.declare.sources import Query, SourceTable, check_text
from pgflow.errors import InvalidBody
from pgflow.run.body import BodyConnection, call
from pgflow.run.job import SourceMaker
from pgflow.run.result import SyncResult
from pgflow.run.sources.delivery import Delivery
from pgflow.run.sources.readers import is_rows, row_origin


def source_maker(spec: PipelineSpec, values: Mapping[str, object]) -> SourceMaker:
    """Prepare the source of one run.

    Args:
        spec: The pipeline.
        values: Its run parameters.

    Returns:
        A function that calls the pipeline's body, where there is one, and says what it came to.
    """
    owner = f"pipeline {spec.name!r}"

    def make(source: BodyConnection, target: BodyConnection) -> Delivery:
        if spec.body is not None:
            connections = (source, target)[: spec.body.connections]
            returned = call(spec.body, connections, values)
            if returned is not None:
                return _delivery(returned, values, owner)
        if spec.source is None:
            raise InvalidBody(
                f"{owner} has no source declaration: its function returned None. Return SQL, a "
                "select(), a Query or a dict, or pass source_table=."
            )
        return _delivery(spec.source, values, owner)

    return make


def _delivery(returned: Any, values: Mapping[str, object], owner: str) -> Delivery:
    if isinstance(returned, SyncResult):  # of another pipeline that the function has run
        returned = returned.to_dict()
    if isinstance(returned, str):
        check_text(returned, owner)
    if isinstance(returned, (str, Query, SourceTable, ClauseElement, Mapping)):
        return Delivery(returned, values, owner)
    if is_rows(returned):
        return Delivery(row_origin(returned), values, owner)
    raise InvalidBody(
        f"{owner}: its function returned {type(returned).__name__}, which is no source. Return "
        "SQL text, a SQLAlchemy select(), a pgflow.Query, rows, or a dict if the function did the "
        "work itself."
    )
