"""One SQL statement of a migration, with what a reader should know before running it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Hazard(Enum):
    """What a statement does to a database in use; the value is the sentence shown beside it."""

    REWRITES = "rewrites the table"
    EXCLUSIVE = "takes ACCESS EXCLUSIVE"
    SCANS = "reads the whole table"
    STOPS_WRITERS = "nobody writes to the table meanwhile"
    WRITES = "writes rows of the table; its triggers fire"
    DELETES = "deletes data"
    NO_TRANSACTION = "cannot run in a transaction"


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement.

    Attributes:
        sql: The text that runs, without a closing semicolon.
        hazards: What it does to a database in use.
        autocommit: It must run outside a transaction.
    """

    sql: str
    hazards: tuple[Hazard, ...] = ()
    autocommit: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """How one object becomes another of the same identity.

    Attributes:
        statements: What to run, in order.
        disturbs: What depends on the object must be dropped before and made again after it, as
            views must for a column that changes its type.
    """

    statements: tuple[Statement, ...]
    disturbs: bool = False
