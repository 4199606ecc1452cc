"""Plugins run after those whose keys they read, and otherwise in list order."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgflow.errors import PluginCycle
from pgflow.resolve import order, wiring
from pgflow.resolve.keys import COLUMNS, Key
from pgflow.resolve.plugin import Plugin, before, optional, produces, requires
from pgflow.resolve.resolution import Resolution, resolve
from pgflow.resolve.wiring import enter

Make = Callable[..., Plugin]
Resolve = Callable[..., Resolution]
Names = Callable[[Resolution], list[str]]


def test_independent_plugins_keep_list_order(make: Make, resolved: Resolve, names: Names) -> None:
    """Where no key speaks, the list does."""
    assert names(resolved([make(name) for name in "CABD"])) == ["C", "A", "B", "D"]


def test_readers_wait_for_producers(make: Make, resolved: Resolve, names: Names) -> None:
    """A reader runs after its producer, and as early as that allows."""
    plugins = [make("R", requires="x"), make("A"), make("P", produces="x"), make("B")]
    assert names(resolved(plugins)) == ["A", "P", "R", "B"]


def test_given_keys_need_no_producer(make: Make, resolved: Resolve, names: Names) -> None:
    """A key that the factory gives is there for everybody from the start."""
    plugins = [make("R", requires="x"), make("A")]
    assert names(resolved(plugins, ["x"])) == ["R", "A"]


def test_readers_of_a_collecting_key_wait_for_all(
    make: Make, resolved: Resolve, names: Names
) -> None:
    """Whoever requires a collecting key runs after every contributor, wherever those stand."""
    plugins = [
        make("Table", requires=COLUMNS),
        make("One", contributes=COLUMNS),
        make("Other"),
        make("Two", contributes="columns"),
    ]
    assert names(resolved(plugins)) == ["One", "Other", "Two", "Table"]


def test_a_collecting_key_may_stay_empty(make: Make, resolved: Resolve, names: Names) -> None:
    """Nobody has to contribute to a key that says that it collects."""
    own: Key[tuple[str, ...]] = Key("own", str, collecting=True)
    assert names(resolved([make("R", requires=own), make("S", requires="columns")])) == ["R", "S"]


def test_a_contributor_may_read_what_the_others_gave(
    make: Make, resolved: Resolve, names: Names
) -> None:
    """A plugin that adds to a key and requires it runs after the other contributors."""
    plugins = [
        make("Last", contributes=COLUMNS, requires=COLUMNS),
        make("First", contributes=COLUMNS),
    ]
    assert names(resolved(plugins)) == ["First", "Last"]


def test_optional_keys_order_only_where_they_exist(
    make: Make, resolved: Resolve, names: Names
) -> None:
    """An optional key makes its reader wait for a producer that is there, and for no other."""
    reader = make("R", requires=optional("x"))
    assert names(resolved([reader, make("A")])) == ["R", "A"]
    assert names(resolved([reader, make("P", produces="x")])) == ["P", "R"]


def test_overriding_stands_between_producer_and_readers(
    make: Make, resolved: Resolve, names: Names
) -> None:
    """A plugin that overrides a key runs after its producer and before its readers."""
    plugins = [
        make("R", requires="x"),
        make("Second", overrides="x"),
        make("First", overrides="x", requires="x"),
        make("P", produces="x"),
    ]
    assert names(resolved(plugins)) == ["P", "Second", "First", "R"]


def test_overriding_what_the_factory_gives(make: Make, resolved: Resolve, names: Names) -> None:
    """A given key can be overridden, too, before anybody reads it."""
    plugins = [make("R", requires="x"), make("O", overrides="x")]
    assert names(resolved(plugins, ["x"])) == ["O", "R"]


def test_before_and_after_take_names_and_classes(
    make: Make, resolved: Resolve, names: Names
) -> None:
    """Wishes order plugins that are present; subclasses count, absent ones are ignored."""
    parent = make("Parent")
    child = type("Child", (type(parent),), {})()
    plugins = [
        make("A", after=(type(parent), "NotHere")),
        make("B"),
        child,
        make("C", before=("B", "NotHere")),
    ]
    assert names(resolved(plugins)) == ["Child", "A", "C", "B"]


def test_a_wish_never_means_oneself(make: Make, resolved: Resolve, names: Names) -> None:
    """A plugin that asks to run after every plugin runs last, and does not wait for itself."""
    plugins = [make("Last", after=Plugin), make("A"), make("First", before=Plugin)]
    assert names(resolved(plugins)) == ["First", "A", "Last"]


def test_a_cycle_is_shown_as_a_chain(make: Make, resolved: Resolve) -> None:
    """The error names each plugin of the cycle with the key that leads to the next."""
    plugins = [
        make("A", produces="pk", requires="unique"),
        make("Innocent"),
        make("B", produces="unique", requires="pk"),
    ]
    with pytest.raises(PluginCycle) as caught:
        resolved(plugins)
    assert str(caught.value) == (
        "Plugins of 'orders' wait for each other: A -[pk]-> B -[unique]-> A. Remove one of these "
        "requirements. (A is extra_plugins[0]; B is extra_plugins[2])"
    )
    assert caught.value.chain == ("A", "pk", "B", "unique", "A")


def test_needing_ones_own_product_is_a_cycle(make: Make, resolved: Resolve) -> None:
    """A plugin that requires what only it produces waits for itself."""
    with pytest.raises(PluginCycle, match=r"wait for each other: A -\[x\]-> A\."):
        resolved([make("A", produces="x", requires="x")])


def test_reading_ones_own_product_optionally_is_no_cycle(
    make: Make, resolved: Resolve, names: Names
) -> None:
    """A plugin may look whether its own key is there already."""
    assert names(resolved([make("A", produces="x", requires=optional("x"))])) == ["A"]


def test_wishes_can_make_a_cycle_too(make: Make, resolved: Resolve) -> None:
    """`before` and `after` are part of the chain under their own names."""
    with pytest.raises(PluginCycle, match=r"A -\[x\]-> B -\[before\]-> A\."):
        resolved([make("A", produces="x"), make("B", requires="x", before="A")])


def test_an_order_is_worked_out_once(make: Make, resolved: Resolve) -> None:
    """Factories with the same plugin classes and keys share one arrangement."""
    plugins = [make("R", requires="x"), make("P", produces="x")]
    again = [type(plugin)() for plugin in plugins]
    assert resolved(plugins).arrangement is resolved(again).arrangement


def test_the_memory_of_orders_is_bounded(
    make: Make, resolved: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that makes plugin classes for ever does not grow for ever."""
    monkeypatch.setattr(order, "_known", {})
    monkeypatch.setattr(order, "_KNOWN_AT_MOST", 3)
    for number in range(10):
        resolved([make(f"P{number}")])
        assert len(order._known) <= 3


def test_typed_and_plain_keys_are_told_apart_in_that_memory(make: Make, resolved: Resolve) -> None:
    """A list that is fine because its key collects does not vouch for one with a plain string."""
    gathered: Key[tuple[str, ...]] = Key("gathered", str, collecting=True)
    cls: Any = type("Reader", (Plugin,), {"run": lambda self, ctx: None})
    cls.resolved_requires = lambda self: [self.key]
    typed, plain = cls(), cls()
    typed.key, plain.key = gathered, "gathered"
    resolved([typed])
    with pytest.raises(Exception, match="requires 'gathered', which no plugin produces"):
        resolved([plain])


def test_what_is_known_of_plugins_is_shared_and_bounded(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instances of one class with the same keys share it; those of new classes do not pile up."""
    monkeypatch.setattr(wiring, "_known", {})
    monkeypatch.setattr(wiring, "_KNOWN_AT_MOST", 3)
    plugin = make("P", produces="x")
    first, second = enter([plugin, type(plugin)()], "plugins")
    assert first.wires is second.wires
    for number in range(10):
        enter([make(f"P{number}")], "plugins")[0].wires  # noqa: B018  # works it out
        assert len(wiring._known) <= 3


def test_a_wish_that_a_class_is_given_later_counts(
    make: Make, resolved: Resolve, names: Names
) -> None:
    """What was known of earlier instances does not hide it."""
    plugins = [make("A"), make("B")]
    assert names(resolved(plugins)) == ["A", "B"]
    before("A")(type(plugins[1]))
    assert names(resolved(plugins)) == ["B", "A"]


def test_networkx_is_imported_only_to_sort() -> None:
    """A script that declares no factory does not pay for importing networkx."""
    code = "import sys, pgflow.factory; sys.exit('networkx' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=25))
def test_any_list_without_a_cycle_is_ordered(pairs: list[tuple[int, int]]) -> None:
    """Whatever plugins need of each other: all run once, and each after those it needs."""
    needs = {index: {a for a, b in pairs if b == index and a < b} for index in range(10)}
    plugins = []
    for index in reversed(range(10)):
        cls = type(f"P{index}", (Plugin,), {"run": lambda self, ctx: None})
        cls = produces(f"k{index}")(requires(*(f"k{a}" for a in sorted(needs[index])))(cls))
        plugins.append(cls())
    ordered = [entry.name for entry in resolve("any", enter(plugins, "plugins")).ordered]
    assert sorted(ordered) == sorted(type(plugin).__name__ for plugin in plugins)
    for index, others in needs.items():
        assert all(ordered.index(f"P{a}") < ordered.index(f"P{index}") for a in others)
