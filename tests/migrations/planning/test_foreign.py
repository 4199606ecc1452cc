"""What pgflow did not make: never dropped, never mentioned, but named where it is in the way."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from pgflow.errors import CannotChange, ForeignDependent, MissingValue
from tests.migrations.world_loop import Loop, assert_same, shown, titles

SCHEMA = "CREATE SCHEMA app"
TABLE = "CREATE TABLE app.t (id integer PRIMARY KEY, a integer, b integer)"
VIEW = "CREATE VIEW app.v AS SELECT id, a FROM app.t"
FOREIGN = (
    "CREATE SCHEMA other",
    "CREATE VIEW other.one AS SELECT id, a FROM app.v",
    "CREATE VIEW other.two AS SELECT a FROM other.one",
    "CREATE VIEW app.strange AS SELECT b FROM app.t",
    "CREATE TABLE app.notes (t_id integer REFERENCES app.t, text text)",
    "CREATE INDEX by_hand ON app.t (a)",
)


@pytest.fixture
def loop(engine: Engine) -> Loop:
    """A table and a view of ours, with somebody else's views, table and index upon them."""
    loop = Loop(engine)
    loop.up([SCHEMA, TABLE, VIEW])
    loop.sql("INSERT INTO app.t VALUES (1, 2, 3)", *FOREIGN)
    return loop


def test_foreign_objects_are_never_mentioned(loop: Loop) -> None:
    """Views, tables and indexes of others in our schemas make no operation."""
    assert loop.plan([SCHEMA, TABLE, VIEW]).upgrade == ()


def test_a_change_that_needs_no_drop_is_not_stopped_by_foreign_views(loop: Loop) -> None:
    """CREATE OR REPLACE VIEW with a new column leaves the views upon it alone."""
    before = loop.live()
    planned = loop.up([SCHEMA, TABLE, "CREATE VIEW app.v AS SELECT id, a, b FROM app.t"])
    assert titles(planned.upgrade) == ["Replace view app.v"]
    after = loop.live()
    assert set(before.entities) == set(after.entities)


def test_a_foreign_view_stops_the_change_of_a_type_and_is_named_with_its_definition(
    loop: Loop,
) -> None:
    """The error names what needs it, also in schemas that nobody declared, and the way out."""
    declared = [SCHEMA, TABLE.replace("b integer", "b bigint"), VIEW]
    with pytest.raises(ForeignDependent) as refused:
        loop.plan(declared)
    message = str(refused.value)
    assert refused.value.objects == ("view app.strange",)
    assert refused.value.needed == ("column app.t.b",)
    assert "declare_sql" in message
    assert "CREATE VIEW app.strange AS" in message

    declared = [SCHEMA, TABLE, "CREATE VIEW app.v AS SELECT id FROM app.t"]
    with pytest.raises(ForeignDependent, match=r"view other\.one") as refused:
        loop.plan(declared)
    assert refused.value.needed == ("view app.v",)


def test_everything_that_is_in_the_way_is_named_at_once(loop: Loop) -> None:
    """Several objects that others need make one error, so that one look is enough."""
    view = "CREATE VIEW app.v AS SELECT id FROM app.t"
    with pytest.raises(ForeignDependent) as refused:
        loop.plan([SCHEMA, TABLE.replace("b integer", "b bigint"), view])
    assert refused.value.needed == ("view app.v", "column app.t.b")
    assert refused.value.objects == ("view other.one", "view other.two", "view app.strange")
    message = str(refused.value)
    assert message.startswith(
        "View app.v has to be dropped and made again, but view other.one, view other.two need it; "
        "column app.t.b has to change, but view app.strange needs it, and pgflow did not make them"
    )
    assert "CREATE VIEW app.strange AS" in message


def test_dropping_a_table_that_a_foreign_key_points_at_is_refused(loop: Loop) -> None:
    """Never CASCADE: the foreign constraint is named."""
    loop.sql("DROP VIEW other.two", "DROP VIEW other.one", "DROP VIEW app.strange")
    with pytest.raises(ForeignDependent, match=r"notes_t_id_fkey on app\.notes"):
        loop.plan([SCHEMA])
    loop.sql("DROP TABLE app.notes")
    loop.up([SCHEMA])


def test_a_schema_with_foreign_objects_stays(loop: Loop) -> None:
    """What is ours in it goes; the schema does not, and that is no difference either."""
    loop.sql("DROP VIEW other.two", "DROP VIEW other.one", "DROP VIEW app.strange")
    loop.sql("ALTER TABLE app.notes DROP CONSTRAINT notes_t_id_fkey")
    planned = loop.up([SCHEMA])
    assert titles(planned.upgrade) == ["Drop view app.v", "Drop table app.t"]
    planned = loop.plan(["CREATE SCHEMA other", "CREATE TABLE app.x (a integer)"])
    assert titles(planned.upgrade) == ["Create table app.x"]
    assert loop.value("SELECT count(*) FROM app.notes") == 0


def test_foreign_grants_and_the_owner_survive_a_view_that_is_made_again(engine: Engine) -> None:
    """Comment, rights of others, owner and triggers are as they were before."""
    loop = Loop(engine)
    function = (
        "CREATE FUNCTION app.tf() RETURNS trigger LANGUAGE plpgsql AS 'begin return null; end'"
    )
    trigger = "CREATE TRIGGER io INSTEAD OF INSERT ON app.v FOR EACH ROW EXECUTE FUNCTION app.tf()"
    declared = [SCHEMA, TABLE, VIEW, function, trigger, "COMMENT ON VIEW app.v IS 'shown'"]
    loop.up(declared)
    loop.sql(
        "GRANT SELECT ON app.v TO pg_monitor WITH GRANT OPTION",
        "GRANT SELECT (a) ON app.v TO pg_read_all_stats",
        "ALTER VIEW app.v OWNER TO pg_database_owner",
    )
    before = loop.live()
    declared[1] = TABLE.replace("a integer", "a bigint")
    planned = loop.up(declared)
    assert "Drop view app.v" in titles(planned.upgrade)
    after = loop.live()
    view = next(one for one in before.of_kind("view"))
    again = after[view.id]
    assert (again.comment, again.mark, again.owner) == ("shown", view.mark, "pg_database_owner")
    assert again.privileges == view.privileges
    loop.run(planned.downgrade)
    assert_same(before, loop.live())


def test_rights_that_others_granted_stay_when_ours_change(engine: Engine) -> None:
    """Only grantees that a declaration named before are revoked."""
    loop = Loop(engine)
    grant = "GRANT SELECT ON app.t TO pg_monitor"
    loop.up([SCHEMA, TABLE, grant])
    loop.sql("GRANT UPDATE ON app.t TO pg_read_all_stats")
    planned = loop.up([SCHEMA, TABLE])
    assert [step.statements[-1].sql for step in planned.upgrade] == [
        "REVOKE SELECT ON TABLE app.t FROM pg_monitor"
    ]
    loop.run(planned.downgrade)
    assert loop.plan([SCHEMA, TABLE, grant]).upgrade == ()
    assert loop.value("SELECT has_table_privilege('pg_read_all_stats', 'app.t', 'UPDATE')")


def test_what_another_history_made_is_foreign(engine: Engine) -> None:
    """Two version tables share a database and leave each other's objects alone."""
    shop, crm = Loop(engine, owner="shop"), Loop(engine, owner="crm")
    shop.up([SCHEMA, TABLE])
    crm.up(["CREATE TABLE app.c (id integer)"])
    assert shop.plan([SCHEMA, TABLE]).upgrade == ()
    assert titles(crm.plan([SCHEMA]).upgrade) == ["Drop table app.c"]


def test_adoption_is_silent(engine: Engine) -> None:
    """A table that is as declared makes no operation, and is not dropped when it is forgotten."""
    loop = Loop(engine)
    loop.sql(SCHEMA, TABLE, "CREATE INDEX ix ON app.t (a)", "COMMENT ON INDEX app.ix IS 'by hand'")
    declared = [SCHEMA, TABLE, "CREATE INDEX ix ON app.t (a)"]
    assert loop.plan(declared).upgrade == ()
    planned = loop.up([SCHEMA, TABLE.replace("b integer", "c text"), declared[2]])
    assert titles(planned.upgrade) == ["Drop column app.t.b", "Add column app.t.c"]
    assert loop.plan([SCHEMA]).upgrade == ()


def test_a_table_that_would_have_to_be_made_again_is_refused(engine: Engine) -> None:
    """A partition key cannot change in place: rows would be lost."""
    loop = Loop(engine)
    loop.up([SCHEMA, "CREATE TABLE app.p (a integer, b integer) PARTITION BY LIST (a)"])
    with pytest.raises(CannotChange, match=r"app\.p"):
        loop.plan([SCHEMA, "CREATE TABLE app.p (a integer, b integer) PARTITION BY LIST (b)"])


def test_a_not_null_column_of_a_filled_table_needs_a_value(loop: Loop) -> None:
    """Refused with the three ways out; a default is one."""
    with pytest.raises(MissingValue, match="backfill") as refused:
        loop.plan([SCHEMA, TABLE.replace(")", "", 0)[:-1] + ", c text NOT NULL)", VIEW])
    assert refused.value.column == "app.t.c"
    loop.up([SCHEMA, TABLE[:-1] + ", c text NOT NULL DEFAULT 'x')", VIEW])
    assert loop.value("SELECT c FROM app.t") == "x"


def test_a_dropped_not_null_column_comes_back_in_two_steps(loop: Loop) -> None:
    """The way back adds it first, so that it can be filled before it forbids NULL."""
    declared = [SCHEMA, TABLE[:-1] + ", c text NOT NULL DEFAULT 'x')", VIEW]
    loop.up(declared)
    declared[1] = declared[1].replace(" DEFAULT 'x'", "")
    loop.up(declared)
    planned = loop.plan([SCHEMA, TABLE, VIEW])
    [back] = planned.downgrade
    assert [statement.sql for statement in back.statements] == [
        "ALTER TABLE app.t ADD COLUMN c text",
        "ALTER TABLE app.t ALTER COLUMN c SET NOT NULL",
    ], shown(planned.downgrade)
    assert back.title == (
        "Add column app.t.c: fill the column before SET NOT NULL, or the step fails on a table "
        "with rows"
    )
