"""For tests of pipelines: what must hold of every history table, whatever filled it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Connection

from pgflow.emit.history import system_columns_of
from pgflow.emit.versions import versions_of
from pgflow.errors import BrokenHistory
from pgflow.factories.simple import TableFactory
from pgflow.plan.sql import Sql, bind, join, name, names, sql
from pgflow.run.session import Session


def assert_scd2(connection: Connection, table: Any, keys: Sequence[str] | None = None) -> None:
    """Check that a table with versions tells one consistent history of every key.

    A key has at most one current version; no two versions of it are valid at one instant; every
    version ends after it begins; `is_current` says whether it has an end; a confirmation lies
    within its version.

    Args:
        connection: A connection to the database.
        table: A class under `@pgflow.table`, or a table factory.
        keys: The merge keys; by default those by which the history is kept.

    Raises:
        BrokenHistory: One of these does not hold; the message names up to five keys.
    """
    core = TableFactory.of(table).table
    system = system_columns_of(core)
    valid_from, valid_to = system.valid_from, system.valid_to
    if valid_from is None or valid_to is None:
        raise BrokenHistory(f"{core.fullname} keeps no versions: no pipeline fills it with scd2.")
    by = tuple(keys or versions_of(core, "assert_scd2()").keys)
    start, end = name("t", valid_from), name("t", valid_to)
    checks = {
        "several current versions": sql(
            "SELECT {k} FROM {t} AS t WHERE {end} IS NULL GROUP BY {k} HAVING count(*) > 1",
            k=names(by, of="t"),
            t=name(core.schema, core.name),
            end=end,
        ),
        "versions that end before they begin": _where(
            core, by, sql("{end} <= {start}", start=start, end=end)
        ),
        "versions that overlap": _overlaps(core, by, valid_from, valid_to),
    }
    if system.is_current is not None:
        checks["a wrong is_current"] = _where(
            core,
            by,
            sql("{c} IS DISTINCT FROM ({end} IS NULL)", c=name("t", system.is_current), end=end),
        )
    if system.confirmed_at is not None:
        checks["confirmations outside of their version"] = _where(
            core,
            by,
            sql(
                "{c} < {start} OR {c} >= {end}",
                c=name("t", system.confirmed_at),
                start=start,
                end=end,
            ),
        )
    with connection.begin_nested() if connection.in_transaction() else connection.begin():
        session = Session(connection)
        for what, check in checks.items():
            found = session.run(check + sql(" LIMIT {n}::int", n=bind(5)), "check the history").rows
            if found:
                spelt = "; ".join(", ".join(f"{k}={v!r}" for k, v in row.items()) for row in found)
                raise BrokenHistory(f"{core.fullname} has {what}: {spelt}")


def _where(core: Any, by: Sequence[str], condition: Sql) -> Sql:
    return sql(
        "SELECT {k} FROM {t} AS t WHERE {c}",
        k=names(by, of="t"),
        t=name(core.schema, core.name),
        c=condition,
    )


def _overlaps(core: Any, by: Sequence[str], valid_from: str, valid_to: str) -> Sql:
    following = sql(
        "lead({start}) OVER (PARTITION BY {k} ORDER BY {start})",
        start=name("t", valid_from),
        k=names(by, of="t"),
    )
    inner = sql(
        "SELECT {k}, {end} AS pgflow_end, {following} AS pgflow_next FROM {t} AS t",
        k=names(by, of="t"),
        end=name("t", valid_to),
        following=following,
        t=name(core.schema, core.name),
    )
    return sql(
        "SELECT {k} FROM ({inner}) AS v WHERE pgflow_next IS NOT NULL"
        " AND (pgflow_end IS NULL OR pgflow_end > pgflow_next)",
        k=join(", ", (name("v", key) for key in by)),
        inner=inner,
    )
