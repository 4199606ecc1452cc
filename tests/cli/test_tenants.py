"""`pgflow tenants`: the migrations of one schema, run for each tenant's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

if TYPE_CHECKING:
    from conftest import Invoke

ENV = """
from alembic import context
import pgflow

with pgflow.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""

MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = {name!r}
down_revision = {after!r}
branch_labels = None
depends_on = None


def upgrade():
{upgrade}


def downgrade():
{downgrade}
"""

FIRST = r'''
    op.execute("CREATE SCHEMA tenant")
    op.execute("CREATE SCHEMA shared")
    op.execute("CREATE TABLE shared.country (code text PRIMARY KEY)")
    op.execute("INSERT INTO shared.country VALUES ('PT')")
    op.execute(r"CREATE TYPE tenant.mood AS ENUM ('50%', '\:sad')")
    op.create_table(
        "customer",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("country", sa.Text, sa.ForeignKey("shared.country.code")),
        schema="tenant",
    )
    op.execute("ALTER TABLE tenant.customer ADD COLUMN mood tenant.mood DEFAULT '50%'")
    op.execute("""
        CREATE FUNCTION tenant.count_customers() RETURNS bigint LANGUAGE plpgsql AS $$
        BEGIN RETURN (SELECT count(*) FROM tenant.customer WHERE mood::text LIKE '50%'); END $$
    """)
    op.execute("CREATE VIEW tenant.total AS SELECT tenant.count_customers() AS n")
    op.execute("COMMENT ON SCHEMA tenant IS 'of tenant.x'")
    op.bulk_insert(sa.table("customer", sa.column("country"), schema="tenant"), [{"country": "PT"}])
'''
DROP_FIRST = """
    op.execute("DROP VIEW tenant.total")
    op.execute("DROP FUNCTION tenant.count_customers()")
    op.drop_table("customer", schema="tenant")
    op.execute("DROP TYPE tenant.mood")
    op.execute("DROP TABLE shared.country")
    op.execute("DROP SCHEMA shared")
    op.execute("DROP SCHEMA tenant")
"""
SECOND = """
    op.execute("CREATE UNIQUE INDEX one ON tenant.customer (country)")
"""
DROP_SECOND = """
    op.execute("DROP INDEX tenant.one")
"""


@pytest.fixture
def project(home: Path, database: str) -> Path:
    """A project with two revisions and two tenants, whose database is at the first revision."""
    (home / "pgflow.toml").write_text(
        f'[connections.default]\ndsn = "{database}"\n'
        '[migrations.tenants]\nschema = "tenant"\nnames = ["acme", "Glo\\"bex %"]\n'
    )
    (home / "alembic.ini").write_text(
        "[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n"
    )
    versions = home / "migrations" / "versions"
    versions.mkdir(parents=True)
    (home / "migrations" / "env.py").write_text(ENV)
    write(home, "one", None, FIRST, DROP_FIRST)
    command.upgrade(Config(home / "alembic.ini"), "head")
    return home


def write(project: Path, name: str, after: str | None, upgrade: str, downgrade: str) -> None:
    """Write a migration file."""
    text = MIGRATION.format(name=name, after=after, upgrade=upgrade, downgrade=downgrade)
    (project / "migrations" / "versions" / f"{name}.py").write_text(text)


def ask(engine: Engine, query: str) -> list[tuple[object, ...]]:
    """Run a query and return its rows."""
    with engine.connect() as conn:
        rows = conn.exec_driver_sql(query, execution_options={"no_parameters": True})
        return [tuple(row) for row in rows]


def test_every_tenant_gets_what_the_template_has(
    project: Path, invoke: Invoke, engine: Engine
) -> None:
    """Types, tables, functions and rows of the migrations are in each tenant's own schema."""
    ran = invoke("tenants", "upgrade")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("[1/2] acme: base -> one (")
    assert '[2/2] Glo"bex %: base -> one (' in ran.out
    for schema in ("acme", '"Glo""bex %"'):
        assert ask(engine, f"SELECT n FROM {schema}.total") == [(1,)]
        assert ask(engine, f"SELECT version_num FROM {schema}.alembic_version") == [("one",)]
    assert ask(engine, "SELECT count(*) FROM shared.country") == [(1,)]
    assert ask(engine, "SELECT obj_description('acme'::regnamespace)") == [("of tenant.x",)]
    assert ask(
        engine,
        "SELECT DISTINCT udt_schema FROM information_schema.columns"
        " WHERE table_schema = 'acme' AND column_name = 'mood'",
    ) == [("acme",)]


def test_a_tenant_s_functions_read_the_tenant_s_tables(
    project: Path, invoke: Invoke, engine: Engine
) -> None:
    """A body is respelled too, so that no tenant sees another one's rows."""
    invoke("tenants", "upgrade")
    with engine.begin() as conn:
        conn.exec_driver_sql("INSERT INTO acme.customer (country) VALUES ('PT')")
    assert ask(engine, "SELECT acme.count_customers(), tenant.count_customers()") == [(2, 1)]


def test_a_failing_tenant_stops_no_other(project: Path, invoke: Invoke, engine: Engine) -> None:
    """What fails is rolled back and named at the end, with exit code 1; the others go on."""
    invoke("tenants", "upgrade")
    with engine.begin() as conn:
        conn.exec_driver_sql("INSERT INTO acme.customer (country) VALUES ('PT')")
    write(project, "two", "one", SECOND, DROP_SECOND)
    ran = invoke("tenants", "upgrade")
    assert ran.code == 1
    assert "[1/2] acme: failed (" in ran.out
    assert '[2/2] Glo"bex %: one -> two (' in ran.out
    assert "pgflow: acme: could not create unique index" in ran.err
    assert "\n  in revision two: CREATE UNIQUE INDEX one ON acme.customer (country)\n" in ran.err
    assert "1 of 2 tenants are done. Not done: acme." in ran.err
    assert "run alembic upgrade head first" in ran.err
    assert ask(engine, "SELECT version_num FROM acme.alembic_version") == [("one",)]
    with engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM acme.customer WHERE id > 1")
    assert invoke("tenants", "upgrade").code == 0
    assert ask(engine, "SELECT version_num FROM acme.alembic_version") == [("two",)]


def test_status_tells_who_is_behind(project: Path, invoke: Invoke) -> None:
    """Each tenant with its revision and how many are to come."""
    assert invoke("tenants", "status").rows[1:] == [
        ["acme", "no", "schema", "1"],
        ['Glo"bex', "%", "no", "schema", "1"],
    ]
    invoke("tenants", "upgrade", "--only", "acme")
    write(project, "two", "one", SECOND, DROP_SECOND)
    assert invoke("tenants", "status", "--format", "json").json == [
        {"tenant": "acme", "exists": True, "revisions": ["one"], "pending": 1},
        {"tenant": 'Glo"bex %', "exists": False, "revisions": [], "pending": 2},
    ]


def test_tenants_go_back_without_taking_what_is_shared(
    project: Path, invoke: Invoke, engine: Engine
) -> None:
    """A downgrade empties the tenants' schemas; shared tables and the template stay."""
    invoke("tenants", "upgrade")
    ran = invoke("tenants", "downgrade", "base")
    assert ran.code == 0, ran.err
    assert "acme: one -> base" in ran.out
    left = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'v')"
    assert ask(engine, left + " AND relnamespace = 'acme'::regnamespace") == [("alembic_version",)]
    assert ask(engine, "SELECT n FROM tenant.total") == [(1,)]
    assert invoke("tenants", "upgrade").code == 0


def test_a_query_may_name_the_tenants(project: Path, invoke: Invoke, engine: Engine) -> None:
    """The table of customers is the list, wherever it is; the template is no tenant."""
    settings = project / "pgflow.toml"
    listed = settings.read_text().partition("names")[0]
    settings.write_text(
        listed + "query = \"SELECT * FROM (VALUES ('tenant'), ('a'), ('b%')) AS t(x)\"\n"
    )
    assert invoke("tenants", "upgrade").code == 0
    assert ask(engine, 'SELECT a.n, b.n FROM a.total a, "b%".total b') == [(1, 1)]


def test_adding_a_tenant_makes_its_schema(project: Path, invoke: Invoke, engine: Engine) -> None:
    """One command makes a new tenant, and says that the settings do not know it yet."""
    ran = invoke("tenants", "add", "initech")
    assert ran.code == 0
    assert ran.out.startswith("[1/1] initech: base -> one")
    assert (
        "initech is not among the tenants yet: add it to names in [migrations.tenants]" in ran.err
    )
    assert ask(engine, "SELECT n FROM initech.total") == [(1,)]


@pytest.mark.parametrize(
    "words, code, message",
    [
        (("upgrade", "--only", "nobody"), 2, "there is no tenant 'nobody'. There are: acme"),
        (("add", "tenant"), 2, "'tenant' is the schema that the migrations are written for"),
        (("status", "--config", "nowhere.ini"), 2, "there is no nowhere.ini"),
    ],
)
def test_wrong_names_are_refused(
    project: Path, invoke: Invoke, words: tuple[str, ...], code: int, message: str
) -> None:
    """Nothing happens for a name that does not exist."""
    ran = invoke("tenants", *words)
    assert ran.code == code
    assert message in " ".join(ran.err.replace("│", " ").split())


@pytest.mark.parametrize(
    "section, message",
    [
        ("", "there is no [migrations.tenants]"),
        ("[migrations.tenants]\n", "has no text 'schema'"),
        ('[migrations.tenants]\nschema = "t"\n', "needs either 'names' or 'query'"),
        ('[migrations.tenants]\nschema = "t"\nname = ["a"]\n', "has the unknown key 'name'"),
        ('[migrations.tenants]\nschema = "t"\nnames = "a"\n', "is no list of names"),
        ('[migrations.tenants]\nschema = "t"\nquery = 1\n', "is no text"),
    ],
)
def test_settings_that_say_nothing_are_explained(
    project: Path, invoke: Invoke, section: str, message: str
) -> None:
    """The message names the file and shows how it is written."""
    settings = project / "pgflow.toml"
    settings.write_text(settings.read_text().partition("[migrations")[0] + section)
    ran = invoke("tenants", "status")
    assert ran.code == 3
    assert message in ran.err
    assert 'Write [migrations.tenants] and below it schema = "tenant"' in ran.err
