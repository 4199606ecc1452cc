"""Roles belong to all databases of a server: none is made twice, none is taken from another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from sqlalchemy import Connection, NullPool, create_engine, text

from pgflow.alembic import comments, privileges
from pgflow.alembic.entity import Entity, Mark
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import role_statements
from pgflow.alembic.kinds.roles import ROLE
from pgflow.errors import PasswordDeclared, UnknownRole
from tests.migrations.kinds.catalogue import Catalogue

_NAME = 'pgflow "Role"'


def live(catalogue: Catalogue) -> dict[EntityIdentifier, Entity]:
    """Return the server's roles, by identity."""
    return {entity.id: entity for entity in catalogue.read(ROLE)}


def declared(catalogue: Catalogue, *statements: str) -> list[Entity]:
    """Return the roles that statements declare."""
    return role_statements.declared(catalogue.reader, statements, live(catalogue))


EVERYTHING = (
    "CREATE ROLE pgflow_group",
    "CREATE ROLE pgflow_admins",
    'CREATE ROLE "pgflow ""Role""" LOGIN CREATEDB NOINHERIT CONNECTION LIMIT 7 '
    "VALID UNTIL '2040-01-01 01:00+01' IN ROLE pgflow_group",
    'ALTER ROLE "pgflow ""Role""" SET search_path = app, "Other"',
    'ALTER ROLE "pgflow ""Role""" SET work_mem = \'5MB\'',
    'ALTER ROLE "pgflow ""Role""" SET statement_timeout = 100',
    'GRANT pgflow_admins TO "pgflow ""Role""" WITH ADMIN OPTION',
    'COMMENT ON ROLE "pgflow ""Role""" IS \'it\'\'s $$\'',
)


def test_a_role_is_made_as_it_is_declared(catalogue: Catalogue) -> None:
    """What the statements say is what the server then says of the role."""
    wanted = declared(catalogue, *EVERYTHING)
    for role in wanted:
        catalogue.run(*ROLE.create(role, catalogue.world()))
    assert declared(catalogue, *EVERYTHING) == [live(catalogue)[role.id] for role in wanted]
    found = catalogue.named(ROLE, _NAME)
    assert found.comment == "it's $$"
    assert found.facts["valid_until"] == "2040-01-01 00:00:00.000000+00"
    assert found.facts["settings"] == (
        'search_path=app, "Other"',
        "statement_timeout=100",
        "work_mem=5MB",
    )


def test_the_statements_make_the_same_role(catalogue: Catalogue) -> None:
    """Run by the server itself, the statements lead to the same facts."""
    wanted = declared(catalogue, *EVERYTHING)
    catalogue.run(*EVERYTHING)
    assert declared(catalogue, *EVERYTHING) == [live(catalogue)[role.id] for role in wanted]
    names = [entry[0] for entry in catalogue.named(ROLE, _NAME).facts["member_of"]]  # type: ignore[union-attr,index]  # tuples, as the role's facts are
    assert names == ["pgflow_admins", "pgflow_group"]


def test_a_role_that_exists_is_left_as_it_is(catalogue: Catalogue) -> None:
    """Making a role that somebody made before is no error, and changes and marks nothing."""
    catalogue.run("CREATE ROLE pgflow_theirs NOLOGIN")
    before = catalogue.named(ROLE, "pgflow_theirs")
    [wanted] = declared(catalogue, "CREATE ROLE pgflow_theirs LOGIN")
    marked = Entity(wanted.id, wanted.facts, mark=Mark())
    catalogue.run(*ROLE.create(marked, catalogue.world()))
    assert catalogue.named(ROLE, "pgflow_theirs") == before
    catalogue.run(comments.statement("ROLE pgflow_theirs", marked))
    assert catalogue.named(ROLE, "pgflow_theirs") == before


CHANGES = {
    "attributes": (
        "CREATE ROLE pgflow_r LOGIN",
        "CREATE ROLE pgflow_r CREATEDB NOINHERIT",
        ["ALTER ROLE pgflow_r NOINHERIT CREATEDB NOLOGIN"],
    ),
    "limits": (
        "CREATE ROLE pgflow_r VALID UNTIL '2030-01-01' CONNECTION LIMIT 3",
        "CREATE ROLE pgflow_r",
        ["ALTER ROLE pgflow_r CONNECTION LIMIT -1 VALID UNTIL 'infinity'"],
    ),
    "settings": (
        "CREATE ROLE pgflow_r; ALTER ROLE pgflow_r SET work_mem = '1MB'; "
        "ALTER ROLE pgflow_r SET lock_timeout = 1",
        "CREATE ROLE pgflow_r; ALTER ROLE pgflow_r SET work_mem = '2MB'; "
        "ALTER ROLE pgflow_r SET jit = off",
        [
            "ALTER ROLE pgflow_r RESET lock_timeout",
            "ALTER ROLE pgflow_r SET jit TO 'off'",
            "ALTER ROLE pgflow_r SET work_mem TO '2MB'",
        ],
    ),
    "memberships": (
        "CREATE ROLE pgflow_r IN ROLE pg_monitor",
        "CREATE ROLE pgflow_r IN ROLE pg_read_all_data",
        ["REVOKE pg_monitor FROM pgflow_r", "GRANT pg_read_all_data TO pgflow_r"],
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_role_becomes_what_it_should_be_and_back(catalogue: Catalogue, case: str) -> None:
    """Attributes, settings and memberships change in place."""
    old, new, expected = CHANGES[case]

    def is_ours(entity: Entity) -> bool:
        return entity.id.name == "pgflow_r"

    [after] = filter(is_ours, catalogue.tried(ROLE, new))
    catalogue.run(old)
    before = catalogue.named(ROLE, "pgflow_r")
    change = catalogue.alter(ROLE, before, after)
    found = [each.sql.partition(" WITH ")[0] for each in change.statements]
    assert found == expected
    assert catalogue.named(ROLE, "pgflow_r") == after
    catalogue.alter(ROLE, after, before)
    assert catalogue.named(ROLE, "pgflow_r") == before


def test_an_admin_option_is_taken_back(catalogue: Catalogue) -> None:
    """A membership without ADMIN OPTION loses the one that it has."""
    catalogue.run("CREATE ROLE pgflow_g", "CREATE ROLE pgflow_r ADMIN pgflow_g")
    catalogue.run("CREATE ROLE pgflow_m", "GRANT pgflow_g TO pgflow_m WITH ADMIN OPTION")
    statements = ("CREATE ROLE pgflow_m", "GRANT pgflow_g TO pgflow_m")
    [wanted] = declared(catalogue, *statements)
    change = catalogue.alter(ROLE, catalogue.named(ROLE, "pgflow_m"), wanted)
    assert change.statements[0].sql == "REVOKE ADMIN OPTION FOR pgflow_g FROM pgflow_m"
    assert catalogue.named(ROLE, "pgflow_m") == wanted


def test_what_nobody_declares_of_a_role_stays(catalogue: Catalogue) -> None:
    """Attributes, settings and memberships that others gave a role make no difference."""
    catalogue.run("CREATE ROLE pgflow_r LOGIN CONNECTION LIMIT 5 IN ROLE pg_monitor")
    catalogue.run("ALTER ROLE pgflow_r SET work_mem = '1MB'")
    assert declared(catalogue, "CREATE ROLE pgflow_r") == [catalogue.named(ROLE, "pgflow_r")]


def test_a_membership_that_a_migration_granted_goes_with_its_declaration(
    catalogue: Catalogue,
) -> None:
    """The mark of a role remembers its declared memberships."""
    database = catalogue.scalar("SELECT current_database()")
    catalogue.run("CREATE ROLE pgflow_r IN ROLE pg_monitor, pg_read_all_data")
    text_ = f'[pgflow:"@{database}" grants=pg_monitor]'
    catalogue.run(f"COMMENT ON ROLE pgflow_r IS '{text_}'")
    [wanted] = declared(catalogue, "CREATE ROLE pgflow_r")
    assert [entry[0] for entry in wanted.facts["member_of"]] == ["pg_read_all_data"]  # type: ignore[union-attr,index]  # tuples, as the role's facts are
    assert privileges.grantees(wanted) == frozenset()
    [again] = declared(catalogue, "CREATE ROLE pgflow_r; GRANT pg_monitor TO pgflow_r")
    assert privileges.grantees(again) == {"pg_monitor"}


@pytest.mark.parametrize(
    "statement",
    ["CREATE ROLE pgflow_r LOGIN PASSWORD 'geheim'", "CREATE USER pgflow_r ENCRYPTED PASSWORD 'x'"],
)
def test_a_password_is_refused(catalogue: Catalogue, statement: str) -> None:
    """No password reaches a migration file, and the error does not repeat it."""
    with pytest.raises(PasswordDeclared, match="set it out of band") as caught:
        declared(catalogue, statement)
    assert caught.value.role == "pgflow_r"
    assert "geheim" not in str(caught.value)


def test_a_password_may_be_taken_away(catalogue: Catalogue) -> None:
    """PASSWORD NULL is no secret."""
    [role] = declared(catalogue, "CREATE USER pgflow_r PASSWORD NULL")
    assert role.facts["login"] is True


def test_an_unknown_role_is_refused(catalogue: Catalogue) -> None:
    """What is altered must be declared or exist."""
    with pytest.raises(UnknownRole, match="CREATE ROLE pgflow_nobody") as caught:
        declared(catalogue, "GRANT pg_monitor TO pgflow_nobody")
    assert caught.value.role == "pgflow_nobody"
    with pytest.raises(UnknownRole, match="Name the role"):
        declared(catalogue, "GRANT pg_monitor TO CURRENT_USER")


def _here(statement: str) -> str:
    """Write a statement that names the database in which it runs, for `%I` in it."""
    return f"DO $$ BEGIN EXECUTE format('{statement}', current_database()); END $$"


#: What another database does with a role, and how it ends that.
_USES = {
    "member": (["CREATE ROLE pgflow_member IN ROLE pgflow_shared"], "DROP ROLE pgflow_member"),
    "setting": (
        [_here("ALTER ROLE pgflow_shared IN DATABASE %I SET work_mem = 99")],
        _here("ALTER ROLE pgflow_shared IN DATABASE %I RESET ALL"),
    ),
    "right on the database": (
        [_here("GRANT CONNECT ON DATABASE %I TO pgflow_shared")],
        _here("REVOKE CONNECT ON DATABASE %I FROM pgflow_shared"),
    ),
    "owned table": (
        ["CREATE TABLE public.owned ()", "ALTER TABLE public.owned OWNER TO pgflow_shared"],
        "DROP TABLE public.owned",
    ),
    "default privilege": (
        ["ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pgflow_shared"],
        "ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM pgflow_shared",
    ),
}
_HELD = 'role "pgflow_shared" cannot be dropped because some objects depend on it'
_REASONS = {
    "member": "other roles are members of it",
    "setting": "it has settings in another database",
}


class TestTwoDatabases:
    """One server, two databases, each with its own migrations."""

    @pytest.fixture
    def both(self, make_database: Callable[[], str]) -> Iterator[tuple[Catalogue, Catalogue]]:
        """Two databases; what is done is committed at once."""
        with _connected(make_database()) as one, _connected(make_database()) as other:
            yield Catalogue(one), Catalogue(other)
            for connection in (one, other):
                connection.execute(text("DROP SCHEMA IF EXISTS app CASCADE"))
            one.execute(text("DROP ROLE IF EXISTS pgflow_shared"))

    @pytest.fixture
    def role(self, both: tuple[Catalogue, Catalogue]) -> Entity:
        """A role made by a migration of the first database, which the second grants a right."""
        one, other = both
        [wanted] = declared(one, "CREATE ROLE pgflow_shared")
        marked = Entity(wanted.id, wanted.facts, comment="shared", mark=Mark("shop"))
        one.run(*ROLE.create(marked, one.world()))
        other.run("CREATE SCHEMA app", "GRANT USAGE ON SCHEMA app TO pgflow_shared")
        return marked

    def test_a_mark_counts_in_its_own_database_only(
        self, both: tuple[Catalogue, Catalogue], role: Entity
    ) -> None:
        """The second database knows the role and its comment, but not as its own."""
        one, other = both
        assert one.named(ROLE, "pgflow_shared").mark == Mark("shop")
        found = other.named(ROLE, "pgflow_shared")
        assert (found.comment, found.mark) == ("shared", None)

    def test_a_comment_changes_only_where_the_role_is_ours(
        self, both: tuple[Catalogue, Catalogue], role: Entity
    ) -> None:
        """The database that made the role changes its comment; another leaves it."""
        one, other = both
        label = ROLE.label(role.id)
        other.run(comments.statement(label, Entity(role.id, comment="theirs", mark=Mark("shop"))))
        assert one.named(ROLE, "pgflow_shared").comment == "shared"
        mark = Mark("shop", frozenset({"pg_monitor", "A b"}))
        one.run(comments.statement(label, Entity(role.id, comment="it's", mark=mark)))
        found = one.named(ROLE, "pgflow_shared")
        assert (found.comment, found.mark) == ("it's", mark)

    def test_a_role_in_use_elsewhere_is_kept_with_a_notice(
        self, both: tuple[Catalogue, Catalogue], role: Entity
    ) -> None:
        """Dropped by its maker, the role stays for the other database, and is nobody's."""
        one, _ = both
        notices = _notices(one)
        one.run(*ROLE.drop(role, one.world()))
        assert notices == [
            "role pgflow_shared is still used and stays: "
            'role "pgflow_shared" cannot be dropped because some objects depend on it'
        ]
        found = one.named(ROLE, "pgflow_shared")
        assert (found.comment, found.mark) == ("shared", None)

    @pytest.mark.parametrize("use", _USES)
    def test_a_role_is_kept_for_whatever_use(
        self, both: tuple[Catalogue, Catalogue], role: Entity, use: str
    ) -> None:
        """Objects, rights, settings and members keep a role; without them it goes."""
        one, other = both
        done, undone = _USES[use]
        other.run("DROP SCHEMA app", *done)
        notices = _notices(one)
        one.run(*ROLE.drop(role, one.world()))
        assert notices == [
            f"role pgflow_shared is still used and stays: {_REASONS.get(use, _HELD)}"
        ]
        assert "pgflow_shared" in one.names(ROLE)
        other.run(undone)
        one.run(*ROLE.drop(role, one.world()))
        assert "pgflow_shared" not in one.names(ROLE)

    def test_a_role_that_is_connected_elsewhere_is_kept(
        self, both: tuple[Catalogue, Catalogue], role: Entity
    ) -> None:
        """Whoever works in another database keeps the role that it does so with."""
        one, other = both
        other.run("DROP SCHEMA app", "ALTER ROLE pgflow_shared LOGIN")
        url = other.connection.engine.url.set(username="pgflow_shared")
        engine = create_engine(url, poolclass=NullPool)
        notices = _notices(one)
        with engine.connect():
            one.run(*ROLE.drop(role, one.world()))
        assert notices == [
            "role pgflow_shared is still used and stays: it is connected to another database"
        ]

    def test_its_maker_s_own_membership_keeps_no_role(
        self, both: tuple[Catalogue, Catalogue]
    ) -> None:
        """A role that may create roles is a member of those it has created, which is no use."""
        one, _ = both
        one.run("CREATE ROLE pgflow_maker CREATEROLE")
        [wanted] = declared(one, "CREATE ROLE pgflow_shared")
        one.run("SET ROLE pgflow_maker")
        one.run(*ROLE.create(wanted, one.world()))
        one.run("RESET ROLE")
        one.run(*ROLE.drop(wanted, one.world()))
        assert "pgflow_shared" not in one.names(ROLE)
        one.run("DROP ROLE pgflow_maker")

    def test_a_role_that_nobody_uses_goes(
        self, both: tuple[Catalogue, Catalogue], role: Entity
    ) -> None:
        """Without a use elsewhere the role is dropped; dropping it twice is no error."""
        one, other = both
        other.run("DROP SCHEMA app")
        one.run(*ROLE.drop(role, one.world()))
        assert "pgflow_shared" not in one.names(ROLE)
        one.run(*ROLE.drop(role, one.world()))


def _connected(url: str) -> Connection:
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    return engine.connect()


def _notices(catalogue: Catalogue) -> list[str]:
    """Return a list to which the server's notices will be added."""
    notices: list[str] = []
    raw = catalogue.connection.connection.dbapi_connection
    assert isinstance(raw, psycopg.Connection)
    raw.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    return notices
