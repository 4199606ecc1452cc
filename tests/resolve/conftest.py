"""Plugins made to order, so that a test says in one line what a plugin reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import MetaData

from pgflow.resolve import plugin as declare
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.plugin import Plugin
from pgflow.resolve.resolution import Resolution, resolve
from pgflow.resolve.wiring import enter

MakePlugin = Callable[..., Plugin]


@pytest.fixture
def make() -> MakePlugin:
    """Make an instance of a new plugin class that does exactly what it declares."""

    def make(
        name: str, *, group: str = "", run: Callable[[Any], object] | None = None, **declared: Any
    ) -> Plugin:
        def honest(self: Plugin, ctx: FactoryContext) -> None:
            for key in (*self.resolved_produces(), *self.resolved_overrides()):
                ctx[key] = f"{key} by {name}"
            for key in self.resolved_contributes():
                ctx.contribute(key, f"item by {name}")

        body = honest if run is None else lambda self, ctx: run(ctx)
        cls: Any = type(name, (Plugin,), {"run": body})
        for decorator, keys in declared.items():
            given = keys if isinstance(keys, tuple) else (keys,)
            cls = getattr(declare, decorator)(*given)(cls)
        if group:
            cls = declare.singleton(group)(cls)
        instance = cls()
        assert isinstance(instance, Plugin)
        return instance

    return make


@pytest.fixture
def resolved() -> Callable[..., Resolution]:
    """Resolve a list as the `extra_plugins` of a factory called 'orders'."""

    def resolved(plugins: Sequence[Any], given: Sequence[str] = ()) -> Resolution:
        return resolve("orders", enter(plugins, "extra_plugins"), given)

    return resolved


@pytest.fixture
def run(resolved: Callable[..., Resolution]) -> Callable[..., FactoryContext]:
    """Resolve plugins and run them over a context with the given values."""

    def run(
        plugins: Sequence[Any], metadata: MetaData | None = None, **given: Any
    ) -> FactoryContext:
        metadata = MetaData() if metadata is None else metadata
        resolution = resolved(plugins, tuple(given))
        ctx = FactoryContext("orders", "shop", metadata, [], resolution.plugins)
        for key, value in given.items():
            ctx.set(key, value)
        resolution.run(ctx)
        return ctx

    return run


@pytest.fixture
def names() -> Callable[[Resolution], list[str]]:
    """Name the plugins of a resolution in the order in which they run."""
    return lambda resolution: [entry.name for entry in resolution.ordered]
