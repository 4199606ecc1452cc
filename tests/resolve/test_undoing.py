"""A factory that fails leaves the MetaData as it was."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
)

from pgflow.errors import PluginError
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.plugin import Plugin
from pgflow.resolve.resolution import resolve
from pgflow.resolve.wiring import enter

Make = Callable[..., Plugin]
Run = Callable[..., FactoryContext]


def picture(metadata: MetaData) -> dict[str, Any]:
    """Write down everything about a MetaData that a failed factory could have changed."""
    return {
        "tables": {key: (id(t), table_picture(t)) for key, t in metadata.tables.items()},
        "schemas": set(metadata._schemas),
        "sequences": dict(metadata._sequences),
        "objects": set(vars(metadata).get("_objects", ())),  # from SQLAlchemy 2.1 on
        "memos": {key: list(found) for key, found in metadata._fk_memos.items()},
        "info": repr(metadata.info),
        "attributes": set(vars(metadata)),
    }


def table_picture(table: Table) -> dict[str, Any]:
    return {
        "columns": [
            (id(c), c.name, repr(c.type), c.nullable, c.primary_key, set(c.foreign_keys))
            for c in table.c
        ],
        "names": [column.name for column in table._columns],
        "by name": {name: id(table.c[name]) for name in table.c.keys()},  # noqa: SIM118 - no dict
        "key": (id(table.primary_key), [column.name for column in table.primary_key.columns]),
        "constraints": set(table.constraints),
        "indexes": set(table.indexes),
        "foreign keys": set(table.foreign_keys),
        "targets": {id(fk): id(vars(fk).get("column")) for fk in table.foreign_keys},
        "info": repr(table.info),
        "comment": table.comment,
    }


@dataclass
class Registry:
    """How the extension for views and functions keeps its objects in `info`."""

    functions: list[str]
    options: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def metadata() -> MetaData:
    """A MetaData on which something stands already."""
    metadata = MetaData(info={"pgflow": {"dimensions": {"a": 1}, "names": ["x"], "seen": {1}}})
    metadata.info["functions"] = Registry(["f"])
    metadata.info["self"] = metadata.info
    Table(
        "items",
        metadata,
        Column("id", BigInteger, primary_key=True),
        Column("order_id", None, ForeignKey("shop.orders.id")),
        Column("name", Integer, index=True),
        CheckConstraint("id > 0", name="positive"),
        schema="stock",
        info={"claims": {"owner": "me"}},
    )
    Table(
        "parts",
        metadata,
        Column("order_id", None, ForeignKey("stock.items.order_id")),
        schema="stock",
    )
    return metadata


def fail(ctx: FactoryContext) -> None:
    raise RuntimeError("after everything")


def create(ctx: FactoryContext) -> None:
    """Do to a MetaData what table plugins do, and more."""
    Table(
        "orders",
        ctx.metadata,
        Column("id", Integer, primary_key=True),
        Column("item_id", None, ForeignKey("stock.items.id")),
        Column("elsewhere", None, ForeignKey("nowhere.things.id")),
        Column("other_id", None, ForeignKey("stock.items.order_id")),
        schema="shop",
    )
    ctx.metadata.info["pgflow"]["dimensions"]["orders"] = 2
    ctx.metadata.info["pgflow"]["names"].append("y")
    ctx.metadata.info["pgflow"]["seen"].add(2)
    ctx.metadata.info["new"] = {"deep": []}
    ctx.metadata.info["functions"].functions.append("g")
    ctx.metadata.info["functions"].options = {"changed": "yes"}


def amend(table: Table) -> None:
    """Do to an existing table what history plugins do, and more."""
    key = table.primary_key
    table.append_column(Column("valid_from", Integer, primary_key=True))
    table.append_column(Column("parent_id", Integer, ForeignKey("stock.items.id")))
    table.append_constraint(CheckConstraint("id < 9", name="small"))
    Index("name_idx", table.c.name, table.c.valid_from)
    table.constraints.discard(next(c for c in table.constraints if c.name == "positive"))
    table.indexes.discard(next(i for i in table.indexes if i.name == "ix_stock_items_name"))
    table.c.name.nullable = False
    table.c.name.type = BigInteger()
    table.comment = "changed"
    table.info["claims"]["owner"] = "you"
    assert table.primary_key is key
    assert [column.name for column in key.columns] == ["id", "valid_from"]


def test_a_failure_leaves_the_metadata_as_it_was(make: Make, run: Run, metadata: MetaData) -> None:
    """New tables, schemas, info and resolved foreign keys are gone after a later failure."""
    before = picture(metadata)
    with pytest.raises(RuntimeError, match="after everything"):
        run([make("Creator", run=create), make("Failing", run=fail)], metadata)
    assert picture(metadata) == before
    assert "shop" not in metadata._schemas


def test_a_foreign_key_waits_again_after_a_failure(
    make: Make, run: Run, metadata: MetaData
) -> None:
    """A key that the failed table had resolved is resolved by the next table of that name."""
    with pytest.raises(RuntimeError):
        run([make("Creator", run=create), make("Failing", run=fail)], metadata)
    waiting = metadata.tables["stock.items"].c.order_id
    assert waiting.type._isnull
    orders = Table("orders", metadata, Column("id", BigInteger, primary_key=True), schema="shop")
    assert waiting.references(orders.c.id)
    assert isinstance(waiting.type, BigInteger)
    assert isinstance(metadata.tables["stock.parts"].c.order_id.type, BigInteger)


def test_the_same_factory_can_be_declared_again(make: Make, run: Run, metadata: MetaData) -> None:
    """After a failure the corrected declaration works on the same MetaData."""
    with pytest.raises(RuntimeError):
        run([make("Creator", run=create), make("Failing", run=fail)], metadata)
    run([make("Creator", run=create)], metadata)
    assert "shop.orders" in metadata.tables
    assert metadata.info["pgflow"]["names"] == ["x", "y"]


@pytest.mark.parametrize("named", [True, False])
def test_a_failing_staged_operation_undoes_those_before(
    make: Make, run: Run, metadata: MetaData, named: bool
) -> None:
    """Changes of existing tables are taken back, whether or not the tables were named."""
    table = metadata.tables["stock.items"]

    def stage(ctx: FactoryContext) -> None:
        ctx.stage(lambda: amend(table), tables=[table] if named else None)
        ctx.stage(lambda: fail(ctx), tables=[] if named else None)

    before = picture(metadata)
    with pytest.raises(RuntimeError) as caught:
        run([make("Creator", run=create), make("Amender", run=stage)], metadata)
    assert caught.value.__notes__ == ["raised by what Amender staged"]
    assert picture(metadata) == before
    assert table.c.keys() == ["id", "order_id", "name"]


def test_an_amended_table_works_after_the_undoing(make: Make, run: Run, metadata: MetaData) -> None:
    """The same change succeeds afterwards: nothing half-attached is left on the table."""
    table = metadata.tables["stock.items"]

    def stage(ctx: FactoryContext) -> None:
        ctx.stage(lambda: amend(table), tables=[table])
        ctx.stage(lambda: fail(ctx), tables=[])

    with pytest.raises(RuntimeError):
        run([make("Amender", run=stage)], metadata)
    amend(table)
    assert table.c.keys() == ["id", "order_id", "name", "valid_from", "parent_id"]


def test_a_given_table_is_safe_even_without_staging(
    make: Make, run: Run, metadata: MetaData
) -> None:
    """The table that a factory is given comes back unchanged if a plugin changed it at once."""
    table = metadata.tables["stock.items"]
    before = picture(metadata)
    with pytest.raises(RuntimeError):
        run(
            [make("Rash", run=lambda ctx: amend(ctx["target"])), make("Failing", run=fail)],
            metadata,
            target=table,
        )
    assert picture(metadata) == before


def test_the_first_memory_of_a_table_counts(make: Make, run: Run, metadata: MetaData) -> None:
    """A table that was changed at once, and then by a staged operation, is as before both."""
    table = metadata.tables["stock.items"]

    def rash(ctx: FactoryContext) -> None:
        amend(table)
        ctx.stage(lambda: fail(ctx), tables=[table])

    before = picture(metadata)
    with pytest.raises(RuntimeError):
        run([make("Rash", run=rash)], metadata, target=table)
    assert picture(metadata) == before


def test_a_removed_table_comes_back(make: Make, run: Run, metadata: MetaData) -> None:
    """Even a plugin that removes somebody's table leaves it there when the factory fails."""
    before = picture(metadata)
    remove = make("R", run=lambda ctx: ctx.metadata.remove(metadata.tables["stock.items"]))
    with pytest.raises(RuntimeError):
        run([remove, make("Failing", run=fail)], metadata)
    assert picture(metadata) == before


def test_a_factory_made_by_a_plugin_is_undone_with_the_outer_one(
    make: Make, run: Run, metadata: MetaData
) -> None:
    """What an inner factory did successfully goes away when the outer one fails."""
    table = metadata.tables["stock.items"]

    def inner(ctx: FactoryContext) -> None:
        run(
            [make("Inner", run=lambda ctx: ctx.stage(lambda: amend(table), tables=[table]))],
            metadata,
        )
        assert "valid_from" in table.c

    before = picture(metadata)
    with pytest.raises(RuntimeError):
        run([make("Outer", run=inner), make("Failing", run=fail)], metadata)
    assert picture(metadata) == before


def test_a_wrong_list_touches_nothing(make: Make, run: Run, metadata: MetaData) -> None:
    """If the list cannot be resolved, not even its first plugin runs."""
    ran: list[str] = []
    with pytest.raises(PluginError):
        run([make("A", run=lambda ctx: ran.append("A")), make("B", requires="zzz")], metadata)
    assert ran == []


def test_a_failed_extension_leaves_the_context_as_it_was(make: Make, run: Run) -> None:
    """Values, contributions and the plugin list of the first resolution stay."""
    ctx = run([make("P", produces="x"), make("C", contributes="many")])
    plugins = [
        make("V", produces="view"),
        make("D", contributes=("many", "few")),
        make("F", run=fail),
    ]
    with pytest.raises(RuntimeError):
        resolve("orders", enter(plugins, "more"), ctx.keys()).run(ctx)
    assert ctx.keys() == ["x", "many"]
    assert ctx["many"] == ("item by C",)
    assert [type(plugin).__name__ for plugin in ctx.plugins] == ["P", "C"]


def test_threads_take_turns(make: Make, run: Run, metadata: MetaData) -> None:
    """A failing factory in one thread does not undo what another thread declares meanwhile."""
    inside, go_on = threading.Event(), threading.Event()

    def wait_and_fail(ctx: FactoryContext) -> None:
        inside.set()
        assert go_on.wait(10)
        fail(ctx)

    def failing() -> None:
        with pytest.raises(RuntimeError):
            run([make("Slow", run=wait_and_fail)], metadata)

    slow = threading.Thread(target=failing)
    slow.start()
    assert inside.wait(10)
    other = threading.Thread(target=run, args=([make("Creator", run=create)], metadata))
    other.start()
    go_on.set()
    slow.join(10)
    other.join(10)
    assert "shop.orders" in metadata.tables
