"""User code that type checkers refuse; each line says with which of mypy's errors."""

from typing import Annotated

from sqlalchemy import Connection

import pgflow
from pgflow import check, comment, pk, server_default
from pgflow.types import BigInt


@pgflow.table(schema="s")
class T:
    a: Annotated[BigInt, pk()]


@pgflow.pipeline(target=T, mode="merge", handle_delets="soft")  # error: call-arg
def misspelt(conn: Connection) -> str:
    return "SELECT 1 AS a"


@pgflow.pipeline(target=T, mode="merge", handle_deletes="sometimes")  # error: arg-type
def wrong_value(conn: Connection) -> str:
    return "SELECT 1 AS a"


@pgflow.pipeline(target=T, mode="merge", keys=3)  # error: arg-type
def wrong_type(conn: Connection) -> str:
    return "SELECT 1 AS a"


@pgflow.pipeline(T)  # error: call-arg
def by_position(conn: Connection) -> str:
    return "SELECT 1 AS a"


async def joins(pipeline: pgflow.Pipeline, live: Connection) -> int:
    await pipeline.sync_async(connection=live)  # error: arg-type
    pipeline.sync(effective_at="2024-01-01")  # error: arg-type
    return pipeline.sync_async().inserted  # error: attr-defined, no-any-return


server_default(0)  # error: arg-type
comment(None)  # error: arg-type
check(1 > 0)  # error: arg-type
pgflow.target(T, mod="merge")  # error: call-arg
pgflow.target(T, mode="merge", handle_deletes="sometimes")  # error: arg-type
