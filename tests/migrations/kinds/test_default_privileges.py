"""Default privileges: granted, revoked, and remembered by the mark of their schema."""

from __future__ import annotations

import pytest

from pgflow.alembic import privileges
from pgflow.alembic.entity import Entity, Mark, Privilege
from pgflow.alembic.kinds.default_privileges import DEFAULT_PRIVILEGES
from tests.migrations.kinds.catalogue import Catalogue


@pytest.fixture
def roles(catalogue: Catalogue) -> Catalogue:
    """The catalogue, with roles to grant to."""
    catalogue.run('CREATE ROLE pgflow_reader; CREATE ROLE "pgflow/dba"')
    return catalogue


CASES = {
    "tables": "IN SCHEMA app GRANT SELECT, INSERT ON TABLES TO pgflow_reader",
    "sequences": "IN SCHEMA app GRANT USAGE ON SEQUENCES TO pgflow_reader WITH GRANT OPTION",
    "functions": 'FOR ROLE "pgflow/dba" IN SCHEMA app GRANT EXECUTE ON FUNCTIONS TO PUBLIC',
    "types of the database": "REVOKE USAGE ON TYPES FROM PUBLIC",
    "functions of the database": "REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
    "schemas": "GRANT CREATE ON SCHEMAS TO pgflow_reader",
}


@pytest.mark.parametrize("case", CASES)
def test_default_privileges_go_and_come_back(roles: Catalogue, case: str) -> None:
    """What is granted from what was read is what it was; dropped, nothing is left."""
    roles.run(f"ALTER DEFAULT PRIVILEGES {CASES[case]}")
    [before] = roles.read(DEFAULT_PRIVILEGES)
    assert before.id.name is not None
    assert before.id.name.endswith("/" + case.split()[0])
    roles.run(*DEFAULT_PRIVILEGES.drop(before, roles.world()))
    assert roles.read(DEFAULT_PRIVILEGES) == []
    roles.run(*privileges.restore(DEFAULT_PRIVILEGES.label(before.id), before))
    assert roles.read(DEFAULT_PRIVILEGES) == [before]


def test_a_change_revokes_and_grants(roles: Catalogue) -> None:
    """Default privileges become others without being dropped."""
    wanted = "ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO pgflow_reader"
    [after] = roles.tried(DEFAULT_PRIVILEGES, wanted)
    roles.run("ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT UPDATE ON TABLES TO pgflow_reader")
    [before] = roles.read(DEFAULT_PRIVILEGES)
    label = DEFAULT_PRIVILEGES.label(after.id)
    statements = privileges.changes(label, before, after)
    user = roles.scalar("SELECT current_user::text")
    head = f"ALTER DEFAULT PRIVILEGES FOR ROLE {user} IN SCHEMA app"
    assert [each.sql for each in statements] == [
        f"{head} REVOKE UPDATE ON TABLES FROM pgflow_reader",
        f"{head} GRANT SELECT ON TABLES TO pgflow_reader",
    ]
    roles.run(*statements)
    assert roles.read(DEFAULT_PRIVILEGES) == [after]


def test_the_mark_of_the_schema_says_which_are_ours(roles: Catalogue) -> None:
    """Only grantees that the schema's mark names are revoked when a declaration goes."""
    roles.run('ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO "pgflow/dba"')
    roles.run("COMMENT ON SCHEMA app IS '[pgflow defaults=pgflow_reader]'")
    [foreign] = roles.read(DEFAULT_PRIVILEGES)
    assert foreign.mark is None
    roles.run("ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO pgflow_reader")
    [ours] = roles.read(DEFAULT_PRIVILEGES)
    assert ours.mark == Mark(grantees=frozenset({"pgflow_reader"}))
    roles.run(*DEFAULT_PRIVILEGES.drop(ours, roles.world()))
    assert roles.read(DEFAULT_PRIVILEGES) == [foreign]


def test_what_public_has_anyway_says_nothing(roles: Catalogue) -> None:
    """PUBLIC may execute functions: only a difference from that names PUBLIC in a mark."""
    roles.run("ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO pgflow_reader")
    [found] = roles.read(DEFAULT_PRIVILEGES)
    assert found.privileges == {Privilege("", "EXECUTE"), Privilege("pgflow_reader", "EXECUTE")}
    assert privileges.grantees(found) == {"pgflow_reader"}
    assert privileges.grantees(Entity(found.id, privileges=frozenset())) == {""}
