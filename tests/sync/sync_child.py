"""A process that runs one sync and can be stopped on its way; tests start it with a JSON order.

The order: `url`; `mode` and `options`; `source`; `hold` (where to stop), `gate` (the advisory lock
to wait for there) and `gate_url` (the database that has it); `dry_run`; `on_sigterm` (what the
script does about it: `interrupt` or `exit`); `source_url` (another database); `create`
(everything that is declared, first). The answer, as JSON on
standard output, is the result or the error.
"""

from __future__ import annotations

import json
import signal
import sys
from datetime import timedelta
from typing import Any

import psycopg
import sqlalchemy as sa

import pgflow
from pgflow.plugins import ColumnPKPlugin
from pgflow.run.events import RunStarted, Silence

#: What the data's transaction of an ordinary run is, counted in transactions of its engine.
_DATA = 2


class Stops(Silence):
    """Waits for the gate where the order says so: once, then never again."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.where, self.gate = order.get("hold"), order.get("gate")
        self.url = sa.make_url(order.get("gate_url", order["url"]))
        self.transactions = 0

    def at(self, place: str) -> None:
        if self.where is None or not place.startswith(self.where):
            return
        self.where = None
        with psycopg.connect(
            host=str(self.url.query["host"]),
            port=str(self.url.query["port"]),
            user=self.url.username,
            dbname=self.url.database,
        ) as held:
            held.execute("SELECT pg_advisory_lock(%s), pg_advisory_unlock(%s)", [self.gate] * 2)

    def started(self, run: RunStarted) -> None:
        self.at("started")

    def executing(self, run: RunStarted, statement: Any) -> None:
        self.at(statement.purpose)

    def retrying(self, run: RunStarted, error: Exception, attempt: int, delay: float) -> None:
        self.at("retrying")

    def began(self, _connection: Any) -> None:
        self.transactions += 1
        if self.transactions == _DATA:
            self.at("begin")

    def commits(self, _connection: Any) -> None:
        if self.transactions == _DATA:
            self.at("commit")


def pipeline(order: dict[str, Any], stops: Stops) -> pgflow.Pipeline:
    options = {"mode": order["mode"], **order.get("options", {})}
    if "lock_timeout" in options:
        options["lock_timeout"] = timedelta(seconds=options["lock_timeout"])
    target = pgflow.SimpleTable(
        "t",
        "w",
        sa.MetaData(),
        [sa.Column("a", sa.Text), sa.Column("b", sa.Numeric(10, 2))],
        plugins=[ColumnPKPlugin(sa.Column("id", sa.BigInteger))],
    )
    engine = pgflow.engine(order["url"])
    sa.event.listen(engine, "begin", stops.began)
    sa.event.listen(engine, "commit", stops.commits)

    def body() -> str:
        stops.at("body")
        return str(order.get("source", "SELECT id, a, b FROM w.s"))

    if "source_url" in order:
        options |= {"source": order["source"], "source_connection": order["source_url"]}
        return pgflow.Pipeline("p", target=target, target_connection=engine, **options)
    return pgflow.Pipeline("p", target=target, body=body, connection=engine, **options)


def main(order: dict[str, Any]) -> int:
    if order.get("on_sigterm") == "interrupt":
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    elif order.get("on_sigterm") == "exit":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    stops = Stops(order)
    made = pipeline(order, stops)
    if order.get("create"):
        stops.at("create")
        pgflow.create_all(made.target_table.metadata, connection=order["url"])
    try:
        result = (made.dry_run if order.get("dry_run") else made.sync)(observer=stops)
    except pgflow.PgflowError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    else:
        answer = result.to_dict()
    print(json.dumps(answer))  # noqa: T201  # the answer
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
