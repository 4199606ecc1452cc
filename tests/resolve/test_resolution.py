"""Plugins do what they declare, all of them or none."""

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

from pgflow.errors import (
    ContextClosed,
    KeyAlreadySet,
    MissingKey,
    PluginError,
    UndeclaredWrite,
    UnwrittenKey,
    WrongKeyType,
)
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.keys import COLUMNS, TABLE, Key
from pgflow.resolve.plugin import Plugin, optional
from pgflow.resolve.resolution import Resolution, resolve
from pgflow.resolve.wiring import enter

Make = Callable[..., Plugin]
Run = Callable[..., FactoryContext]


def test_values_flow_from_plugin_to_plugin(make: Make, run: Run) -> None:
    """Every plugin finds what it requires and leaves what it produces."""
    seen: list[str] = []
    ctx = run(
        [
            make("Reader", requires=("x", COLUMNS), run=lambda ctx: seen.append(ctx["x"])),
            make("Writer", produces="x"),
        ]
    )
    assert seen == ["x by Writer"]
    assert ctx["x"] == "x by Writer"


def test_given_values_are_there(make: Make, run: Run) -> None:
    """What the factory gives is read like what plugins write."""
    ctx = run([make("A", requires="size", produces="double", run=_double)], size=21)
    assert ctx["double"] == 42


def _double(ctx: FactoryContext) -> None:
    ctx["double"] = 2 * ctx["size"]


def test_a_promised_key_must_be_written(make: Make, run: Run) -> None:
    """A plugin that does not write what it declares is named, with both ways out."""
    with pytest.raises(UnwrittenKey) as caught:
        run([make("Lazy", produces="x", run=lambda ctx: None)])
    assert str(caught.value) == (
        "Lazy (extra_plugins[0] of 'orders') declares that it writes 'x', but its run method did "
        "not. Write ctx[...] there, or take the key out of @produces or @overrides."
    )


def test_an_undeclared_key_must_not_be_written(make: Make, run: Run) -> None:
    """A plugin that writes what it does not declare is named, with both ways out."""
    with pytest.raises(UndeclaredWrite) as caught:
        run([make("Sly", run=lambda ctx: ctx.set("x", 1))])
    assert str(caught.value) == (
        "Sly (extra_plugins[0] of 'orders') wrote 'x', which it does not declare. Add "
        "@produces('x') to it, so that its readers run later, or keep the value out of the context."
    )


@pytest.mark.parametrize(
    "add",
    [
        lambda ctx: ctx.contribute(COLUMNS, Column("a", Integer)),
        lambda ctx: ctx.injected_columns.append(Column("a", Integer)),
    ],
)
def test_contributions_are_declared_too(
    make: Make, run: Run, add: Callable[[FactoryContext], None]
) -> None:
    """Columns that are added without a declaration would miss the table, so they are refused."""
    with pytest.raises(UndeclaredWrite, match=r"added to 'columns'.*Add @contributes\('columns'\)"):
        run([make("Sly", run=add)])
    assert len(run([make("Honest", contributes=COLUMNS, run=add)])[COLUMNS]) == 1


def test_appended_columns_are_columns(make: Make, run: Run) -> None:
    """The list of injected columns is held to the key's type, like contributions."""
    with pytest.raises(WrongKeyType, match=r"A wrote 'name' .* 'columns', which holds Column"):
        run([make("A", contributes=COLUMNS, run=lambda ctx: ctx.injected_columns.append("name"))])


def test_contributing_nothing_is_fine(make: Make, run: Run) -> None:
    """A plugin may find that it has nothing to add this time."""
    assert run([make("A", contributes=COLUMNS, run=lambda ctx: None)])[COLUMNS] == ()


def test_overriding_replaces_the_value_for_readers(make: Make, run: Run) -> None:
    """A reader sees the value of the plugin that overrides, which saw the first one."""
    seen: list[str] = []
    run(
        [
            make("R", requires="x", run=lambda ctx: seen.append(ctx["x"])),
            make("O", overrides="x", run=lambda ctx: ctx.set("x", ctx["x"] + " and O")),
            make("P", produces="x"),
        ]
    )
    assert seen == ["x by P and O"]


def test_force_replaces_what_is_required(make: Make, run: Run) -> None:
    """`force=True` is enough for a plugin that requires the key; without it, it is refused."""
    producer = make("P", produces="x")
    forced = make("F", requires="x", run=lambda ctx: ctx.set("x", "new", force=True))
    assert run([producer, forced])["x"] == "new"
    timid = make("T", requires="x", run=lambda ctx: ctx.set("x", "new"))
    with pytest.raises(KeyAlreadySet, match="T wrote key 'x', which is set already"):
        run([producer, timid])


def test_force_does_not_hide_an_undeclared_key(make: Make, run: Run) -> None:
    """A plugin that replaces a key it neither reads nor overrides might run too early."""
    sly = make("S", run=lambda ctx: ctx.set("x", "new", force=True))
    with pytest.raises(UndeclaredWrite, match=r"S .* replaced 'x'.* Add @overrides\('x'\)"):
        run([make("P", produces="x"), sly])


def test_plain_strings_are_checked_against_declared_types(make: Make, run: Run) -> None:
    """A key that any plugin declares with a type keeps it when it is written by its name."""
    size: Key[int] = Key("size", int)
    reader = make("R", requires=size)
    with pytest.raises(WrongKeyType, match=r"W wrote 'big' .* to key 'size', which holds int"):
        run([make("W", produces="size", run=lambda ctx: ctx.set("size", "big")), reader])


def test_reading_too_early_is_explained(make: Make, run: Run) -> None:
    """A plugin that reads a key without requiring it is told who writes it and what to add."""
    early = make("Early", run=lambda ctx: ctx["x"])
    with pytest.raises(MissingKey) as caught:
        run([early, make("P", produces="x")])
    assert str(caught.value) == (
        "Early read key 'x', which has no value. P produces it, but has not run yet: add "
        "@requires('x') to Early, so that it runs later."
    )
    assert caught.value.__notes__ == ["raised by Early (extra_plugins[0] of 'orders')"]


def test_optional_keys_are_asked_for(make: Make, run: Run) -> None:
    """A reader of an optional key runs without it."""
    seen: list[object] = []
    run([make("R", requires=optional("x"), run=lambda ctx: seen.append(ctx.get("x")))])
    assert seen == [None]


def test_errors_of_plugins_stay_what_they_are(make: Make, run: Run) -> None:
    """An exception inside a plugin keeps its type and says in a note where it came from."""

    def fail(ctx: FactoryContext) -> None:
        raise ZeroDivisionError("oops")

    with pytest.raises(ZeroDivisionError) as caught:
        run([make("A", run=fail)])
    assert caught.value.__notes__ == ["raised by A (extra_plugins[0] of 'orders')"]


# --- staging -------------------------------------------------------------------------


def test_staged_operations_wait_for_all_plugins_and_keep_their_order(make: Make, run: Run) -> None:
    """What is staged happens after the last plugin, in the order in which it was staged."""
    events: list[str] = []

    def staging(name: str) -> Callable[[FactoryContext], None]:
        def stage(ctx: FactoryContext) -> None:
            events.append(f"{name} ran")
            ctx.stage(lambda: events.append(f"{name} applied"))

        return stage

    run([make("A", run=staging("A")), make("B", run=staging("B"))])
    assert events == ["A ran", "B ran", "A applied", "B applied"]


def test_nothing_staged_is_applied_when_a_plugin_fails(make: Make, run: Run) -> None:
    """A later plugin's failure keeps everything that was staged from happening."""
    events: list[str] = []
    plugins = [
        make("A", run=lambda ctx: ctx.stage(lambda: events.append("applied"))),
        make("B", produces="x", run=lambda ctx: None),
    ]
    with pytest.raises(UnwrittenKey):
        run(plugins)
    assert events == []


def test_staging_is_closed_afterwards(make: Make, run: Run) -> None:
    """Neither a staged operation nor the finished factory can stage more."""
    ctx = run([make("A")])
    with pytest.raises(ContextClosed, match=r"Call ctx\.stage inside the run method of a plugin"):
        ctx.stage(lambda: None)
    late = make("L", run=lambda ctx: ctx.stage(lambda: ctx.stage(lambda: None)))
    with pytest.raises(ContextClosed):
        run([late])


# --- all or nothing ------------------------------------------------------------------


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


# --- more than one resolution over one context ---------------------------------------


def extend(ctx: FactoryContext, plugins: list[Plugin]) -> Resolution:
    resolution = resolve("orders", enter(plugins, "more"), ctx.keys())
    resolution.run(ctx)
    return resolution


def test_a_filled_context_can_be_extended(make: Make, run: Run) -> None:
    """A view's plugins run over the context of its table and find everything there."""
    ctx = run([make("P", produces="x")])
    extend(ctx, [make("View", requires="x", produces="view")])
    assert ctx["view"] == "view by View"
    assert [type(plugin).__name__ for plugin in ctx.plugins] == ["P", "View"]


def test_a_failed_extension_leaves_the_context_as_it_was(make: Make, run: Run) -> None:
    """Values, contributions and the plugin list of the first resolution stay."""
    ctx = run([make("P", produces="x"), make("C", contributes="many")])
    plugins = [
        make("V", produces="view"),
        make("D", contributes=("many", "few")),
        make("F", run=fail),
    ]
    with pytest.raises(RuntimeError):
        extend(ctx, plugins)
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


def test_a_table_key_is_a_table(make: Make, run: Run) -> None:
    """The standard keys hold what they say, also when they are given to the factory."""
    with pytest.raises(WrongKeyType, match=r"The factory wrote 'no table' .* which holds Table"):
        run([make("R", requires=TABLE)], primary="no table")
