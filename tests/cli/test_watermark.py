"""`pgflow watermark` and `pgflow tracking`."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import psycopg
import pytest
from pglast import split

from pgflow.connections.registry import dispose
from pgflow.errors import InvalidPosition
from pgflow.project import Project
from pgflow.run.locks import lock_key

if TYPE_CHECKING:
    from conftest import Invoke, Place

PIPELINES = """
from sqlalchemy import DateTime
from pgflow.types import Raw

fed = pgflow.Pipeline(
    "fed", target=make("fed"), mode="merge", incremental_column="id",
    source=pgflow.SourceTable("warehouse.raw"),
)
part = pgflow.Pipeline(
    "part", target=make("part"), mode="merge", incremental_column="id", scope="id % 2 = :rest",
    body=lambda conn, *, rest: "SELECT id, v FROM warehouse.raw WHERE id % 2 = :rest",
)
timed = pgflow.Pipeline(
    "timed", target=make("timed", Column("at", DateTime(timezone=True))), mode="merge",
    incremental_column="at",
    body=lambda conn: "SELECT 1 AS id, timestamptz '2024-01-01 00:00+00' AS at",
)
by_snapshot = pgflow.Pipeline(
    "by_snapshot", target=make("by_snapshot"), mode="merge", watermark="horizon",
    source=pgflow.SourceTable("warehouse.raw"),
)
"""


@pytest.fixture
def fed(place: Place, invoke: Invoke) -> Place:
    """A project with incremental pipelines whose source has three rows."""
    place.write(PIPELINES)
    place.create()
    assert invoke("sync", "raw").code == 0
    return place


def test_show_lists_every_position(fed: Place, invoke: Invoke) -> None:
    """Each position is a line with its kind, column and value; JSON has what it is bound to."""
    assert "no watermark is there yet" in invoke("watermark", "show").err
    for words in (["fed"], ["part", "-p", "rest=1"], ["by_snapshot"]):
        assert invoke("sync", *words).code == 0
    ran = invoke("watermark", "show")
    assert [row[0] for row in ran.rows[1:]] == ["by_snapshot", "fed", "part"]
    assert ran.rows[2][3:6] == ["value", "id", "3"]
    assert ran.rows[1][3:5] == ["horizon", "xmin"]
    (only,) = invoke("watermark", "show", "by_snapshot", "--format", "json").json
    assert only["kind"] == "horizon"
    assert set(only["details"]) == {"server", "timeline", "database", "relation"}
    (part,) = invoke("watermark", "show", "part", "--format", "json").json
    assert part["scope"] == "id % 2 = :rest with rest=1"


def test_reset_has_the_next_run_read_everything(fed: Place, invoke: Invoke) -> None:
    """After a reset everything is read once more, nothing doubled; who did it is kept."""
    invoke("sync", "fed")
    ran = invoke("watermark", "reset", "fed")
    assert (ran.code, ran.out) == (0, "fed -> warehouse.fed: 3 -> the beginning\n")
    (mark,) = invoke("watermark", "show", "fed", "--format", "json").json
    assert (mark["value"], mark["details"]["before"]) == (None, "3")
    assert mark["details"]["reset_by"] == "postgres"
    assert invoke("sync", "fed", "--format", "json").json[0]["unchanged"] == 3
    assert invoke("watermark", "reset", "part", "-p", "rest=0").out.endswith(
        "the beginning -> the beginning\n"
    )


def test_set_is_read_by_the_server(fed: Place, invoke: Invoke) -> None:
    """A value is checked and spelt by the column's own type; a wrong one changes nothing."""
    invoke("sync", "fed")
    assert invoke("watermark", "set", "fed", " 02 ").out == "fed -> warehouse.fed: 3 -> 2\n"
    assert invoke("sync", "fed", "--format", "json").json[0]["read"] == 2
    ran = invoke("watermark", "set", "fed", "soon")
    assert ran.code == 2
    assert "'soon' cannot be a position in column 'id', which is bigint: invalid input" in ran.err
    assert fed.execute("SELECT value FROM pgflow.watermarks") == [("3",)]


def test_a_time_without_a_zone_is_of_utc(fed: Place, invoke: Invoke) -> None:
    """The session's zone does not move a position; a datetime without one is refused."""
    fed.execute(
        "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = %L', "
        " current_database(), 'Asia/Tokyo'); END$$"
    )
    dispose()
    assert invoke("sync", "timed").code == 0
    assert invoke("watermark", "set", "timed", "2024-01-05").code == 0
    read = "SELECT value::timestamptz = '2024-01-05 00:00+00' FROM pgflow.watermarks"
    assert fed.execute(read) == [(True,)]
    timed = Project.load().pipeline("timed")
    with pytest.raises(InvalidPosition, match="has no time zone, so it names no instant"):
        timed.set_watermark(datetime(2024, 1, 6))
    (moved,) = timed.set_watermark(datetime(2024, 1, 5, 9, tzinfo=timezone(timedelta(hours=9))))
    assert moved.before is not None
    assert moved.after is not None
    assert moved.before.value == moved.after.value


def test_a_run_takes_the_place_of_who_set_it(fed: Place, invoke: Invoke) -> None:
    """A person is named only while the position is theirs."""
    invoke("sync", "fed")
    invoke("watermark", "set", "fed", "2")
    assert invoke("watermark", "show", "fed").rows[1][-1] == "postgres"
    assert invoke("sync", "fed").code == 0
    ((run,),) = fed.execute("SELECT run_id::text FROM pgflow.watermarks")
    assert invoke("watermark", "show", "fed").rows[1][-1] == run


def test_an_unknown_name_is_no_empty_answer(fed: Place, invoke: Invoke) -> None:
    """A typing error is told; a pipeline of the project that has not run yet is none."""
    ran = invoke("watermark", "show", "fedd")
    assert ran.code == 2
    assert "there is no pipeline 'fedd'. Did you mean 'fed'?" in ran.err
    assert invoke("watermark", "show", "fed").code == 0
    assert invoke("watermark", "show", "gone", "--connection", "default").code == 2
    fed.execute("INSERT INTO pgflow.watermarks (pipeline, target, scope, column_name, run_id)"
                " VALUES ('gone', 't', '', 'id', gen_random_uuid())")  # fmt: skip
    assert invoke("watermark", "show", "gone").code == 0


def test_preview_says_by_what_a_position_goes(fed: Place, invoke: Invoke) -> None:
    """A horizon is no value of a column."""
    assert "nothing read yet  [transactions by xmin]" in invoke("preview", "by_snapshot").out
    assert "nothing read yet  [value of id]" in invoke("preview", "fed").out


def test_a_dry_run_moves_nothing(fed: Place, invoke: Invoke) -> None:
    """--dry-run says what would be, as JSON too, and rolls it back."""
    invoke("sync", "fed")
    ran = invoke("watermark", "set", "fed", "1", "--dry-run", "--format", "json")
    assert ran.json == [{"pipeline": "fed", "target": "warehouse.fed", "before": "3", "after": "1"}]
    assert "rolled back" in ran.err
    assert invoke("watermark", "reset", "fed", "--dry-run").code == 0
    assert fed.execute("SELECT value FROM pgflow.watermarks") == [("3",)]


def test_other_kinds_are_set_to_now_only(fed: Place, invoke: Invoke) -> None:
    """Nobody can make up where a server was; `now` passes over what is there."""
    ran = invoke("watermark", "set", "by_snapshot", "12345")
    assert ran.code == 2
    assert "Set it to 'now'" in ran.err
    assert invoke("watermark", "set", "by_snapshot", "now").code == 0
    assert invoke("sync", "by_snapshot", "--format", "json").json[0]["read"] == 0


def test_what_has_no_position_is_refused(fed: Place, invoke: Invoke) -> None:
    """A pipeline that reads everything, an unknown one, and a missing parameter end the command."""
    ran = invoke("watermark", "reset", "report")
    assert ran.code == 2
    assert "reads its whole source every time" in ran.err
    assert invoke("watermark", "reset", "nobody").code == 2
    assert invoke("watermark", "reset", "part").code == 2


def test_a_run_that_holds_the_target_is_waited_for(fed: Place, invoke: Invoke) -> None:
    """A position is moved under the target's lock, never in the middle of a run."""
    given = '"fed", lock_timeout=timedelta(0), target'
    fed.write("from datetime import timedelta\n" + PIPELINES.replace('"fed", target', given))
    invoke("sync", "fed")
    with psycopg.connect(fed.database.replace("+psycopg", "")) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [lock_key("target warehouse.fed")])
        ran = invoke("watermark", "reset", "fed")
    assert ran.code == 1
    assert "is held by server process" in ran.err


def test_tracking_prints_sql_that_works(fed: Place, invoke: Invoke) -> None:
    """The printed statements track a foreign table, without rewriting it, and take it back."""
    fed.execute('CREATE TABLE warehouse."O\'Neil" (id int PRIMARY KEY, v text)')
    fed.execute("INSERT INTO warehouse.\"O'Neil\" VALUES (1, 'a'), (2, 'b')")
    file = "SELECT pg_relation_filenode('warehouse.\"O''Neil\"')"
    before = fed.execute(file)
    words = ("tracking", "warehouse.O'Neil", "--column", "written by")
    ran = invoke(*words)
    assert ran.code == 0
    for statement in split(ran.out):
        execute_alone(fed, statement)
    assert fed.execute(file) == before
    numbers = 'SELECT id, "written by"::text FROM warehouse."O\'Neil" ORDER BY id'
    old = fed.execute(numbers)
    fed.execute('UPDATE warehouse."O\'Neil" SET "written by" = \'1\' WHERE id = 2')
    new = fed.execute(numbers)
    assert new[0] == old[0]
    assert int(new[1][1]) > int(old[1][1])
    fed.execute(
        "SET session_replication_role = replica;"
        " INSERT INTO warehouse.\"O'Neil\" VALUES (3, 'c', '1')"
    )
    assert int(fed.execute(numbers)[2][1]) > int(new[1][1])
    for statement in split(invoke(*words, "--undo").out):
        execute_alone(fed, statement)
    assert fed.execute('SELECT * FROM warehouse."O\'Neil" WHERE id = 1') == [(1, "a")]


def execute_alone(place: Place, statement: str) -> None:
    """Run one statement outside of a transaction."""
    with psycopg.connect(place.database.replace("+psycopg", ""), autocommit=True) as live:
        live.execute(statement.encode())


TRACKED = """
from pgflow.plugins import ChangeTrackingPlugin

big = pgflow.SimpleTable(
    "big", "warehouse", metadata, [Column("v", Text)],
    plugins=[ColumnPKPlugin(Column("id", BigInteger))], extra_plugins=[{plugins}],
)
"""


def test_a_table_tracked_by_hand_is_as_the_plugin_declares_it(place: Place, invoke: Invoke) -> None:
    """A large table is tracked beforehand without holding anybody up; nothing is left to do."""
    place.write(TRACKED.format(plugins=""))
    place.create()
    place.execute("INSERT INTO warehouse.big VALUES (1, 'a')")
    for statement in split(invoke("tracking", "warehouse.big").out):
        execute_alone(place, statement)
    assert invoke("drift").code == 1
    place.write(TRACKED.format(plugins="ChangeTrackingPlugin()"))
    ran = invoke("drift")
    assert (ran.code, "is as declared" in ran.out) == (0, True), ran.out
