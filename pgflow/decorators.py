"""Classes and functions into factories."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, Unpack, cast, overload

from sqlalchemy import Column, MetaData

from pgflow.declare.resource import SyncDefaults, sync_defaults
from pgflow.declare.schedule import Schedule
from pgflow.declare.spelling import spelt
from pgflow.declare.table_class import TableClass, read_class
from pgflow.emit.history import mark_mapped
from pgflow.errors import InvalidBody, InvalidColumn, InvalidOption, MissingMetaData, TableError
from pgflow.factories.pipeline import Pipeline
from pgflow.factories.simple import SimpleTable, TableFactory
from pgflow.observe.failure import Failure
from pgflow.plugins.pk import ColumnPKPlugin
from pgflow.resolve.config import Config
from pgflow.resolve.keys import PK
from pgflow.resolve.wiring import PluginSource

C = TypeVar("C", bound=type)

#: The MetaData of tables that name no other; `env.py` hands it to Alembic.
metadata = MetaData()


@overload
def table(cls: C, /) -> C: ...


@overload
def table(
    *,
    schema: str | None = ...,
    name: str | None = ...,
    metadata: MetaData | None = ...,
    base: Any = ...,
    mode: str | None = ...,
    system_columns: Mapping[str, str | None] | None = ...,
    renamed_from: str | None = ...,
    plugins: Sequence[PluginSource] | None = ...,
    extra_plugins: Sequence[PluginSource] | None = ...,
    config: Config | None = ...,
    **defaults: Unpack[SyncDefaults],
) -> Callable[[C], C]: ...


def table(
    cls: C | None = None,
    /,
    *,
    schema: str | None = None,
    name: str | None = None,
    metadata: MetaData | None = None,
    base: Any = None,
    mode: str | None = None,
    system_columns: Mapping[str, str | None] | None = None,
    renamed_from: str | None = None,
    plugins: Sequence[PluginSource] | None = None,
    extra_plugins: Sequence[PluginSource] | None = None,
    config: Config | None = None,
    **defaults: Unpack[SyncDefaults],
) -> C | Callable[[C], C]:
    """Declare a table by a class; the class stays a class.

    Afterwards the class has `__table__`, SQLAlchemy's table, and `__factory__`, the table factory.
    No column is added: without `pk()` the table has no primary key.

    Args:
        cls: The class, if the decorator stands without parentheses (it has `__schema__` then).
        schema: The table's schema; required here or as `__schema__`.
        name: The table's name; by default `__tablename__`, or the class name in snake case.
        metadata: Where the table is put; by default `pgflow.metadata`.
        base: A SQLAlchemy `DeclarativeBase`, to map the class for the ORM as well; the mode of
            its pipelines then has to stand here.
        mode: How pipelines fill the table; it gets the system columns of that mode at once.
        system_columns: New names of system columns, and None for those to be left out.
        renamed_from: What the table was called, perhaps with its schema; a migration renames it.
        plugins: Plugins of the table.
        extra_plugins: More plugins of the table.
        config: Configuration in force; by default the one attached to the MetaData.
        **defaults: Options for the table's pipelines, such as `keys` or `handle_deletes`.

    Returns:
        The same class, or a decorator that returns it.

    Raises:
        DeclarationError: Something is declared in a way that cannot work; the MetaData is as it
            was.
    """

    def decorate(decorated: C) -> C:
        _require_class(decorated)
        owner = decorated.__qualname__
        read = read_class(
            decorated,
            schema=schema,
            name=name,
            local_names=_names_around(sys._getframe(1)),
            options=sync_defaults(owner, mode, cast(Mapping[str, Any], defaults)),
            system_columns=system_columns,
            renamed_from=renamed_from,
        )
        home = _home(metadata, base, owner) or _default_metadata()
        return _declare(decorated, read, TableFactory, home, base, config, plugins, extra_plugins)

    if cls is None:
        return decorate
    _require_class(cls)
    read = read_class(cls, local_names=_names_around(sys._getframe(1)))
    return _declare(cls, read, TableFactory, _default_metadata(), None, None, None, None)


@spelt
def pipeline(
    *,
    target: Any = None,
    targets: Sequence[Any] | None = None,
    name: str | None = None,
    source: Any = None,
    source_table: str | None = None,
    column_map: Mapping[str, str] | None = None,
    connection: Any = None,
    source_connection: Any = None,
    target_connection: Any = None,
    schedule: str | Schedule | None = None,
    continue_on_failure: bool = False,
    tags: Sequence[str] = (),
    on_failure: Callable[[Failure], object] | None = None,
    config: Config | None = None,
    plugins: Sequence[PluginSource] | None = None,
    extra_plugins: Sequence[PluginSource] | None = None,
    mode: str | None = None,
    **options: Unpack[SyncDefaults],
) -> Callable[[Callable[..., Any]], Pipeline]:
    """Declare a pipeline by the function that says where its rows come from.

    The function takes no, one or two connections, then run parameters (`*, day: date`). It
    returns SQL text (whose `:day` takes the run parameter), a SQLAlchemy `select()`, a
    `pgflow.Query`, a `dict` if it did the work itself, or None where `source_table` says it.

    Args:
        target: A class under `@pgflow.table`, a table factory, or `pgflow.target(...)`.
        targets: Several of them, instead of `target`.
        name: The pipeline's name; by default the function's.
        source: A `Query`, a `SourceTable`, SQL text or a `select()`.
        source_table: `schema.table`; a function that returns something wins over it.
        column_map: With `source_table`: target column to source column.
        connection: The connection of both ends: a name, a URL or an engine.
        source_connection: The source's, where it differs.
        target_connection: The targets'.
        schedule: A cron expression of five fields, or a `pgflow.Schedule`.
        continue_on_failure: Whether later targets run after one has failed.
        tags: Labels for selecting pipelines.
        on_failure: Called with a `Failure` for each target whose run failed for good.
        config: Configuration in force; by default the one attached to the MetaData.
        plugins: In place of the default plugins.
        extra_plugins: Beside them.
        mode: How rows go in, unless a target says otherwise.
        **options: Options of every target, such as `keys` or `handle_deletes`.

    Returns:
        A decorator; the function becomes a `Pipeline` with `.sync()`, `.preview()`, `.dry_run()`.

    Raises:
        DeclarationError: Something is declared in a way that cannot work.
    """

    def decorate(function: Callable[..., Any]) -> Pipeline:
        if isinstance(function, Pipeline):
            raise InvalidBody(
                f"{function!r} is a pipeline already. Give one pipeline several tables by "
                "targets=[...], or write a function for each, which may call a third one."
            )
        given = {**options, "mode": mode} if mode is not None else dict(options)
        return Pipeline(
            name or str(getattr(function, "__name__", "pipeline")),
            target=target,
            targets=targets,
            source=source,
            source_table=source_table,
            column_map=column_map,
            body=function,
            connection=connection,
            source_connection=source_connection,
            target_connection=target_connection,
            schedule=schedule,
            continue_on_failure=continue_on_failure,
            tags=tags,
            on_failure=on_failure,
            config=config,
            plugins=plugins,
            extra_plugins=extra_plugins,
            **given,
        )

    return decorate


@spelt
def register_table(
    *,
    base: Any = None,
    metadata: MetaData | None = None,
    schema: str | None = None,
    renamed_from: str | None = None,
    config: Config | None = None,
    plugins: Sequence[PluginSource] | None = None,
    extra_plugins: Sequence[PluginSource] | None = None,
) -> Callable[[C], C]:
    """Declare a table by a class on a MetaData that is named, with an `id` if it has no key.

    Args:
        base: A SQLAlchemy `DeclarativeBase`: its MetaData is used, and the class is mapped.
        metadata: Where the table is put; required without `base`.
        schema: The table's schema; by default `__schema__`, or what `__table_args__` says.
        renamed_from: What the table was called, perhaps with its schema; a migration renames it.
        config: Configuration in force; by default the one attached to the MetaData.
        plugins: Plugins of the table, such as `UUIDV4PKPlugin()`.
        extra_plugins: More plugins of the table.

    Returns:
        A decorator that returns the class, with `__table__` and `__factory__`.

    Raises:
        MissingMetaData: Neither `base` nor `metadata` is given.
        DeclarationError: Something is declared in a way that cannot work.
    """

    def decorate(decorated: C) -> C:
        _require_class(decorated)
        owner = decorated.__qualname__
        home = _home(metadata, base, owner)
        if home is None:
            raise MissingMetaData(
                f"@register_table on {owner}: give base= (a DeclarativeBase) or metadata= (a "
                "MetaData), or use @pgflow.table, which has a MetaData of its own.",
                table=owner,
            )
        names = _names_around(sys._getframe(1))
        read = read_class(decorated, schema=schema, local_names=names, renamed_from=renamed_from)
        factory = TableFactory if read.spec.primary_key.columns else SimpleTable
        return _declare(decorated, read, factory, home, base, config, plugins, extra_plugins)

    return decorate


def _require_class(given: object) -> None:
    if not isinstance(given, type):
        raise InvalidOption(
            f"a table is declared by a class, not by {given!r}: @pgflow.table(schema='warehouse') "
            "stands above `class Customer:`."
        )


def _names_around(frame: Any) -> Mapping[str, object]:
    """Return the names of the function in which the decorated class stands."""
    return {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)


def _default_metadata() -> MetaData:
    return metadata


def _home(given: MetaData | None, base: Any, owner: str) -> MetaData | None:
    if base is None:
        return given
    home = getattr(base, "metadata", None)
    if not isinstance(home, MetaData) or not hasattr(base, "registry"):
        raise TableError(
            f"{owner}: base={base!r} is no DeclarativeBase of SQLAlchemy, which has a MetaData and "
            "a registry. Leave it out if the class is not to be mapped for the ORM.",
            table=owner,
        )
    if given is not None and given is not home:
        raise TableError(
            f"{owner}: base= has a MetaData of its own, and metadata= is another one. Give one of "
            "them.",
            table=owner,
        )
    return home


def _declare(
    cls: C,
    read: TableClass,
    factory_class: type[TableFactory],
    home: MetaData,
    base: Any,
    config: Config | None,
    plugins: Sequence[PluginSource] | None,
    extra_plugins: Sequence[PluginSource] | None,
) -> C:
    """Make the table, and hang it on the class."""
    keys = [item for item in read.spec.columns if item.primary_key]
    if base is not None and not keys and factory_class is TableFactory:
        _require_key(cls, plugins, extra_plugins)
    own = [ColumnPKPlugin(*keys)] if keys else []
    factory = factory_class(
        read.spec.name,
        read.spec.schema,
        home,
        read.spec.items,
        config=config,
        plugins=_with_keys(own, plugins),
        extra_plugins=extra_plugins,
        spec=read.spec,
    )
    if base is not None:
        _map(cls, factory, base, read.attributes)
    declared = cast(Any, cls)
    declared.__table__ = factory.table
    declared.__factory__ = factory
    return cls


def _with_keys(
    own: Sequence[PluginSource], plugins: Sequence[PluginSource] | None
) -> Sequence[PluginSource] | None:
    """Put the plugin of the class's own keys first; what is no list is refused further on."""
    if not own or (plugins is not None and not isinstance(plugins, (list, tuple))):
        return plugins
    return [*own, *(plugins or ())]


def _require_key(
    cls: type,
    plugins: Sequence[PluginSource] | None,
    extra_plugins: Sequence[PluginSource] | None,
) -> None:
    given = [*(plugins or ()), *(extra_plugins or ())]
    if not any(PK in getattr(plugin, "resolved_produces", list)() for plugin in given):
        raise InvalidColumn(
            f"{cls.__qualname__} is to be mapped (base=), and the ORM needs a primary key. Mark "
            "its columns with pk(), or give plugins=[SerialPKPlugin()].",
            table=cls.__qualname__,
        )


def _map(cls: type, factory: TableFactory, base: Any, attributes: Mapping[str, str]) -> None:
    columns: dict[str, Column[Any]] = {
        attribute: factory.table.columns[column] for attribute, column in attributes.items()
    }
    base.registry.map_imperatively(cls, factory.table, properties=columns)
    mark_mapped(factory.table, cls)
