"""Plugins do what they declare, all of them or none."""

from collections.abc import Callable

import pytest
from sqlalchemy import Column, Integer

from pgflow.errors import (
    ContextClosed,
    KeyAlreadySet,
    MissingKey,
    UndeclaredWrite,
    UnwrittenKey,
    WrongKeyType,
)
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.keys import COLUMNS, TABLE, Key
from pgflow.resolve.plugin import Plugin, optional
from pgflow.resolve.resolution import resolve
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


# --- more than one resolution over one context ---------------------------------------


def test_a_filled_context_can_be_extended(make: Make, run: Run) -> None:
    """A view's plugins run over the context of its table and find everything there."""
    ctx = run([make("P", produces="x")])
    more = enter([make("View", requires="x", produces="view")], "more")
    resolve("orders", more, ctx.keys()).run(ctx)
    assert ctx["view"] == "view by View"
    assert [type(plugin).__name__ for plugin in ctx.plugins] == ["P", "View"]


def test_a_table_key_is_a_table(make: Make, run: Run) -> None:
    """The standard keys hold what they say, also when they are given to the factory."""
    with pytest.raises(WrongKeyType, match=r"The factory wrote 'no table' .* which holds Table"):
        run([make("R", requires=TABLE)], primary="no table")
