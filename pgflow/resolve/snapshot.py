"""A MetaData as it was, so that a factory that fails leaves no trace on it.

What a MetaData registers is remembered before the first plugin runs: its tables, schemas,
sequences, types, the foreign keys that wait for their target, and the dictionaries, lists and
sets in its `info`. Tables that existed before are remembered whole where a staged operation
changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Column, ForeignKey, MetaData, Table
from sqlalchemy.sql.base import ColumnCollection, ReadOnlyColumnCollection
from sqlalchemy.types import TypeEngine

#: Puts one object back.
Undo = Callable[[], None]
_CONTAINERS = (dict, list, set)


class Snapshot:
    """What a MetaData held at one moment, and the way back to it.

    Args:
        metadata: The MetaData to remember.
    """

    def __init__(self, metadata: MetaData) -> None:
        self.metadata = metadata
        self._tables = list(metadata.tables.values())
        self._undos = [_remember_object(metadata), *_remember_info(metadata)]
        # Foreign keys whose target does not exist yet: a new table resolves them in passing.
        self._waiting = [
            (foreign_key, foreign_key.parent.type)
            for (table, _), found in metadata._fk_memos.items()
            if table not in metadata.tables
            for foreign_key in found
        ]
        self._kept: list[Undo] = []
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
                self._kept += _remember_table(table)

    def hand_over(self, outer: Snapshot) -> None:
        """Let the snapshot of an enclosing factory undo what this one could still undo."""
        outer._kept += self._kept

    def restore(self) -> None:
        """Bring the MetaData back to what it was."""
        gone = [table for table in self._tables if table.key not in self.metadata.tables]
        for undo in (*reversed(self._kept), *self._undos):
            undo()
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


def _remember_info(owner: object) -> list[Undo]:
    """Remember an object's `info` and the containers nested in it, also inside dataclasses.

    The extension for views and functions keeps its objects in dataclasses of lists.
    """
    undos: list[Undo] = []
    seen: set[int] = set()
    todo: list[Any] = [vars(owner).get("info", {})]
    while todo:
        found = todo.pop()
        container = found if isinstance(found, _CONTAINERS) else vars(found)
        if id(container) in seen:
            continue
        seen.add(id(container))
        undos.append(_remember(container))
        if isinstance(container, dict):
            # Registries hold one plain value for each table: look at their types, of which few are.
            kinds = tuple(kind for kind in set(map(type, container.values())) if _can_change(kind))
            if kinds:
                todo += [value for value in container.values() if isinstance(value, kinds)]
    return undos


def _can_change(kind: type[Any]) -> bool:
    """Tell whether values of a type can change: containers, and dataclasses that are not frozen."""
    if issubclass(kind, _CONTAINERS):
        return True
    parameters = getattr(kind, "__dataclass_params__", None)
    return parameters is not None and not parameters.frozen and kind.__dictoffset__ != 0


def _remember_table(table: Table) -> list[Undo]:
    """Remember a table with its columns, constraints, indexes and foreign keys."""
    parts: list[object] = [table, *table.columns, *table.constraints, *table.indexes]
    parts += [fk for column in table.columns for fk in column.foreign_keys]
    return [*(_remember_object(part) for part in parts), *_remember_info(table)]


def _remember_object(owner: object) -> Undo:
    """Remember an object's attributes, and what is in the containers among them."""
    state = dict(vars(owner))
    inner = [_remember(v) for v in state.values() if isinstance(v, _CONTAINERS)]
    inner += [
        _remember_columns(value)
        for value in state.values()
        if isinstance(value, ColumnCollection) and not isinstance(value, ReadOnlyColumnCollection)
    ]

    def undo() -> None:
        _refill(vars(owner), state)
        for restore in inner:
            restore()

    return undo


def _remember_columns(columns: ColumnCollection[Any, Column[Any]]) -> Undo:
    """Remember a column collection, which keeps its state in slots."""
    names = [name for name in ColumnCollection.__slots__ if hasattr(columns, name)]
    state = {name: getattr(columns, name) for name in names}
    inner = [_remember(v) for v in state.values() if isinstance(v, _CONTAINERS)]

    def undo() -> None:
        for name, value in state.items():
            object.__setattr__(columns, name, value)
        for restore in inner:
            restore()

    return undo


def _remember(container: Any) -> Undo:
    """Remember what a dict, list or set holds; the container itself stays the same object."""
    content = container.copy() if not isinstance(container, dict) else dict(container)
    return lambda: _refill(container, content)


def _refill(container: Any, content: Any) -> None:
    if isinstance(container, dict):
        dict.clear(container)  # SQLAlchemy's facade of the tables refuses its own clear()
        dict.update(container, content)
    elif isinstance(container, list):
        container[:] = content
    else:
        container.clear()
        container.update(content)
