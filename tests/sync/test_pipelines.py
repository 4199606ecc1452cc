"""Pipelines as declared: bodies of every form, targets, and what is refused at decoration."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow import natural_key, pk
from pgflow.errors import (
    DeclarationError,
    InvalidOption,
    MissingMergeKey,
    MissingTable,
    TargetsFailed,
    WrongDriver,
)
from pgflow.types import BigInt, Text
from tests.sync.declared import declare


def test_decorators_and_factories_give_the_same_pipeline(world: Any) -> None:
    """Both forms resolve to the same specification, plan and preview."""
    table = declare(world.metadata)

    @pgflow.pipeline(
        target=table,
        mode="scd2",
        connection=world.engine,
        handle_deletes="soft",
        schedule="0 * * * *",
    )
    def feed(conn: Any) -> str:
        return "SELECT id, a, b FROM w.s"

    other = sa.MetaData()
    factory = pgflow.SimpleTable(
        "t",
        "w",
        other,
        [sa.Column("a", sa.Text), sa.Column("b", sa.Numeric(10, 2))],
        plugins=[pgflow.plugins.ColumnPKPlugin(sa.Column("id", sa.BigInteger, nullable=False))],
    )
    imperative = pgflow.Pipeline(
        "feed",
        target=factory,
        source=pgflow.Query("SELECT id, a, b FROM w.s"),
        mode="scd2",
        connection=world.engine,
        handle_deletes="soft",
        schedule="0 * * * *",
    )
    pgflow.create_all(world.metadata, connection=world.engine)
    assert str(feed.plan()) == str(imperative.plan())
    ours, theirs = feed.spec.describe(), imperative.spec.describe()
    assert ours.pop("source") is None
    assert str(theirs.pop("source").sql) == "SELECT id, a, b FROM w.s"
    assert ours == theirs
    # The key stands first in one and last in the other; everything else is the same text.
    assert set(feed.preview().to_json().splitlines()) == set(
        imperative.preview().to_json().splitlines()
    )


def test_a_config_of_a_pipeline_names_the_schema_of_its_history(world: Any) -> None:
    """create_all makes pgflow's own tables where the pipelines look for them."""
    config = pgflow.Config(utility_schema="other")
    pipeline = pgflow.Pipeline(
        "p",
        target=declare(world.metadata),
        source="SELECT 1 AS id",
        mode="merge",
        connection=world.engine,
        config=config,
    )
    pgflow.create_all(world.metadata, connection=world.engine)
    pipeline.sync()
    assert world.run("SELECT status FROM other.runs") == [("success",)]


@pytest.mark.parametrize(
    ("given", "kind", "sentence"),
    [
        ({"mode": "mrege"}, InvalidOption, "mode 'mrege' is unknown. Did you mean 'merge'"),
        ({}, InvalidOption, "no mode was given, neither by the pipeline nor by its table"),
        (
            {"mode": "merge", "keys": ("idd",)},
            InvalidOption,
            "keys= names 'idd'.*Did you mean 'id'",
        ),
        (
            {"mode": "scd2", "compare_columns": ("x",)},
            InvalidOption,
            "compare_columns= names 'x', which is no column of the target",
        ),
        (
            {"mode": "scd2", "event_timestamp_column": "at"},
            DeclarationError,
            "event_timestamp_column= names 'at', which is no column of the target",
        ),
        ({"mode": "merge", "schedule": "hourly"}, InvalidOption, "schedule='hourly' is no cron"),
        ({"mode": "merge", "schedule": "61 * * * *"}, InvalidOption, "is no cron expression"),
        (
            {"mode": "merge", "key": ("id",)},
            InvalidOption,
            "unknown option 'key'. Did you mean 'keys'",
        ),
        (
            {"mode": "merge", "replace": "delete"},
            InvalidOption,
            "replace= does not fit mode 'merge'",
        ),
        (
            {"mode": "merge", "source_table": "users"},
            ValueError,
            r"source_table requires schema.table format, not 'users'.*\('main.users' in SQLite\)",
        ),
        (
            {"mode": "merge", "source_table": "public.users.x"},
            ValueError,
            "source_table requires schema.table format",
        ),
        (
            {"mode": "merge", "source_table": "w.s", "column_map": {"aa": "x"}},
            DeclarationError,
            "column_map= names 'aa', which is no column of w.t. Did you mean 'a'",
        ),
        ({"mode": "merge", "column_map": {"a": "x"}}, InvalidOption, "column_map= goes with"),
    ],
)
def test_a_wrong_declaration_is_refused_at_decoration(
    given: dict[str, Any], kind: type[Exception], sentence: str
) -> None:
    """What can be known without a database is refused before there is one, with the way out."""
    table = declare(sa.MetaData())
    with pytest.raises(kind, match=sentence):

        @pgflow.pipeline(target=table, **given)
        def feed(conn: Any) -> str:
            return "SELECT 1"


def test_a_refused_pipeline_leaves_the_table_as_it_was() -> None:
    """A pipeline that cannot be declared adds no columns to its target."""
    metadata = sa.MetaData()

    @pgflow.table(schema="w", metadata=metadata)
    class NoKey:
        a: Text

    before = list(NoKey.__table__.columns.keys())  # type: ignore[attr-defined]  # set by the decorator
    with pytest.raises(MissingMergeKey) as caught:
        pgflow.Pipeline("p", target=NoKey, source="SELECT 1", mode="scd2")
    for way in ("keys=", "__merge_keys__", "natural_key()", "pk()"):
        assert way in str(caught.value)
    assert list(NoKey.__table__.columns.keys()) == before  # type: ignore[attr-defined]  # as above


def test_merge_keys_are_the_first_that_say_something() -> None:
    """keys= wins over __merge_keys__, that over natural_key(), and that over pk()."""

    def resolved(keys: Any = None, **body: Any) -> Any:
        annotations = {
            "id": Annotated[BigInt, pk()],
            "code": Annotated[Text, natural_key()] if "natural" in body else Text,
            "other": Text,
        }
        attributes: dict[str, Any] = {"__annotations__": annotations}
        if "dunder" in body:
            attributes["__merge_keys__"] = ("other",)
        table = pgflow.table(schema="w", metadata=sa.MetaData())(type("T", (), attributes))
        pipeline = pgflow.Pipeline("p", target=table, source="SELECT 1", mode="merge", keys=keys)
        decision = pipeline.ctx["merge_keys"]
        return decision.value, decision.reason

    assert resolved() == (("id",), "pk()")
    assert resolved(natural=1) == (("code",), "natural_key()")
    assert resolved(natural=1, dunder=1) == (("other",), "__merge_keys__")
    assert resolved(natural=1, dunder=1, keys=("id", "code")) == (("id", "code"), "keys=")


def test_several_targets_run_one_by_one(world: Any) -> None:
    """Each target has its own transaction and history row; the first failure halts the rest."""
    good, bad, late = (declare(world.metadata, n) for n in ("good", "bad", "late"))
    targets = [
        pgflow.target(good, mode="scd2"),
        pgflow.target(bad, mode="merge"),
        pgflow.target(late, mode="append"),
    ]
    source = "SELECT id, a, b FROM w.s"
    halting = pgflow.Pipeline("halting", targets=targets, source=source, connection=world.engine)
    going = pgflow.Pipeline(
        "going", targets=targets, source=source, connection=world.engine, continue_on_failure=True
    )
    pgflow.create_all(world.metadata, connection=world.engine)
    world.fill((1, "a", 1))
    assert halting.sync().inserted == 3
    world.run("ALTER TABLE w.bad ADD CHECK (id < 2)")
    world.fill((1, "a", 1), (2, "b", 2))
    with pytest.raises(TargetsFailed, match=r"failed on w\.bad") as caught:
        halting.sync()
    assert [t.status for t in caught.value.result.targets] == ["success", "failed"]  # type: ignore[attr-defined]  # a SyncResult
    with pytest.raises(TargetsFailed):
        going.dry_run()
    with pytest.raises(TargetsFailed) as caught:
        going.sync()
    assert [t.status for t in caught.value.result.targets] == ["success", "failed", "success"]  # type: ignore[attr-defined]  # a SyncResult
    assert world.run("SELECT count(*) FROM w.late") == [(2,)]
    history = world.run(
        "SELECT target, status FROM pgflow.runs WHERE pipeline = 'going' ORDER BY started_at"
    )
    assert history == [("w.good", "success"), ("w.bad", "failed"), ("w.late", "success")]
    world.run("ALTER TABLE w.late ADD CHECK (id < 3)")
    world.fill((1, "a", 1), (2, "b", 2), (3, "c", 3))
    with pytest.raises(TargetsFailed) as caught:
        going.sync()
    first, bad, last = str(caught.value).split("\n  ")
    assert first == "pipeline 'going' failed on w.bad, w.late:"
    assert "w.bad" in bad
    assert "w.late" in last


def test_a_missing_table_or_bookkeeping_says_what_to_run(world: Any) -> None:
    """Where something is not in the database, the way to get it there is named."""
    pipeline = pgflow.Pipeline(
        "p",
        target=declare(world.metadata),
        source="SELECT 1 AS id",
        mode="merge",
        connection=world.engine,
    )
    remedy = "alembic revision --autogenerate` .if no revision has it yet.*`pgflow migrate`"
    there = r"no table w\.t and no table pgflow\.runs"
    with pytest.raises(MissingTable, match=rf"{there}.*{remedy}, or in a script pgflow.create_all"):
        pipeline.sync()
    pgflow.create_all(world.metadata, connection=world.engine)
    world.run("ALTER TABLE w.t DROP COLUMN b")
    told = f"has no column 'b', which the declaration has.*{remedy}.$"
    with pytest.raises(MissingTable, match=told):
        pipeline.sync()
    world.run("ALTER TABLE w.t DROP COLUMN a")
    with pytest.raises(MissingTable, match="has no columns 'a', 'b', which"):
        pipeline.sync()


def test_a_run_without_its_target_stands_in_the_history(world: Any) -> None:
    """Where pgflow's own tables are there, the history says that the target is not."""
    pipeline = world.pipe(world.table(), mode="merge")
    world.run("DROP TABLE w.t")
    told = []
    with world.engine.begin() as connection:
        for where in ({}, {"connection": connection}):
            with pytest.raises(MissingTable, match=r"no table w\.t") as caught:
                pipeline.sync(**where)
            told.append((caught.value.run_id, "failed", "MissingTable", str(caught.value)))
    with pytest.raises(MissingTable):
        pipeline.dry_run()
    assert told == world.run(
        "SELECT run_id, status, error_type, error FROM pgflow.runs ORDER BY started_at"
    )


def test_a_pipeline_declared_after_its_table_was_created_says_so(world: Any) -> None:
    """The columns that the mode adds are missing: the message tells who adds them, and when."""
    table = declare(world.metadata)
    pgflow.create_all(world.metadata, connection=world.engine)
    pipeline = pgflow.Pipeline(
        "p", target=table, source="SELECT 1 AS id", mode="scd2", keys=("id",),
        connection=world.engine,
    )  # fmt: skip
    with pytest.raises(MissingTable, match="'valid_from'.*declares it before it calls pgflow.crea"):
        pipeline.sync()


def test_only_psycopg_3_is_a_target(world: Any) -> None:
    """Another driver's engine is refused with what to write instead."""
    sqlite = sa.create_engine("sqlite://")
    pipeline = pgflow.Pipeline(
        "p",
        target=declare(world.metadata),
        source="SELECT 1 AS id",
        mode="merge",
        connection=sqlite,
    )
    with pytest.raises(WrongDriver, match=r"postgresql\+psycopg://"):
        pipeline.sync()
