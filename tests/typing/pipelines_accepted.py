"""User code that type checkers accept: every documented way to declare and run a pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, assert_type

import sqlalchemy as sa
from sqlalchemy import Connection

import pgflow
from pgflow import Pipeline, Query, SourceTable, SyncResult, check, comment, pk, server_default
from pgflow.observe.preview import Preview
from pgflow.types import BigInt, Boolean, Date, Numeric, String, Text, TimestampTZ


@pgflow.table(schema="warehouse", mode="scd2", event_timestamp_column="last_seen")
class CustomerDim:
    customer_id: Annotated[BigInt, pk()]
    email: Annotated[String[256], comment("as typed in")]
    name: Text | None
    balance: Annotated[Numeric[12, 2], server_default("0"), check("{balance} >= 0")]
    last_seen: TimestampTZ


@pgflow.table(schema="features", name="user_purchase_features_v1")
class UserPurchaseFeatures:
    user_id: Annotated[BigInt, pk()]
    period_start: Annotated[Date, pk()]
    is_subscriber: Boolean
    last_event_ts: TimestampTZ


@pgflow.pipeline(
    target=CustomerDim,
    schedule="0 * * * *",
    mode="scd2",
    event_timestamp_column="last_seen",
    ttl=timedelta(days=7),
    tags=["nightly"],
)
def customer_sync(conn: Connection) -> str:
    return "SELECT id AS customer_id, email, name, balance, last_seen FROM source.users"


@pgflow.pipeline(target=CustomerDim, source_table="source.users", column_map={"customer_id": "id"})
def mirror() -> None:
    pass


@pgflow.pipeline(target=UserPurchaseFeatures, source_connection="oltp", target_connection="wh")
async def two_ends(src_conn: Connection, tgt_conn: Connection) -> Query:
    await asyncio.sleep(0)
    return Query("SELECT :day AS period_start", {"day": date(2024, 1, 1)}, connection=src_conn)


@pgflow.pipeline(target=CustomerDim, mode="merge", keys=["email"], handle_deletes="soft")
def of_one_day(conn: Connection, *, day: date, limit: int = 10) -> sa.Select[Any]:
    return sa.select(sa.column("id", sa.BigInteger)).where(sa.column("day") == day).limit(limit)


@pgflow.pipeline(target=CustomerDim, mode="append", connection="default")
def by_itself(conn: Connection) -> dict[str, int]:
    return {"inserted": conn.execute(sa.text("INSERT INTO t SELECT 1")).rowcount}


@pgflow.pipeline(target=CustomerDim, mode="append")
def rows() -> Iterator[dict[str, Any]]:
    yield {"customer_id": 1}


@pgflow.pipeline(target=CustomerDim, mode="append")
async def streamed() -> AsyncIterator[dict[str, Any]]:
    yield {"customer_id": 1}


@pgflow.pipeline(
    targets=[
        pgflow.target(CustomerDim, mode="scd2", event_timestamp_column="last_seen"),
        pgflow.target(CustomerDim, mode="append", target_connection="other", keys=["email"]),
        UserPurchaseFeatures,
    ],
    schedule="0 1 * * *",
    target_connection="warehouse",
    continue_on_failure=True,
)
def several(conn: Connection) -> SourceTable:
    return SourceTable("events.user_events")


imperative = Pipeline("copy", target=CustomerDim, source=Query("SELECT 1"), mode="merge")


def use(live: Connection) -> tuple[int, str, list[object]]:
    assert_type(customer_sync, Pipeline)
    assert_type(customer_sync.sync(), SyncResult)
    assert_type(of_one_day.dry_run(day=date(2024, 1, 1)), SyncResult)
    customer_sync.sync(effective_at=datetime.now(UTC), connection=live)
    read: int = customer_sync.sync().read
    text: str = customer_sync.preview().to_json()
    with pgflow.connect("warehouse") as connection, pgflow.engine().begin():
        connection.execute(sa.text("SELECT 1"))
    return read, text, [target.plan for target in several.sync().targets]


async def use_async() -> int:
    assert_type(await customer_sync.preview_async(analyze=True), Preview)
    awaitable: Awaitable[SyncResult] = customer_sync.dry_run_async()
    assert_type(await customer_sync.sync_async(effective_at=datetime.now(UTC)), SyncResult)
    first, second = await asyncio.gather(awaitable, of_one_day.sync_async(day=date(2024, 1, 1)))
    return first.inserted + second.inserted
