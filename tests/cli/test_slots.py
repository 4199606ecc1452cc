"""`pgflow slots`: made, listed and dropped when somebody says so, and refused where they harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Invoke, Place

PIPELINES = """
fed = pgflow.Pipeline(
    "fed", target=make("fed"), mode="merge", watermark="slot", handle_deletes="hard",
    source=pgflow.SourceTable("warehouse.raw"),
)
query = pgflow.Pipeline(
    "query", target=make("query"), mode="merge", watermark="slot",
    body=lambda conn: "SELECT id, v FROM warehouse.raw",
)
bare = pgflow.Pipeline(
    "bare", target=make("bare"), mode="merge", watermark="slot",
    source=pgflow.SourceTable("warehouse.nameless"),
)
other = pgflow.Pipeline(
    "other", target=make("other"), mode="merge", watermark="slot",
    source=pgflow.SourceTable("warehouse.otherwise"),
)
"""


@pytest.fixture
def database(logical_database: str) -> str:
    """The project's database is on a server whose log can be decoded."""
    return logical_database


@pytest.fixture
def fed(place: Place, invoke: Invoke) -> Place:
    """A project with a pipeline that reads a slot, whose source has three rows."""
    place.write(PIPELINES)
    place.create()
    assert invoke("sync", "raw").code == 0
    place.execute("CREATE TABLE warehouse.nameless (id bigint, v text)")
    place.execute("CREATE TABLE warehouse.otherwise (id bigint, v text PRIMARY KEY)")
    return place


def test_a_slot_is_made_read_listed_and_dropped(fed: Place, invoke: Invoke) -> None:
    """From `slots create` on nothing is lost; `slots list` says who reads what; drop ends it."""
    assert invoke("slots", "list").err == "the server has no slot of pgflow's\n"
    ran = invoke("slots", "create", "fed", "--yes")
    assert ran.code == 0
    slot = ran.out.split()[3]
    assert ran.out == f"fed -> warehouse.fed: {slot} made\n"
    assert f"CREATE PUBLICATION {slot} FOR TABLE warehouse.raw;" in ran.err
    listed = invoke("slots", "list").rows[1]
    assert (listed[0], listed[2]) == (slot, "nobody"), "it has not been read yet"
    assert invoke("slots", "create", "fed", "--yes").out.endswith("there already\n")
    assert invoke("sync", "fed").code == 0
    fed.execute("DELETE FROM warehouse.raw WHERE id = 2")
    fed.execute("INSERT INTO warehouse.raw VALUES (9, 'new')")
    (done,) = invoke("sync", "fed", "--format", "json").json
    assert (done["inserted"], done["deleted"], done["read"]) == (1, 1, 1)
    (state,) = invoke("slots", "list", "--format", "json").json
    assert (state["name"], state["pipeline"], state["here"]) == (slot, "fed", True)
    assert state["lag_bytes"] >= 0
    assert state["read_at"]
    ran = invoke("slots", "drop", slot, "--yes")
    assert (ran.code, ran.out) == (0, f"{slot}: dropped\n")
    assert fed.execute("SELECT count(*) FROM pg_publication") == [(0,)]
    assert invoke("slots", "drop", slot, "--yes").out == f"{slot}: there was no such slot\n"
    ran = invoke("sync", "fed")
    assert ran.code == 1
    assert "`pgflow slots create fed` makes it" in ran.err.replace("\n", " ")


def test_a_reset_keeps_the_reader(fed: Place, invoke: Invoke) -> None:
    """A slot in use is not nobody's after a reset; who drops it is told whom that stops."""
    slot = invoke("slots", "create", "fed", "--yes").out.split()[3]
    ran = invoke("slots", "drop", slot)
    assert f"No pipeline is known to read {slot}; the server" in ran.err.replace("\n", " ")
    assert invoke("sync", "fed").code == 0
    assert invoke("watermark", "reset", "fed").code == 0
    (state,) = invoke("slots", "list", "--format", "json").json
    assert (state["pipeline"], state["read_at"]) == ("fed", None)
    ran = invoke("slots", "drop", slot)
    assert f"Pipelines that read {slot} will stop: fed. Accept" in ran.err.replace("\n", " ")
    assert invoke("sync", "fed").code == 0
    (state,) = invoke("slots", "list", "--format", "json").json
    assert state["read_at"]


@pytest.mark.parametrize(
    "harm", ["DROP PUBLICATION {}", "ALTER PUBLICATION {} SET (publish = 'insert')"]
)
def test_a_slot_without_its_publication_is_made_anew(fed: Place, invoke: Invoke, harm: str) -> None:
    """Sync and create say the same commands, which work as they stand."""
    slot = invoke("slots", "create", "fed", "--yes").out.split()[3]
    assert invoke("sync", "fed").code == 0
    fed.execute(harm.format(slot))
    fed.execute("DELETE FROM warehouse.raw WHERE id = 2")
    for words in (["sync", "fed"], ["slots", "create", "fed", "--yes"]):
        ran = invoke(*words)
        said = ran.err.replace("\n", " ")
        assert ran.code == 1
        assert f"`pgflow slots drop {slot}` and `pgflow slots create fed` make both anew" in said
        assert "`pgflow watermark reset fed` has the next run read everything" in said
    for words in (["slots", "drop", slot, "--yes"], ["slots", "create", "fed", "--yes"]):
        assert invoke(*words).code == 0
    assert invoke("watermark", "reset", "fed").code == 0
    assert invoke("sync", "fed", "--format", "json").json[0]["deleted"] == 1


def test_preview_says_what_a_position_is(fed: Place, invoke: Invoke) -> None:
    """A slot has no column to name."""
    invoke("slots", "create", "fed", "--yes")
    assert "nothing read yet  [position of the slot]" in invoke("preview", "fed").out


def test_nothing_is_made_or_dropped_without_a_yes(fed: Place, invoke: Invoke) -> None:
    """Without a terminal and without --yes nothing happens; --dry-run shows the SQL."""
    ran = invoke("slots", "create", "fed")
    assert ran.code == 1
    assert "will keep its log until fed has read it. Accept that with --yes" in ran.err
    ran = invoke("slots", "create", "fed", "--dry-run")
    assert ran.out.endswith("not made\n")
    assert "pg_create_logical_replication_slot" in ran.err
    assert fed.execute("SELECT count(*) FROM pg_replication_slots WHERE NOT temporary"
                       " AND database = current_database()") == [(0,)]  # fmt: skip
    slot = invoke("slots", "create", "fed", "--yes").out.split()[3]
    assert invoke("slots", "drop", slot).code == 1
    assert "DROP PUBLICATION IF EXISTS" in invoke("slots", "drop", slot, "--dry-run").out
    assert invoke("slots", "list").rows[1][0] == slot


def test_a_publication_that_was_left_over_is_made_anew(fed: Place, invoke: Invoke) -> None:
    """An attempt that ended between publication and slot does not stand in the way."""
    slot = invoke("slots", "create", "fed", "--dry-run").out.split()[3]
    fed.execute(f"CREATE PUBLICATION {slot}")
    assert invoke("slots", "create", "fed", "--yes").code == 0
    assert invoke("sync", "fed").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "raw"), "reads no slot: it has no watermark='slot'"),
        (("create", "query"), "a slot names the changed keys of one table"),
        (("create", "bare"), "has no replica identity, so once its changes are published, nobody"),
        (("create", "other"), "the merge key 'id' is not among the columns by which the log names"),
        (("drop", "mine"), "mine is not pgflow's"),
    ],
)
def test_what_would_harm_is_refused(
    fed: Place, invoke: Invoke, words: tuple[str, ...], said: str
) -> None:
    """Nothing is made for a pipeline or table that a slot does not fit, or dropped of others."""
    ran = invoke("slots", *words, "--yes")
    assert ran.code in (1, 2)
    assert said in ran.err
    assert fed.execute("SELECT count(*) FROM pg_publication") == [(0,)]


def test_a_server_that_would_fill_its_disk_is_refused(fed: Place, invoke: Invoke) -> None:
    """Without a limit a slot that nobody reads fills the disk; --unlimited-wal says it may."""
    setting = "ALTER SYSTEM SET max_slot_wal_keep_size = {}"
    execute_alone(fed, setting.format("-1"))
    try:
        ran = invoke("slots", "create", "fed", "--yes")
        assert ran.code == 1
        assert "keeps its log until the disk is full" in ran.err
        assert invoke("slots", "create", "fed", "--yes", "--unlimited-wal").code == 0
    finally:
        execute_alone(fed, setting.format("'1GB'"))


def execute_alone(place: Place, statement: str) -> None:
    """Run a statement outside of a transaction, and have the server read its settings."""
    import psycopg

    with psycopg.connect(place.database.replace("+psycopg", ""), autocommit=True) as live:
        live.execute(statement.encode())
        live.execute("SELECT pg_reload_conf()")
        live.execute("SELECT pg_sleep(0.2)")
