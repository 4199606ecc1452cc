from __future__ import annotations

from typing import Any, ClassVar

import pytest
from sqlalchemy import BigInteger, Column, MetaData, Table, Text

from pgflow import plugins
from pgflow.declare.items import ForeignKey
from pgflow.declare.options import SyncOptions
from pgflow.declare.pipeline import PipelineSpec
from pgflow.declare.sources import Query
from pgflow.declare.targets import target
from pgflow.emit.claims import claims
from pgflow.emit.history import system_columns_of
from pgflow.emit.references import pending
from pgflow.errors import InvalidColumn, InvalidItem, InvalidOption, ModeConflict, PgflowError
from pgflow.factories.simple import SimpleTable
from pgflow.factory import ResourceFactory
from pgflow.plan.decision import Decision
from pgflow.plan.modes import modes
from pgflow.plugins import ColumnPKPlugin, LoadColumnsPlugin, Scd2ColumnsPlugin
from pgflow.plugins.merge_keys import MergeKeysPlugin
from pgflow.plugins.sync_keys import MERGE_KEYS, MODE, OPTIONS, SYSTEM_COLUMNS, TARGET, TARGET_SPEC
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.plugin import Plugin, after


class Filled(ResourceFactory):
    """What a pipeline does with its target's columns, and nothing else."""

    DEFAULT_PLUGINS: ClassVar[list[Any]] = [MergeKeysPlugin]

    def __init__(self, name: str, factory: SimpleTable, mode: str, *more: Any, **options: Any):
        kind = Scd2ColumnsPlugin if mode == "scd2" else LoadColumnsPlugin
        super().__init__(
            factory.table.name,
            factory.table.schema,
            factory.metadata,
            extra_plugins=[kind("target"), *more],
            spec=PipelineSpec(name, (target(factory),), source=Query("SELECT 1")),
            inputs={
                TARGET: factory.table,
                TARGET_SPEC: factory.spec,
                OPTIONS: SyncOptions(mode=mode, **options),
                MODE: modes.get(mode, name),
            },
        )


def things(metadata: MetaData | None = None, **options: Any) -> SimpleTable:
    key = ColumnPKPlugin(Column("id", BigInteger))
    columns = [Column("name", Text)]
    return SimpleTable("things", "s", metadata or MetaData(), columns, plugins=[key], **options)


def names(table: Table) -> list[str]:
    return list(table.columns.keys())


def test_a_pipeline_s_mode_amends_its_target():
    """The first pipeline that says so turns an existing table into a history, in place."""
    factory = things()
    table = factory.table
    filled = Filled("load", factory, "scd2", keys=("id",))
    assert factory.table is table
    assert table.primary_key.columns.keys() == ["id", "valid_from"]
    assert filled.ctx[SYSTEM_COLUMNS] == system_columns_of(table)
    assert claims(table) == {"pipeline 'load'": "scd2"}


def test_the_names_are_known_before_the_table_is_changed():
    """A plugin that reads the system columns sees all of them, though the change is staged."""
    seen = {}

    @after("LoadColumnsPlugin")
    class Reader(Plugin):
        def run(self, ctx: FactoryContext) -> None:
            seen["columns"] = ctx[SYSTEM_COLUMNS].names
            seen["table"] = names(ctx[TARGET])

    Filled("load", things(), "scd1", Reader())
    assert seen == {
        "columns": ("_loaded_at", "_batch_id", "_changed_at"),
        "table": ["id", "name"],
    }


def test_pipelines_that_agree_share_a_table():
    """append, merge and scd1 unite their columns; each pipeline sees those that are there."""
    factory = things()
    Filled("one", factory, "scd1")
    other = Filled("two", factory, "merge", handle_deletes="soft")
    assert names(factory.table)[2:] == ["_loaded_at", "_batch_id", "_changed_at", "_deleted_at"]
    assert other.ctx[SYSTEM_COLUMNS].changed_at == "_changed_at"


@pytest.mark.parametrize(("first", "second"), [("merge", "scd2"), ("scd2", "append")])
def test_pipelines_that_exclude_each_other_are_refused(first: str, second: str):
    """Both owners and modes are named, and the table stays as it was."""
    factory = things()
    Filled("one", factory, first)
    before = names(factory.table)
    with pytest.raises(ModeConflict) as caught:
        Filled("two", factory, second)
    assert caught.value.owners == ("pipeline 'two'", "pipeline 'one'")
    assert names(factory.table) == before


def test_the_table_s_own_mode_counts_as_an_owner():
    """A pipeline whose mode differs from the table's is refused, the table named."""
    with pytest.raises(ModeConflict, match=r"pipeline 'load' fills .* and table s\.things in mode"):
        Filled("load", things(mode="scd2"), "merge")


def test_the_table_s_names_hold_for_its_pipelines():
    """system_columns= of the table says what a pipeline's system columns are called."""
    factory = things(system_columns={"_loaded_at": "at", "_batch_id": None})
    Filled("load", factory, "merge")
    assert names(factory.table) == ["id", "name", "at"]


@after("LoadColumnsPlugin")
class Failing(Plugin):
    def run(self, ctx: FactoryContext) -> None:
        raise PgflowError("no")


class FailingLate(Plugin):
    def run(self, ctx: FactoryContext) -> None:
        def fail() -> None:
            raise PgflowError("no")

        ctx.stage(fail, tables=[])


@pytest.mark.parametrize("plugin", [Failing(), FailingLate()])
def test_a_failure_leaves_the_target_as_it_was(plugin: Plugin):
    """Whether a plugin fails or what it staged, columns, keys and claims are as before."""
    factory = things()
    with pytest.raises(PgflowError, match="no"):
        Filled("load", factory, "scd2", plugin, keys=("id",))
    assert names(factory.table) == ["id", "name"]
    assert factory.table.primary_key.columns.keys() == ["id"]
    assert claims(factory.table) == {}
    Filled("load", factory, "merge")


@pytest.mark.parametrize("plugin", [Failing(), FailingLate()])
def test_a_failure_leaves_waiting_references_waiting(plugin: Plugin):
    """A foreign key that waits for a table still waits after that table was refused."""
    metadata = MetaData()
    orders = SimpleTable(
        "orders", "s", metadata, [Column("thing", BigInteger), ForeignKey({"thing": "things.id"})]
    )
    with pytest.raises(PgflowError, match="no"):
        SimpleTable("things", "s", metadata, [Column("a", Text)], extra_plugins=[plugin])
    assert not orders.table.foreign_keys
    assert len(pending(metadata)["things"]) == 1
    things(metadata)
    assert [key.target_fullname for key in orders.table.foreign_keys] == ["s.things.id"]


def test_a_history_plugin_refuses_other_modes():
    """Scd2ColumnsPlugin in place of LoadColumnsPlugin says which plugin to use."""
    with pytest.raises(InvalidOption, match="mode 'merge' keeps none. Use LoadColumnsPlugin"):
        SimpleTable("t", "s", MetaData(), [], mode="merge", extra_plugins=[Scd2ColumnsPlugin()])


def test_a_plugin_of_the_user_s_may_choose_the_keys():
    """A plugin that produces the merge keys takes the place of pgflow's."""

    class NameKeyPlugin(MergeKeysPlugin):
        def run(self, ctx: FactoryContext) -> None:
            ctx[MERGE_KEYS] = Decision(("name",), "names are unique here")

    factory = things(mode="scd2", extra_plugins=[NameKeyPlugin()])
    assert factory.table.primary_key.columns.keys() == ["name", "valid_from"]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ColumnPKPlugin(), InvalidItem, "ColumnPKPlugin() has no column"),
        (lambda: ColumnPKPlugin("id"), InvalidItem, "takes columns with a name, not 'id'."),
        (lambda: ColumnPKPlugin(Column(Text)), InvalidItem, "takes columns with a name"),
        (
            lambda: ColumnPKPlugin(Column("a", Text, nullable=True)),
            InvalidColumn,
            "column 'a' takes NULL (nullable=True), which a primary key does not.",
        ),
    ],
)
def test_key_columns_are_checked_where_they_are_written(
    make: Any, error: type[Exception], message: str
):
    """ColumnPKPlugin refuses what can be no key."""
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)


def test_every_built_in_plugin_can_be_imported():
    """pgflow.plugins gives each name that it lists, and nothing else."""
    assert plugins.__all__ == sorted(plugins.__all__)
    for name in plugins.__all__:
        assert issubclass(getattr(plugins, name), Plugin)
        assert name in dir(plugins)
    with pytest.raises(AttributeError, match="has no attribute 'NoPlugin'"):
        _ = plugins.NoPlugin
