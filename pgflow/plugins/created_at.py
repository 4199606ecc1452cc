"""When a row was created."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, text

from pgflow import idents
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.keys import COLUMNS, CREATED_AT
from pgflow.resolve.plugin import Plugin, contributes, produces


@produces(CREATED_AT)
@contributes(COLUMNS)
class CreatedAtPlugin(Plugin):
    """Add a column that says when a row was created: `timestamptz NOT NULL DEFAULT now()`.

    Args:
        column_name: The column's name.
    """

    def __init__(self, column_name: str = "created_at") -> None:
        self.column_name = column_name

    def run(self, ctx: FactoryContext) -> None:
        """Contribute the column, and write its name for whoever needs it."""
        ctx[CREATED_AT] = idents.truncate(self.column_name)
        column = Column(
            self.column_name,
            DateTime(timezone=True),
            nullable=False,
            # As a plain string it would be a literal, which PostgreSQL evaluates once, at DDL time.
            server_default=text("now()"),
        )
        ctx.contribute(COLUMNS, column)
