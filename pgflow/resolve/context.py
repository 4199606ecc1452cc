"""What a factory's plugins share: the inputs, the values they hand on, and the staged work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from sqlalchemy import Column, MetaData, Table
from sqlalchemy.sql.schema import SchemaItem

from pgflow.errors import ContextClosed, KeyAlreadySet, MissingKey, MixedKey
from pgflow.resolve.keys import COLUMNS, PK, Key, check_type, is_collecting
from pgflow.resolve.plugin import Plugin, known_producers

if TYPE_CHECKING:
    from pgflow.resolve.config import Config

T = TypeVar("T")
E = TypeVar("E")
D = TypeVar("D")


@dataclass(frozen=True)
class Staged:
    """An operation that waits until every plugin has succeeded.

    Attributes:
        apply: What to do.
        tables: The tables that it changes, or None if it does not say.
        by: Name of the plugin that staged it.
    """

    apply: Callable[[], object]
    tables: tuple[Table, ...] | None
    by: str


@dataclass
class Journal:
    """What one plugin has done to the context while it ran.

    Attributes:
        writer: The plugin's name, for messages.
        overridable: Keys that it declares to override.
        written: Keys that it set.
        forced: Keys that it set although they had a value.
        contributed: Collecting keys that it added to.
    """

    writer: str
    overridable: frozenset[str] = frozenset()
    written: list[str] = field(default_factory=list)
    forced: list[str] = field(default_factory=list)
    contributed: list[str] = field(default_factory=list)


class FactoryContext:
    """The inputs of one factory, and the values that its plugins hand to each other.

    Values are read and written by item syntax, `ctx[PK]` or `ctx["pk_columns"]`; a key is
    written once. Objects are created on `ctx.metadata` directly; a change of a table that
    existed before goes through `ctx.stage`.

    Args:
        tablename: Name of the table or pipeline that the factory is about.
        schemaname: Its schema.
        metadata: Where its objects are put.
        schema_items: The user's columns, constraints and pgflow items, in order.
        plugins: The plugins of the factory, in the order in which they run.
        spec: What a subclass of the factory adds to the inputs, if it does.
        config: The configuration in force, if there is one.
    """

    def __init__(
        self,
        tablename: str,
        schemaname: str | None,
        metadata: MetaData,
        schema_items: Iterable[Any],
        plugins: Sequence[Plugin],
        *,
        spec: Any = None,
        config: Config | None = None,
    ) -> None:
        self.tablename: Final = tablename
        self.schemaname: Final = schemaname
        self.metadata: Final = metadata
        self.schema_items: Final[list[Any]] = list(schema_items)
        self.plugins: Final[list[Plugin]] = list(plugins)
        self.spec: Final = spec
        self.config: Final = config
        #: Columns that plugins add to the table: what was contributed to `COLUMNS`.
        self.injected_columns: Final[list[Column[Any]]] = []
        self._values: dict[str, Any] = {}
        self._collected: dict[str, list[Any]] = {str(COLUMNS): self.injected_columns}
        self._keys: dict[str, tuple[Key[Any], ...]] = {str(COLUMNS): (COLUMNS,)}
        self._journal: Journal | None = None
        self._staged: list[Staged] | None = None

    def __repr__(self) -> str:
        return f"<FactoryContext of {self.tablename!r}: {', '.join(self.keys()) or 'empty'}>"

    # --- inputs, in the forms that plugins ask for -------------------------------------

    @property
    def columns(self) -> list[Column[Any]]:
        """The columns among the schema items."""
        return [item for item in self.schema_items if isinstance(item, Column)]

    @property
    def dim_column_names(self) -> list[str]:
        """Names of the columns that a row's author writes: no key, nothing computed."""
        return [column.name for column in self.columns if _is_written(column)]

    @property
    def pk_column_name(self) -> str:
        """Name of the primary key's first column; needs a primary key plugin to have run."""
        return self[PK].first_key

    @property
    def table_items(self) -> list[SchemaItem]:
        """The schema items that SQLAlchemy itself understands; pgflow's own have plugins."""
        return [item for item in self.schema_items if isinstance(item, SchemaItem)]

    # --- values ------------------------------------------------------------------------

    @overload
    def __getitem__(self, key: Key[T]) -> T: ...

    @overload
    def __getitem__(self, key: str) -> Any: ...

    def __getitem__(self, key: str) -> Any:
        if key in self._values:
            return self._values[key]
        if self._collects(key):
            return tuple(self._collected.get(key, ()))
        raise self._missing(key)

    @overload
    def __setitem__(self, key: Key[T], value: T) -> None: ...

    @overload
    def __setitem__(self, key: str, value: object) -> None: ...

    def __setitem__(self, key: str, value: object) -> None:
        self.set(key, value)

    def __contains__(self, key: object) -> bool:
        return key in self._values or bool(isinstance(key, str) and self._collected.get(key))

    @overload
    def get(self, key: Key[T]) -> T | None: ...

    @overload
    def get(self, key: Key[T], default: D) -> T | D: ...

    @overload
    def get(self, key: str, default: Any = None) -> Any: ...

    def get(self, key: str, default: Any = None) -> Any:
        """Read a value that may be absent.

        Args:
            key: A key or a plain string.
            default: What to give if the key has no value.

        Returns:
            The value, or `default`; for a collecting key always a tuple.
        """
        return self._values.get(key, default) if not self._collects(key) else self[key]

    def set(self, key: str, value: object, *, force: bool = False) -> None:
        """Write a value.

        Args:
            key: A key or a plain string.
            value: An instance of the key's type.
            force: Replace the value that another plugin wrote. The plugin must require the key,
                so that it runs after that plugin; readers may have run already, unless it
                declares `@overrides(key)`.

        Raises:
            KeyAlreadySet: The key has a value, and neither `force` nor `@overrides` allows it.
            WrongKeyType: The value is not of the key's type.
            MixedKey: The key collects from many plugins.
        """
        if self._collects(key):
            raise MixedKey(
                f"{self._writer} set key {str(key)!r}, which collects from many plugins: "
                "use ctx.contribute(key, value).",
                plugin=self._writer,
                key=str(key),
            )
        if key in self._values and not (force or self._may_override(key)):
            raise KeyAlreadySet(
                f"{self._writer} wrote key {str(key)!r}, which is set already. Write another key, "
                f"replace the value on purpose with ctx.set({str(key)!r}, value, force=True), or "
                f"declare @overrides({str(key)!r}) on the plugin.",
                plugin=self._writer,
                key=str(key),
            )
        self._check(key, value)
        self._record(key)
        self._values[str(key)] = value

    @overload
    def contribute(self, key: Key[tuple[E, ...]], value: E) -> None: ...

    @overload
    def contribute(self, key: str, value: object) -> None: ...

    def contribute(self, key: str, value: object) -> None:
        """Add one item to a collecting key.

        Args:
            key: A key made with `collecting=True`, or the plain name of one.
            value: The item.

        Raises:
            MixedKey: The key holds one value.
            WrongKeyType: The item is not of the key's type.
        """
        if key in self._values or (isinstance(key, Key) and not key.collecting):
            raise MixedKey(
                f"{self._writer} contributed to key {str(key)!r}, which holds one value: write "
                f"ctx[{str(key)!r}] = value, or make the key with collecting=True.",
                plugin=self._writer,
                key=str(key),
            )
        self._check(key, value)
        if self._journal is not None:
            self._journal.contributed.append(str(key))
        self._collected.setdefault(str(key), []).append(value)

    def keys(self) -> list[str]:
        """Name the keys that have a value."""
        return [*self._values, *(key for key, items in self._collected.items() if items)]

    def stage(
        self, operation: Callable[[], object], *, tables: Iterable[Table] | None = None
    ) -> None:
        """Put off a change until every plugin has succeeded.

        Staged operations are applied in order. If one fails, those before it are undone, and
        the MetaData is as it was before the factory.

        Args:
            operation: Called without arguments; changes tables that existed before.
            tables: The tables that it changes. Without them every table of the MetaData is
                remembered for the undoing, which costs time where there are many.

        Raises:
            ContextClosed: The plugins have all run already.
        """
        if self._staged is None:
            raise ContextClosed(
                f"The plugins of {self.tablename!r} have all run: nothing would apply what is "
                "staged now. Call ctx.stage inside the run method of a plugin."
            )
        kept = None if tables is None else tuple(tables)
        self._staged.append(Staged(operation, kept, self._writer))

    # --- for the resolution ------------------------------------------------------------

    def _learn(self, keys: Mapping[str, tuple[Key[Any], ...]]) -> None:
        """Take note of the typed keys that plugins declare: they check plain strings too."""
        for name, declared in keys.items():
            known = self._keys.get(name)
            self._keys[name] = declared if known is None else (*known, *declared)
            if name in self._values:
                self._check(name, self._values[name])

    def _checkpoint(self) -> Callable[[], None]:
        """Remember the values, for a later resolution over the same context that may fail."""
        values = dict(self._values)
        collected = {key: items.copy() for key, items in self._collected.items()}
        plugins = self.plugins.copy()

        def undo() -> None:
            self._values = values
            for key, items in self._collected.items():
                items[:] = collected.get(key, [])
            self.plugins[:] = plugins

        return undo

    @property
    def _writer(self) -> str:
        return "The factory" if self._journal is None else self._journal.writer

    def _collects(self, key: str) -> bool:
        return (
            is_collecting(key)
            or key in self._collected
            or any(known.collecting for known in self._keys.get(key, ()))
        )

    def _check(self, key: str, value: object) -> None:
        check_type(key, value, self._writer)
        for known in self._keys.get(key, ()):
            check_type(known, value, self._writer)

    def _record(self, key: str) -> None:
        if self._journal is not None:
            replaced = key in self._values
            (self._journal.forced if replaced else self._journal.written).append(str(key))

    def _may_override(self, key: str) -> bool:
        return self._journal is not None and key in self._journal.overridable

    def _missing(self, key: str) -> MissingKey:
        later = [p for p in self.plugins if key in p.resolved_produces()]
        who = " or ".join(dict.fromkeys(type(p).__name__ for p in later))
        if who and self._journal is not None:
            advice = (
                f"{who} produces it, but has not run yet: add @requires({str(key)!r}) to "
                f"{self._writer}, so that it runs later."
            )
        else:
            makers = known_producers(key)
            hint = f" Plugins that produce it: {', '.join(makers)}." if makers else ""
            advice = f"No plugin of {self.tablename!r} produces it.{hint}"
        return MissingKey(
            f"{self._writer} read key {str(key)!r}, which has no value. {advice}",
            plugin=self._writer,
            key=str(key),
        )


def _is_written(column: Column[Any]) -> bool:
    return not column.primary_key and column.computed is None and column.identity is None
