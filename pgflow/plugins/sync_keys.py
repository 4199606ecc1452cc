"""What the plugins of a pipeline hand to each other, by name and type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sqlalchemy import Table

from pgflow.declare.options import SyncOptions
from pgflow.declare.resource import TableSpec
from pgflow.declare.system_columns import SystemColumns
from pgflow.plan.decision import Decision
from pgflow.plan.modes import Mode
from pgflow.plan.spec import SyncSpec
from pgflow.plan.statement import Plan, Statement
from pgflow.resolve.keys import Key

#: Options that other decisions tell already.
_DECIDED = frozenset(
    {"mode", "keys", "compare_columns", "update_columns", "incremental_column", "scope", "replace"}
)


@dataclass(frozen=True)
class Planner:
    """What a pipeline's plugins come to: a draft, and the way from facts to a plan.

    Attributes:
        draft: What is planned, without any fact of the database.
        mode: How rows go into the target.
        watermark: How much of the source is read, and why.
        extra: Statements that plugins add.
    """

    draft: SyncSpec
    mode: Mode
    watermark: Decision[object] = field(
        default_factory=lambda: Decision(None, "the whole source is read")
    )
    extra: tuple[ExtraStatement, ...] = ()

    def plan(self, spec: SyncSpec) -> Plan:
        """Plan a run.

        Args:
            spec: The draft with facts.

        Returns:
            The mode's plan with the decisions of the draft and the statements of the plugins.
        """
        return self._complete(self.mode.plan(spec), spec)

    def _complete(self, plan: Plan, spec: SyncSpec) -> Plan:
        """Add what plugins say and do; the fallback is a plan like any other."""
        before = tuple(e.build(spec) for e in self.extra if e.when == "before")
        after = tuple(e.build(spec) for e in self.extra if e.when == "after")
        return replace(
            plan,
            statements=before + plan.statements + after,
            fallback=plan.fallback and self._complete(plan.fallback, spec),
            decisions={**self._decisions(spec), **plan.decisions},
        )

    def _decisions(self, spec: SyncSpec) -> dict[str, Decision[Any]]:
        decisions: dict[str, Decision[Any]] = {
            "mode": Decision(spec.mode, spec.mode_reason),
            "merge key": spec.keys,
        }
        if spec.keys.value:
            decisions |= {"compared": spec.compare, "uniqueness": spec.source.unique}
        column = None if spec.watermark is None else spec.watermark.column
        decisions["watermark"] = Decision(column, self.watermark.reason)
        for option, value in spec.options.given().items():
            if option not in _DECIDED:
                decisions[option] = Decision(value, "given")
        return decisions


@dataclass(frozen=True)
class ExtraStatement:
    """A statement that a plugin adds to every plan of a pipeline.

    Attributes:
        build: Makes the statement from what is planned; it must be pure.
        when: Before or after the mode's own statements.
        origin: Who adds it, for previews.
    """

    build: Callable[[SyncSpec], Statement]
    when: Literal["before", "after"] = "after"
    origin: str = ""


#: The table that rows go into.
TARGET = Key("target", Table)
#: What that table is declared to be.
TARGET_SPEC = Key("target_spec", TableSpec)
#: Complete options of this target.
OPTIONS = Key("options", SyncOptions)
#: How rows go in.
MODE = Key("mode", Mode)
#: The merge keys, with the reason for them.
MERGE_KEYS: Key[Decision[tuple[str, ...]]] = Key("merge_keys", Decision)
#: The columns whose change counts, with the reason.
COMPARE_COLUMNS: Key[Decision[tuple[str, ...]]] = Key("compare_columns", Decision)
#: pgflow's own columns of the target.
SYSTEM_COLUMNS = Key("system_columns", SystemColumns)
#: How an incremental pipeline keeps its position; the value is None for the others.
WATERMARK: Key[Decision[object]] = Key("watermark", Decision)
#: Statements that plugins add to every plan.
STATEMENTS = Key("statements", ExtraStatement, collecting=True)
#: The way from facts to a plan.
PLANNER = Key("planner", Planner)
