"""`pgflow eject`: a last migration that leaves plain tables."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect

from pgflow.project import Project

if TYPE_CHECKING:
    from conftest import Invoke, Place

ENV = """
from alembic import context
import pgflow
from pgflow.alembic import configure, configure_metadata, process_revision_directives
from pgflow.project import Project

configure()
target = list(Project.load().metadatas)
configure_metadata(target)
with pgflow.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=target,
        process_revision_directives=process_revision_directives,
    )
    with context.begin_transaction():
        context.run_migrations()
"""
MAKO = '''"""${message}"""
import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade():
    ${upgrades if upgrades else "pass"}


def downgrade():
    ${downgrades if downgrades else "pass"}
'''
COMMENTED = """
raw.table.comment = "What came in; see [1]"
"""


@pytest.fixture
def project(place: Place) -> Place:
    """A project with Alembic's files whose database is as declared, with rows and a history."""
    (place.directory / "migrations/versions").mkdir(parents=True)
    (place.directory / "migrations/env.py").write_text(ENV)
    (place.directory / "migrations/script.py.mako").write_text(MAKO)
    (place.directory / "alembic.ini").write_text(
        "[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n"
    )
    place.write(COMMENTED)
    command.revision(alembic(place), "all", autogenerate=True)
    command.upgrade(alembic(place), "head")
    place.execute("INSERT INTO warehouse.raw VALUES (1, 'x')")
    return place


def alembic(place: Place) -> Config:
    """Alembic's settings, its output thrown away."""
    import io

    return Config(place.directory / "alembic.ini", stdout=io.StringIO())


def newest(place: Place) -> Path:
    """The migration that eject has written."""
    (found,) = (place.directory / "migrations/versions").glob("*_eject_pgflow.py")
    return found


def columns(engine: Engine, table: str) -> set[str]:
    """The names of a table's columns."""
    return {column["name"] for column in inspect(engine).get_columns(table, "warehouse")}


def test_what_is_left_are_plain_tables(project: Place, invoke: Invoke, engine: Engine) -> None:
    """No marks, no tables of pgflow's; rows, columns and the user's own comments stay."""
    ran = invoke("eject", "--yes")
    assert ran.code == 0, ran.err
    written = newest(project)
    assert f"wrote {written}" in ran.out
    assert "pgflow" not in "".join(
        line for line in written.read_text().splitlines() if "import" in line
    )
    command.upgrade(alembic(project), "head")
    assert "pgflow" not in inspect(engine).get_schema_names()
    assert project.execute("SELECT description FROM pg_description WHERE objoid >= 16384") == [
        ("What came in; see [1]",)
    ]
    assert project.execute("SELECT id, v FROM warehouse.raw") == [(1, "x")]
    assert {"valid_from", "valid_to", "is_current", "_loaded_at"} <= columns(engine, "report")
    assert plain_differences(engine) == []


def plain_differences(engine: Engine) -> list[object]:
    """What Alembic itself, without pgflow, would change: nothing but its own version table."""
    (metadata,) = Project.load().metadatas
    for table in [t for t in metadata.tables.values() if t.schema == "pgflow"]:
        metadata.remove(table)
    options = {"include_schemas": True, "autogenerate_plugins": ["alembic.autogenerate.tables"]}
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        return [each for each in compare_metadata(context, metadata) if "pgflow" not in str(each)]


def test_the_downgrade_brings_pgflow_back(project: Place, invoke: Invoke) -> None:
    """After it the database is as declared again, marks and all, and pipelines run."""
    invoke("eject", "--yes")
    command.upgrade(alembic(project), "head")
    assert invoke("drift").code == 1
    command.downgrade(alembic(project), "-1")
    ran = invoke("drift")
    assert ran.code == 0, ran.out
    assert project.execute("SELECT obj_description('warehouse.raw'::regclass)") == [
        ("What came in; see [1] [pgflow]",)
    ]
    assert invoke("sync", "report").code == 0


def test_system_columns_go_when_asked_for(project: Place, invoke: Invoke, engine: Engine) -> None:
    """What tells of runs goes, what tells of validity stays; the downgrade makes them again."""
    assert invoke("eject", "--yes", "--drop-system-columns").code == 0
    command.upgrade(alembic(project), "head")
    assert columns(engine, "raw") == {"id", "v"}
    assert columns(engine, "report") == {"id", "v", "valid_from", "valid_to", "is_current"}
    assert project.execute("SELECT id, v FROM warehouse.raw") == [(1, "x")]
    command.downgrade(alembic(project), "-1")
    assert invoke("drift").code == 0


TABLES = """
from sqlalchemy import BigInteger, Boolean, Column, Computed, DateTime, Index, MetaData, Table, Text
from sqlalchemy import text

metadata = MetaData()
Table("raw", metadata, Column("id", BigInteger, primary_key=True), Column("v", Text),
      schema="warehouse", comment="What came in; see [1]")
Table("report", metadata, Column("id", BigInteger, primary_key=True), Column("v", Text),
      Column("valid_from", DateTime(True), primary_key=True), Column("valid_to", DateTime(True)),
      Column("is_current", Boolean, Computed("valid_to IS NULL"), nullable=False),
      Index("report_id_current_idx", "id", unique=True, postgresql_where=text("valid_to IS NULL")),
      schema="warehouse")
"""


def test_the_page_s_env_py_is_content_afterwards(project: Place, invoke: Invoke) -> None:
    """With plain tables Alembic itself finds nothing to do, and leaves other people's alone."""
    ran = invoke("eject", "--yes", "--drop-system-columns")
    assert "include_schemas=True and an include_name" in ran.out
    command.upgrade(alembic(project), "head")
    project.execute("CREATE TABLE warehouse.theirs (a int); CREATE SCHEMA others")
    project.execute("CREATE TABLE others.raw (a int); CREATE TABLE theirs (a int)")
    page = (Path(__file__).parents[2] / "docs/how-to/eject.md").read_text()
    (env,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (url,) = re.findall(r'^URL = "(.*)"$', env, re.MULTILINE)
    (project.directory / "migrations/env.py").write_text(env.replace(url, project.database))
    (project.directory / "tables.py").write_text(TABLES)
    script = [sys.executable, "-c", "from alembic.config import main; main()", "check"]
    done = subprocess.run(
        script,
        env={**os.environ, "PYTHONPATH": str(project.directory)},
        cwd=project.directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No new upgrade operations" in done.stdout


def test_what_needs_a_system_column_stops_it(project: Place, invoke: Invoke) -> None:
    """A view that somebody made is never dropped: it is named."""
    project.execute("CREATE VIEW warehouse.theirs AS SELECT _loaded_at FROM warehouse.raw")
    ran = invoke("eject", "--yes", "--drop-system-columns")
    assert ran.code == 1
    assert "warehouse.theirs" in ran.err
    assert "_loaded_at" in ran.err
    assert list((project.directory / "migrations/versions").glob("*eject*")) == []


def test_it_asks_first(project: Place, invoke: Invoke) -> None:
    """Without a terminal and --yes nothing is written, and what would be lost is said."""
    ran = invoke("eject")
    assert ran.code == 1
    assert "the history of runs and the watermarks are lost" in ran.err
    assert list((project.directory / "migrations/versions").glob("*eject*")) == []


def test_a_database_that_differs_is_migrated_first(project: Place, invoke: Invoke) -> None:
    """The last migration takes away pgflow and changes nothing else."""
    project.execute("ALTER TABLE warehouse.raw ADD COLUMN extra int")
    ran = invoke("eject", "--yes")
    assert ran.code == 1
    assert "not declared: column warehouse.raw.extra" in ran.err


def test_a_database_behind_its_files_is_upgraded_first(project: Place, invoke: Invoke) -> None:
    """A revision that is not applied yet would be lost between."""
    command.revision(alembic(project), "later")
    ran = invoke("eject", "--yes")
    assert ran.code == 1
    assert "Run alembic upgrade head first" in ran.err


def test_other_objects_in_pgflow_s_schema_keep_it(project: Place, invoke: Invoke) -> None:
    """The schema stays, with what somebody else put there; only pgflow's tables go."""
    project.execute("CREATE TABLE pgflow.theirs (a int)")
    assert invoke("eject", "--yes").code == 0
    command.upgrade(alembic(project), "head")
    assert project.execute("SELECT count(*) FROM pgflow.theirs") == [(0,)]
    assert project.execute("SELECT to_regclass('pgflow.runs')") == [(None,)]
