"""The hook of env.py that has the last word on a migration before its files are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from alembic.operations.ops import (
    DowngradeOps,
    MigrateOperation,
    MigrationScript,
    UpgradeOps,
)
from alembic.runtime.migration import MigrationContext
from alembic.util import rev_id

from pgflow.alembic.operations import StepsOp, grouped
from pgflow.alembic.parting import parted
from pgflow.alembic.settings import MigrationSettings
from pgflow.alembic.step import Step

_BEFORE = "preparation"
_AFTER = "without locking"


def process_revision_directives(
    context: MigrationContext,  # noqa: ARG001 (Alembic's signature)
    revision: str | Iterable[str | None] | Iterable[str],  # noqa: ARG001
    directives: list[MigrationScript],
) -> None:
    """Arrange a migration in files; give it to `context.configure()` in env.py.

    Args:
        context: Alembic's context.
        revision: The revisions on which the new one is based.
        directives: The files to be written; changed in place.
    """
    if not directives:
        return
    # With several databases Alembic calls this after each of them, for the newest operations.
    script = directives.pop()
    directives += _arranged(script)


def _arranged(script: MigrationScript) -> list[MigrationScript]:
    upgrade, downgrade = script.upgrade_ops_list[-1], script.downgrade_ops_list[-1]
    steps, settings = _steps(upgrade.ops)
    if settings is None or any(not isinstance(each, StepsOp) for each in upgrade.ops):
        # Somebody's own operations stand among ours: their places are not ours to change.
        return [script]
    back, _ = _steps(downgrade.ops)
    leaves = parted(steps, back)
    place = next((n for n, leaf in enumerate(leaves) if leaf.is_main), 0)
    scripts = [
        script if number == place else _sibling(script, _BEFORE if number < place else _AFTER)
        for number in range(len(leaves))
    ]
    for each, leaf in zip(scripts, leaves, strict=True):
        each.upgrade_ops_list[-1].ops[:] = grouped(leaf.upgrade, settings)
        each.downgrade_ops_list[-1].ops[:] = grouped(leaf.downgrade, settings)
    if len(scripts) > 1:
        _chain(script, scripts)
        last = scripts[-1].upgrade_ops_list
        last[-1] = _AllOps(last[-1], grouped(steps, settings))
    return scripts or [script]


def _steps(found: Iterable[MigrateOperation]) -> tuple[list[Step], MigrationSettings | None]:
    ours = [operation for operation in found if isinstance(operation, StepsOp)]
    settings = ours[0].settings if ours else None
    return [step for operation in ours for step in operation.steps], settings


def _sibling(script: MigrationScript, suffix: str) -> MigrationScript:
    """Make an empty file beside a migration's own."""
    return MigrationScript(
        rev_id=rev_id(),
        message=f"{script.message}, {suffix}" if script.message else suffix,
        upgrade_ops=UpgradeOps([], upgrade_token=script.upgrade_ops_list[-1].upgrade_token),
        downgrade_ops=DowngradeOps(
            [], downgrade_token=script.downgrade_ops_list[-1].downgrade_token
        ),
        version_path=script.version_path,
    )


def _chain(script: MigrationScript, scripts: Sequence[MigrationScript]) -> None:
    """Let the first file stand where the migration was to stand, and the others follow it."""
    first = scripts[0]
    place = (script.head, script.splice, script.branch_label, script.depends_on)
    script.splice, script.branch_label, script.depends_on = False, None, None
    for former, each in pairwise(scripts):
        each.head = former.rev_id
    first.head, first.splice, first.branch_label, first.depends_on = place


class _AllOps(UpgradeOps):
    """The operations of the last file; `alembic check`, which looks at no other, sees all."""

    def __init__(self, own: UpgradeOps, everything: Sequence[MigrateOperation]) -> None:
        super().__init__(own.ops, upgrade_token=own.upgrade_token)
        self._everything = UpgradeOps(everything)

    def as_diffs(self) -> Any:
        return self._everything.as_diffs()
