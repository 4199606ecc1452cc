"""Which rows a position takes, at its edges: NULLs, ties, and numbers that come round again."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from pgflow.errors import NullWatermark
from pgflow.plan.spec import Watermark
from pgflow.plan.sql import Sql, raw
from pgflow.plan.watermark import since
from pgflow.run.session import Session

ROUND = 2**32
QUERY = "SELECT id, a, u FROM w.s"


def taken(engine: Engine, begin: int, ahead: int, *numbers: int) -> list[int]:
    """Which of these rows' numbers a horizon takes."""
    mark = Watermark(Sql(), "xmin", "xid", str(begin), kind="horizon", ahead=ahead)
    listed = ", ".join(f"('{n}'::xid)" for n in numbers)
    query = raw(f"SELECT s.xmin::text AS n FROM (VALUES {listed}) AS s (xmin)") + since(mark)
    with engine.connect() as connection:
        return [int(row["n"]) for row in Session(connection).run(query, "look").rows]


@pytest.mark.parametrize("rounds", [0, 1, 7])
def test_a_horizon_takes_numbers_from_it_on_in_every_round(engine: Engine, rounds: int) -> None:
    """Rows keep 32 bits of their transaction's number; none is lost where these begin anew."""
    at = rounds * ROUND + ROUND - 5
    before, since_then = [ROUND - 6, ROUND - 1000, 2**31, 2**21], [ROUND - 5, ROUND - 1, 3, 4]
    assert taken(engine, at, at + 10, *before, *since_then) == since_then
    middle = rounds * ROUND + 1000
    assert taken(engine, middle, middle + 1, 999, 1000, 1001, ROUND - 1, 3) == [1000, 1001]


def test_more_transactions_than_rows_can_tell_have_everything_read(engine: Engine) -> None:
    """After four billion transactions no number says anything."""
    everything = [3, 1000, 2**31, ROUND - 1]
    assert taken(engine, 500, 500 + ROUND, *everything) == everything
    assert taken(engine, 500, 500 + ROUND - 2**20 - 1, *everything) == everything


@pytest.mark.parametrize("remote", [False, True])
def test_rows_without_a_value_are_read_always_never_or_refused(
    world: Any, far: Any, counts: Any, remote: bool
) -> None:
    """on_null_watermark= says what becomes of rows whose incremental column is NULL."""
    where, given = (far, {"source_connection": far.engine}) if remote else (world, {})
    where.run("INSERT INTO w.s (id, a, u) VALUES (1, 'a', '2024-01-01Z'), (2, 'b', NULL)")
    made = {
        policy: world.pipe(
            world.table(f"t_{policy}"), QUERY, name=policy, mode="merge",
            incremental_column="u", on_null_watermark=policy, **given,
        )
        for policy in ("read", "skip", "error")
    }  # fmt: skip
    assert counts(made["read"].sync()) == {"inserted": 2, "read": 2}
    assert counts(made["read"].sync()) == {"unchanged": 2, "read": 2}
    assert counts(made["skip"].sync()) == {"inserted": 1, "read": 1}
    assert counts(made["skip"].sync()) == {"unchanged": 1, "read": 1}
    with pytest.raises(NullWatermark, match="1 source rows have no 'u', so nobody can say"):
        made["error"].sync()
    assert world.run("SELECT count(*) FROM w.t_error") == [(0,)]
    where.run("UPDATE w.s SET u = '2024-01-02Z' WHERE id = 2")
    assert counts(made["error"].sync()) == {"inserted": 2, "read": 2}
    where.run("UPDATE w.s SET u = NULL WHERE id = 1")
    with pytest.raises(NullWatermark):
        made["error"].sync()
    assert counts(made["skip"].sync()) == {"inserted": 1, "read": 1}
