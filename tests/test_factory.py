"""The conductor: which plugins a factory runs, from where, and what it leaves behind."""

import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from pgflow.errors import (
    DeclarationError,
    DuplicateProducer,
    InvalidIdentifier,
    MissingProducer,
    NotAPlugin,
    PostgresTooOld,
)
from pgflow.factory import ResourceFactory
from pgflow.resolve.config import Config
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.extension import Extension
from pgflow.resolve.keys import COLUMNS, PK, TABLE, Key, PrimaryKey
from pgflow.resolve.plugin import MinPGVersion, Plugin, contributes, produces, requires

NOTE = Key("note", str)


@produces(PK)
class NumberPlugin(Plugin):
    """A primary key of one column."""

    def run(self, ctx: FactoryContext) -> None:
        ctx[PK] = PrimaryKey((Column("id", Integer, primary_key=True),))


@contributes(COLUMNS)
class StampPlugin(Plugin):
    """A column of its own for every table."""

    def __init__(self, name: str = "stamp") -> None:
        self.name = name

    def run(self, ctx: FactoryContext) -> None:
        ctx.contribute(COLUMNS, Column(self.name, Integer))


@produces(TABLE)
@requires(PK, COLUMNS)
class CreatePlugin(Plugin):
    """The table."""

    def run(self, ctx: FactoryContext) -> None:
        ctx[TABLE] = Table(
            ctx.tablename,
            ctx.metadata,
            *ctx[PK],
            *ctx.columns,
            *ctx[COLUMNS],
            schema=ctx.schemaname,
        )


@requires(TABLE)
class QuietPlugin(Plugin):
    """A plugin that only looks."""

    def run(self, ctx: FactoryContext) -> None:
        assert ctx[TABLE] is not None


@requires(TABLE)
class FailingPlugin(Plugin):
    """A plugin that fails after the table exists."""

    def run(self, ctx: FactoryContext) -> None:
        raise RuntimeError("too late")


class Sample(ResourceFactory):
    """A table factory in small."""

    DEFAULT_PLUGINS = (StampPlugin("default"),)
    _INTERNAL_PLUGINS = (CreatePlugin, lambda: QuietPlugin())

    def _complete(self, plugins: list[Plugin]) -> list[Plugin]:
        if any(PK in plugin.resolved_produces() for plugin in plugins):
            return plugins
        return [NumberPlugin(), *plugins]


def origins(factory: ResourceFactory) -> list[tuple[str, str]]:
    return [(step.plugin, step.origin) for step in factory.explain().steps]


def test_a_factory_fills_its_context_when_it_is_made() -> None:
    """After construction the context holds everything, and the MetaData the table."""
    metadata = MetaData()
    factory = Sample("orders", "shop", metadata, [Column("amount", Integer)])
    assert factory.ctx[TABLE] is metadata.tables["shop.orders"]
    assert factory.ctx[TABLE].c.keys() == ["id", "amount", "default"]
    assert repr(factory) == "Sample('orders', 'shop')"


def test_the_list_has_a_fixed_order() -> None:
    """Extensions, configuration, own plugins, extra ones, internal ones: in this order."""
    config = Config([StampPlugin("c")], [Extension(name="e", plugins=[StampPlugin("e")])])
    factory = Sample(
        "orders",
        "shop",
        MetaData(),
        config=config,
        plugins=[StampPlugin("p"), NumberPlugin],
        extra_plugins=[StampPlugin("x")],
    )
    assert factory.ctx[TABLE].c.keys() == ["id", "e", "c", "p", "x"]
    assert origins(factory) == [
        ("StampPlugin", "extension 'e' plugins[0]"),
        ("StampPlugin", "config.plugins[0]"),
        ("StampPlugin", "plugins[0]"),
        ("NumberPlugin", "plugins[1]"),
        ("StampPlugin", "extra_plugins[0]"),
        ("CreatePlugin", "Sample._INTERNAL_PLUGINS[0]"),
        ("QuietPlugin", "Sample._INTERNAL_PLUGINS[1]"),
    ]
    assert [type(plugin).__name__ for plugin in factory.plugins] == [o[0] for o in origins(factory)]
    assert factory.ctx.plugins == factory.plugins


def test_a_subclass_completes_the_list() -> None:
    """What `_complete` adds stands where it was put, and is known as added by the factory."""
    factory = Sample("orders", "shop", MetaData())
    assert origins(factory)[:2] == [
        ("NumberPlugin", "added by Sample"),
        ("StampPlugin", "Sample.DEFAULT_PLUGINS[0]"),
    ]


def test_one_instance_may_stand_twice() -> None:
    """Origins stay apart when the same plugin instance is in two lists."""
    plugin = QuietPlugin()
    factory = Sample("o", "s", MetaData(), plugins=[plugin], extra_plugins=[plugin])
    assert ("QuietPlugin", "plugins[0]") in origins(factory)
    assert ("QuietPlugin", "extra_plugins[0]") in origins(factory)


def test_plugins_replace_the_defaults() -> None:
    """An empty list means no defaults; internal plugins stay."""
    factory = Sample("orders", "shop", MetaData(), plugins=[])
    assert factory.ctx[TABLE].c.keys() == ["id"]


def test_default_instances_are_shared_safely() -> None:
    """Two factories with one plugin instance each have their own columns and tables."""
    metadata = MetaData()
    first = Sample("a", "shop", metadata)
    second = Sample("b", "shop", metadata)
    assert first.ctx[TABLE].c.default is not second.ctx[TABLE].c.default
    assert set(metadata.tables) == {"shop.a", "shop.b"}


def test_the_attached_configuration_is_found() -> None:
    """Without `config=` the one on the MetaData holds; with it, only that one."""
    metadata = MetaData()
    config = Config([StampPlugin("everywhere")]).attach(metadata)
    assert Sample("a", "shop", metadata).ctx[TABLE].c.keys() == ["id", "everywhere", "default"]
    assert Sample("b", "s", metadata, config=Config()).ctx[TABLE].c.keys() == ["id", "default"]
    assert Sample("c", "shop", metadata).ctx.config is config


def test_subclasses_hand_in_more() -> None:
    """A spec and further inputs reach the plugins; given keys need no producer."""

    @requires(NOTE)
    class NotePlugin(Plugin):
        def run(self, ctx: FactoryContext) -> None:
            notes.append((ctx[NOTE], ctx.spec))

    notes: list[tuple[str, object]] = []

    class Noting(ResourceFactory):
        DEFAULT_PLUGINS = (NotePlugin,)

        def __init__(self, name: str, note: str) -> None:
            super().__init__(name, None, MetaData(), spec={"of": name}, inputs={NOTE: note})

    factory = Noting("sync", "hello")
    assert notes == [("hello", {"of": "sync"})]
    assert factory.explain().given == ("note",)
    assert factory.ctx.schemaname is None


def test_inputs_are_not_produced_again() -> None:
    """A plugin that writes what the factory gives is refused, with its origin."""
    with pytest.raises(DuplicateProducer, match=r"NumberPlugin \(plugins\[0\] of 'o'\) produces"):
        ResourceFactory(
            "o",
            None,
            MetaData(),
            plugins=[NumberPlugin],
            inputs={PK: PrimaryKey((Column("x", Integer),))},
        )


def test_validation_comes_first() -> None:
    """`_validate` sees the inputs before plugins are looked at."""

    class Strict(Sample):
        def _validate(self) -> None:
            if not self.schema_items:
                raise DeclarationError(f"{self.tablename!r} has no columns")

    with pytest.raises(DeclarationError, match="'orders' has no columns"):
        Strict("orders", "shop", MetaData(), plugins=["not even a plugin"])  # type: ignore[list-item]


def test_a_failure_names_the_plugin_and_leaves_nothing() -> None:
    """The table that an earlier plugin created is gone again."""
    metadata = MetaData()
    with pytest.raises(RuntimeError) as caught:
        Sample("orders", "shop", metadata, extra_plugins=[FailingPlugin])
    assert caught.value.__notes__ == ["raised by FailingPlugin (extra_plugins[0] of 'orders')"]
    assert not metadata.tables
    assert not metadata._schemas
    Sample("orders", "shop", metadata)


def test_a_missing_producer_is_found_before_anything_runs() -> None:
    """A factory without a producer names the default plugin that asks."""

    class Incomplete(ResourceFactory):
        DEFAULT_PLUGINS = (CreatePlugin,)

    metadata = MetaData()
    with pytest.raises(MissingProducer, match=r"CreatePlugin \(Incomplete.DEFAULT_PLUGINS\[0\] of"):
        Incomplete("orders", "shop", metadata)
    assert not metadata.tables


def test_long_names_are_cut_as_the_server_does() -> None:
    """A table and schema name of more than 63 bytes is what PostgreSQL would make of it."""
    factory = Sample("t" * 70, "é" * 40, MetaData())
    assert factory.tablename == factory.ctx.tablename == "t" * 63
    assert factory.schemaname == "é" * 31
    assert factory.ctx[TABLE].name == "t" * 63


def test_wrong_arguments_are_refused() -> None:
    """A name that cannot be one, something else than a MetaData, something else than a list."""
    with pytest.raises(InvalidIdentifier, match="'' cannot be the name of a PostgreSQL object"):
        Sample("", "shop", MetaData())
    with pytest.raises(DeclarationError, match="metadata is 'shop': give the SQLAlchemy MetaData"):
        Sample("orders", "shop", "shop")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(NotAPlugin, match=r"extra_plugins is .*: give a list of plugins"):
        Sample("orders", "shop", MetaData(), extra_plugins=QuietPlugin())  # type: ignore[arg-type]


@requires(MinPGVersion(18))
class ModernPlugin(QuietPlugin):
    """A plugin for a new server."""


def test_the_oldest_server_is_known() -> None:
    """A factory knows the version that its plugins need, and refuses an older server."""
    factory = Sample("orders", "shop", MetaData(), extra_plugins=[ModernPlugin])
    assert factory.min_pg_version == 18
    factory.check_pg_version(18)
    with pytest.raises(PostgresTooOld, match="PostgreSQL 17, which is too old: ModernPlugin needs"):
        factory.check_pg_version((17, 10))
    assert Sample("orders", "shop", MetaData()).min_pg_version is None
