"""The history of runs as a SQLAlchemy model."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_type_hints
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import pgflow
from pgflow.bookkeeping import register
from pgflow.errors import ReadOnlyHistory
from pgflow.observe.model import RunRecord, run_model
from pgflow.project.contents import find
from tests.migrations.alembic_project import AlembicProject


def test_the_model_has_every_column_with_its_type() -> None:
    """What the table has can be asked for, and type checkers know what it is."""
    table = register(sa.MetaData()).runs
    hints = get_type_hints(RunRecord)
    assert list(hints) == table.columns.keys()
    for column in table.columns:
        (hint,) = hints[column.name].__args__
        kinds = set(getattr(hint, "__args__", (hint,)))
        assert (type(None) in kinds) is column.nullable, column.name
        if column.name not in ("parameters", "details"):
            assert column.type.python_type in kinds, column.name


def test_runs_can_be_queried(world: Any) -> None:
    """Sums, conditions and whole rows come from real runs."""
    pipeline = world.pipe(world.table(), mode="merge", name="orders")
    world.fill((1, "a", 1), (2, "b", 2))
    first = pipeline.sync()
    world.run("ALTER TABLE w.t ADD CHECK (id < 100) NOT VALID")
    world.fill((100, "c", 3))
    with pytest.raises(pgflow.PgflowError):
        pipeline.sync()
    run = run_model()
    with Session(world.engine) as session:
        rows = session.execute(
            sa.select(run.status, sa.func.count(), sa.func.sum(run.inserted))
            .where(run.started_at > datetime.now(UTC) - timedelta(days=1))
            .group_by(run.status)
            .order_by(run.status)
        ).all()
        assert [tuple(row) for row in rows] == [("failed", 1, 0), ("success", 1, 2)]
        found = session.get(run, first.run_id)
        assert found is not None
        assert isinstance(found, RunRecord)
        assert (found.pipeline, found.target, found.counts["inserted"]) == ("orders", "w.t", 2)
        assert found.seconds is not None
        assert found.seconds > 0


def test_the_model_writes_nothing(world: Any) -> None:
    """A run that is added, changed or deleted through the model is refused, and nothing changes."""
    pipeline = world.pipe(world.table(), mode="merge")
    pipeline.sync()
    run = run_model()

    def change(found: Any) -> None:
        found.status = "failed"

    with Session(world.engine) as session:
        for act in (change, session.delete, lambda _: session.add(run(run_id=uuid4()))):
            act(session.scalars(sa.select(run)).one())
            with pytest.raises(ReadOnlyHistory, match="was to be written through its model"):
                session.flush()
            session.rollback()
        assert session.scalars(sa.select(run.status)).all() == ["success"]


def test_each_schema_has_one_model(engine: sa.Engine) -> None:
    """The schema of the bookkeeping can be another one, and a class is made once."""
    ops = run_model("ops")
    assert run_model("ops") is ops
    assert run_model() is not ops
    assert "FROM ops.runs" in str(sa.select(ops.run_id))
    assert "FROM pgflow.runs" in str(sa.select(run_model().run_id))


def test_migrations_do_not_see_the_model(tmp_path: Path, engine: sa.Engine) -> None:
    """Beside models of the user's, and in a project's module, it adds nothing to migrate."""

    class Base(DeclarativeBase):
        pass

    class Mine(Base):
        __tablename__ = "mine"
        __table_args__ = {"schema": "w"}
        id: Mapped[int] = mapped_column(primary_key=True)

    table = pgflow.SimpleTable("t", "w", Base.metadata, [sa.Column("n", sa.BigInteger)])
    pipeline = pgflow.Pipeline(
        "p", target=table, source="SELECT 1 AS n", mode="append", connection=engine
    )
    run = run_model()
    module = type(sys)("module")
    vars(module).update(Mine=Mine, t=table, p=pipeline, Run=run, RunRecord=RunRecord)
    assert find([module]).metadatas == (Base.metadata,)

    project = AlembicProject(tmp_path / "migrations", engine)
    (first,) = project.revision(Base.metadata)
    assert first.upgrade.count("CREATE TABLE pgflow.runs") == 1
    project.upgrade()
    pipeline.sync()
    with Session(engine) as session:
        assert session.scalars(sa.select(run)).one().status == "success"
    assert project.discards(Base.metadata) == ""


def test_importing_pgflow_does_not_load_the_orm() -> None:
    """Whoever does not ask for the model does not pay for it."""
    code = (
        "import sys, pgflow; pgflow.Pipeline; pgflow.table\n"
        "loaded = {'pgflow.observe.model', 'opentelemetry', 'prometheus_client'} & set(sys.modules)"
        "\nassert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
