"""Which way rows take: asked from the servers, said with its reason, and overridden on demand."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import InvalidOption, SourceFailed, UnsuitablePath, UnsuitableTransaction

SELECT = "SELECT id, a, b FROM w.s"


def path_of(pipeline: Any) -> tuple[str, str]:
    """The path that a preview shows, with its reason."""
    (target,) = pipeline.preview().targets
    decision = dict(target.decisions)["path"]
    return decision.value, decision.reason


def again(world: Any, **changes: Any) -> sa.Engine:
    """Another engine for the same database, perhaps by another role."""
    return sa.create_engine(world.engine.url.set(**changes), poolclass=sa.NullPool)


def test_one_connection_is_one_database(world: Any) -> None:
    """Without another connection nothing is asked and nothing is copied."""
    pipeline = world.pipe(world.table(), SELECT, mode="merge")
    assert path_of(pipeline) == ("same_db", "source and target share one connection")


def test_two_connections_to_one_database_are_the_same(world: Any, counts: Any) -> None:
    """Two engines that reach one database by different addresses are found out."""
    other = again(world, host="", port=None)
    pipeline = world.pipe(world.table(), SELECT, mode="merge", source_connection=other)
    assert path_of(pipeline) == (
        "same_db",
        "source and target connection are the same database",
    )
    world.fill((1, "a", 1))
    result = pipeline.sync()
    assert counts(result) == {"inserted": 1, "read": 1}
    assert "transfer" not in result.targets[0].details


def test_another_database_of_the_same_server_is_copied(world: Any, far: Any, counts: Any) -> None:
    """Its rows travel, and the preview shows both sides' statements."""
    far.fill((1, "a", 1))
    pipeline = world.pipe(world.table(), SELECT, mode="merge", source_connection=far.engine)
    assert path_of(pipeline) == ("copy", "the source is another database of the same server")
    shown = str(pipeline.preview())
    assert "COPY pg_temp.pgflow_stage (id, a, b) FROM STDIN (FORMAT binary)" in shown
    assert "TO STDOUT (FORMAT binary)" in shown
    assert f"rows from postgresql database {far.engine.url.database!r}" in shown
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}


@pytest.mark.parametrize("force", [None, "same_db"])
def test_another_role_reads_as_itself(world: Any, counts: Any, force: str | None) -> None:
    """A source connection of another role sees what that role sees, unless it is overridden."""
    role = "pgflow_path_reader"
    with world.engine.begin() as connection:
        if not connection.exec_driver_sql(
            f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"
        ).scalar():
            connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
    world.run(f"GRANT USAGE ON SCHEMA w TO {role}")
    world.run("CREATE VIEW w.mine AS SELECT id, current_user::text AS a, b FROM w.s")
    world.run(f"GRANT SELECT ON w.s, w.mine TO {role}")
    world.fill((1, "x", 1))
    other = again(world, username=role)
    pipeline = world.pipe(
        world.table(), "SELECT id, a, b FROM w.mine", mode="merge",
        source_connection=other, force_path=force,
    )  # fmt: skip
    path, reason = path_of(pipeline)
    pipeline.sync()
    seen = world.run("SELECT a FROM w.t")
    if force is None:
        assert (path, seen) == ("copy", [(role,)])
        assert reason.startswith(f"the same database, but as another role, {role!r}")
    else:
        assert (path, seen) == ("same_db", [("postgres",)])
    world.run(f"DROP OWNED BY {role}")


def test_another_search_path_reads_as_itself(world: Any) -> None:
    """One query that would find another table is not run on the target's connection."""
    world.run("CREATE SCHEMA other")
    world.run("CREATE TABLE other.x (id bigint, a text)")
    world.run("INSERT INTO other.x VALUES (1, 'other')")
    world.run("CREATE TABLE public.x (id bigint, a text)")
    other = sa.create_engine(
        world.engine.url.update_query_dict({"options": "-csearch_path=other"}),
        poolclass=sa.NullPool,
    )
    table = world.table("t", sa.Column("a", sa.Text))
    pipeline = world.pipe(table, "SELECT * FROM x", mode="merge", source_connection=other)
    path, reason = path_of(pipeline)
    assert path == "copy"
    assert "with another search_path" in reason
    pipeline.sync()
    assert world.run("SELECT a FROM w.t") == [("other",)]


def test_a_role_that_may_not_ask_for_the_system_identifier(world: Any, far: Any) -> None:
    """The server's start tells one server from another just as well."""
    for each in (world, far):
        each.run("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    role = "pgflow_path_plain"
    with world.engine.begin() as connection:
        if not connection.exec_driver_sql(
            f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"
        ).scalar():
            connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
    far.run(f"GRANT USAGE ON SCHEMA w TO {role}")
    far.run(f"GRANT SELECT ON w.s TO {role}")
    there = sa.create_engine(far.engine.url.set(username=role), poolclass=sa.NullPool)
    pipeline = world.pipe(world.table(), SELECT, mode="merge", source_connection=there)
    assert path_of(pipeline) == ("copy", "the source is another database of the same server")
    far.run(f"DROP OWNED BY {role}")


def test_same_db_cannot_be_forced_on_another_database(world: Any, far: Any) -> None:
    """force_path='same_db' is refused where the target's server cannot read the source."""
    pipeline = world.pipe(
        world.table(), SELECT, mode="merge", source_connection=far.engine, force_path="same_db"
    )
    with pytest.raises(UnsuitablePath, match="another database of the same server"):
        pipeline.sync()
    assert not pipeline.preview().ok


def test_an_unknown_path_is_refused_at_declaration(world: Any) -> None:
    """The choices are named."""
    with pytest.raises(InvalidOption, match="'same_db' or 'copy'"):
        world.pipe(world.table(), SELECT, mode="merge", force_path="fdw")


@pytest.mark.parametrize("mode", ["merge", "truncate", "append", "scd2"])
def test_a_forced_copy_does_not_wait_for_its_own_connection(
    world: Any, mode: str, counts: Any
) -> None:
    """A pool with one connection, which the target has, does not stop the source's."""
    engine = sa.create_engine(world.engine.url, pool_size=1, max_overflow=0, pool_timeout=2)
    pipeline = pgflow.Pipeline(
        "p", target=world.table(mode=mode), source=SELECT, connection=engine, force_path="copy"
    )
    pgflow.create_all(world.metadata, connection=world.engine)
    world.fill((1, "a", 1))
    for _ in range(2):
        result = pipeline.sync()
        assert result.read == 1
        (done,) = result.targets[0].details["transfer"]
        assert (done["path"], done["rows"]) == ("copy", 1)
    assert engine.pool.checkedout() == 0
    engine.dispose()
    busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    assert world.run(busy) == [(1,)]


def test_a_forced_copy_may_read_what_it_replaces(world: Any) -> None:
    """The source's transaction is over before the target is truncated."""
    table = world.table(mode="truncate")
    source = "SELECT id + 1 AS id, a, b FROM w.t UNION ALL SELECT 1, 'z', 1"
    pipeline = world.pipe(table, source, force_path="copy")
    assert pipeline.sync().inserted == 1
    assert pipeline.sync().inserted == 2


# -- which connection the function gets ---------------------------------------------------


def test_one_connection_is_the_sources(world: Any, far: Any) -> None:
    """f(conn) gets the source's connection, in a transaction that only reads."""
    seen: list[str] = []

    def body(conn: Any) -> str:
        seen.append(conn.exec_driver_sql("SELECT current_database()").scalar())
        seen.append(conn.exec_driver_sql("SHOW transaction_read_only").scalar())
        return "SELECT 1::bigint AS id, current_database()::text AS a, 1 AS b"

    world.pipe(world.table(), None, body=body, mode="merge", source_connection=far.engine).sync()
    assert seen == [far.engine.url.database, "on"]
    assert world.run("SELECT a FROM w.t") == [(far.engine.url.database,)]


def test_two_connections_are_both_ends(world: Any, far: Any) -> None:
    """f(source, target) can look at the target, and what it writes there is the run's."""
    far.fill((1, "a", 1), (2, "b", 2))

    def body(source: Any, target: Any, *, fail: bool = False) -> str:
        known = target.exec_driver_sql("SELECT coalesce(max(id), 0) FROM w.t").scalar()
        target.exec_driver_sql("INSERT INTO w.s (id) VALUES (77)")
        there = source.exec_driver_sql("SELECT max(id) FROM w.s").scalar()
        return f"SELECT id, a, b FROM w.s WHERE id > {known} AND id <= {there}" + (
            " AND 1/0 = 1" if fail else ""
        )

    pipeline = world.pipe(
        world.table(), None, body=body, mode="append", source_connection=far.engine
    )
    assert pipeline.sync().inserted == 2
    assert world.run("SELECT count(*) FROM w.s") == [(1,)]
    with pytest.raises(SourceFailed, match="division by zero"):
        pipeline.sync(fail=True)
    assert world.run("SELECT count(*) FROM w.s") == [(1,)]


def test_a_function_cannot_end_the_sources_transaction(world: Any, far: Any) -> None:
    """What is described and what is copied would not be the same any more."""

    def body(conn: Any) -> str:
        conn.exec_driver_sql("COMMIT")
        return SELECT

    pipeline = world.pipe(
        world.table(), None, body=body, mode="merge", source_connection=far.engine
    )
    with pytest.raises(UnsuitableTransaction, match="must not end the run's transaction"):
        pipeline.sync()


def test_a_query_brings_its_own_connection(world: Any, far: Any) -> None:
    """Query(connection=) wins over the pipeline's, also when a function returns it."""
    far.fill((1, "far", 1))
    query = pgflow.Query(SELECT, connection=far.engine)
    world.pipe(world.table("t"), query, mode="merge", name="one").sync()
    world.pipe(world.table("u"), None, body=lambda: query, mode="merge", name="two").sync()
    table = pgflow.SourceTable("w.s", connection=far.engine)
    world.pipe(world.table("v"), table, mode="merge", name="three").sync()
    for name in "tuv":
        assert world.run(f"SELECT a FROM w.{name}") == [("far",)]


def test_one_source_feeds_targets_in_several_databases(world: Any, far: Any) -> None:
    """Each target has its own path; the source is the pipeline's, wherever the target is."""
    world.fill((1, "here", 1))
    far.fill((1, "there", 1))
    near, distant = world.table(), far.table()
    pipeline = pgflow.Pipeline(
        "p",
        targets=[near, pgflow.target(distant, target_connection=far.engine)],
        source=SELECT,
        connection=world.engine,
        mode="merge",
    )
    for each, metadata in ((world, world.metadata), (far, far.metadata)):
        pgflow.create_all(metadata, connection=each.engine)
    paths = [dict(t.decisions)["path"].value for t in pipeline.preview().targets]
    assert paths == ["same_db", "copy"]
    pipeline.sync()
    assert world.run("SELECT a FROM w.t") == far.run("SELECT a FROM w.t") == [("here",)]


def test_a_source_that_cannot_be_reached_is_named_without_its_password(world: Any) -> None:
    """The run fails before anything is written, and the preview says what it could not know."""
    gone = world.engine.url.set(host="127.0.0.1", port=1, password="secret", query={})
    pipeline = world.pipe(world.table(), SELECT, mode="merge", source_connection=gone)
    with pytest.raises(SourceFailed, match="127.0.0.1:1") as caught:
        pipeline.sync()
    assert "secret" not in str(caught.value)
    assert "could not reach the source: connection failed: " in str(caught.value)
    assert "sqlalche.me" not in str(caught.value)
    preview = pipeline.preview()
    assert preview.ok
    assert "not known" in str(preview)
    assert "secret" not in str(preview)
