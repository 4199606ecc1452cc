"""Who fills a table, and in which mode: owners whose modes exclude each other are kept apart."""

from __future__ import annotations

from sqlalchemy import Table

from pgflow.emit.names import label
from pgflow.emit.state import remember, state_of
from pgflow.errors import ModeConflict

#: Modes that share a table with no other mode, and why.
_EXCLUSIVE = {
    "scd2": "mode 'scd2' keeps many rows for one key",
    "truncate": "mode 'truncate' removes what others have written",
}


def claims(table: Table) -> dict[str, str]:
    """Return the modes in which a table is filled, by owner."""
    return dict(state_of(table).claims)


def check_claim(table: Table, mode: str, owner: str) -> None:
    """Refuse an owner whose mode does not go with those of the others.

    append, merge and scd1 may share a table; scd2 and truncate share it with their own kind only.

    Args:
        table: The table.
        mode: A built-in mode, or the one that a mode of the user's own counts as.
        owner: Who wants to fill it, such as `pipeline 'customer_sync'`.

    Raises:
        ModeConflict: Another owner has claimed the table for a mode that excludes this one.
    """
    for other, taken in claims(table).items():
        if taken == mode:
            continue
        exclusive = mode if mode in _EXCLUSIVE else taken
        if other != owner and exclusive not in _EXCLUSIVE:
            continue
        why = _EXCLUSIVE.get(exclusive, "one owner has one mode")
        raise ModeConflict(
            f"{owner} fills {label(table)} in mode {mode!r}, and {other} in mode {taken!r}: "
            f"{why}. Give both the same mode, or one of them a table of its own.",
            table=label(table),
            owners=(owner, other),
        )


def claim(table: Table, mode: str, owner: str) -> None:
    """Note who fills a table in which mode.

    Args:
        table: The table.
        mode: A built-in mode, or the one that a mode of the user's own counts as.
        owner: Who fills it.

    Raises:
        ModeConflict: Another owner has claimed the table for a mode that excludes this one.
    """
    check_claim(table, mode, owner)
    remember(table, claims={**claims(table), owner: mode})
