"""Extensions and configurations: what comes before every factory's own plugins."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import MetaData

from pgflow.errors import ConfigConflict, ExtensionError, NotAPlugin
from pgflow.resolve.config import Config
from pgflow.resolve.extension import Extension
from pgflow.resolve.plugin import Plugin

Make = Callable[..., Plugin]


def extension(name: str, *depends_on: str, plugins: tuple[Plugin, ...] = ()) -> Extension:
    return Extension(name=name, depends_on=depends_on, plugins=plugins)


def names(config: Config) -> list[str]:
    return [one.name for one in config.extensions]


def test_extensions_follow_those_they_depend_on() -> None:
    """Order of use is kept except where a dependency says otherwise."""
    config = Config().use(extension("c", "b"), extension("x"), extension("b", "a"), extension("a"))
    assert names(config) == ["x", "a", "b", "c"]


def test_extensions_may_be_used_one_after_the_other() -> None:
    """A dependency that is in use already counts."""
    assert names(Config().use(extension("a")).use(extension("b", "a"))) == ["a", "b"]


@pytest.mark.parametrize(
    ("used", "sentence"),
    [
        (
            [extension("a", "b", "c"), extension("c")],
            "Extension 'a' depends on 'b', which is not in use. Use it first, or both in one call: "
            "config.use(first, second).",
        ),
        (
            [extension("a"), extension("a")],
            "Extension 'a' is used twice: use it once, or give the second another name.",
        ),
        (
            [extension("z", "a"), extension("a", "b"), extension("b", "a")],
            "Extensions depend on each other: a -> b -> a. Remove one of the dependencies.",
        ),
        (
            [Extension()],
            "An extension of class Extension has no name: give it one, as in "
            'Extension(name="audit").',
        ),
        (
            [Extension(name="a", depends_on="b")],
            "Extension 'a' has depends_on='b': write a list of names.",
        ),
        ([3], "3 is no extension: give an instance of pgflow.Extension or of a subclass of it."),
    ],
)
def test_extensions_that_do_not_fit_are_named(used: list[Any], sentence: str) -> None:
    """What is wrong is said with names, and the configuration stays as it was."""
    config = Config().use(extension("before"))
    with pytest.raises(ExtensionError) as caught:
        config.use(*used)
    assert str(caught.value) == sentence
    assert names(config) == ["before"]


def test_extension_plugins_come_first(make: Make) -> None:
    """All plugins: those of extensions in their order, then those that were registered."""
    registered, base, more = make("R"), make("B"), make("M")
    config = Config(
        [registered],
        [extension("more", "base", plugins=(more,)), extension("base", plugins=(base,))],
    )
    assert config.all_plugins == [base, more, registered]
    assert config.plugins == [registered]
    assert [entry.origin for entry in config.entries()] == [
        "extension 'base' plugins[0]",
        "extension 'more' plugins[0]",
        "config.plugins[0]",
    ]
    assert repr(config) == "Config(plugins=['R'], extensions=['base', 'more'])"


def test_registering_chains_and_counts_on(make: Make) -> None:
    """`register` returns the configuration, and origins count through all calls."""
    config = Config().register(make("A")).register(make("B"), make("C"))
    assert [entry.origin for entry in config.entries()] == [
        "config.plugins[0]",
        "config.plugins[1]",
        "config.plugins[2]",
    ]
    with pytest.raises(NotAPlugin, match=r"config.plugins\[3\] is 'x' and no plugin"):
        config.register("x")  # type: ignore[arg-type]  # what is refused


def test_a_configuration_belongs_to_a_metadata() -> None:
    """What is attached is found again; without it there is an empty configuration."""
    metadata = MetaData()
    assert Config.of(metadata).all_plugins == []
    config = Config(utility_schema="tools")
    assert config.attach(metadata) is config
    assert config.attach(metadata) is config
    assert Config.of(metadata) is config
    assert Config.of(metadata).utility_schema == "tools"


def test_a_second_configuration_is_refused(make: Make) -> None:
    """Factories may have used the first, so a second one cannot take its place."""
    metadata = MetaData()
    Config([make("A")]).attach(metadata)
    with pytest.raises(ConfigConflict) as caught:
        Config().attach(metadata)
    assert str(caught.value) == (
        "The MetaData already carries Config(plugins=['A'], extensions=[]); Config(plugins=[], "
        "extensions=[]) cannot take its place, since factories may have used it. Change the first "
        "one with use() and register()."
    )


@dataclass(kw_only=True)
class Audit(Extension):
    """An extension as its author writes it: a dataclass with defaults and a hook."""

    name: str = "audit"
    schema: str = "log"

    def configure_metadata(self, metadata: MetaData) -> None:
        """Leave a mark."""
        metadata.info.setdefault("marks", []).append(self.schema)


def test_hooks_run_in_order() -> None:
    """Every extension configures the MetaData, after those it depends on."""
    metadata = MetaData()
    config = Config().use(Audit(name="b", schema="second", depends_on=["audit"]), Audit())
    config.configure_metadata(metadata)
    assert metadata.info["marks"] == ["log", "second"]


def test_hooks_default_to_nothing() -> None:
    """An extension that only bundles plugins needs no hook."""
    plain = extension("plain")
    plain.configure_metadata(MetaData())
    assert (plain.alembic, plain.cli) == (None, None)


def test_a_failing_hook_names_its_extension() -> None:
    """The exception keeps its type and says in a note which extension raised it."""

    class Broken(Extension):
        def configure_metadata(self, metadata: MetaData) -> None:
            raise LookupError("oops")

    with pytest.raises(LookupError) as caught:
        Config().use(Broken(name="broken")).configure_metadata(MetaData())
    assert caught.value.__notes__ == ["raised by configure_metadata of extension 'broken'"]
