"""What a pipeline's function came to, or its declaration says: not read yet, and not yet placed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.sql import ClauseElement

from pgflow.declare.sources import Query, SourceTable
from pgflow.plan import query
from pgflow.plan.sql import Sql, sql
from pgflow.run.sources.origin import Origin

#: SQL in whatever dialect the source speaks, a table, rows from elsewhere, or the counts of a
#: function that did the work itself.
Given = str | Query | ClauseElement | SourceTable | Origin | Mapping[str, Any]


@dataclass(frozen=True)
class Delivery:
    """The source of a run as it was given.

    Attributes:
        given: The source.
        values: The run parameters, which SQL text may use as `:name`.
        owner: Whose source it is, for messages.
    """

    given: Given
    values: Mapping[str, object]
    owner: str

    @property
    def connection(self) -> object | None:
        """The connection that the source itself names, or None."""
        return self.given.connection if isinstance(self.given, (Query, SourceTable)) else None

    def relation(self) -> Sql | SourceTable:
        """Return the source as PostgreSQL reads it: a query in parentheses, or a table.

        Raises:
            InvalidSource: It is no single query.
        """
        if isinstance(self.given, SourceTable):
            return self.given
        if isinstance(self.given, str):
            return _parenthesised(
                query.from_text_and_parameters(self.given, self.values, self.owner)
            )
        if isinstance(self.given, Query):
            return _parenthesised(_from_query(self.given, self.owner))
        if isinstance(self.given, ClauseElement):
            return _parenthesised(query.from_clause(self.given, self.owner))
        raise TypeError(f"{self.given!r} is no query")  # an origin reads its rows itself


def _from_query(given: Query, owner: str) -> Sql:
    if isinstance(given.sql, str):
        return query.from_text(given.sql, given.params, owner)
    clause: Any = given.sql
    return query.from_clause(clause.params(**given.params) if given.params else clause, owner)


def _parenthesised(fragment: Sql) -> Sql:
    # On lines of their own, so that no comment in the query can swallow the parenthesis.
    return sql("(\n{query}\n)", query=fragment)
