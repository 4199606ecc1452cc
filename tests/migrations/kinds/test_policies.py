"""Policies: made as they were, and altered where the server allows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgflow.alembic.entity import Mark
from pgflow.alembic.kinds.policies import POLICY
from tests.migrations.kinds.catalogue import Catalogue, check_change, check_round_trip

SETUP = (
    'CREATE ROLE reader; CREATE ROLE "Big Writer"',
    "CREATE TABLE app.t (a integer, b varchar(9))",
    "CREATE TABLE app.u (a integer)",
)

POLICIES = {
    "plain": "p ON app.t",
    "using": "p ON app.t USING (b = current_user)",
    "check": "p ON app.t FOR INSERT WITH CHECK (b IN ('it''s %s :x', 'b'))",
    "both": "p ON app.t FOR UPDATE USING (a > 1) WITH CHECK (a > 2)",
    "select": "p ON app.t FOR SELECT USING (true)",
    "delete": "p ON app.t FOR DELETE USING (false)",
    "restrictive": "p ON app.t AS RESTRICTIVE USING (a > 1)",
    "roles": 'p ON app.t TO reader, "Big Writer" USING (a > 1)',
    "public": "p ON app.t TO PUBLIC USING (a > 1)",
    "subquery": "p ON app.t USING (EXISTS (SELECT NULL FROM app.u WHERE u.a = t.a "
    "AND t.b IN (SELECT 'ü')))",
    "quoted": '"P ""p""" ON app.t',
}


@pytest.mark.parametrize("case", POLICIES)
def test_a_policy_is_dropped_and_made_again(catalogue: Catalogue, case: str) -> None:
    """What is made from a policy that was read prints as that policy did."""
    catalogue.run(*SETUP)
    check_round_trip(catalogue, POLICY, f"CREATE POLICY {POLICIES[case]}")


CHANGES = {
    "condition": ("using", "p ON app.t USING (a = 7)", "ALTER POLICY p ON app.t USING ((a = 7))"),
    "roles": ("public", "p ON app.t TO reader USING (a > 1)", "ALTER POLICY p ON app.t TO reader"),
    "no roles": (
        "roles",
        "p ON app.t USING (a > 2)",
        "ALTER POLICY p ON app.t TO PUBLIC USING ((a > 2))",
    ),
    "check": (
        "both",
        "p ON app.t FOR UPDATE USING (a > 1) WITH CHECK (a > 3)",
        "ALTER POLICY p ON app.t WITH CHECK ((a > 3))",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_policy_is_altered(catalogue: Catalogue, case: str) -> None:
    """Only what differs is said, and it leads to the declared policy and back."""
    catalogue.run(*SETUP)
    old, new, statement = CHANGES[case]
    made = check_change(catalogue, POLICY, f"CREATE POLICY {POLICIES[old]}", f"CREATE POLICY {new}")
    assert made == [statement]


@pytest.mark.parametrize(
    "cases",
    [("select", "delete"), ("using", "restrictive"), ("using", "plain"), ("both", "select")],
)
def test_what_alter_policy_cannot_do(catalogue: Catalogue, cases: tuple[str, str]) -> None:
    """Another command or sort, or a condition that goes away, needs another policy."""
    catalogue.run(*SETUP)
    old, new = (catalogue.tried(POLICY, f"CREATE POLICY {POLICIES[case]}")[0] for case in cases)
    assert POLICY.change(old, new, (catalogue.world(), catalogue.world())) is None


def test_a_condition_can_be_added(catalogue: Catalogue) -> None:
    """A policy without a condition gets one by ALTER POLICY."""
    catalogue.run(*SETUP)
    [after] = catalogue.tried(POLICY, f"CREATE POLICY {POLICIES['using']}")
    catalogue.run(f"CREATE POLICY {POLICIES['plain']}")
    [before] = catalogue.read(POLICY)
    catalogue.alter(POLICY, before, after)
    assert catalogue.read(POLICY) == [after]


def test_an_altered_policy_filters_rows(catalogue: Catalogue) -> None:
    """The policy that was made and altered by these statements is the one that rows meet."""
    catalogue.run(*SETUP)
    [narrow] = catalogue.tried(POLICY, "CREATE POLICY p ON app.t TO reader USING (a = 1)")
    [wide] = catalogue.tried(POLICY, "CREATE POLICY p ON app.t TO reader USING (a < 3)")
    catalogue.run(
        "INSERT INTO app.t VALUES (1), (2), (3)",
        "ALTER TABLE app.t ENABLE ROW LEVEL SECURITY",
        "GRANT USAGE ON SCHEMA app TO reader; GRANT SELECT ON app.t TO reader",
        *POLICY.create(narrow, catalogue.world()),
        "SET ROLE reader",
    )
    assert catalogue.scalar("SELECT count(*) FROM app.t") == 1
    catalogue.run("RESET ROLE")
    catalogue.alter(POLICY, narrow, wide)
    catalogue.run("SET ROLE reader")
    assert catalogue.scalar("SELECT count(*) FROM app.t") == 2


def test_a_policy_is_renamed(catalogue: Catalogue) -> None:
    """A policy gets another name, which changes none of its facts, nor does its table's."""
    catalogue.run(*SETUP, f"CREATE POLICY {POLICIES['roles']}")
    catalogue.run("COMMENT ON POLICY p ON app.t IS 'mine [pgflow]'")
    [before] = catalogue.read(POLICY)
    assert (before.comment, before.mark) == ("mine", Mark())
    named = replace(before.id, name="P")
    catalogue.run(*POLICY.rename(before.id, named), 'ALTER TABLE app.t RENAME TO "T t"')
    [after] = catalogue.read(POLICY)
    assert after == replace(before, id=replace(named, table="T t"))
