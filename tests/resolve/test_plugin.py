"""Decorators record what a plugin class reads and writes, and refuse what cannot be meant."""

from dataclasses import dataclass

import pytest
from sqlalchemy import MetaData

from pgflow.errors import PluginError, PostgresTooOld
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.keys import COLUMNS, PK, Key
from pgflow.resolve.plugin import (
    Dynamic,
    MinPGVersion,
    Plugin,
    after,
    before,
    check_pg_version,
    contributes,
    known_producers,
    min_pg_version,
    optional,
    overrides,
    produces,
    requires,
    singleton,
)


def test_keys_are_recorded_in_order() -> None:
    """Every decorator's keys are read back from an instance, in the order in which they stood."""

    @produces("b", "a")
    @requires(PK, optional("hint"))
    @contributes(COLUMNS)
    @overrides("name")
    class Sample(Plugin):
        pass

    sample = Sample()
    assert sample.resolved_produces() == ["b", "a"]
    assert sample.resolved_requires() == ["pk_columns"]
    assert sample.resolved_optional() == ["hint"]
    assert sample.resolved_contributes() == ["columns"]
    assert sample.resolved_overrides() == ["name"]


def test_keys_merge_with_the_parents() -> None:
    """A subclass has the keys of all its parents and its own, and the parents keep theirs."""

    @produces("a")
    @requires(MinPGVersion(15))
    class First(Plugin):
        pass

    @produces("b")
    @requires("x", MinPGVersion(17))
    class Second(Plugin):
        pass

    @produces("c", "a")
    class Both(First, Second):
        pass

    assert Both().resolved_produces() == ["a", "b", "c"]
    assert Both().resolved_requires() == ["x"]
    assert Both.min_pg_version == 17
    assert First().resolved_produces() == ["a"]
    assert First.min_pg_version == 15
    assert Plugin.min_pg_version is None


def test_stacked_decorators_add_up() -> None:
    """The same decorator twice on one class records the keys of both."""

    @requires("a")
    @requires("b")
    class Sample(Plugin):
        pass

    assert sorted(Sample().resolved_requires()) == ["a", "b"]


def test_class_attributes_say_the_same_as_decorators() -> None:
    """`overrides`, `before` and `after` may be written as attributes, one thing or several."""

    class Attributes(Plugin):
        overrides = "name"
        before = ("X", "Y")
        after = Plugin

    @overrides("name")
    @before("X", "Y")
    @after(Plugin)
    class Decorated(Plugin):
        pass

    assert Attributes._declared == Decorated._declared


def test_decorators_return_the_class_itself() -> None:
    """A decorated class is the class, not a wrapper."""

    class Sample(Plugin):
        pass

    assert produces("a")(Sample) is Sample
    assert singleton("__g__")(Sample) is Sample
    assert Sample.singleton_group == "__g__"


def test_dynamic_keys_come_from_the_instance() -> None:
    """Two instances of one class may write two keys."""

    @produces(Dynamic("out"))
    class Sample(Plugin):
        def __init__(self, out: str = "result") -> None:
            self.out = out

    assert Sample().resolved_produces() == ["result"]
    assert Sample("other").resolved_produces() == ["other"]


def test_dynamic_finds_parameters_of_parent_classes() -> None:
    """A subclass that forwards its arguments may refer to a parameter of its parent."""

    class Parent(Plugin):
        def __init__(self, table_key: str = "primary") -> None:
            self.table_key = table_key

    @requires(Dynamic("table_key"), Dynamic("extra"))
    class Child(Parent):
        def __init__(self, extra: str, **kwargs: str) -> None:
            super().__init__(**kwargs)
            self.extra = extra

    assert Child("more").resolved_requires() == ["primary", "more"]


def test_dynamic_works_with_dataclasses() -> None:
    """A plugin may be a dataclass."""

    @produces(Dynamic("out"))
    @dataclass
    class Sample(Plugin):
        out: str = "result"

    assert Sample().resolved_produces() == ["result"]


def test_dynamic_must_name_a_parameter() -> None:
    """A misspelt attribute is refused when the class is decorated, with the names that exist."""
    with pytest.raises(TypeError) as caught:

        @produces(Dynamic("tabel_key"))
        class Sample(Plugin):
            def __init__(self, table_key: str, other: int = 1) -> None:
                self.table_key = table_key

    assert str(caught.value) == (
        "Dynamic('tabel_key') names no __init__ parameter of Sample (it has: table_key, other). "
        "Add the parameter and keep it as self.tabel_key; a @dataclass decorator stands below "
        "the plugin's decorators."
    )


def test_dynamic_attributes_are_checked_too() -> None:
    """A class attribute with a `Dynamic` is held to the same rule."""
    with pytest.raises(TypeError, match=r"names no __init__ parameter of Sample \(it has: none\)"):

        class Sample(Plugin):
            overrides = Dynamic("missing")


def test_a_dynamic_key_that_is_not_kept_is_named() -> None:
    """A plugin that forgets to keep its argument is told so, not given an AttributeError."""

    @produces(Dynamic("out"))
    class Forgetful(Plugin):
        def __init__(self, out: str = "result") -> None:
            pass

    with pytest.raises(PluginError, match=r"Forgetful declares Dynamic\('out'\), but its attrib"):
        Forgetful().resolved_produces()


def test_a_dynamic_key_may_be_none_only_where_optional() -> None:
    """None means "not this time" for an optional key, and is refused for the others."""

    @requires(optional(Dynamic("joins")))
    class Lenient(Plugin):
        def __init__(self, joins: str | None = None) -> None:
            self.joins = joins

    @requires(Dynamic("joins"))
    class Strict(Lenient):
        pass

    assert Lenient().resolved_optional() == []
    assert Lenient("j").resolved_optional() == ["j"]
    with pytest.raises(PluginError, match="Strict needs a key in its attribute 'joins', which is"):
        Strict().resolved_requires()


@pytest.mark.parametrize("wrong", ["", 3, None, Plugin])
def test_only_keys_are_taken(wrong: object) -> None:
    """What is no key is refused at decoration."""
    with pytest.raises(TypeError, match=r"Sample takes keys, non-empty strings and Dynamic\(...\)"):

        @requires(wrong)  # type: ignore[arg-type]  # what is refused
        class Sample(Plugin):
            pass


def test_only_plugins_can_be_decorated() -> None:
    """A class that does not derive from Plugin is refused."""
    with pytest.raises(TypeError, match="@produces decorates subclasses of Plugin, not <class"):
        produces("x")(int)  # type: ignore[type-var]  # what is refused


def test_neighbours_are_classes_or_names() -> None:
    """An instance after `before` is refused: it would match nothing."""
    with pytest.raises(TypeError, match="Sample: before and after take plugin classes or names"):

        class Sample(Plugin):
            before = 3


def test_collecting_keys_are_contributed_to() -> None:
    """Producing a collecting key, or contributing to a plain one, is refused at decoration."""
    with pytest.raises(TypeError, match="Sample cannot produce 'columns', which collects"):

        @produces(COLUMNS)
        class Sample(Plugin):
            pass

    with pytest.raises(TypeError, match="Other cannot contribute to 'pk_columns', which holds one"):

        @contributes(PK)
        class Other(Plugin):
            pass


def test_a_class_is_in_one_group() -> None:
    """Two singleton groups on one class are refused; a subclass may choose another."""

    @singleton("a")
    class Sample(Plugin):
        pass

    with pytest.raises(TypeError, match="Sample is in group 'a' already"):
        singleton("b")(Sample)

    @singleton("b")
    class Child(Sample):
        pass

    class Heir(Sample):
        pass

    assert (Sample.singleton_group, Child.singleton_group, Heir.singleton_group) == ("a", "b", "a")
    with pytest.raises(TypeError, match="@singleton takes the name of a group"):
        singleton("")


@pytest.mark.parametrize("wrong", [0, -3, "18", True])
def test_versions_are_major_versions(wrong: object) -> None:
    """Something that cannot be a major version is refused."""
    with pytest.raises(TypeError, match="MinPGVersion takes a major version such as 18, not"):
        MinPGVersion(wrong)  # type: ignore[arg-type]  # what is refused


@requires(MinPGVersion(18))
class NeedsEighteen(Plugin):
    """A plugin for the newest server."""


@requires(MinPGVersion(16))
class NeedsSixteen(Plugin):
    """A plugin for a rather new server."""


@pytest.mark.parametrize("server", [15, (15, 18), 150018])
def test_an_old_server_is_refused_naming_every_plugin(server: int | tuple[int, ...]) -> None:
    """The version may come as a number, a tuple or libpq's form; every plugin is named."""
    with pytest.raises(PostgresTooOld) as caught:
        check_pg_version(server, [NeedsEighteen(), Plugin(), NeedsSixteen()])
    assert str(caught.value) == (
        "The server is PostgreSQL 15, which is too old: NeedsEighteen needs 18, NeedsSixteen "
        "needs 16. Upgrade the server, or use other plugins."
    )
    assert caught.value.required == 18
    assert caught.value.server_version == 15
    assert caught.value.plugins == ("NeedsEighteen", "NeedsSixteen")


def test_a_new_server_passes() -> None:
    """A server that is new enough passes, and the highest minimum is what counts."""
    plugins = [NeedsEighteen(), NeedsSixteen(), Plugin()]
    check_pg_version((18, 4), plugins)
    assert min_pg_version(plugins) == 18
    assert min_pg_version([Plugin()]) is None


def test_a_plugin_without_run_says_so() -> None:
    """Running a plugin that defines no `run` is an error that says what to define."""
    ctx = FactoryContext("orders", None, MetaData(), [], [])
    with pytest.raises(PluginError, match=r"does nothing: define run\(self, ctx\)"):
        Plugin().run(ctx)


def test_producers_are_known_by_their_keys() -> None:
    """Every plugin class in the process can be suggested, also by the default of a `Dynamic`."""

    @produces("key_of_this_test")
    class Fixed(Plugin):
        pass

    @produces(Dynamic("out"))
    class Flexible(Plugin):
        def __init__(self, out: str = "key_of_this_test") -> None:
            self.out = out

    assert known_producers("key_of_this_test") == ["Fixed", "Flexible"]
    assert known_producers("no_such_key_anywhere") == []


def test_strings_and_keys_mix() -> None:
    """A typed key stays typed among the resolved ones, so that the context can check it."""
    size: Key[int] = Key("size", int)

    @produces("plain", size)
    class Sample(Plugin):
        pass

    assert [type(key) for key in Sample().resolved_produces()] == [str, Key]
