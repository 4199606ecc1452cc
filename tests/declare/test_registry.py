"""Registries: put back without having been copied."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pgflow.declare.registry import Registry

_changes = st.lists(
    st.tuples(st.sampled_from(["set", "pop", "clear", "update"]), st.integers(0, 4)), max_size=8
)


def _change(registry: Registry[int, int], steps: list[tuple[str, int]]) -> None:
    for what, key in steps:
        if what == "set":
            registry[key] = registry.get(key, 0) + 1
        elif what == "pop":
            registry.pop(key, None)
        elif what == "clear":
            registry.clear()
        else:
            registry.update({key: 7, key + 1: 8})


@given(_changes, _changes, _changes, _changes, st.booleans())
def test_a_registry_goes_back_to_each_of_its_marks(
    before: list[tuple[str, int]],
    outer: list[tuple[str, int]],
    inner: list[tuple[str, int]],
    after: list[tuple[str, int]],
    fails: bool,
) -> None:
    """Whatever was changed since a mark is undone, inside of another mark as well."""
    registry: Registry[int, int] = Registry()
    _change(registry, before)
    registry.mark()  # held by nobody
    first, at_first = registry.mark(), dict(registry)
    _change(registry, outer)
    second, at_second = registry.mark(), dict(registry)
    _change(registry, inner)
    if fails:
        second.restore()
        assert dict(registry) == at_second
    _change(registry, after)
    first.restore()
    assert dict(registry) == at_first
    second.restore()
    assert dict(registry) == at_first


def test_a_registry_remembers_only_what_somebody_can_undo() -> None:
    """Marks that are gone leave nothing behind."""
    registry: Registry[int, int] = Registry()
    for number in range(5):
        mark = registry.mark()
        registry[number] = number
        del mark
    registry.mark()
    assert registry._log == []
