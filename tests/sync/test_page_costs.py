"""What the planner is told of a target whose pages are in memory."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import sqlalchemy as sa

import pgflow

WATCH = """
CREATE TABLE w.seen (cost text);
CREATE FUNCTION w.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO w.seen VALUES (current_setting('random_page_cost')); RETURN NULL; END $$;
CREATE TRIGGER look AFTER UPDATE ON w.t FOR EACH STATEMENT EXECUTE FUNCTION w.look()
"""
LARGE = "pg_relation_size('w.t') / 8192"


@pytest.mark.parametrize("mode", ["merge", "scd1", "scd2"])
@pytest.mark.parametrize(("pages", "told"), [(4, "1.1"), (2, "3")])
def test_rows_of_a_target_in_memory_are_looked_up(
    world: Any, mode: str, pages: int, told: str
) -> None:
    """Only a target that fits a quarter of the cache is said to be near, and by no one's leave."""
    pipeline = world.pipe(world.table(), mode=mode)
    world.run("INSERT INTO w.s SELECT g, 'a', 1 FROM generate_series(1, 100) AS g")
    pipeline.sync()
    world.run(WATCH)
    world.run("UPDATE w.s SET a = 'b' WHERE id = 7")
    size = world.run(f"SELECT {LARGE}")[0][0]
    with world.engine.begin() as connection:
        for name, value in (("effective_cache_size", size * pages + 1), ("random_page_cost", 3)):
            connection.execute(sa.text(f"SET LOCAL {name} = {value}"))
        pipeline.sync(connection=connection)
        assert connection.exec_driver_sql("SHOW random_page_cost").scalar() == "3"
    assert world.run("SELECT cost FROM w.seen") == [(told,)]


def test_a_partitioned_target_is_as_large_as_its_partitions(world: Any) -> None:
    """A cost that is lower than ours already is left as it is."""

    class T:
        id: Annotated[pgflow.types.BigInt, pgflow.pk()]
        a: pgflow.types.Text | None
        b: pgflow.types.Numeric | None
        __schema__ = "w"
        __table_args__ = {"postgresql_partition_by": "HASH (id)"}

    pipeline = world.pipe(pgflow.table(metadata=world.metadata)(T), mode="merge")
    world.run("CREATE TABLE w.t0 PARTITION OF w.t FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
    world.run("INSERT INTO w.s SELECT g, 'a', 1 FROM generate_series(1, 1000) AS g")
    pipeline.sync()
    world.run(WATCH)
    for cache, cost, told in (("8kB", "4", "4"), ("1GB", "4", "1.1"), ("1GB", "1.05", "1.05")):
        world.run("UPDATE w.s SET b = b + 1 WHERE id = 7")
        with world.engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL effective_cache_size = '{cache}'")
            connection.exec_driver_sql(f"SET LOCAL random_page_cost = {cost}")
            pipeline.sync(connection=connection)
        assert world.run("DELETE FROM w.seen RETURNING cost") == [(told,)]
