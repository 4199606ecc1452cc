"""One query feeds three tables, each filled in its own way."""

from typing import Annotated

import pgflow
from pgflow import pk
from pgflow.types import BigInt, Date, Numeric, TimestampTZ


@pgflow.table(schema="features")
class DailyFeatures:
    user_id: Annotated[BigInt, pk()]
    period_start: Annotated[Date, pk()]
    event_ts: TimestampTZ
    spend: Numeric[12, 2]


@pgflow.table(schema="features")
class WeeklyFeatures:
    user_id: Annotated[BigInt, pk()]
    period_start: Annotated[Date, pk()]
    event_ts: TimestampTZ
    spend: Numeric[12, 2]


@pgflow.table(schema="events")
class EventLog:
    user_id: BigInt
    period_start: Date
    event_ts: TimestampTZ
    spend: Numeric[12, 2]


@pgflow.pipeline(
    targets=[
        pgflow.target(DailyFeatures, mode="scd2", event_timestamp_column="event_ts"),
        pgflow.target(WeeklyFeatures, mode="scd2"),
        pgflow.target(EventLog, mode="append"),
    ],
    schedule="0 1 * * *",
    target_connection="warehouse",
)
def sync_user_events(conn):
    return "SELECT user_id, period_start, event_ts, spend FROM events.user_events"
