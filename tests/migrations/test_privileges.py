"""Rights are read from ACLs, settled with what others granted, and granted or revoked in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from sqlalchemy import Connection

from pgflow.alembic import privileges
from pgflow.alembic.entity import Entity, Mark, Privilege
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.reader import Reader
from pgflow.alembic.statement import Statement

_COLUMNS = """
    SELECT attname, attacl::text[] FROM pg_attribute
     WHERE attrelid = 'app.t'::regclass AND attnum > 0 AND NOT attisdropped
"""
_ROLES = ("pgflow_owner", "pgflow_reader", 'pgflow "Writer"=x', "pgflow_dba")


class Rights:
    """A table and a function with their owner, and roles that get rights on them."""

    def __init__(self, connection: Connection) -> None:
        self.reader = Reader(connection)
        owner, reader, writer, dba = (f'"{name.replace(chr(34), chr(34) * 2)}"' for name in _ROLES)
        self.roles = {"owner": owner, "reader": reader, "writer": writer, "dba": dba}
        self.run(
            *(f"CREATE ROLE {role}" for role in self.roles.values()),
            "CREATE SCHEMA app",
            "CREATE TABLE app.t (a integer, b integer)",
            "CREATE FUNCTION app.f(x integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
            "ALTER TABLE app.t OWNER TO {owner}",
            "ALTER FUNCTION app.f OWNER TO {owner}",
        )

    def run(self, *statements: str) -> None:
        """Run statements, with roles by their short names in braces."""
        for statement in statements:
            self.reader.run(statement.format(**self.roles))

    def apply(self, statements: Sequence[Statement]) -> list[str]:
        """Run statements of a migration and return their texts."""
        for statement in statements:
            self.reader.run(statement.sql)
        return [statement.sql for statement in statements]

    def table(self, mark: Mark | None = None) -> Entity:
        """Read the table."""
        acl = self.reader.scalar("SELECT relacl::text[] FROM pg_class WHERE relname = 't'")
        columns = dict(tuple(row) for row in self.reader.rows(_COLUMNS))
        return self._entity("table", "t", acl, columns, mark)

    def function(self, mark: Mark | None = None) -> Entity:
        """Read the function."""
        acl = self.reader.scalar("SELECT proacl::text[] FROM pg_proc WHERE proname = 'f'")
        return self._entity("function", "f", acl, {}, mark)

    def _entity(
        self,
        kind: str,
        name: str,
        acl: Sequence[str] | None,
        columns: Mapping[str, Sequence[str] | None],
        mark: Mark | None,
    ) -> Entity:
        return Entity(
            EntityIdentifier("app", name, kind=kind),
            mark=mark,
            owner=_ROLES[0],
            privileges=privileges.parse(acl, kind, _ROLES[0], columns),
        )


@pytest.fixture
def rights(conn: Connection) -> Rights:
    """The table and the roles; nothing is committed."""
    return Rights(conn)


def test_an_acl_is_read_in_full(rights: Rights) -> None:
    """Roles with any name, PUBLIC, grant options and columns are read; the owner is left out."""
    rights.run(
        "GRANT SELECT ON app.t TO {reader} WITH GRANT OPTION",
        "GRANT SELECT ON app.t TO PUBLIC",
        "GRANT INSERT, TRUNCATE ON app.t TO {writer}",
        "GRANT UPDATE (a, b), SELECT (b) ON app.t TO {writer}",
    )
    assert rights.table().privileges == {
        Privilege("", "SELECT"),
        Privilege("pgflow_reader", "SELECT", grantable=True),
        Privilege(_ROLES[2], "INSERT"),
        Privilege(_ROLES[2], "TRUNCATE"),
        Privilege(_ROLES[2], "UPDATE", "a"),
        Privilege(_ROLES[2], "UPDATE", "b"),
        Privilege(_ROLES[2], "SELECT", "b"),
    }


def test_no_acl_means_the_defaults(rights: Rights) -> None:
    """PUBLIC may execute functions and use types, and nothing with tables."""
    assert rights.table().privileges == frozenset()
    assert rights.function().privileges == {Privilege("", "EXECUTE")}
    assert privileges.parse(None, "enum", "x") == {Privilege("", "USAGE")}
    assert privileges.parse(None, "schema", "x") == frozenset()
    rights.run("REVOKE EXECUTE ON FUNCTION app.f FROM PUBLIC")
    assert rights.function().privileges == frozenset()


def test_rights_are_granted_in_few_statements() -> None:
    """Roles with the same rights stand together, privileges in the order of the manual."""
    wanted = {Privilege(role, right) for role in ("a", "B") for right in ("UPDATE", "SELECT")}
    wanted |= {Privilege("c", "SELECT", "x"), Privilege("c", "SELECT", "y y")}
    wanted |= {Privilege("c", "INSERT"), Privilege("", "SELECT", grantable=True)}
    assert [statement.sql for statement in privileges.grant("VIEW app.v", wanted)] == [
        "GRANT SELECT ON TABLE app.v TO PUBLIC WITH GRANT OPTION",
        'GRANT SELECT, UPDATE ON TABLE app.v TO "B", a',
        'GRANT SELECT (x, "y y"), INSERT ON TABLE app.v TO c',
    ]


@pytest.mark.parametrize(
    ("label", "target"),
    [
        ("MATERIALIZED VIEW app.m", "TABLE app.m"),
        ("DOMAIN app.d", "TYPE app.d"),
        ("PROCEDURE app.p(integer)", "PROCEDURE app.p(integer)"),
        ("AGGREGATE app.a(text ORDER BY integer)", "FUNCTION app.a(text, integer)"),
    ],
)
def test_grant_names_objects_in_its_own_way(label: str, target: str) -> None:
    """GRANT has other words for objects than COMMENT ON."""
    [statement] = privileges.grant(label, {Privilege("r", "SELECT")})
    assert statement.sql == f"GRANT SELECT ON {target} TO r"


CHANGES: dict[str, tuple[tuple[str, ...], tuple[str, ...], list[str]]] = {
    "a grant": ((), ("GRANT SELECT ON app.t TO {reader}",), ["GRANT SELECT ON TABLE app.t TO"]),
    "a revoke": (
        ("GRANT SELECT, INSERT ON app.t TO {reader}",),
        ("GRANT SELECT ON app.t TO {reader}",),
        ["REVOKE INSERT ON TABLE app.t FROM"],
    ),
    "the grant option": (
        ("GRANT SELECT ON app.t TO {reader} WITH GRANT OPTION",),
        ("GRANT SELECT ON app.t TO {reader}",),
        ["REVOKE GRANT OPTION FOR SELECT ON TABLE app.t FROM"],
    ),
    "columns instead of the table": (
        ("GRANT SELECT ON app.t TO {reader}", "GRANT SELECT (a) ON app.t TO {reader}"),
        ("GRANT SELECT (a) ON app.t TO {reader}",),
        ["REVOKE SELECT ON TABLE app.t FROM", "GRANT SELECT (a) ON TABLE app.t TO"],
    ),
    "other columns": (
        ("GRANT UPDATE (a) ON app.t TO {writer}",),
        ("GRANT UPDATE (b) ON app.t TO {writer} WITH GRANT OPTION",),
        ["REVOKE UPDATE (a) ON TABLE app.t FROM", "GRANT UPDATE (b) ON TABLE app.t TO"],
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_rights_become_what_they_should_be_and_back(rights: Rights, case: str) -> None:
    """The statements lead exactly to the other rights, also where one revoke sweeps others away."""
    old, new, expected = CHANGES[case]
    savepoint = rights.reader.connection.begin_nested()
    rights.run(*new)
    after = rights.table()
    savepoint.rollback()
    rights.run(*old)
    before = rights.table()
    done = rights.apply(privileges.changes("TABLE app.t", before, after))
    assert rights.table() == after
    assert len(done) == len(expected)
    assert all(sql.startswith(start) for sql, start in zip(done, expected, strict=True))
    rights.apply(privileges.changes("TABLE app.t", after, before))
    assert rights.table() == before
    assert privileges.changes("TABLE app.t", before, before) == ()


def test_nothing_is_revoked_of_a_dropped_column(rights: Rights) -> None:
    """Rights on a column go with it."""
    rights.run("GRANT SELECT (a, b) ON app.t TO {reader}")
    before = rights.table()
    rights.run("ALTER TABLE app.t DROP COLUMN b", "REVOKE SELECT (a) ON app.t FROM {reader}")
    after = rights.table()
    [statement] = privileges.changes("TABLE app.t", before, after, dropped=["b"])
    assert statement.sql == "REVOKE SELECT (a) ON TABLE app.t FROM pgflow_reader"


def test_what_others_granted_stays(rights: Rights) -> None:
    """A right goes only if the mark or the declaration speaks of its grantee."""
    rights.run("GRANT SELECT, UPDATE ON app.t TO {reader}, {writer}, {dba}")
    live = rights.table(Mark(grantees=frozenset({_ROLES[2]})))
    declared = Entity(
        live.id, owner="x", privileges=frozenset({Privilege("pgflow_reader", "SELECT")})
    )
    assert privileges.settled(live, declared) == {
        Privilege("pgflow_reader", "SELECT"),
        Privilege("pgflow_dba", "SELECT"),
        Privilege("pgflow_dba", "UPDATE"),
    }


def test_the_owner_is_never_granted_anything(rights: Rights) -> None:
    """What is declared for the role that owns the live object makes no difference."""
    live = rights.table()
    declared = Entity(live.id, owner="x", privileges=frozenset({Privilege(_ROLES[0], "SELECT")}))
    assert privileges.settled(live, declared) == frozenset()


def test_what_public_has_by_default_is_left_as_it_is_found(rights: Rights) -> None:
    """A declaration that says nothing does not give PUBLIC back what somebody revoked."""
    declared = rights.function()
    rights.run("REVOKE EXECUTE ON FUNCTION app.f FROM PUBLIC")
    assert privileges.settled(rights.function(), declared) == frozenset()
    marked = rights.function(Mark(grantees=frozenset({""})))
    assert privileges.settled(marked, declared) == {Privilege("", "EXECUTE")}


def test_public_loses_what_the_declaration_revokes(rights: Rights) -> None:
    """A declared REVOKE FROM PUBLIC is a difference, and the mark remembers PUBLIC."""
    live = rights.function()
    rights.run("REVOKE EXECUTE ON FUNCTION app.f FROM PUBLIC")
    declared = rights.function()
    assert privileges.settled(live, declared) == frozenset()
    assert privileges.grantees(declared) == {""}
    assert privileges.grantees(live) == frozenset()


def test_a_new_object_gets_all_its_rights_back(rights: Rights) -> None:
    """An object that was dropped and made again has the same rights, foreign ones too."""
    rights.run(
        "GRANT EXECUTE ON FUNCTION app.f TO {reader}, {dba} WITH GRANT OPTION",
        "REVOKE EXECUTE ON FUNCTION app.f FROM PUBLIC",
    )
    before = rights.function()
    rights.run(
        "DROP FUNCTION app.f",
        "CREATE FUNCTION app.f(x integer) RETURNS integer LANGUAGE sql AS 'SELECT 2'",
    )
    rights.apply(privileges.restore("FUNCTION app.f(integer)", before))
    found = rights.function().privileges or frozenset()
    assert {right for right in found if right.grantee != "postgres"} == before.privileges
