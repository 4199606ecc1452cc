"""What is known of a MetaData by name: a mapping that can be put back without being copied."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, MutableMapping
from typing import Any, Final, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

_ABSENT: Final = object()


class Registry(MutableMapping[K, V], Generic[K, V]):
    """A mapping with one entry or more for each table, which remembers what each entry was.

    Every factory has to be able to undo what it registered. To copy what all factories before it
    have registered would cost a thousand of them a million entries.

    Its values must not change; a changed one is put in the place of the old.
    """

    def __init__(self) -> None:
        self._entries: dict[K, V] = {}
        self._log: list[tuple[K, Any]] = []
        self._marks: list[weakref.ref[Mark]] = []

    def __getitem__(self, key: K) -> V:
        return self._entries[key]

    def __setitem__(self, key: K, value: V) -> None:
        self._log.append((key, self._entries.get(key, _ABSENT)))
        self._entries[key] = value

    def __delitem__(self, key: K) -> None:
        self._log.append((key, self._entries[key]))
        del self._entries[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __repr__(self) -> str:
        return f"Registry({self._entries!r})"

    def mark(self) -> Mark:
        """Return the way back to what there is now; it is valid for as long as it is held."""
        self._marks = [known for known in self._marks if known() is not None]
        if not self._marks:
            self._log.clear()
        mark = Mark(self, len(self._log))
        self._marks.append(weakref.ref(mark))
        return mark

    def _back_to(self, length: int) -> None:
        for key, former in reversed(self._log[length:]):
            if former is _ABSENT:
                del self._entries[key]
            else:
                self._entries[key] = former
        del self._log[length:]


class Mark:
    """What a registry held at one moment.

    Args:
        registry: The registry.
        length: How much of its log was written then.
    """

    def __init__(self, registry: Registry[Any, Any], length: int) -> None:
        self._registry = registry
        self._length = length

    def restore(self) -> None:
        """Put every entry back that was changed since; entries come back at the end."""
        self._registry._back_to(self._length)
