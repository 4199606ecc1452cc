"""How a table is partitioned, and what then keeps the current versions of a history apart.

A unique index of a partitioned table has to contain the columns that it is partitioned by, so the
layout decides what the server can guard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Table

from pgflow.emit.names import label
from pgflow.errors import NotAmendable

#: What allows one current version of a key: a unique index on the keys among current versions; a
#: unique key on the keys and the end; or the lock that every run takes, and no index.
Guard = Literal["index", "end", "lock"]

_CLAUSE = re.compile(r"\s*(?P<method>\w+)\s*\((?P<elements>.*)\)\s*\Z", re.DOTALL)
_COLUMN = re.compile(r'\s*(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>[A-Za-z_]\w*))\s*\Z')


@dataclass(frozen=True)
class Partitioning:
    """The clause PARTITION BY of a table.

    Attributes:
        text: The clause as it was declared.
        columns: The columns in it; None if it has expressions, or operator classes.
    """

    text: str
    columns: tuple[str, ...] | None


def partitioning_of(table: Table) -> Partitioning | None:
    """Read how a table is declared to be partitioned; None if it is not."""
    text = table.dialect_options["postgresql"]["partition_by"]
    if not text:
        return None
    clause = _CLAUSE.match(str(text))
    parts = [_COLUMN.match(part) for part in clause["elements"].split(",")] if clause else [None]
    columns = tuple(_name(part) for part in parts if part is not None)
    return Partitioning(str(text).strip(), columns if len(columns) == len(parts) else None)


def guard_of(table: Table, keys: tuple[str, ...], valid_from: str, valid_to: str) -> Guard:
    """Say what keeps the current versions of a history apart.

    Args:
        table: The table that is to keep history.
        keys: Its merge keys.
        valid_from: The column of a version's first instant.
        valid_to: The column of the first instant after it.

    Returns:
        The guard.

    Raises:
        NotAmendable: The server could guard neither versions nor current versions, or it could
            not even have such partitions.
    """
    found = partitioning_of(table)
    if found is None:
        return "index"
    columns = None if found.columns is None else set(found.columns)
    if columns is not None and columns <= set(keys):
        return "index"
    if columns is not None and columns <= {*keys, valid_to}:
        return "end"
    if columns is not None and columns <= {*keys, valid_from}:
        return "lock"
    listed = ", ".join(keys)
    raise NotAmendable(
        f"{label(table)} is to keep history by ({listed}), and is partitioned by {found.text}. A "
        "unique key of a partitioned table has to contain what it is partitioned by, so nothing "
        f"could keep its versions apart. Partition it by HASH ({listed}), by LIST ({valid_to}) "
        f"into current and closed versions, or by RANGE ({valid_from}).",
        table=label(table),
    )


def can_be_unique(table: Table, columns: tuple[str, ...]) -> bool:
    """Tell whether the server can keep columns unique across the partitions of a table."""
    found = partitioning_of(table)
    return found is None or (found.columns is not None and set(found.columns) <= set(columns))


def _name(part: re.Match[str]) -> str:
    quoted: str | None = part["quoted"]
    return part["plain"].lower() if quoted is None else quoted.replace('""', '"')
