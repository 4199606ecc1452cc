"""Turning a pipeline's declared source, or what its function returned, into a delivery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.sql import ClauseElement

from pgflow.declare.pipeline import PipelineSpec
from pgflow.declare.sources import Query, SourceTable
from pgflow.errors import InvalidBody
from pgflow.plan import query
from pgflow.plan.sql import Sql, sql
from pgflow.run.body import BodyConnection, call
from pgflow.run.job import Delivery, SourceMaker


def source_maker(spec: PipelineSpec, values: Mapping[str, object]) -> SourceMaker:
    """Prepare the source of one run.

    Args:
        spec: The pipeline.
        values: Its run parameters.

    Returns:
        A function that calls the pipeline's body, where there is one, and says what it came to.
    """
    owner = f"pipeline {spec.name!r}"

    def make(connection: BodyConnection) -> Delivery:
        if spec.body is not None:
            returned = call(spec.body, (connection,) * spec.body.connections, values)
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
    if isinstance(returned, str):
        return _parenthesised(query.from_text_and_parameters(returned, values, owner))
    if isinstance(returned, SourceTable):
        return returned
    if isinstance(returned, Query):
        return _parenthesised(_from_query(returned, owner))
    if isinstance(returned, Mapping):
        return returned
    if isinstance(returned, ClauseElement):
        return _parenthesised(query.from_clause(returned, owner))
    raise InvalidBody(
        f"{owner}: its function returned {type(returned).__name__}, which is no source. Return "
        "SQL text, a SQLAlchemy select(), a pgflow.Query, or a dict if the function did the work "
        "itself."
    )


def _from_query(given: Query, owner: str) -> Sql:
    if isinstance(given.sql, str):
        return query.from_text(given.sql, given.params, owner)
    clause: Any = given.sql
    return query.from_clause(clause.params(**given.params) if given.params else clause, owner)


def _parenthesised(fragment: Sql) -> Sql:
    # On lines of their own, so that no comment in the query can swallow the parenthesis.
    return sql("(\n{query}\n)", query=fragment)
