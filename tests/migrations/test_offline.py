"""Migrations as a script of SQL: what runs offline is what runs online."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    text,
)

from pgflow.alembic import declare_sql
from tests.migrations.alembic_project import AlembicProject
from tests.migrations.revision_files import use_env

BODY = '\nBEGIN\n\t-- 50% of :all """ \\ \'x\'   \n  RETURN NEW; /* %(x)s \\: ::int */\nEND\n'


def first() -> MetaData:
    metadata = MetaData()
    Table("t", metadata, Column("id", Integer, primary_key=True), schema="app")
    return metadata


def second() -> MetaData:
    metadata = MetaData()
    Table(
        "t",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("a", Text, server_default="100% :x"),
        schema="app",
    )
    declare_sql(
        metadata, f"CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS $body${BODY}$body$"
    )
    declare_sql(metadata, "CREATE VIEW app.v AS SELECT id FROM app.t WHERE a LIKE '%:x%'")
    return metadata


@pytest.fixture
def project(tmp_path: Path, engine: Engine) -> AlembicProject:
    """Two migrations of which the second has what scripts usually break."""
    found = AlembicProject(tmp_path / "migrations", engine)
    use_env(found)
    found.revision(first(), "first")
    found.upgrade()
    found.revision(second(), "second")
    return found


def script(project: AlembicProject, run: Callable[..., object], revisions: str) -> str:
    """Write a script."""
    written = io.StringIO()
    project.config.output_buffer = written
    run(project.config, revisions, sql=True)
    return written.getvalue()


def play(conn: Connection, sql: str) -> None:
    """Run a script as it is, outside of any transaction but its own."""
    conn.execution_options(isolation_level="AUTOCOMMIT")
    conn.exec_driver_sql(sql, execution_options={"no_parameters": True})


def stored(conn: Connection) -> tuple[object, ...]:
    """Read what must have survived."""
    row = conn.execute(
        text(
            "SELECT (SELECT prosrc FROM pg_proc WHERE proname = 'f'), pg_get_viewdef('app.v'), "
            "(SELECT column_default FROM information_schema.columns WHERE column_name = 'a')"
        )
    ).one()
    return tuple(row)


def test_a_script_does_what_the_upgrade_does(
    project: AlembicProject, engine: Engine, make_database: Callable[[], str]
) -> None:
    """Percents, colons, tabs and backslashes arrive the same; then nothing is left to be done."""
    project.upgrade()
    other = create_engine(make_database())
    with other.connect() as conn:
        play(conn, script(project, command.upgrade, "head"))
    with engine.connect() as live, other.connect() as conn:
        assert stored(conn) == stored(live)
        assert stored(conn)[0] == BODY
    project.config.attributes["engine"] = other
    project.config.output_buffer = io.StringIO()
    assert project.discards(second()) == ""
    other.dispose()


def test_a_script_goes_back(project: AlembicProject, engine: Engine) -> None:
    """`alembic downgrade --sql` leads from one revision to the other."""
    project.upgrade()
    with engine.connect() as conn:
        play(conn, script(project, command.downgrade, "head:base"))
        assert conn.scalar(text("SELECT to_regclass('app.t')")) is None


def test_a_script_limits_its_waits(project: AlembicProject) -> None:
    """Each transaction of a script gives up on locks as the migrations themselves do."""
    sql = script(project, command.upgrade, "head")
    assert sql.startswith("BEGIN;\n\nSET LOCAL lock_timeout = '5s';")


def test_a_script_commits_around_what_needs_it(
    tmp_path: Path, engine: Engine, make_database: Callable[[], str]
) -> None:
    """Statements outside a transaction stand between COMMIT and the next BEGIN."""
    project = AlembicProject(tmp_path / "enums", engine, big_table_bytes=0)
    use_env(project)

    def moods(*values: str) -> MetaData:
        metadata = MetaData()
        listed = ", ".join(f"'{value}'" for value in values)
        declare_sql(metadata, f"CREATE TYPE public.mood AS ENUM ({listed})")
        return metadata

    project.revision(moods("a"))
    project.upgrade()
    project.revision(moods("a", "b"))
    sql = script(project, command.upgrade, "head")
    before, after = sql.split("ALTER TYPE public.mood ADD VALUE")
    assert before.count("BEGIN;") == before.count("COMMIT;")
    assert after.count("BEGIN;") == after.count("COMMIT;") == 1
    other = create_engine(make_database())
    with other.connect() as conn:
        play(conn, sql)
        assert conn.scalar(text("SELECT 'b'::mood::text")) == "b"
    other.dispose()


def test_a_script_has_no_margin(project: AlembicProject) -> None:
    """Statements begin in the first column, however far they are indented in their file."""
    written = script(project, command.upgrade, "head")
    # Older servers print the table's name with each column.
    plain = written.replace("t.id\n", "id\n").replace("WHERE t.a", "WHERE a")
    view = "CREATE VIEW app.v AS\n    SELECT id\n    FROM app.t\n    WHERE a ~~ '%:x%'::text;"
    assert f"\n{view}\n" in plain
    assert BODY in written
