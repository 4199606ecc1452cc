"""Steps of a migration as Alembic's operations: they can be sorted, run, written and reversed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from alembic.operations import Operations
from alembic.operations.ops import MigrateOperation

from pgflow.alembic import queues
from pgflow.alembic.settings import MigrationSettings
from pgflow.alembic.statement import Statement
from pgflow.alembic.step import Migration, Step
from pgflow.alembic.text import executable, formatted


class StepsOp(MigrateOperation):
    """Some steps of a migration.

    Args:
        steps: The steps, in order.
        settings: How migrations are run.
        undo: The steps that lead back, as far as this operation has to give them.
    """

    def __init__(
        self, steps: Sequence[Step], settings: MigrationSettings, undo: Sequence[Step] = ()
    ) -> None:
        self.steps = tuple(steps)
        self.settings = settings
        self.undo = tuple(undo)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({[step.title for step in self.steps]})"

    def reverse(self) -> StepsOp:
        """Return the operation that takes its place in `downgrade()`.

        The way back is planned as a whole. Alembic reverses operations one by one, the last one
        first: so the last one brings all of it, and the others nothing.
        """
        return StepsOp(self.undo, self.settings, self.steps)

    def to_diff_tuple(self) -> tuple[str, str]:
        """Describe the operation for `alembic check`: `("create", "view app.v")`."""
        return (
            ", ".join(dict.fromkeys(step.action for step in self.steps)),
            ", ".join(str(step.id) for step in self.steps),
        )


class StepGroupOp(StepsOp):
    """Steps that stand in one block of a migration file."""

    @property
    def ops(self) -> list[StepOp]:
        """One operation for each step, for what looks through operations."""
        return [StepOp(step, self.settings) for step in self.steps]


class StepOp(StepsOp):
    """One step of a migration.

    Args:
        step: The step.
        settings: How migrations are run.
        undo: The steps that lead back, as far as this operation has to give them.
    """

    def __init__(self, step: Step, settings: MigrationSettings, undo: Sequence[Step] = ()) -> None:
        super().__init__((step,), settings, undo)

    @property
    def step(self) -> Step:
        """The step."""
        return self.steps[0]


def operations(migration: Migration, settings: MigrationSettings) -> list[StepOp]:
    """Make the operations of an upgrade; reversed, they are the planned downgrade.

    Args:
        migration: What was planned.
        settings: How migrations are run.

    Returns:
        One operation for each step.
    """
    last = len(migration.upgrade) - 1
    return [
        StepOp(step, settings, migration.downgrade if place == last else ())
        for place, step in enumerate(migration.upgrade)
    ]


def grouped(steps: Sequence[Step], settings: MigrationSettings) -> list[StepsOp]:
    """Make operations of which those that run outside a transaction share a block.

    Args:
        steps: The steps, in order.
        settings: How migrations are run.

    Returns:
        One operation for each step that has a transaction; one for neighbours that have none.
    """
    made: list[StepsOp] = []
    for outside, part in groupby(steps, is_outside):
        together = list(part)
        if outside and len(together) > 1:
            made.append(StepGroupOp(together, settings))
        else:
            made += [StepOp(step, settings) for step in together]
    return made


def is_outside(step: Step) -> bool:
    """Tell whether a step has a statement that cannot run in a transaction."""
    return any(statement.autocommit for statement in step.statements)


def runs(statements: Iterable[Statement]) -> list[tuple[bool, list[Statement]]]:
    """Part statements where they change between a transaction and none.

    Args:
        statements: Statements in order.

    Returns:
        Neighbours that go together, each time with whether they need autocommit.
    """
    parts: list[tuple[bool, list[Statement]]] = []
    for statement in statements:
        if not parts or parts[-1][0] != statement.autocommit:
            parts.append((statement.autocommit, []))
        parts[-1][1].append(statement)
    return parts


@Operations.implementation_for(StepsOp)
def _run(operations: Operations, operation: StepsOp) -> None:
    """Run steps as the text in a migration file would."""
    context = operations.migration_context
    statements = [statement for step in operation.steps for statement in step.statements]
    for autocommit, part in runs(statements):
        if not autocommit:
            for statement in part:
                context.execute(executable(formatted(statement.sql)))
            continue
        with context.autocommit_block():
            limited = queues.limited(part, operation.settings)
            for text in (*(formatted(sql) for _, sql in limited), *queues.RESETS):
                context.execute(executable(text))
