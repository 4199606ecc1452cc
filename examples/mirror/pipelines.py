"""A mirror of a table, without a line of SQL: one column is called otherwise."""

from typing import Annotated

import pgflow
from pgflow import pk
from pgflow.types import BigInt, String, Text, TimestampTZ


@pgflow.table(schema="warehouse")
class CustomerDim:
    customer_id: Annotated[BigInt, pk()]
    email: String[256]
    name: Text | None
    last_seen: TimestampTZ


@pgflow.pipeline(
    target=CustomerDim,
    source_table="source.users",
    column_map={"customer_id": "id"},
    schedule="0 * * * *",
    mode="merge",
)
def customer_sync():
    pass
