"""A plugin list that cannot work is refused before the first plugin runs, naming the way out."""

from collections.abc import Callable

import pytest

from pgflow.errors import (
    DuplicateProducer,
    MissingProducer,
    MixedKey,
    NotAPlugin,
    PluginError,
    SingletonClash,
)
from pgflow.resolve.keys import COLUMNS
from pgflow.resolve.plugin import Plugin, produces
from pgflow.resolve.resolution import Resolution
from pgflow.resolve.wiring import enter

Make = Callable[..., Plugin]
Resolve = Callable[..., Resolution]


def test_a_missing_producer_says_everything(make: Make, resolved: Resolve) -> None:
    """Who asks, for what, where that plugin came from, what to add, and what may be misspelt."""

    @produces("sample_columns")
    class SampleSerialPlugin(Plugin):
        pass

    plugins = [make("UUIDPlugin", produces="sample_column"), make("M", requires="sample_columns")]
    with pytest.raises(MissingProducer) as caught:
        resolved(plugins)
    assert str(caught.value) == (
        "M (extra_plugins[1] of 'orders') requires 'sample_columns', which no plugin produces.\n"
        "Add SampleSerialPlugin, or did you mean 'sample_column' (produced by UUIDPlugin)?"
    )
    error = caught.value
    assert (error.plugin, error.key) == ("M", "sample_columns")
    assert error.origin == "extra_plugins[1] of 'orders'"
    assert (error.candidates, error.nearest) == (("SampleSerialPlugin",), "sample_column")


def test_a_missing_producer_without_any_idea(make: Make, resolved: Resolve) -> None:
    """With nothing to suggest, the error says how to produce the key or do without it."""
    with pytest.raises(MissingProducer) as caught:
        resolved([make("M", requires="zzz")])
    assert str(caught.value) == (
        "M (extra_plugins[0] of 'orders') requires 'zzz', which no plugin produces.\n"
        "Add a plugin that @produces('zzz'), or require it as optional('zzz')."
    )


def test_a_misspelt_given_key_is_suggested(make: Make, resolved: Resolve) -> None:
    """Keys that the factory gives are suggested like those that plugins produce."""
    with pytest.raises(MissingProducer, match=r"produces\.\nDid you mean 'target'\?$"):
        resolved([make("M", requires="targett")], ["target"])


def test_overriding_needs_something_to_override(make: Make, resolved: Resolve) -> None:
    """A plugin cannot replace a value that nobody writes."""
    with pytest.raises(
        MissingProducer, match=r"O \(extra_plugins\[0\] of 'orders'\) overrides 'x'"
    ):
        resolved([make("O", overrides="x")])


def test_two_producers_are_both_named(make: Make, resolved: Resolve) -> None:
    """The error names both plugins with their origins and three ways out."""
    with pytest.raises(DuplicateProducer) as caught:
        resolved([make("A", produces="x"), make("B", produces="x")])
    assert str(caught.value) == (
        "B (extra_plugins[1] of 'orders') produces 'x', which A (extra_plugins[0] of 'orders') "
        "produces too. Remove one of the two, give one of them another key, or let the second "
        "replace the value on purpose with @overrides('x')."
    )


def test_given_keys_are_not_produced_again(make: Make, resolved: Resolve) -> None:
    """A plugin that produces what the factory gives is a second producer."""
    with pytest.raises(DuplicateProducer, match="which the factory itself produces too"):
        resolved([make("A", produces="x")], ["x"])


def test_a_group_takes_one_plugin(make: Make, resolved: Resolve) -> None:
    """Two plugins of one singleton group are refused, both named."""
    with pytest.raises(SingletonClash) as caught:
        resolved([make("A", group="__pk__"), make("X"), make("B", group="__pk__")])
    assert str(caught.value) == (
        "A (extra_plugins[0] of 'orders') and B (extra_plugins[2] of 'orders') are both of group "
        "'__pk__', of which a factory takes one plugin. Remove one of them."
    )
    assert caught.value.group == "__pk__"


def test_a_key_is_one_value_or_many(make: Make, resolved: Resolve) -> None:
    """A key that one plugin produces and another contributes to is refused."""
    with pytest.raises(MixedKey) as caught:
        resolved([make("A", produces="x"), make("B", contributes="x")])
    assert str(caught.value) == (
        "A (extra_plugins[0] of 'orders') produces 'x' as one value, but for B (extra_plugins[1] "
        "of 'orders') it collects from many plugins. Contribute to it with @contributes, or use "
        "another key."
    )


def test_the_standard_collecting_key_is_not_produced_by_its_plain_name(
    make: Make, resolved: Resolve
) -> None:
    """A plain string is no way around: "columns" collects, whoever writes it."""
    with pytest.raises(MixedKey, match="but for pgflow it collects from many plugins"):
        resolved([make("A", produces="columns"), make("B", requires=COLUMNS)])


class Sample(Plugin):
    """A plugin that needs no arguments."""

    def run(self, ctx: object) -> None:
        """Do nothing."""


def test_lists_take_instances_classes_and_callables() -> None:
    """A list may hold an instance, a class, or a callable that makes an instance."""
    instance = Sample()
    entries = enter([instance, Sample, lambda: instance], "plugins", start=3)
    assert [type(entry.plugin) for entry in entries] == [Sample, Sample, Sample]
    assert entries[0].plugin is entries[2].plugin is instance
    assert [entry.origin for entry in entries] == ["plugins[3]", "plugins[4]", "plugins[5]"]


class Demanding(Sample):
    """A plugin that cannot be made without arguments."""

    def __init__(self, size: int) -> None:
        self.size = size


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("x", r"plugins\[0\] is 'x' and no plugin\. Give an instance of a subclass of Plugin"),
        (dict, r"plugins\[0\] is \{\}, which <class 'dict'> made, and no plugin"),
        (Demanding, r"Demanding'>, which cannot be called without arguments \(.*'size'\)\. Give"),
        (Plugin, r"Plugin \(plugins\[0\]\) has no run method: define run\(self, ctx\)"),
    ],
)
def test_anything_else_is_refused_with_its_place(wrong: object, sentence: str) -> None:
    """What is no plugin is named together with the list and position where it stands."""
    with pytest.raises(NotAPlugin, match=sentence) as caught:
        enter([wrong], "plugins")  # type: ignore[list-item]  # what is refused
    assert isinstance(caught.value, PluginError)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("wrong", [Sample(), Sample, "SerialPKPlugin", 3])
def test_a_list_is_a_list(wrong: object) -> None:
    """A single plugin in place of a list is refused instead of being iterated."""
    with pytest.raises(NotAPlugin, match=r"extra_plugins is .*: give a list of plugins"):
        enter(wrong, "extra_plugins")  # type: ignore[arg-type]  # what is refused


def test_a_single_plugin_is_shown_in_its_list() -> None:
    """The message spells the list that was meant, and no address in memory."""
    for wrong, list_ in ((Sample(), r"\[Sample\(\.\.\.\)\]"), (Sample, r"\[Sample\]")):
        with pytest.raises(NotAPlugin, match=f"give a list of plugins: extra_plugins={list_}"):
            enter(wrong, "extra_plugins")  # type: ignore[arg-type]  # what is refused
