"""Rules: made as they were, and replaced in place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgflow.alembic.entity import Mark
from pgflow.alembic.kinds.rules import RULE
from tests.migrations.kinds.catalogue import Catalogue, check_change, check_round_trip

SETUP = (
    "CREATE TABLE app.t (a integer, b varchar(9))",
    'CREATE TABLE app."L o" (a integer, b text)',
    "CREATE VIEW app.v AS SELECT a FROM app.t",
)

RULES = {
    "nothing": "r AS ON DELETE TO app.t DO INSTEAD NOTHING",
    "view": "r AS ON INSERT TO app.v DO INSTEAD INSERT INTO app.t VALUES (NEW.a) RETURNING a",
    "condition": "r AS ON UPDATE TO app.t WHERE NEW.b IN ('a', ' TO app.t') "
    "DO ALSO INSERT INTO app.\"L o\" VALUES (OLD.a, 'it''s %s :x')",
    "several": "r AS ON INSERT TO app.t DO ALSO (DELETE FROM app.\"L o\" WHERE b IN (SELECT 'x'); "
    "NOTIFY done)",
    "quoted": '"ON R TO app.t" AS ON INSERT TO app."L o" DO INSTEAD NOTHING',
}


@pytest.mark.parametrize("case", RULES)
def test_a_rule_is_dropped_and_made_again(catalogue: Catalogue, case: str) -> None:
    """What is made from a rule that was read prints as that rule did."""
    catalogue.run(*SETUP)
    check_round_trip(catalogue, RULE, f"CREATE RULE {RULES[case]}")


STATES = ("ENABLE", "DISABLE", "ENABLE REPLICA", "ENABLE ALWAYS")


@pytest.mark.parametrize("state", STATES)
def test_a_rule_is_replaced_and_its_state_set(catalogue: Catalogue, state: str) -> None:
    """Another event and action replace the rule; the state is a statement of its own."""
    catalogue.run(*SETUP)
    old = f"CREATE RULE {RULES['nothing']}"
    new = f"CREATE RULE {RULES['condition']}; ALTER TABLE app.t {state} RULE r"
    statements = check_change(catalogue, RULE, old, new)
    assert statements[0].startswith("CREATE OR REPLACE RULE r AS\nON UPDATE TO app.t\nWHERE ")
    assert statements[1:] == [f"ALTER TABLE app.t {state} RULE r"][: state != "ENABLE"]


@pytest.mark.parametrize("state", STATES)
def test_replacing_a_rule_keeps_its_state(catalogue: Catalogue, state: str) -> None:
    """A rule that is switched off stays off, without a word about it."""
    catalogue.run(*SETUP)
    altered = f"ALTER TABLE app.t {state} RULE r"
    old = f"CREATE RULE {RULES['nothing']}; {altered}"
    new = f"CREATE RULE {RULES['several']}; {altered}"
    assert len(check_change(catalogue, RULE, old, new)) == 1
    [rule] = catalogue.read(RULE)
    check_round_trip(catalogue, RULE)
    assert rule.facts["enabled"] == state


def test_the_rule_of_a_view_is_no_object(catalogue: Catalogue) -> None:
    """What makes a view a view is not listed; comments and marks of others are read."""
    catalogue.run(
        *SETUP, f"CREATE RULE {RULES['view']}", "COMMENT ON RULE r ON app.v IS 'mine [pgflow]'"
    )
    [rule] = catalogue.read(RULE)
    assert (rule.id.name, rule.comment, rule.mark) == ("r", "mine", Mark())
    assert RULE.label(rule.id) == "RULE r ON app.v"


def test_a_rule_is_renamed(catalogue: Catalogue) -> None:
    """A rule gets another name, which changes none of its facts, nor does its table's."""
    catalogue.run(*SETUP, f"CREATE RULE {RULES['condition']}")
    [before] = catalogue.read(RULE)
    named = replace(before.id, name="R")
    catalogue.run(*RULE.rename(before.id, named), 'ALTER TABLE app.t RENAME TO "T t"')
    [after] = catalogue.read(RULE)
    assert after == replace(before, id=replace(named, table="T t"))
    assert RULE.rename(named, after.id) == ()
