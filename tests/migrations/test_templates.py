"""Alembic's own templates work with pgflow's lines in env.py, and nothing else changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from alembic import command
from sqlalchemy import Column, Index, Integer, MetaData, Table, Text, create_engine, inspect

from tests.migrations.template_project import make_project

ONE_AFTER_THE_OTHER = """\
from alembic import context
from sqlalchemy import NullPool, create_engine
from pgflow.alembic import (
    configure, configure_metadata, process_revision_directives, run_migrations
)

configure(big_table_bytes=0)
for name, metadata in context.config.attributes["metadata"].items():
    configure_metadata(metadata)
    url = context.config.get_section_option(name, "sqlalchemy.url")
    with create_engine(url, poolclass=NullPool).connect() as connection:
        context.configure(
            connection=connection,
            upgrade_token=f"{name}_upgrades",
            downgrade_token=f"{name}_downgrades",
            target_metadata=metadata,
            process_revision_directives=process_revision_directives,
        )
        run_migrations(engine_name=name)
"""


def declared(*columns: str, schema: str = "app") -> MetaData:
    """Declare a table."""
    metadata = MetaData()
    made = [Column(name, Text) for name in columns]
    Table("t", metadata, Column("id", Integer, primary_key=True), *made, schema=schema)
    return metadata


def columns(url: str, schema: str = "app") -> list[str]:
    """Read the table's columns."""
    engine = create_engine(url)
    try:
        return [each["name"] for each in inspect(engine).get_columns("t", schema)]
    finally:
        engine.dispose()


def test_the_generic_template_works(tmp_path: Path, database: str) -> None:
    """Revision, upgrade, another change, check, and all the way back, in an unchanged template."""
    config = make_project(tmp_path, "generic", database)
    config.attributes["metadata"] = declared("a")
    first = command.revision(config, "first", autogenerate=True)
    command.upgrade(config, "head")
    config.attributes["metadata"] = declared("a", "b")
    command.revision(config, "second", autogenerate=True)
    command.upgrade(config, "+1")
    assert columns(database) == ["id", "a", "b"]
    command.check(config)
    command.downgrade(config, "-1")
    assert columns(database) == ["id", "a"]
    command.downgrade(config, "base")
    assert first is not None
    assert "pgflow" not in re.findall(r"(?:import|from) (\w+)", Path(first.path).read_text())  # type: ignore[union-attr]


def test_a_change_without_differences_is_pass(tmp_path: Path, database: str) -> None:
    """An empty migration does nothing in either direction."""
    config = make_project(tmp_path, "generic", database)
    config.attributes["metadata"] = declared()
    command.revision(config, "first", autogenerate=True)
    command.upgrade(config, "head")
    empty = command.revision(config, "empty", autogenerate=True)
    text = Path(empty.path).read_text()  # type: ignore[union-attr]
    assert text.count("    pass\n") == 2
    assert "op.execute" not in text


def test_several_databases_have_their_own_functions(
    tmp_path: Path, make_database: Callable[[], str]
) -> None:
    """In the template for several databases each database gets its own changes."""
    urls = make_database(), make_database()
    config = make_project(tmp_path, "multidb", *urls)
    config.attributes["metadata"] = {"engine1": declared("a"), "engine2": declared("b")}
    first = command.revision(config, "first", autogenerate=True)
    text = Path(first.path).read_text()  # type: ignore[union-attr]
    one, two = text.split("def downgrade_engine1")
    assert (one.count("CREATE TABLE app.t ("), two.count("CREATE TABLE app.t (")) == (1, 1)
    command.upgrade(config, "head")
    assert [columns(url) for url in urls] == [["id", "a"], ["id", "b"]]
    command.check(config)
    command.downgrade(config, "base")


def test_what_runs_in_a_transaction_of_env_py_needs_no_other(
    tmp_path: Path, make_database: Callable[[], str]
) -> None:
    """That template begins the transaction itself, so that not even a big table is made online."""
    urls = make_database(), make_database()
    config = make_project(tmp_path, "multidb", *urls)
    config.attributes["metadata"] = {"engine1": declared("a"), "engine2": declared("b")}
    command.revision(config, "first", autogenerate=True)
    command.upgrade(config, "head")
    env = tmp_path / "scripts" / "env.py"
    env.write_text(env.read_text().replace("configure(config)", "configure(big_table_bytes=0)"))
    changed = {"engine1": declared("a", "c"), "engine2": declared("b", "d")}
    Index("t_a_idx", changed["engine1"].tables["app.t"].c.a)
    config.attributes["metadata"] = changed
    written = command.revision(config, "second", autogenerate=True)
    assert "CONCURRENTLY" not in Path(written.path).read_text()  # type: ignore[union-attr]
    command.upgrade(config, "head")
    command.check(config)


def test_revisions_of_several_databases_are_split_together(
    tmp_path: Path, make_database: Callable[[], str]
) -> None:
    """What one database needs outside a transaction follows in a file that the other skips."""
    urls = make_database(), make_database()
    config = make_project(tmp_path, "multidb", *urls)
    env = tmp_path / "scripts" / "env.py"
    env.write_text(ONE_AFTER_THE_OTHER)
    config.attributes["metadata"] = {"engine1": declared("a"), "engine2": declared("b")}
    command.revision(config, "first", autogenerate=True)
    command.upgrade(config, "head")
    changed = {"engine1": declared("a", "c"), "engine2": declared("b", "d")}
    Index("t_a_idx", changed["engine1"].tables["app.t"].c.a)
    config.attributes["metadata"] = changed
    written = command.revision(config, "second", autogenerate=True)
    assert isinstance(written, list)
    assert len(written) == 2
    command.upgrade(config, "head")
    command.check(config)
    assert [columns(url) for url in urls] == [["id", "a", "c"], ["id", "b", "d"]]
