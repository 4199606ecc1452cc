"""Linking facts again, when rows of their dimension arrived late."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import CannotRelink, InvalidInstant, MissingParameter, NoHistory
from pgflow.plan.statement import Statement
from pgflow.run.events import RunStarted, Silence

DAY = [datetime(2024, 1, day, tzinfo=UTC) for day in range(1, 29)]
LINKS = "SELECT id, version FROM w.fact ORDER BY id"


@pytest.fixture
def story(world: Any) -> Any:
    """Facts 1 and 2 of customers x and y, loaded before anybody knew y; then y arrives."""
    world.run("CREATE TABLE w.c (code text, name text); INSERT INTO w.c VALUES ('x', 'a')")
    world.dimension = world.table(
        "customer",
        sa.Column("name", sa.Text),
        key=(sa.Column("code", sa.Text),),
        mode="scd2",
        system_columns={"version_id": "version"},
    )
    world.customers = world.pipe(world.dimension, "SELECT * FROM w.c", name="customers")
    world.customers.sync(effective_at=DAY[0])
    world.run("CREATE TABLE w.f (id bigint, customer text, at timestamptz)")
    for row in ((1, "x", DAY[5]), (2, "y", DAY[5])):
        world.run("INSERT INTO w.f VALUES (%s, %s, %s)", *row)
    return world


def facts(
    world: Any,
    *,
    mode: str = "append",
    columns: Any = None,
    options: Any = None,
    source: Any = "SELECT * FROM w.f",
    parameters: Any = None,
    **lookup: Any,
) -> Any:
    """A pipeline into `w.fact` that has run once; then customer y arrives, valid since day 2."""
    kept = [sa.Column("customer", sa.Text), sa.Column("at", sa.DateTime(timezone=True))]
    table = world.table(
        "fact",
        sa.Column("version", sa.BigInteger),
        sa.Column("note", sa.Text, nullable=False, server_default="by hand"),
        *(kept if columns is None else columns),
    )
    lookup = {"into": "version", "at": "at", "on": "customer", "missing": "null", **lookup}
    more = {"name": "facts", "mode": mode, **(options or {})}
    if callable(source):
        more["body"], source = source, None
    lookups = [pgflow.Lookup(world.dimension, **lookup)]
    pipeline = world.pipe(table, source, lookups=lookups, **more)
    pipeline.sync(**(parameters or {}))
    world.run("INSERT INTO w.c VALUES ('y', 'late')")
    world.customers.sync(effective_at=DAY[2])
    return pipeline


def test_late_dimension_rows_are_linked_afterwards(story: Any) -> None:
    """relink writes the links that differ, and no other row; the history has its run."""
    pipeline = facts(story)
    assert story.run(LINKS) == [(1, 1), (2, None)]
    dry = pgflow.relink(pipeline, dry_run=True)
    assert (dry.updated, story.run(LINKS)) == (1, [(1, 1), (2, None)])
    before = story.run("SELECT ctid FROM w.fact WHERE id = 1")
    result = pgflow.relink(pipeline)
    assert (result.updated, result.unchanged, result.inserted) == (1, 1, 0)
    assert result.targets[0].details["lookup version"][0]["found"] == 2
    assert story.run(LINKS) == [(1, 1), (2, 2)]
    assert story.run("SELECT ctid FROM w.fact WHERE id = 1") == before
    assert story.run("SELECT note FROM w.fact") == [("by hand",)] * 2
    assert story.run(
        "SELECT mode, status, updated FROM pgflow.runs WHERE pipeline = 'facts: relink'"
    ) == [("merge", "success", 1)]
    assert pgflow.relink(pipeline).updated == 0
    with pytest.raises(NoHistory, match="pipeline 'facts' fills it") as refused:
        pgflow.as_of(story.metadata.tables["w.fact"], DAY[0])
    assert "relink" not in str(refused.value)


def test_it_can_be_limited(story: Any) -> None:
    """To facts since an instant, or to those that have no version yet."""
    pipeline = facts(story)
    assert pgflow.relink(pipeline, since=DAY[6]).read == 0
    assert pgflow.relink(pipeline, unresolved=True, since=DAY[4]).read == 1
    assert story.run(LINKS) == [(1, 1), (2, 2)]


@pytest.mark.parametrize("member", [1, {"code": "x"}])
def test_the_unknown_member_counts_as_unresolved(story: Any, member: object) -> None:
    """Whether it is a value or a row of the dimension."""
    pipeline = facts(story, missing="member", member=member)
    assert story.run(LINKS) == [(1, 1), (2, 1)]
    assert pgflow.relink(pipeline, unresolved=True).updated == 1
    assert story.run(LINKS) == [(1, 1), (2, 2)]


def test_what_is_still_missing_is_refused_where_the_lookup_says_so(story: Any) -> None:
    """relink follows the lookup: with missing="error" an unknown key stops it."""
    pipeline = facts(story)
    story.run("INSERT INTO w.fact (id, customer, at) VALUES (3, 'z', now())")
    assert "(customer='z'): NULL" in pgflow.relink(pipeline).targets[0].warnings[0]


def test_what_cannot_be_linked_again_is_refused(story: Any) -> None:
    """Without lookups, without the columns, or where rows are replaced or versioned."""
    with pytest.raises(CannotRelink, match="'customers' has no lookups="):
        pgflow.relink(story.customers)
    with pytest.raises(InvalidInstant, match="no time zone"):
        pgflow.relink(story.customers, since=datetime(2024, 1, 1))
    hashed = facts(story, options={"change_detection": "hash"}, mode="merge")
    with pytest.raises(CannotRelink, match="keeps a hash of what the source delivered"):
        pgflow.relink(hashed)


def test_facts_without_their_keys_cannot_be_linked_again(story: Any) -> None:
    """The columns that the lookup reads have to be in the table."""
    pipeline = facts(story, columns=[])
    with pytest.raises(CannotRelink, match=r"w\.fact.*does not keep customer, at"):
        pgflow.relink(pipeline)


@pytest.mark.parametrize(
    ("mode", "message"), [("truncate", "run the pipeline again"), ("scd2", r"pgflow\.as_of\(\)")]
)
def test_modes_that_do_not_update_in_place_are_refused(story: Any, mode: str, message: str) -> None:
    """The message says what to do instead."""
    pipeline = facts(story, mode=mode)
    with pytest.raises(CannotRelink, match=message):
        pgflow.relink(pipeline)


def test_rows_that_are_marked_as_deleted_stay_so(story: Any) -> None:
    """A fact that the source no longer delivers is not linked, and not brought back."""
    pipeline = facts(story, mode="merge", options={"handle_deletes": "soft"})
    story.run("DELETE FROM w.f WHERE id = 2")
    assert pipeline.sync().deleted == 1
    result = pgflow.relink(pipeline)
    assert (result.updated, result.read) == (0, 1)
    assert story.run("SELECT id FROM w.fact WHERE _deleted_at IS NOT NULL") == [(2,)]


def test_it_keeps_to_the_pipelines_scope(story: Any) -> None:
    """Rows of another scope are linked by their own pipeline alone, which may look up otherwise."""

    def body(conn: Any, *, day: int) -> str:
        return f"SELECT * FROM w.f WHERE extract(day FROM at) = {day}"

    pipeline = facts(
        story,
        mode="merge",
        source=body,
        parameters={"day": 6},
        options={"scope": "extract(day FROM at AT TIME ZONE 'UTC') = :day AND ':day' <> ''"},
    )
    story.run("INSERT INTO w.fact (id, customer, at) VALUES (3, 'y', %s)", DAY[8])
    with pytest.raises(MissingParameter, match="relink of pipeline 'facts' needs day"):
        pgflow.relink(pipeline)
    result = pgflow.relink(pipeline, day=6)
    assert (result.updated, result.read) == (1, 2)
    assert story.run(LINKS) == [(1, 1), (2, 2), (3, None)]


def test_parameters_that_nobody_takes_are_refused(story: Any) -> None:
    """A misspelt limit must not link everything."""
    with pytest.raises(
        MissingParameter, match="relink of pipeline 'facts' has no parameter 'until_'"
    ):
        pgflow.relink(facts(story), until_=DAY[1])


def test_big_tables_are_linked_in_parts(story: Any) -> None:
    """From since on, and until just before until."""
    story.run("INSERT INTO w.f VALUES (3, 'y', %s)", DAY[7])
    pipeline = facts(story)
    assert pgflow.relink(pipeline, since=DAY[4], until=DAY[7]).read == 2
    assert story.run(LINKS) == [(1, 1), (2, 2), (3, None)]
    assert pgflow.relink(pipeline, since=DAY[7]).read == 1
    with pytest.raises(InvalidInstant, match="until=.*no time zone"):
        pgflow.relink(pipeline, until=datetime(2024, 1, 1))


class _Meddler(Silence):
    """Deletes a fact from another connection, when the batch has been read."""

    def __init__(self, world: Any) -> None:
        self.world = world

    def executing(self, run: RunStarted, statement: Statement) -> None:
        if statement.purpose.startswith("count what lookup"):
            self.world.run("DELETE FROM w.fact WHERE id = 2")


def test_what_others_delete_meanwhile_does_not_come_back(story: Any) -> None:
    """Somebody who writes without pgflow's lock is found out; nothing is written."""
    pipeline = facts(story)
    with pytest.raises(CannotRelink, match=r"rows of w\.fact were deleted by somebody else"):
        pgflow.relink(pipeline, observer=_Meddler(story))
    assert story.run(LINKS) == [(1, 1)]
    assert pgflow.relink(pipeline).read == 1


def test_late_events_of_a_dimension_are_followed(world: Any) -> None:
    """A version that is spliced into history gets the facts of its time; the others keep theirs."""
    dimension = world.table(
        "customer",
        sa.Column("name", sa.Text),
        sa.Column("u", sa.DateTime(timezone=True)),
        mode="scd2",
        system_columns={"version_id": "version"},
    )
    source = "SELECT id, a AS name, u FROM w.s"
    load = world.pipe(dimension, source, name="customers", event_timestamp_column="u")
    world.run("CREATE TABLE w.f AS SELECT i AS id, 1::bigint AS customer,"
              " '2024-01-01+0'::timestamptz + i * interval '1 day' AS at"
              " FROM generate_series(0, 6) AS i")  # fmt: skip

    def event(name: str, at: datetime) -> None:
        world.run("TRUNCATE w.s")
        world.run("INSERT INTO w.s (id, a, u) VALUES (1, %s, %s)", name, at)
        load.sync()

    event("a", DAY[1])
    event("c", DAY[5])
    kept = [sa.Column("customer", sa.BigInteger), sa.Column("at", sa.DateTime(timezone=True))]
    lookup = pgflow.Lookup(dimension, into="version", at="at", on="customer", missing="null")
    target = world.table("fact", sa.Column("version", sa.BigInteger), *kept)
    pipeline = world.pipe(target, "SELECT * FROM w.f", name="f", mode="append", lookups=[lookup])
    pipeline.sync()
    links = "SELECT array_agg(version ORDER BY id) FROM w.fact"
    assert world.run(links) == [([None, 1, 1, 1, 1, 2, 2],)]
    event("b", DAY[3])
    assert pgflow.relink(pipeline).updated == 2
    assert world.run(links) == [([None, 1, 1, 3, 3, 2, 2],)]


def test_runs_and_relinks_at_once_wait_for_each_other(story: Any) -> None:
    """Both take the target's lock, so that links are those of the dimension at the end."""
    pipeline = facts(story, mode="merge")
    work = [pipeline.sync, lambda: pgflow.relink(pipeline)] * 3
    with ThreadPoolExecutor(len(work)) as pool:
        for done in [pool.submit(each) for each in work]:
            done.result()
    assert story.run(LINKS) == [(1, 1), (2, 2)]
