"""Times without a zone for a column that has one: previews and runs tell what depends on it."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from pgflow.errors import StatementFailed

TOLD = (
    "'at' is {kind}, the target has timestamp with time zone: it is read in the session's time "
    "zone, now {zone}; in a session with another one the same rows are other instants. Say which "
    "one is meant in the source: {meant}."
)


def _pipe(world: Any, source: str, engine: Any = None, **options: Any) -> Any:
    table = world.table("t", sa.Column("at", sa.DateTime(timezone=True)))
    if engine is not None:
        options["source_connection"] = engine
    return world.pipe(table, source, mode="merge", **options)


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize(
    ("kind", "meant"),
    [
        ("timestamp without time zone", "(at AT TIME ZONE 'UTC') AS at"),
        ("date", "(at::timestamp AT TIME ZONE 'UTC') AS at"),
    ],
)
def test_a_time_without_zone_is_told(
    world: Any, far: Any, kind: str, meant: str, elsewhere: bool
) -> None:
    """Preview and run name column, zone and way out; what the way out writes is told no more."""
    world.run(f"ALTER DATABASE {world.engine.url.database} SET timezone = 'Asia/Tokyo'")
    world.engine.dispose()
    source = f"(SELECT 1::bigint AS id, '2024-01-01'::{kind} AS at) AS q"
    engine = far.engine if elsewhere else None
    pipeline = _pipe(world, f"SELECT id, at FROM {source}", engine)
    told = TOLD.format(kind=kind, zone="Asia/Tokyo", meant=meant)
    assert f"hazard: {told}" in str(pipeline.preview())
    assert pipeline.plan().hazards == (told,)
    assert pipeline.sync().targets[0].warnings == (told,)
    assert world.run("SELECT at = '2024-01-01 00:00+09' FROM w.t") == [(True,)]

    world.metadata.clear()
    pipeline = _pipe(world, f"SELECT id, {meant} FROM {source}", engine, name="q")
    assert "hazard" not in str(pipeline.preview())
    assert pipeline.sync().targets[0].warnings == ()
    assert world.run("SELECT at = '2024-01-01 00:00+00' FROM w.t") == [(True,)]


def test_an_instant_is_not_told(world: Any, far: Any) -> None:
    """A time with its zone means the same in every session."""
    source = "SELECT id, u AS at FROM w.s"
    assert _pipe(world, source).sync().targets[0].warnings == ()
    world.metadata.clear()
    assert _pipe(world, source, far.engine, name="q").sync().targets[0].warnings == ()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT id, a AS b, '1' AS c, '2024-01-01'::text AS d FROM w.s", "numeric: b, c."),
        ("SELECT id, 1 AS b, '1'::text AS c, left('2024-13-01', id::int * 99) AS d FROM w.s",
         "numeric: b, c; read as date: d."),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_read_names_columns(world: Any, query: str, said: str) -> None:
    """The server names value and type, at best; pgflow the columns that it can be from."""
    world.fill((1, "oops", 1))
    columns = [sa.Column(c, sa.Numeric) for c in "bc"]
    pipeline = world.pipe(world.table("t", *columns, sa.Column("d", sa.Date)), query, mode="merge")
    with pytest.raises(StatementFailed) as caught:
        pipeline.sync()
    assert str(caught.value).endswith(f". Columns read as {said}")
