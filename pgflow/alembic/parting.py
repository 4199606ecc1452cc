"""One migration as a chain of files, each of which is done or not done and can be tried again.

A transaction is either kept or not. What cannot run in one is written so that it can be done
twice. A file that holds first the one and then the other would, after a failure, be half done; so
each way of a file has at most statements that can be repeated, and then one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pgflow.alembic.operations import is_outside
from pgflow.alembic.queues import stops_others
from pgflow.alembic.repetition import Repetition
from pgflow.alembic.statement import Statement
from pgflow.alembic.step import Step

_INVERSE = {"create": "drop", "drop": "create", "alter": "alter", "rename": "rename"}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One file.

    Attributes:
        upgrade: Its steps there.
        downgrade: Its steps back.
        is_main: It holds what runs in a transaction, and bears the migration's own name.
    """

    upgrade: tuple[Step, ...]
    downgrade: tuple[Step, ...]
    is_main: bool = False


def parted(upgrade: Sequence[Step], downgrade: Sequence[Step]) -> list[Leaf]:
    """Part a migration into files.

    Args:
        upgrade: All steps there.
        downgrade: All steps back.

    Returns:
        The files in the order of upgrades: first what is taken back last, outside a transaction;
        then what runs in one; then what is done last, outside a transaction.
    """
    there, back = _pieces(upgrade), _pieces(downgrade)
    rest = list(back)
    late: list[Leaf] = []
    for piece in there[1:]:
        own, rest = _taken(rest, piece, kept=there[0])
        first, *others = _pieces(own)
        late += [*(Leaf((), each) for each in reversed(others)), Leaf(piece, first)]
    main_there = [there[0]]
    early: list[Leaf] = []
    for piece in rest[1:]:
        own, main_there = _taken(main_there, piece, kept=back[0])
        early.insert(0, Leaf(own, piece))
    main = Leaf(main_there[0], rest[0], is_main=True)
    return _without_empty([*early, main, *late])


def _pieces(steps: Sequence[Step]) -> list[tuple[Step, ...]]:
    """Cut one way where a step outside a transaction follows what has begun one."""
    pieces: list[tuple[Step, ...]] = []
    current: list[tuple[Step, Step]] = []
    state = _State()
    for step in steps:
        if state.is_closed and is_outside(step):
            pieces.append(_settled(current))
            current, state = [], _State()
        current.append((step, state.loosened(step)))
    return [*pieces, _settled(current)]


def _settled(piece: Sequence[tuple[Step, Step]]) -> tuple[Step, ...]:
    """Choose of each step how it was planned, where it stands at the end, or how it was loosened.

    Behind the last step outside a transaction there is nothing for the sake of which another one
    would have to leave the transaction.
    """
    ends = [number for number, (step, _) in enumerate(piece, 1) if is_outside(step)]
    last = ends[-1] if ends else 0
    planned = (step for step, _ in piece[last:])
    return (*(loosened for _, loosened in piece[:last]), *planned)


class _State:
    """How far one way of a file is."""

    def __init__(self) -> None:
        #: It has done what cannot be repeated.
        self.is_closed = False
        self._is_outside = False
        self._repetition = Repetition()

    def loosened(self, step: Step) -> Step:
        """Take a step up; what can be repeated joins those outside a transaction before it.

        What others would have to wait for joins only if its own step is outside.
        """
        together = is_outside(step)
        loosened = (self._loosened(each, together=together) for each in step.statements)
        return replace(step, statements=tuple(loosened))

    def _loosened(self, statement: Statement, *, together: bool) -> Statement:
        joins = together or not stops_others(statement.sql)
        if not self._repetition.allows(statement.sql) or (self._is_outside and not joins):
            self.is_closed = True
        self._is_outside = self._is_outside or statement.autocommit
        if self.is_closed or not self._is_outside:
            return statement
        return replace(statement, autocommit=True)


def _taken(
    way: Sequence[tuple[Step, ...]], piece: Iterable[Step], *, kept: Iterable[Step]
) -> tuple[tuple[Step, ...], list[tuple[Step, ...]]]:
    """Take out of one way what undoes a piece of the other one.

    Args:
        way: The pieces of the one way.
        piece: A piece of the other way.
        kept: The main piece of the other way: what undoes a step there is not taken.

    Returns:
        What undoes the piece, and the rest of the pieces.
    """
    other = {(step.id, step.action) for step in kept}
    wanted = {
        (step.id, _INVERSE[step.action]) for step in piece if (step.id, step.action) not in other
    }
    own = tuple(step for each in way for step in each if (step.id, step.action) in wanted)
    rest = [tuple(step for step in each if (step.id, step.action) not in wanted) for each in way]
    return own, rest


def _without_empty(leaves: list[Leaf]) -> list[Leaf]:
    full = [leaf for leaf in leaves if leaf.upgrade or leaf.downgrade]
    if full and not any(leaf.is_main for leaf in full):
        full[0] = replace(full[0], is_main=True)
    return full
