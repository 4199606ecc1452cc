"""What tells the versions of a history apart: keys, instants, and the number of a version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Table

from pgflow.emit.claims import claims
from pgflow.emit.names import label
from pgflow.emit.state import state_of
from pgflow.errors import NoHistory

#: So many pipelines are named in a message.
_NAMED = 3


@dataclass(frozen=True)
class Versions:
    """How a table keeps the versions of its rows.

    Attributes:
        table: The table.
        keys: The merge keys: what the versions of one row have in common.
        valid_from: The column of a version's first instant.
        valid_to: The column of the first instant after it; NULL in current versions.
        version_id: The column that numbers the versions, if the table has one.
    """

    table: Table
    keys: tuple[str, ...]
    valid_from: str
    valid_to: str
    version_id: str | None

    @property
    def declared(self) -> tuple[Column[Any], ...]:
        """The columns that are not pgflow's own."""
        own = set(state_of(self.table).system.names)
        return tuple(column for column in self.table.columns if column.name not in own)


def versions_of(table: Table, owner: str) -> Versions:
    """Describe the history that a table keeps.

    Args:
        table: A table on a MetaData.
        owner: Who asks, for the message.

    Returns:
        The description.

    Raises:
        NoHistory: The table keeps none, as far as has been declared by now.
    """
    state = state_of(table)
    system = state.system
    if state.history is None or system.valid_from is None or system.valid_to is None:
        raise NoHistory(f"{owner}: {_why(table)}", table=label(table))
    number = next((a.version_id for a in state.amendments if a.keeps_history), None)
    keys = tuple(column for column in state.history if column != system.valid_from)
    return Versions(table, keys, system.valid_from, system.valid_to, number)


def _why(table: Table) -> str:
    # A run of pgflow's own, such as a relink, has a name that no user has given.
    owners: dict[str, list[str]] = {}
    for owner, mode in claims(table).items():
        if not owner.endswith(": relink'"):
            owners.setdefault(mode, []).append(owner)
    known = f"{label(table)} keeps no history: "
    if owners:
        spelt = " and ".join(_filled(mode, names) for mode, names in owners.items())
        known += f"{spelt}, which keeps one row for each key, so nothing tells what was. "
    else:
        known += "nothing that has been declared so far fills it in mode 'scd2'. "
    return known + ("Declare mode='scd2' on the table, or on its pipeline, before it is asked for.")


def _filled(mode: str, owners: list[str]) -> str:
    """Say who fills a table in a mode; of many the first few."""
    shown = ", ".join(owners[:_NAMED])
    more = len(owners) - _NAMED
    others = f" and {more} more" if more > 0 else ""
    verb = "fills" if len(owners) == 1 else "fill"
    return f"{shown}{others} {verb} it in mode {mode!r}"
