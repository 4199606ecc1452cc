"""Views of sqlalchemy-declarative-extensions, as SQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.engine import Dialect
from sqlalchemy_declarative_extensions.dialects.postgresql import View
from sqlalchemy_declarative_extensions.view.base import ViewIndex

from pgflow import idents
from pgflow.alembic.declared.routines import qualified
from pgflow.errors import InvalidDeclaration

_WORD = re.compile(r"\w[\w$]*\Z")


def view_sql(given: Any, metadata: MetaData, dialect: Dialect) -> Iterator[str]:
    """Write CREATE VIEW or CREATE MATERIALIZED VIEW, and the indexes on it.

    Args:
        given: The declared view.
        metadata: The MetaData with the naming convention for indexes without a name.
        dialect: The dialect that writes `select()` as SQL.

    Yields:
        The statements.
    """
    view = View.coerce_from_unknown(given)
    name = qualified(view.name, view.schema)
    query = _query(view.definition, dialect)
    kind = "MATERIALIZED VIEW" if view.materialized else "VIEW"
    yield f"CREATE {kind} {name} AS {query}"
    if view.constraints and not view.materialized:
        raise InvalidDeclaration(
            f"View {name} declares indexes, and only materialized views have them. Declare it "
            "with materialized=True, or leave the indexes out."
        )
    for given_index in view.constraints or ():
        index = ViewIndex.from_unknown(given_index, view, dialect, _convention(metadata))
        columns = ", ".join(_column(column) for column in index.columns)
        unique = "UNIQUE " if index.unique else ""
        yield f"CREATE {unique}INDEX {idents.quote(index.name or '')} ON {name} ({columns})"


def _query(definition: Any, dialect: Dialect) -> str:
    if isinstance(definition, str):
        return definition.strip().rstrip(";").rstrip()
    compiled = definition.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    return str(compiled).strip().rstrip(";").rstrip()


def _convention(metadata: MetaData) -> Any:
    views = metadata.info.get("views")
    return getattr(views, "naming_convention", None) or metadata.naming_convention


def _column(column: str) -> str:
    # An index on a view is declared by text, which is either a name or an expression.
    return idents.quote(column) if _WORD.match(column) else column
