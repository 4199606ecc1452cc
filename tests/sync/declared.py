"""A table that is declared by a decorator."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa

import pgflow
from pgflow import pk
from pgflow.types import BigInt, Numeric, Text


def declare(metadata: sa.MetaData, name: str = "t") -> Any:
    @pgflow.table(schema="w", name=name, metadata=metadata)
    class Declared:
        id: Annotated[BigInt, pk()]
        a: Text | None
        b: Numeric[10, 2] | None

    return Declared
