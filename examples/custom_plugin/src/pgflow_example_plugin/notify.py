"""Telling whoever listens that a target has new data."""

from __future__ import annotations

from pgflow import FactoryContext, Plugin, contributes
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import bind, sql
from pgflow.plan.statement import Statement
from pgflow.plugins.sync_keys import STATEMENTS, ExtraStatement


@contributes(STATEMENTS)
class NotifyPlugin(Plugin):
    """Send a notification with the target's name; it arrives when the run commits, not before.

    Args:
        channel: What listeners LISTEN to.
    """

    def __init__(self, channel: str) -> None:
        self.channel = channel

    def run(self, ctx: FactoryContext) -> None:
        """Add a statement to the end of every plan of the pipeline."""
        ctx.contribute(STATEMENTS, ExtraStatement(self._notify, origin="NotifyPlugin"))

    def _notify(self, spec: SyncSpec) -> Statement:
        return Statement(
            f"tell whoever listens to {self.channel!r}",
            sql(
                "SELECT pg_notify({channel}, {target})",
                channel=bind(self.channel, "channel"),
                target=bind(spec.target.label, "target"),
            ),
        )
