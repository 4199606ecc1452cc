"""A customer dimension with its history: every version of every customer."""

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
    schedule="0 * * * *",
    mode="scd2",
    event_timestamp_column="last_seen",
)
def customer_sync(conn):
    return "SELECT id AS customer_id, email, name, last_seen FROM source.users"
