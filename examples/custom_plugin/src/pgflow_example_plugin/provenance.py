"""Where a row comes from, on the row itself."""

from __future__ import annotations

from sqlalchemy import Column, Text, text

from pgflow import FactoryContext, Plugin, contributes
from pgflow.resolve.keys import COLUMNS


@contributes(COLUMNS)
class ProvenancePlugin(Plugin):
    """Add `source_system` and `written_by`, which the server fills where a pipeline does not.

    Args:
        source_system: What `source_system` says.
    """

    def __init__(self, source_system: str) -> None:
        self.source_system = source_system

    def run(self, ctx: FactoryContext) -> None:
        """Contribute both columns."""
        # A string becomes a quoted literal; text() stays what it is.
        defaults = {"source_system": self.source_system, "written_by": text("CURRENT_USER")}
        for name, default in defaults.items():
            column = Column(name, Text, nullable=False, server_default=default)
            ctx.contribute(COLUMNS, column)
