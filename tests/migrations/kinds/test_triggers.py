"""Triggers: made as they were with their state, and replaced where the server allows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgflow.alembic.entity import Mark
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds.triggers import TRIGGER
from tests.migrations.kinds.catalogue import Catalogue, check_change, check_round_trip

SETUP = (
    'CREATE TABLE app.t (a integer, b varchar(9), "c ON app.t " integer)',
    "CREATE VIEW app.v AS SELECT a FROM app.t",
    "CREATE TABLE app.p (a integer) PARTITION BY LIST (a)",
    "CREATE TABLE app.p1 PARTITION OF app.p FOR VALUES IN (1)",
    "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS 'begin return new; end'",
    "CREATE FUNCTION app.g() RETURNS trigger LANGUAGE plpgsql AS 'begin return old; end'",
)

TRIGGERS = {
    "row": "TRIGGER x BEFORE INSERT OR DELETE ON app.t FOR EACH ROW EXECUTE FUNCTION app.f()",
    "columns": 'TRIGGER x AFTER UPDATE OF a, "c ON app.t " OR TRUNCATE ON app.t '
    "EXECUTE FUNCTION app.f()",
    "condition": "TRIGGER x BEFORE UPDATE ON app.t FOR EACH ROW "
    "WHEN (NEW.b IN ('it''s', '%s :x') AND OLD.a IS DISTINCT FROM NEW.a) EXECUTE FUNCTION app.f()",
    "arguments": r"TRIGGER x AFTER INSERT ON app.t EXECUTE FUNCTION app.f('a''b', 'c\d', '', 'ü')",
    "transition tables": "TRIGGER x AFTER UPDATE ON app.t REFERENCING NEW TABLE AS n "
    'OLD TABLE AS "O o" FOR EACH STATEMENT EXECUTE FUNCTION app.f()',
    "constraint": "CONSTRAINT TRIGGER x AFTER INSERT ON app.t DEFERRABLE INITIALLY DEFERRED "
    "FOR EACH ROW WHEN (NEW.a > 1) EXECUTE FUNCTION app.f()",
    "constraint from": "CONSTRAINT TRIGGER x AFTER DELETE ON app.t FROM app.p NOT DEFERRABLE "
    "FOR EACH ROW EXECUTE FUNCTION app.f()",
    "view": "TRIGGER x INSTEAD OF UPDATE ON app.v FOR EACH ROW EXECUTE FUNCTION app.f()",
    "partitioned": "TRIGGER x AFTER INSERT ON app.p FOR EACH ROW EXECUTE FUNCTION app.f()",
    "quoted": 'TRIGGER "X ""x"" ON app.t" AFTER INSERT ON app.t EXECUTE FUNCTION app.f()',
}


@pytest.mark.parametrize("case", TRIGGERS)
def test_a_trigger_is_dropped_and_made_again(catalogue: Catalogue, case: str) -> None:
    """What is made from a trigger that was read prints as that trigger did."""
    catalogue.run(*SETUP)
    check_round_trip(catalogue, TRIGGER, f"CREATE {TRIGGERS[case]}")


STATES = ("ENABLE", "DISABLE", "ENABLE REPLICA", "ENABLE ALWAYS")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("case", ["row", "constraint", "partitioned"])
def test_the_state_of_a_trigger_is_kept(catalogue: Catalogue, case: str, state: str) -> None:
    """A trigger that fires never, always or on replicas does so after it was made again."""
    catalogue.run(*SETUP)
    table = "app.p" if case == "partitioned" else "app.t"
    check_round_trip(
        catalogue, TRIGGER, f"CREATE {TRIGGERS[case]}", f"ALTER TABLE {table} {state} TRIGGER x"
    )


@pytest.mark.parametrize("state", STATES)
def test_the_state_of_a_trigger_changes_alone(catalogue: Catalogue, state: str) -> None:
    """A trigger is not touched but for its state."""
    catalogue.run(*SETUP)
    made = f"CREATE {TRIGGERS['row']}"
    statements = check_change(
        catalogue, TRIGGER, made, f"{made}; ALTER TABLE app.t {state} TRIGGER x"
    )
    assert statements == [f"ALTER TABLE app.t {state} TRIGGER x"][: state != "ENABLE"]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("table", ["app.t", "app.p"])
def test_a_trigger_is_replaced_in_place(catalogue: Catalogue, table: str, state: str) -> None:
    """Another function, event or condition keeps the trigger, and its state is put back."""
    catalogue.run(*SETUP)
    altered = f"ALTER TABLE {table} {state} TRIGGER x"
    old = (
        f"CREATE TRIGGER x AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION app.f(); {altered}"
    )
    new = (
        f"CREATE TRIGGER x AFTER DELETE OR UPDATE OF a ON {table} FOR EACH ROW "
        f"WHEN (OLD.a > 3) EXECUTE FUNCTION app.g('y'); {altered}"
    ).replace("DELETE OR ", "")
    statements = check_change(catalogue, TRIGGER, old, new)
    assert statements[0].startswith("CREATE OR REPLACE TRIGGER x AFTER UPDATE OF a ON ")
    assert statements[1:] == [altered][: state != "ENABLE"]


def test_a_replaced_trigger_changes_on_partitions_too(catalogue: Catalogue) -> None:
    """Clones on partitions are no triggers of their own, and follow the one that is."""
    catalogue.run(*SETUP)
    check_change(
        catalogue,
        TRIGGER,
        "CREATE TRIGGER x AFTER INSERT ON app.p FOR EACH ROW EXECUTE FUNCTION app.f()",
        "CREATE TRIGGER x AFTER INSERT ON app.p FOR EACH ROW EXECUTE FUNCTION app.g();"
        "ALTER TABLE app.p DISABLE TRIGGER x",
    )
    clone = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'app.p1'::regclass AND tgenabled = 'O'"
    assert catalogue.scalar(clone) == 1


@pytest.mark.parametrize(
    "cases", [("constraint", "row"), ("row", "constraint"), ("constraint", "constraint from")]
)
def test_constraint_triggers_cannot_be_replaced(
    catalogue: Catalogue, cases: tuple[str, str]
) -> None:
    """What is or becomes a constraint trigger has to be made again."""
    catalogue.run(*SETUP)
    old, new = (catalogue.tried(TRIGGER, f"CREATE {TRIGGERS[case]}")[0] for case in cases)
    assert TRIGGER.change(old, new, (catalogue.world(), catalogue.world())) is None


def test_triggers_of_the_server_are_not_read(catalogue: Catalogue) -> None:
    """Those that enforce foreign keys belong to the constraint."""
    catalogue.run(
        "CREATE TABLE app.a (id integer PRIMARY KEY)",
        "CREATE TABLE app.b (id integer REFERENCES app.a)",
        "CREATE TABLE app.c (id integer UNIQUE DEFERRABLE)",
    )
    assert catalogue.read(TRIGGER) == []


def test_one_name_on_two_tables(catalogue: Catalogue) -> None:
    """Triggers of one name on two relations are two objects, each with its comment."""
    catalogue.run(
        *SETUP,
        f"CREATE {TRIGGERS['row']}",
        f"CREATE {TRIGGERS['partitioned']}",
        "COMMENT ON TRIGGER x ON app.t IS 'mine [pgflow]'",
    )
    on_p, on_t = catalogue.read(TRIGGER)
    assert (on_p.id.table, on_p.comment, on_p.mark) == ("p", None, None)
    assert (on_t.id.table, on_t.comment, on_t.mark) == ("t", "mine", Mark())
    assert TRIGGER.label(on_t.id) == "TRIGGER x ON app.t"


@pytest.mark.parametrize("case", ["row", "constraint", "partitioned", "view"])
def test_a_trigger_is_renamed(catalogue: Catalogue, case: str) -> None:
    """A trigger gets another name, which changes none of its facts."""
    catalogue.run(*SETUP, f"CREATE {TRIGGERS[case]}")
    [before] = catalogue.read(TRIGGER)
    new = replace(before.id, name="Y")
    catalogue.run(*TRIGGER.rename(before.id, new))
    assert catalogue.read(TRIGGER) == [replace(before, id=new)]


def test_a_trigger_follows_its_table(catalogue: Catalogue) -> None:
    """After its table was renamed, a trigger has the same facts and is renamed on the new table."""
    catalogue.run(*SETUP, f"CREATE {TRIGGERS['columns']}")
    [before] = catalogue.read(TRIGGER)
    catalogue.run('ALTER TABLE app.t RENAME TO "T"')
    same = EntityIdentifier("app", "x", kind="trigger", table="T")
    assert catalogue.read(TRIGGER) == [replace(before, id=same)]
    assert TRIGGER.rename(before.id, same) == ()
    [statement] = TRIGGER.rename(before.id, replace(same, name="y"))
    assert statement.sql == 'ALTER TRIGGER x ON app."T" RENAME TO y'
