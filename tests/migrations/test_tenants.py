"""SQL of one schema respelled for another, and autogenerate beside tenants."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Engine, Integer, MetaData, Table, Text

from pgflow.alembic import declare_sql
from pgflow.alembic.literals import dollar, literal
from pgflow.alembic.respelling import Respelling
from pgflow.alembic.tenants import Tenancy, move
from pgflow.errors import AmbiguousSchema, MissingValue

ACME = Respelling("tenant", "Ac me")


@pytest.mark.parametrize(
    "sql, expected",
    [
        ("SELECT tenant.id FROM public.tenant", "SELECT tenant.id FROM public.tenant"),
        ("SELECT tenant.* FROM tenant.t AS tenant", 'SELECT tenant.* FROM "Ac me".t AS tenant'),
        ('SELECT TENANT.t.a FROM "tenant".t', 'SELECT "Ac me".t.a FROM "Ac me".t'),
        ('SELECT 1 FROM "Tenant".t', 'SELECT 1 FROM "Tenant".t'),
        ("UPDATE tenant.t SET tenant.x = 1", 'UPDATE "Ac me".t SET tenant.x = 1'),
        ("SELECT 'tenant.t', tenant.f(1)", "SELECT 'tenant.t', \"Ac me\".f(1)"),
        ("SELECT nextval('tenant.s')", "SELECT nextval('\"Ac me\".s')"),
        ("SELECT 'tenant.t'::text::regclass", "SELECT '\"Ac me\".t'::text::regclass"),
        ("SELECT CAST('tenant.t' AS regclass)", "SELECT CAST('\"Ac me\".t' AS regclass)"),
        ("CREATE TABLE tenant.t (a tenant.m[])", 'CREATE TABLE "Ac me".t (a "Ac me".m[])'),
        ("/* tenant.t */ DROP TABLE tenant.t", '/* tenant.t */ DROP TABLE "Ac me".t'),
        ("SET search_path = x, tenant", 'SET search_path = x, "Ac me"'),
        (
            "SELECT set_config('search_path', 'tenant, x', true)",
            "SELECT set_config('search_path', '\"Ac me\", x', true)",
        ),
        ("GRANT USAGE ON SCHEMA tenant TO tenant", 'GRANT USAGE ON SCHEMA "Ac me" TO tenant'),
        ("COMMENT ON TABLE tenant.t IS 'tenant.t'", "COMMENT ON TABLE \"Ac me\".t IS 'tenant.t'"),
        ("INSERT INTO tenant.t VALUES (%(a)s)", 'INSERT INTO "Ac me".t VALUES (%(a)s)'),
        (
            "CREATE FUNCTION tenant.f() RETURNS int LANGUAGE sql SET search_path TO 'tenant'"
            " AS $$SELECT tenant.a FROM tenant.t tenant$$",
            "CREATE FUNCTION \"Ac me\".f() RETURNS int LANGUAGE sql SET search_path TO 'Ac me'"
            ' AS $$SELECT tenant.a FROM "Ac me".t tenant$$',
        ),
        (
            "CREATE FUNCTION tenant.f() RETURNS int LANGUAGE sql BEGIN ATOMIC"
            " SELECT tenant.a FROM tenant.t tenant; END",
            'CREATE FUNCTION "Ac me".f() RETURNS int LANGUAGE sql BEGIN ATOMIC'
            ' SELECT tenant.a FROM "Ac me".t tenant; END',
        ),
        (
            "CREATE FUNCTION tenant.f() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN INSERT INTO tenant.log VALUES (''it''); RETURN new; END'",
            'CREATE FUNCTION "Ac me".f() RETURNS trigger LANGUAGE plpgsql AS'
            " 'BEGIN INSERT INTO \"Ac me\".log VALUES (''it''); RETURN new; END'",
        ),
        ("DO $$BEGIN PERFORM tenant.f(); END$$", 'DO $$BEGIN PERFORM "Ac me".f(); END$$'),
    ],
)
def test_only_the_schema_is_replaced(sql: str, expected: str) -> None:
    """Schemas in names, in texts that name objects and in bodies; never aliases or other texts."""
    assert ACME.text(sql) == expected


@pytest.mark.parametrize(
    "sql, concerned",
    [
        ("CREATE TABLE tenant.t (a int REFERENCES shared.b)", True),
        ("CREATE TABLE shared.t (a int REFERENCES tenant.b)", False),
        ("CREATE VIEW shared.v AS SELECT 1 FROM tenant.t", False),
        ("CREATE INDEX i ON tenant.t (shared.f(a))", True),
        ("CREATE TRIGGER t AFTER INSERT ON tenant.t EXECUTE FUNCTION shared.f()", True),
        ("INSERT INTO shared.t SELECT * FROM tenant.t", False),
        ("WITH x AS (SELECT 1 FROM shared.t) INSERT INTO tenant.t SELECT * FROM x", True),
        ("CREATE SCHEMA tenant", False),
        ("DROP SCHEMA tenant", False),
        ("GRANT SELECT ON ALL TABLES IN SCHEMA tenant TO r", True),
        ("CREATE EXTENSION citext SCHEMA tenant", False),
        ("CREATE ROLE r", False),
        ("DO $$BEGIN CREATE ROLE r; END$$", False),
        ("DO $$BEGIN PERFORM tenant.f(); END$$", True),
        ("SET LOCAL lock_timeout = '5s'", True),
        ("SELECT 1", True),
        ("CREATE TABLE t (a int)", False),
        ('CREATE TABLE "Ac me".t (a int)', True),
    ],
)
def test_what_is_shared_is_not_repeated(sql: str, concerned: bool) -> None:
    """A statement runs for a tenant if it makes or changes something in the tenant's schema."""
    assert ACME.concerns(sql) is concerned


def test_mixed_statements_are_refused() -> None:
    """A text of which one half is shared cannot be run for a tenant."""
    with pytest.raises(AmbiguousSchema, match="Give each statement an op.execute"):
        ACME.concerns("DROP TABLE tenant.t; DROP TABLE shared.t")


@pytest.mark.parametrize(
    "body, message",
    [
        ("DECLARE tenant record; BEGIN SELECT * INTO tenant FROM tenant.t; END", "another name"),
        ("BEGIN EXECUTE 'DROP TABLE tenant.t'; END", "TG_TABLE_SCHEMA"),
    ],
)
def test_bodies_that_cannot_be_read_for_sure_are_refused(body: str, message: str) -> None:
    """A wrong guess would send one tenant's rows to another, so there are no guesses."""
    sql = f"CREATE FUNCTION tenant.f() RETURNS int LANGUAGE plpgsql AS $${body}$$"
    with pytest.raises(AmbiguousSchema, match=message):
        ACME.text(sql)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_other_text_survives_to_the_byte(content: str) -> None:
    """Whatever a comment or a row holds, only the schema beside it is replaced."""
    for quoted in (literal(content), dollar(content)):
        sql = f"INSERT INTO tenant.t VALUES ({quoted})"
        assert ACME.text(sql) == f'INSERT INTO "Ac me".t VALUES ({quoted})'


def test_marks_name_the_tenant_s_own_history() -> None:
    """Another history's objects are never dropped, and the template's must not be confused."""
    by = Tenancy("tenant").respelling("acme")
    assert by.text("COMMENT ON TABLE tenant.t IS 'mine [pgflow grants=r]'") == (
        "COMMENT ON TABLE acme.t IS 'mine [pgflow:\"acme.alembic_version\" grants=r]'"
    )
    assert by.text("COMMENT ON TABLE tenant.t IS 'mine'") == "COMMENT ON TABLE acme.t IS 'mine'"


ENV = """
from alembic import context
from pgflow.alembic import configure, configure_metadata, process_revision_directives

attributes = context.config.attributes
configure()
configure_metadata(attributes["metadata"])
with attributes["engine"].connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=attributes["metadata"],
        process_revision_directives=process_revision_directives,
    )
    with context.begin_transaction():
        context.run_migrations()
"""


def declared() -> MetaData:
    """Tables, a view, a function and a trigger in the template's schema."""
    metadata = MetaData()
    Table("t", metadata, Column("a", Integer, primary_key=True), Column("b", Text), schema="tenant")
    declare_sql(
        metadata,
        """
        CREATE VIEW tenant.v AS SELECT a FROM tenant.t;
        CREATE FUNCTION tenant.touch() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM count(*) FROM tenant.v;
            RETURN new;
        END $$;
        CREATE TRIGGER touch BEFORE UPDATE ON tenant.t
            FOR EACH ROW EXECUTE FUNCTION tenant.touch()
        """,
    )
    return metadata


@pytest.fixture
def config(home: Path, engine: Engine) -> Callable[[MetaData], Config]:
    """Alembic's settings for a metadata, in an empty project."""
    (home / "versions").mkdir()
    (home / "env.py").write_text(ENV)
    template = Path(__file__).parents[2] / "pgflow/cli/project_files/migrations"
    text = (template / "script.py.mako.template").read_text()
    (home / "script.py.mako").write_text(text)

    def make(metadata: MetaData) -> Config:
        made = Config(stdout=io.StringIO())
        made.set_main_option("script_location", str(home).replace("%", "%%"))
        made.attributes.update(metadata=metadata, engine=engine)
        return made

    return make


def test_autogenerate_stays_empty_beside_tenants(
    config: Callable[[MetaData], Config], engine: Engine
) -> None:
    """The template is compared, tenants are never mentioned, and the next change reaches them."""
    settings = config(declared())
    command.revision(settings, "one", autogenerate=True)
    command.upgrade(settings, "head")
    to_acme(settings, engine)
    command.check(settings)
    newer = declared()
    newer.tables["tenant.t"].append_column(Column("c", Text))
    settings = config(newer)
    command.revision(settings, "two", autogenerate=True)
    command.upgrade(settings, "head")
    to_acme(settings, engine)
    command.check(settings)
    with engine.begin() as conn:
        conn.exec_driver_sql("INSERT INTO acme.t VALUES (1, 'b', 'c')")
        conn.exec_driver_sql("UPDATE acme.t SET c = 'd'")
        defined = conn.exec_driver_sql(
            "SELECT pg_get_viewdef('acme.v'::regclass), pg_get_functiondef('acme.touch'::regproc)"
        ).one()
    assert not any("tenant" in text for text in defined)
    to_acme(settings, engine, "base")
    with engine.connect() as conn:
        left = conn.exec_driver_sql(
            "SELECT relname FROM pg_class WHERE relnamespace = 'acme'::regnamespace"
            " AND relkind IN ('r', 'v')"
        ).all()
    assert left == [("alembic_version",)]


def test_a_template_counts_as_filled(config: Callable[[MetaData], Config], engine: Engine) -> None:
    """What tenants' rows would refuse is refused already, although the template has no rows."""
    settings = config(declared())
    command.revision(settings, "one", autogenerate=True)
    command.upgrade(settings, "head")
    newer = declared()
    newer.tables["tenant.t"].append_column(Column("c", Text, nullable=False))
    settings = config(newer)
    (Path(settings.get_main_option("script_location") or "") / "pgflow.toml").write_text(
        '[migrations.tenants]\nschema = "tenant"\nnames = ["acme"]\n'
    )
    with pytest.raises(MissingValue, match=r"tenant\.t\.c is new and NOT NULL"):
        command.revision(settings, "two", autogenerate=True)
    newer.tables["tenant.t"].c.c.info["backfill"] = "b"
    command.revision(settings, "two", autogenerate=True)


def to_acme(settings: Config, engine: Engine, revision: str = "head") -> None:
    """Migrate one tenant."""
    script = ScriptDirectory.from_config(settings)
    by = Tenancy("tenant").respelling("acme")
    with engine.connect() as connection:
        move(connection, settings, script, by, revision, down=revision == "base")
