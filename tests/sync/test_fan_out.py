"""Several targets: their source is read once where that can be, and each of them says whether."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow import checks
from pgflow.connections.places import describe
from pgflow.errors import DuplicateKeys, TargetsFailed
from pgflow.run.result import READ_BY
from tests.sync.fan_out_world import (
    A_AND_B,
    COUNTED,
    SUMS,
    Between,
    Fan,
    count_reads,
    foretold,
    reads,
    statements,
    told,
)


def test_a_query_is_run_once_for_all_targets(fan: Fan) -> None:
    """The source's query runs once, and every target gets all of its rows."""
    count_reads(fan.world)
    pipeline = fan(COUNTED, *({"mode": m} for m in ("merge", "truncate", "scd1")))
    preview = pipeline.preview()
    done = pipeline.sync()
    assert reads(fan.world) == 1
    assert statements(preview) == statements(done), "the preview shows what runs"
    assert (done.read, done.inserted) == (2, 6), "rows that were read once count once"
    assert [each.details.get(READ_BY) for each in done.targets] == [None, "w.t1", "w.t1"]
    assert told(done) == ["read once for 3 targets"] * 3
    assert [each.inserted for each in done.targets] == [2, 2, 2]
    ran = [[s.purpose for s in each.plan.prepare] for each in done.targets if each.plan]
    assert ["keep the source's rows for the targets that follow" in r for r in ran] == [
        True,
        False,
        False,
    ]
    assert fan.rows(1) == fan.rows(2) == fan.rows(3) == A_AND_B


def test_values_of_a_query_are_bound_as_ever(fan: Fan) -> None:
    """Run parameters and the query's own reach the one statement that reads."""

    def body(above: int = 0) -> pgflow.Query:
        text = "SELECT id, max(a) AS a, :b::numeric AS b FROM w.s WHERE id > :above GROUP BY id"
        return pgflow.Query(text, params={"above": above, "b": 7})

    done = fan(None, body=body).sync(above=1)
    assert told(done) == ["read once for 2 targets"] * 2
    assert fan.rows(1) == fan.rows(2) == [(2, "b", "7.00")]


def test_the_history_says_how_the_source_was_read(fan: Fan) -> None:
    """Each target has a row of its own in the history, and there it stands too."""
    fan(SUMS).sync()
    history = fan.world.run(
        "SELECT target, status, details->>'reading' FROM pgflow.runs ORDER BY started_at"
    )
    assert history == [
        ("w.t1", "success", "read once for 2 targets"),
        ("w.t2", "success", "read once for 2 targets"),
    ]


def test_a_plain_table_is_scanned_once(fan: Fan) -> None:
    """Also a table of the targets' own database is read once, and its key is still known."""
    pipeline = fan(pgflow.SourceTable("w.s"), {"mode": "merge"}, {"mode": "scd2"})
    preview = pipeline.preview()
    with fan.world.engine.begin() as live:
        done = pipeline.sync(connection=live)
        own = "SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 's'"
        assert live.exec_driver_sql(own).scalar() == 1
    assert told(done) == ["read once for 2 targets"] * 2 == foretold(pipeline)
    lasting = [[(p, t.replace("PRESERVE ROWS", "DROP")) for p, t in x] for x in statements(preview)]
    assert lasting == statements(done), "the preview shows what runs"
    assert fan.rows(1) == fan.rows(2) == A_AND_B


def test_only_columns_that_a_target_takes_are_kept(fan: Fan) -> None:
    """Of a wide table, what no target wants is not kept; its key needs no checks all the same."""
    fan.world.run("ALTER TABLE w.s ADD PRIMARY KEY (id), ADD wide text DEFAULT 'long'")
    slim = fan.world.table("slim", sa.Column("b", sa.Numeric(10, 2)))
    full = fan.world.table("full")
    source = pgflow.SourceTable("w.s")
    done = fan.world.pipe(None, source, targets=[slim, full], mode="merge").sync()
    assert told(done) == ["read once for 2 targets"] * 2
    (kept,) = (t for p, t in statements(done)[0] if p.startswith("keep "))
    assert "(SELECT id, b, a FROM w.s AS q)" in kept
    alone = fan.world.pipe(fan.world.table("alone"), source, mode="merge", name="alone").sync()
    for each in done.targets:
        assert [s.purpose for s in each.plan.statements] == [
            s.purpose for s in alone.plan.statements
        ]
    assert fan.world.run("SELECT id, b::text FROM w.slim ORDER BY 1") == [(1, "1.00"), (2, "2.00")]
    assert fan.world.run("SELECT id, a, b::text FROM w.full ORDER BY 1") == A_AND_B


def test_targets_of_a_view_take_the_columns_that_they_have(fan: Fan) -> None:
    """A source table is asked for each target's columns, renamed, and is read once."""
    count_reads(fan.world)
    fan.world.run(f"CREATE VIEW w.v AS SELECT id, a AS x, b, now() AS u FROM ({COUNTED}) AS q")
    made = fan(pgflow.SourceTable("w.v", {"a": "x"}), {"mode": "merge"}, {"mode": "append"})
    assert told(made.sync()) == ["read once for 2 targets"] * 2
    assert reads(fan.world) == 1
    assert fan.rows(1) == fan.rows(2) == A_AND_B


def test_targets_of_a_view_may_want_different_columns(fan: Fan) -> None:
    """Each takes its own of what was kept."""
    count_reads(fan.world)
    fan.world.run(f"CREATE VIEW w.v AS {COUNTED}")
    slim = fan.world.table("slim", sa.Column("b", sa.Numeric(10, 2)))
    full = fan.world.table("full")
    pipeline = fan.world.pipe(None, None, source_table="w.v", targets=[slim, full], mode="merge")
    preview, done = pipeline.preview(), pipeline.sync()
    assert told(done) == ["read once for 2 targets"] * 2
    assert statements(preview) == statements(done), "the preview shows what runs"
    assert reads(fan.world) == 1
    assert fan.world.run("SELECT id, b::text FROM w.slim ORDER BY 1") == [(1, "1.00"), (2, "2.00")]
    assert fan.world.run("SELECT id, a, b::text FROM w.full ORDER BY 1") == A_AND_B
    preview, done = pipeline.preview(), pipeline.sync()
    assert statements(preview) == statements(done), "also into tables that are not empty"


# -- sources elsewhere ----------------------------------------------------------------


def test_rows_that_a_function_makes_are_made_once(fan: Fan) -> None:
    """The function is called once for all targets, and its generator read to its end once."""
    calls = []

    def body() -> Any:
        calls.append("called")
        yield from ({"id": n, "a": "x" * n, "b": n} for n in (1, 2))

    pipeline = fan(None, body=body)
    preview = pipeline.preview()
    calls.clear()
    done = pipeline.sync()
    assert calls == ["called"]
    assert statements(preview) == statements(done), "the preview shows what runs"
    assert told(done) == ["read once for 2 targets"] * 2
    assert fan.rows(1) == fan.rows(2) == [(1, "x", "1.00"), (2, "xx", "2.00")]
    assert foretold(pipeline) == ["read once for 2 targets"] * 2


def test_an_iterator_feeds_every_target(fan: Fan) -> None:
    """What can be read only once is enough for all targets."""
    rows = iter([{"id": 1, "a": "a", "b": 1}, {"id": 2, "a": "b", "b": 2}])
    done = fan(pgflow.Rows(rows), {"mode": "scd1"}, {"mode": "append"}, {"mode": "truncate"}).sync()
    assert told(done) == ["read once for 3 targets"] * 3
    assert fan.rows(1) == fan.rows(2) == fan.rows(3) == A_AND_B


def test_a_file_is_read_once(fan: Fan, tmp_path: Path) -> None:
    """Rows of files are parsed once, and a bad one fails the target that reads."""
    path = tmp_path / "rows.csv"
    path.write_text("id,a,b\n1,a,1\n2,b,2\n")
    pipeline = fan(pgflow.CSV(path))
    assert told(pipeline.sync()) == ["read once for 2 targets"] * 2
    assert fan.rows(1) == fan.rows(2) == A_AND_B


def test_another_database_is_read_once(fan: Fan, far: Any) -> None:
    """The rows cross the network once; the second target takes what the first has brought."""
    far.fill((1, "a", 1), (2, "b", 2))
    pipeline = fan(
        pgflow.Query("SELECT id, a, b FROM w.s", connection=far.engine),
    )
    preview = pipeline.preview()
    assert [each.source for each in preview.targets] == [str(describe(far.engine))] * 2
    done = pipeline.sync(observer=Between(lambda: far.fill((3, "c", 3))))
    assert statements(preview) == statements(done), "the preview shows what runs"
    assert told(done) == ["read once for 2 targets"] * 2
    assert ["transfer" in each.details for each in done.targets] == [True, False]
    assert fan.rows(1) == fan.rows(2) == A_AND_B
    purposes = [purpose for purpose, _ in statements(done)[1]]
    assert "put the rows that an earlier target read into a stage" in purposes
    assert foretold(pipeline) == ["read once for 2 targets"] * 2


def test_targets_of_other_types_do_not_share_what_was_cast(fan: Fan, far: Any) -> None:
    """Values from elsewhere are cast on their way, so only who wants the same types shares them."""
    far.fill((1, "12", 1.25), (2, "b", 2))
    exact = fan.world.table("exact", sa.Column("a", sa.Text), sa.Column("b", sa.Numeric))
    long = fan.world.table("long", sa.Column("a", sa.Text), sa.Column("b", sa.Double))
    again = fan.world.table("again", sa.Column("a", sa.Text), sa.Column("b", sa.Double))
    pipeline = fan.world.pipe(
        None,
        pgflow.Query("SELECT id, a, b FROM w.s", connection=far.engine),
        targets=[exact, long, again],
        mode="merge",
    )
    said = [
        "read for this target only: no target that follows can take the same rows",
        "read once for 2 targets",
        "read once for 2 targets",
    ]
    done = pipeline.sync()
    assert told(done) == said == foretold(pipeline)
    assert ["transfer" in each.details for each in done.targets] == [True, True, False]
    assert fan.world.run("SELECT b FROM w.again ORDER BY id") == [(1.25,), (2.0,)]


# -- the same as one target alone -----------------------------------------------------


def test_what_the_source_proves_of_its_keys_is_still_known(fan: Fan) -> None:
    """A GROUP BY proves unique keys; what was kept of it needs no more checks than it."""
    alone = fan.world.pipe(fan.world.table("alone"), SUMS, mode="merge", name="alone").sync()
    for each in fan(SUMS, {"mode": "merge"}, {"mode": "merge"}).sync().targets:
        assert [s.purpose for s in each.plan.statements] == [  # type: ignore[union-attr]  # it ran
            s.purpose for s in alone.plan.statements
        ]


def test_a_key_that_repeats_is_refused_as_ever(fan: Fan) -> None:
    """Where the keys of one target repeat, it fails with the error that it has alone."""
    twice = "SELECT id, a, max(b) AS b FROM w.s GROUP BY id, a UNION ALL SELECT 1, 'z', 9"
    alone = fan.world.pipe(fan.world.table("alone"), twice, mode="merge", name="p")
    with pytest.raises(DuplicateKeys) as single:
        alone.sync()
    wide = fan.world.table("wide", key=(sa.Column("id", sa.BigInteger), sa.Column("c", sa.Text)))
    shared = fan.world.pipe(
        None,
        f"SELECT *, a AS c FROM ({twice}) AS q",
        targets=[wide, pgflow.target(fan.world.table("t2"), schema_mode="ignore_extra")],
        mode="merge",
    )
    with pytest.raises(TargetsFailed, match=r"failed on w\.t2") as caught:
        shared.sync()
    error = caught.value.result.targets[1].error  # type: ignore[attr-defined]  # a SyncResult
    assert str(error).replace("w.t2", "w.alone") == str(single.value)


@pytest.mark.parametrize("kind", ["view", "far", "rows"])
def test_every_target_gets_what_it_would_get_alone(fan: Fan, far: Any, kind: str) -> None:
    """Modes with options of their own come to the same rows and counts, run by run."""
    world, feed = fan.world, list[dict[str, Any]]()
    for each in (world, far):
        each.run(f"CREATE VIEW w.v AS {SUMS}")
    given: dict[str, Any] = {
        "view": {"source": pgflow.SourceTable("w.v")},
        "far": {"source": pgflow.SourceTable("w.v"), "source_connection": far.engine},
        "rows": {"source": pgflow.Rows(lambda: feed)},
    }[kind]
    given |= {"target_connection": world.engine, "connection": None}
    options: tuple[dict[str, Any], ...] = (
        {"mode": "merge", "update_columns": ("a",), "handle_deletes": "hard"},
        {"mode": "scd1", "compare_columns": ("b",), "handle_deletes": "soft"},
        {"mode": "scd2", "handle_deletes": "soft"},
        {"mode": "append"},
        {"mode": "truncate"},
    )
    together = fan(given["source"], *options, **{k: v for k, v in given.items() if k != "source"})
    apart = [
        pgflow.Pipeline(f"p{n}", target=world.table(f"s{n}"), **given, **each)
        for n, each in enumerate(options, 1)
    ]
    pgflow.create_all(world.metadata, connection=world.engine)
    for batch in (
        [(1, "a", 1), (2, "b", 2), (3, "c", 3)],
        [(1, "a", 5), (2, "B", 2), (4, "d", 4)],
    ):
        feed[:] = [dict(zip(("id", "a", "b"), row, strict=True)) for row in batch]
        world.fill(*batch)
        far.fill(*batch)
        shared = together.sync()
        assert told(shared) == ["read once for 5 targets"] * 5
        for each, single in zip(shared.targets, apart, strict=True):
            assert each.counts == single.sync().counts, each.mode
    for n in range(1, 6):
        both = [world.run(f"SELECT id, a, b::text FROM w.{t}{n} ORDER BY 1, 2, 3") for t in "ts"]
        assert both[0] == both[1]


def test_rows_that_one_target_rejects_are_there_for_the_next(fan: Fan, far: Any) -> None:
    """Checks and quarantine work on each target's own copy of the rows."""
    check = checks.SQLCheck("small", "b < 2", quarantine=True)
    options = ({"checks": [check]}, {}, {"checks": [check]})
    far.fill((1, "a", 1), (2, "b", 2))
    for source in (pgflow.Query(SUMS), pgflow.Query(SUMS, connection=far.engine)):
        pipeline = fan(source, *({"mode": "truncate", **each} for each in options))
        done = pipeline.sync()
        assert told(done) == ["read once for 3 targets"] * 3
        assert [each.rejected for each in done.targets] == [1, 0, 1]
        assert fan.rows(1) == fan.rows(3) == A_AND_B[:1]
        assert fan.rows(2) == A_AND_B
        fan.world.metadata.clear()
