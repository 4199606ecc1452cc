"""An async env.py works as any other."""

from __future__ import annotations

from pathlib import Path

from alembic import command

from tests.migrations.template_project import make_project
from tests.migrations.test_templates import columns, declared


def test_the_async_template_works(tmp_path: Path, database: str) -> None:
    """psycopg's async driver runs the comparison and the migrations through run_sync."""
    config = make_project(tmp_path, "async", database)
    config.attributes["metadata"] = declared("a")
    command.revision(config, "first", autogenerate=True)
    command.upgrade(config, "head")
    command.check(config)
    config.attributes["metadata"] = declared("a", "b")
    command.revision(config, "second", autogenerate=True)
    command.upgrade(config, "head")
    assert columns(database) == ["id", "a", "b"]
    command.downgrade(config, "base")


def test_run_migrations_is_patient_in_an_async_env(tmp_path: Path, database: str) -> None:
    """The retrying runner takes the synchronous face of an async connection."""
    config = make_project(tmp_path, "async", database)
    env = tmp_path / "scripts" / "env.py"
    text = env.read_text()
    patient = text.replace(
        "    with context.begin_transaction():\n        context.run_migrations()",
        "    from pgflow.alembic import run_migrations\n    run_migrations()",
    )
    assert patient != text
    env.write_text(patient)
    config.attributes["metadata"] = declared("a")
    command.revision(config, "first", autogenerate=True)
    command.upgrade(config, "head")
    assert columns(database) == ["id", "a"]
    command.check(config)
