"""What pgflow knows about one table beyond its columns and constraints.

It is kept on the table object and not in `Table.info`, because Alembic writes `info` into
migrations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from sqlalchemy import Table

from pgflow.declare.system_columns import SystemColumns

_ATTRIBUTE = "_pgflow_state"


@dataclass(frozen=True)
class TableState:
    """What pgflow knows about a table.

    Attributes:
        claims: The modes in which it is filled, by owner.
        system: The names of its system columns.
        amendments: What modes have changed about it.
        history: The primary key that scd2 gave it; None for a table without history.
        mapped: The class that it is mapped to, or None.
        overlaps_forbidden: How a constraint keeps its versions apart; None if none does.
    """

    claims: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    system: SystemColumns = field(default_factory=SystemColumns)
    amendments: tuple[Any, ...] = ()
    history: tuple[str, ...] | None = None
    mapped: str | None = None
    overlaps_forbidden: str | None = None


_NOTHING = TableState()


def state_of(table: Table) -> TableState:
    """Return what is known about a table."""
    state: TableState = vars(table).get(_ATTRIBUTE, _NOTHING)
    return state


def remember(table: Table, **changes: Any) -> None:
    """Note more about a table.

    Args:
        table: The table.
        **changes: New values of `TableState`'s fields.
    """
    setattr(table, _ATTRIBUTE, replace(state_of(table), **changes))
