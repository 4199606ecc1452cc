"""The quarantine as it is read, emptied, and searched for a key that is to be erased."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, MetaData, Text, cast, delete, inspect, select

from pgflow import idents
from pgflow.bookkeeping import SCHEMA, register
from pgflow.connections.places import place
from pgflow.errors import MissingTable
from pgflow.plan.sql import bind, name, raw, sql
from pgflow.run.erasing.erased_key import ErasedKey
from pgflow.run.session import Session


@dataclass(frozen=True, kw_only=True)
class RejectedRow:
    """A row that a check has kept out of its target.

    Attributes:
        quarantine_id: Its number.
        run_id: The run that rejected it first.
        pipeline: The pipeline's name.
        target: The target's qualified name.
        check_name: The first check that it failed.
        key: Its key as texts by column, or None.
        row: What the source delivered, by column; numbers with a fraction are `Decimal`.
        rejected_at: When, by the server's clock.
    """

    quarantine_id: int
    run_id: UUID
    pipeline: str
    target: str
    check_name: str
    key: Mapping[str, Any] | None
    row: Mapping[str, Any]
    rejected_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; numbers with a fraction are texts, which have all digits."""
        return {
            **vars(self),
            "run_id": str(self.run_id),
            "row": _plain(self.row),
            "rejected_at": self.rejected_at.isoformat(),
        }


def read_quarantine(
    connection: Connection,
    pipeline: str | None = None,
    limit: int | None = None,
    schema: str = SCHEMA,
) -> list[RejectedRow]:
    """Read rejected rows, latest first.

    Args:
        connection: A connection to the target's database.
        pipeline: Only those of this pipeline.
        limit: How many at most.
        schema: Where pgflow's own tables are.

    Returns:
        The rows.

    Raises:
        MissingTable: There is no quarantine.
    """
    table = _table(connection, schema)
    names = [n for n in RejectedRow.__dataclass_fields__ if n != "row"]
    query = select(*(table.c[n] for n in names), cast(table.c.row, Text).label("row"))
    query = query.order_by(table.c.quarantine_id.desc()).limit(limit)
    if pipeline is not None:
        query = query.where(table.c.pipeline == pipeline)
    return [
        RejectedRow(**{**row, "row": json.loads(row["row"], parse_float=Decimal)})
        for row in connection.execute(query).mappings()
    ]


def purge_quarantine(
    connection: Connection,
    pipeline: str | None = None,
    before: datetime | None = None,
    schema: str = SCHEMA,
) -> int:
    """Delete rejected rows.

    Args:
        connection: A connection to the target's database, in a transaction that is committed.
        pipeline: Only those of this pipeline.
        before: Only those that were rejected earlier.
        schema: Where pgflow's own tables are.

    Returns:
        How many were deleted.

    Raises:
        MissingTable: There is no quarantine.
    """
    table = _table(connection, schema)
    query = delete(table)
    if pipeline is not None:
        query = query.where(table.c.pipeline == pipeline)
    if before is not None:
        query = query.where(table.c.rejected_at < before)
    return connection.execute(query).rowcount


def erase(session: Session, schema: str, targets: Sequence[str], erased: ErasedKey) -> int:
    """Delete the rejected rows that have a key, or are of it.

    Args:
        session: A session in the erasure's transaction.
        schema: Where pgflow's own tables are.
        targets: The names under which runs know the table.
        erased: The key.

    Returns:
        How many were deleted.
    """
    text = sql(
        "DELETE FROM {table} AS q WHERE q.target = ANY ({targets}::text[]) AND ({key} OR {row})",
        table=name(schema, "quarantine"),
        targets=bind(list(targets), "targets"),
        key=erased.documents(raw("q.key")),
        row=erased.documents(raw("q.row")),
    )
    return session.run(text, "erase rows of the quarantine").count


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return format(value, "f") if isinstance(value, Decimal) else value


def _table(connection: Connection, schema: str) -> Any:
    if not inspect(connection).has_table("quarantine", schema=schema):
        raise MissingTable(
            f"the database has no table {idents.qualify(schema, 'quarantine')} "
            f"({place(connection)}). Migrate it: `alembic revision --autogenerate` and `alembic "
            "upgrade head`, or `pgflow migrate`."
        )
    return register(MetaData(), schema).quarantine
