"""A MetaData as it was, so that a factory that fails leaves no trace on it.

What a MetaData registers is remembered before the first plugin runs: its tables, schemas,
sequences, types, the foreign keys that wait for their target, and the dictionaries, lists and
sets in its `info`. Tables that existed before are remembered whole where a staged operation
changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from sqlalchemy import Column, ForeignKey, MetaData, Table
from sqlalchemy.sql.base import ColumnCollection, ReadOnlyColumnCollection
from sqlalchemy.types import TypeEngine

from pgflow.declare.registry import Mark, Registry

#: A container, a registry or a collection of columns, and what it held.
Held: TypeAlias = tuple[Any, Any]
_CONTAINERS = (dict, list, set)


class Snapshot:
    """What a MetaData held at one moment, and the way back to it.

    Args:
        metadata: The MetaData to remember.
    """

    def __init__(self, metadata: MetaData) -> None:
        self.metadata = metadata
        self._tables = list(metadata.tables.values())
        self._held = [*_hold(metadata), *_hold_info(metadata)]
        # Foreign keys whose target does not exist yet: a new table resolves them in passing.
        self._waiting = [
            (foreign_key, foreign_key.parent.type)
            for (table, _), found in metadata._fk_memos.items()
            if table not in metadata.tables
            for foreign_key in found
        ]
        self._kept: list[Held] = []
        self._known: set[int] = set()

    def keep(self, tables: Iterable[Table] | None = None) -> None:
        """Remember tables whole, before something changes them.

        Args:
            tables: The tables; by default all that the MetaData had at the snapshot.
        """
        for table in self._tables if tables is None else tables:
            # What was remembered first is what there was.
            if id(table) not in self._known:
                self._known.add(id(table))
                self._kept += _hold_table(table)

    def hand_over(self, outer: Snapshot) -> None:
        """Let the snapshot of an enclosing factory undo what this one could still undo."""
        outer._kept += self._kept

    def restore(self) -> None:
        """Bring the MetaData back to what it was."""
        gone = [table for table in self._tables if table.key not in self.metadata.tables]
        for container, content in (*reversed(self._kept), *self._held):
            _refill(container, content)
        self._register_foreign_keys(gone)
        for foreign_key, parent_type in self._waiting:
            foreign_key.__dict__.pop("column", None)
            self._reset_type(foreign_key.parent, parent_type)

    def _register_foreign_keys(self, gone: Iterable[Table]) -> None:
        """Keep those of tables that exist; bring back those of tables that were removed."""
        for found in self.metadata._fk_memos.values():
            found[:] = [fk for fk in found if self._is_current(fk)]
        for table in gone:
            for foreign_key in table.foreign_keys:
                _, target, column = foreign_key._resolve_col_tokens()
                found = self.metadata._fk_memos[target, column]
                if foreign_key not in found:
                    found.append(foreign_key)

    def _is_current(self, foreign_key: ForeignKey) -> bool:
        table = foreign_key.parent.table
        return self.metadata.tables.get(table.key) is table and foreign_key in table.foreign_keys

    def _reset_type(self, column: Column[Any], known: TypeEngine[Any]) -> None:
        """Take back the type that a column got from its target, and handed on in turn."""
        passed_on, column.type = column.type, known
        if passed_on is known:
            return
        for foreign_key in self.metadata._fk_memos.get((column.table.key, column.key), ()):
            if foreign_key.parent.type is passed_on:
                self._reset_type(foreign_key.parent, known)


def _hold_info(owner: object) -> list[Held]:
    """Remember an object's `info` and the containers nested in it, also inside dataclasses.

    The extension for views and functions keeps its objects in dataclasses of lists.
    """
    held: list[Held] = []
    seen: set[int] = set()
    todo: list[Any] = [vars(owner).get("info", {})]
    while todo:
        found = todo.pop()
        if isinstance(found, Registry):
            held.append((found, found.mark()))
            continue
        container = found if isinstance(found, _CONTAINERS) else vars(found)
        if id(container) in seen:
            continue
        seen.add(id(container))
        held.append((container, _copied(container)))
        if isinstance(container, dict):
            # There may be many values, but they are of few types.
            kinds = tuple(kind for kind in set(map(type, container.values())) if _can_change(kind))
            if kinds:
                todo += [value for value in container.values() if isinstance(value, kinds)]
    return held


def _can_change(kind: type[Any]) -> bool:
    """Tell whether values of a type can change: containers, and dataclasses that are not frozen."""
    if issubclass(kind, (*_CONTAINERS, Registry)):
        return True
    parameters = getattr(kind, "__dataclass_params__", None)
    return parameters is not None and not parameters.frozen and kind.__dictoffset__ != 0


def _hold_table(table: Table) -> list[Held]:
    """Remember a table with its columns, constraints, indexes and foreign keys."""
    parts: list[object] = [table, *table.columns, *table.constraints, *table.indexes]
    parts += [fk for column in table.columns for fk in column.foreign_keys]
    held = [each for part in parts for each in _hold(part)]
    return held + _hold_info(table)


def _hold(owner: object) -> list[Held]:
    """Remember an object's attributes, and what is in the containers among them."""
    state = dict(vars(owner))
    held: list[Held] = [(vars(owner), state)]
    for value in state.values():
        hold = _HOLDERS[type(value)]
        if hold is not None:
            held += hold(value)
    return held


class _Holders(dict[type[Any], "Callable[[Any], list[Held]] | None"]):
    """What remembers attributes of a type; None for most, of which nothing can change."""

    def __missing__(self, kind: type[Any]) -> Callable[[Any], list[Held]] | None:
        hold: Callable[[Any], list[Held]] | None = None
        if issubclass(kind, _CONTAINERS):
            hold = _hold_container
        elif issubclass(kind, ColumnCollection) and kind is not ReadOnlyColumnCollection:
            hold = _hold_columns
        self[kind] = hold
        return hold


_HOLDERS = _Holders()


def _hold_container(container: Any) -> list[Held]:
    return [(container, _copied(container))]


def _hold_columns(columns: ColumnCollection[Any, Column[Any]]) -> list[Held]:
    """Remember a column collection, which keeps its state in slots."""
    names = [name for name in ColumnCollection.__slots__ if hasattr(columns, name)]
    state = {name: getattr(columns, name) for name in names}
    inner = [(v, _copied(v)) for v in state.values() if isinstance(v, _CONTAINERS)]
    return [(columns, state), *inner]


def _copied(container: Any) -> Any:
    """What a dict, list or set holds; the container itself stays the same object."""
    return dict(container) if isinstance(container, dict) else container.copy()


def _refill(container: Any, content: Any) -> None:
    if isinstance(content, Mark):
        content.restore()
    elif isinstance(container, dict):
        dict.clear(container)  # SQLAlchemy's facade of the tables refuses its own clear()
        dict.update(container, content)
    elif isinstance(container, list):
        container[:] = content
    elif isinstance(container, ColumnCollection):
        for name, value in content.items():
            object.__setattr__(container, name, value)
    else:
        container.clear()
        container.update(content)
