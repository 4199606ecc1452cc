"""What must hold of the rows that a source delivers: `checks=[NotNull("email"), ...]`.

These are about the rows of a batch, before they are written. `pgflow.Check`, `pgflow.Unique` and
their like declare constraints of tables, which the server enforces.
"""

from __future__ import annotations

from pgflow.declare.checks import (
    AcceptedValues,
    Freshness,
    NotNull,
    QueryCheck,
    Relationship,
    RowCount,
    SQLCheck,
    Unique,
)
from pgflow.declare.data_check import DataCheck

__all__ = [
    "AcceptedValues",
    "DataCheck",
    "Freshness",
    "NotNull",
    "QueryCheck",
    "Relationship",
    "RowCount",
    "SQLCheck",
    "Unique",
]
