"""What the plugins of a pipeline hand to each other, by name and type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sqlalchemy import Table

from pgflow.declare.data_check import DataCheck
from pgflow.declare.options import SyncOptions
from pgflow.declare.resource import TableSpec
from pgflow.declare.system_columns import SystemColumns
from pgflow.plan.changes import reads_changes, stage_changes
from pgflow.plan.decision import Decision
from pgflow.plan.link import Link
from pgflow.plan.lookups import link
from pgflow.plan.modes import Mode
from pgflow.plan.spec import SyncSpec
from pgflow.plan.staging import gains_by_stage, stage_here
from pgflow.plan.statement import Plan, Statement
from pgflow.resolve.keys import TABLE, Key

#: Options that other decisions tell already.
_DECIDED = frozenset(
    {
        "mode",
        "keys",
        "compare_columns",
        "update_columns",
        "incremental_column",
        "lookups",
        "checks",
        "scope",
        "replace",
    }
)


#: Why a run has an option that nobody has given.
_IMPLIED = "watermark='slot' names what has changed, which may be nothing or may all be gone"

#: What keeps the current versions of a key apart where no unique index does.
_BY_LOCK = Decision("the target's lock", "no unique index on the keys among current versions")


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
        spec = self._rejecting(link(self._staged(spec)))
        plan = self._complete(self.mode.plan(spec), spec)
        if spec.source.stage is None:
            return plan
        return replace(plan, prepare=spec.source.stage.fill + self._built("staged", spec))

    def _staged(self, spec: SyncSpec) -> SyncSpec:
        """Put the rows into a stage first, where somebody wants to see them or it is faster."""
        if spec.source.stage is not None:
            return spec
        if reads_changes(spec):
            return stage_changes(spec)
        origins = [e.origin for e in self.extra if e.when == "staged"]
        if origins:
            return stage_here(spec, f"{', '.join(dict.fromkeys(origins))}: looked at before")
        if gains_by_stage(spec):
            return stage_here(spec, "few rows, and the planner is to know it")
        return spec

    @property
    def looks(self) -> bool:
        """Whether somebody looks at the rows of the batch before they are written."""
        return any(e.when == "staged" for e in self.extra)

    @property
    def rejects(self) -> bool:
        """Whether rows of the batch may end in quarantine."""
        return any(e.rejects for e in self.extra)

    def _rejecting(self, spec: SyncSpec) -> SyncSpec:
        stage = spec.source.stage
        if stage is None or not self.rejects:
            return spec
        return replace(spec, source=replace(spec.source, stage=replace(stage, rejects=True)))

    def _built(self, when: str, spec: SyncSpec) -> tuple[Statement, ...]:
        return tuple(e.build(spec) for e in self.extra if e.when == when)

    def _complete(self, plan: Plan, spec: SyncSpec) -> Plan:
        """Add what plugins say and do; the fallback is a plan like any other."""
        return replace(
            plan,
            statements=self._built("before", spec) + plan.statements + self._built("after", spec),
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
        if spec.target.system.valid_to is not None and spec.facts.keys_indexed is False:
            decisions["one current row"] = _BY_LOCK
        column = None if spec.watermark is None else spec.watermark.column
        decisions["watermark"] = Decision(column, self.watermark.reason)
        decisions |= {f"lookup {each.into}": each.decision for each in spec.links}
        if spec.source.stage is not None:
            decisions["stage"] = Decision(True, spec.source.stage.reason)
        declared = self.draft.options.given()
        for option, value in spec.options.given().items():
            if option not in _DECIDED:
                own = option in declared and declared[option] == value
                decisions[option] = Decision(value, "given" if own else _IMPLIED)
        return decisions


@dataclass(frozen=True)
class ExtraStatement:
    """A statement that a plugin adds to every plan of a pipeline.

    Attributes:
        build: Makes the statement from what is planned; it must be pure.
        when: Before or after the mode's own statements; or when the source's rows have been put
            into a stage, which is then always done.
        origin: Who adds it, for previews.
        rejects: Whether it takes rows out of the stage and puts them into quarantine.
    """

    build: Callable[[SyncSpec], Statement]
    when: Literal["staged", "before", "after"] = "after"
    origin: str = ""
    rejects: bool = False


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
#: Lookups of dimension versions, by which the source gets more columns.
LINKS = Key("links", Link, collecting=True)
#: What must hold of the rows that the source delivers, beside the option `checks`.
CHECKS = Key("checks", DataCheck, collecting=True)
#: Statements that plugins add to every plan.
STATEMENTS = Key("statements", ExtraStatement, collecting=True)
#: The way from facts to a plan.
PLANNER = Key("planner", Planner)


def where_a_history_stands(plugin: str, *, on_pipelines: bool) -> Mapping[str, str]:
    """Say what to do about a plugin for histories where no mode, or no table, is there.

    Args:
        plugin: Its name.
        on_pipelines: Whether a pipeline takes it as well, with its target.

    Returns:
        The remedies of that plugin (`Plugin.remedies`).
    """
    table = 'declare the table itself with mode="scd2", as in @pgflow.table(mode="scd2")'
    there = f'give the pipeline {plugin}("target") in extra_plugins='
    no_mode = f"The mode of a pipeline does not count on its table: {table}"
    if on_pipelines:
        no_mode, no_table = f"{no_mode}, or {there} instead", there
    else:
        no_table = f"{table}, and put {plugin} there"
    no_mode, no_table = f"{no_mode}.", f"A pipeline makes no table: {no_table}."
    return {MODE: no_mode, SYSTEM_COLUMNS: no_mode, TABLE: no_table}
