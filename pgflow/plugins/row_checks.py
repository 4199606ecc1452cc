"""Checks of the rows that a source delivers: given by plugins, evaluated together on the stage."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table

from pgflow.declare.checks import Relationship
from pgflow.declare.data_check import DataCheck, check_names
from pgflow.emit.history import system_columns_of
from pgflow.errors import InvalidCheck
from pgflow.plan import checks as sql_checks
from pgflow.plan import rejection
from pgflow.plan.checks import Parent, Surroundings
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import join, name, sql
from pgflow.plan.statement import Statement
from pgflow.plugins.sync_keys import CHECKS, OPTIONS, STATEMENTS, TARGET, ExtraStatement
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.plugin import Plugin, contributes, requires


@contributes(CHECKS)
class CheckPlugin(Plugin):
    """Have checks evaluated on the rows of a pipeline, beside those that `checks=` names.

    Args:
        *checks: Checks of `pgflow.checks`.

    Raises:
        InvalidCheck: Something is no check, or two have one name.
    """

    def __init__(self, *checks: DataCheck) -> None:
        self.checks = check_names(checks, "CheckPlugin")

    def run(self, ctx: FactoryContext) -> None:
        """Add the checks to those of the pipeline."""
        for check in self.checks:
            ctx.contribute(CHECKS, check)


@contributes(STATEMENTS)
@requires(CHECKS, OPTIONS, TARGET)
class CheckEvaluationPlugin(Plugin):
    """Evaluate all checks of a pipeline on the staged rows, and put rows into quarantine.

    Pipelines that have checks get it by themselves.

    Args:
        schema: The schema of pgflow's own tables.
    """

    def __init__(self, schema: str = "pgflow") -> None:
        self.schema = schema

    def run(self, ctx: FactoryContext) -> None:
        """Add the statements."""
        owner = f"pipeline {getattr(ctx.spec, 'name', ctx.tablename)!r}"
        checks = check_names((*(ctx[OPTIONS].checks or ()), *ctx[CHECKS]), owner)
        if not checks:
            return
        for check in checks:
            sql_checks.require_readable(check, owner)
        target = ctx[TARGET]

        def beside() -> Surroundings:
            # When it is planned: other pipelines may have made a history of a table meanwhile.
            parents = {c.name: _parent(c, target) for c in checks if isinstance(c, Relationship)}
            return Surroundings(name(self.schema, "runs"), parents)

        def evaluate(spec: SyncSpec) -> Statement:
            return sql_checks.evaluate(spec, checks, beside())

        beside()
        ctx.contribute(STATEMENTS, ExtraStatement(evaluate, "staged", "checks"))
        if not any(check.quarantine for check in checks):
            return
        table = name(self.schema, "quarantine")
        for build in (
            lambda spec: rejection.set_aside(spec, checks, beside()),
            lambda _: rejection.nothing_aside(),
            lambda _: rejection.remove(),
            lambda spec: rejection.keep(spec, checks, table),
            rejection.forgive,
        ):
            ctx.contribute(STATEMENTS, ExtraStatement(build, "staged", "quarantine", rejects=True))


def _parent(check: Relationship, target: Table) -> Parent:
    """Find the table that a relationship leads to, and its key."""
    table = parent_table(check)
    system = system_columns_of(table)
    ended = [column for column in (system.valid_to, system.deleted_at) if column is not None]
    columns = check.to_columns or _key(table)
    if len(columns) != len(check.columns):
        raise InvalidCheck(
            f"check {check.name!r}: {len(check.columns)} columns cannot refer to "
            f"{len(columns)} of {table.fullname} ({', '.join(columns) or 'it has no key'}). "
            "Name the columns there by to_columns=."
        )
    unknown = [column for column in columns if column not in table.columns]
    if unknown:
        raise InvalidCheck(f"check {check.name!r}: {table.fullname} has no column {unknown[0]!r}.")
    return Parent(
        name(table.schema, table.name),
        columns,
        join(" AND ", (sql("{c} IS NULL", c=name("p", c)) for c in ended)) if ended else None,
        table is target,
    )


def parent_table(check: Relationship) -> Table:
    """Return the table that a relationship leads to.

    Args:
        check: The relationship.

    Raises:
        InvalidCheck: It leads to something else.
    """
    to: Any = check.to
    if isinstance(to, type):
        to = vars(to).get("__factory__", to)
    table = to if isinstance(to, Table) else getattr(to, "table", None)
    if not isinstance(table, Table):
        raise InvalidCheck(
            f"check {check.name!r}: to={check.to!r} is no table. Give a class under "
            "@pgflow.table, a table factory or a SQLAlchemy Table."
        )
    return table


def _key(table: Table) -> tuple[str, ...]:
    """The columns of its key; a history's rows begin anew with each version."""
    valid_from = system_columns_of(table).valid_from
    return tuple(c.name for c in table.primary_key.columns if c.name != valid_from)
