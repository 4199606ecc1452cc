"""What is wrong with a plugin list as a whole, found before the first plugin runs."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from pgflow.errors import DuplicateProducer, MissingProducer, MixedKey, SingletonClash
from pgflow.resolve.keys import COLUMNS
from pgflow.resolve.plugin import known_producers
from pgflow.resolve.wiring import Entry

_SUGGESTED_AT_MOST = 4


def validate(entries: Sequence[Entry], owner: str, given: frozenset[str]) -> None:
    """Refuse a plugin list that cannot be resolved.

    Args:
        entries: The plugins in list order.
        owner: Name of the factory, for messages.
        given: Keys that have a value before any plugin runs.

    Raises:
        SingletonClash: Two plugins are of one group.
        DuplicateProducer: Two plugins produce one key, or one produces what is given.
        MixedKey: A key is both produced and collected.
        MissingProducer: A required key is neither produced, collected nor given.
    """
    _check_singletons(entries, owner)
    producers = _check_producers(entries, owner, given)
    collected = _check_collected(entries, owner, producers)
    _check_requirements(entries, owner, producers, collected | given)


def _label(entry: Entry, owner: str) -> str:
    return f"{entry.name} ({entry.origin} of {owner!r})"


def _check_singletons(entries: Sequence[Entry], owner: str) -> None:
    seen: dict[str, Entry] = {}
    for entry in entries:
        group = entry.wires.group
        if group is None:
            continue
        if group in seen:
            raise SingletonClash(
                f"{_label(seen[group], owner)} and {_label(entry, owner)} are both of group "
                f"{group!r}, of which a factory takes one plugin. Remove one of them.",
                plugin=entry.name,
                origin=entry.origin,
                group=group,
            )
        seen[group] = entry


def _check_producers(
    entries: Sequence[Entry], owner: str, given: frozenset[str]
) -> dict[str, Entry]:
    producers: dict[str, Entry] = {}
    for entry in entries:
        for key in entry.wires.produces:
            if key in given or key in producers:
                first = _label(producers[key], owner) if key in producers else "the factory itself"
                raise DuplicateProducer(
                    f"{_label(entry, owner)} produces {str(key)!r}, which {first} produces too. "
                    "Remove one of the two, give one of them another key, or let the second "
                    f"replace the value on purpose with @overrides({str(key)!r}).",
                    plugin=entry.name,
                    origin=entry.origin,
                    key=str(key),
                )
            producers[key] = entry
    return producers


def _check_collected(
    entries: Sequence[Entry], owner: str, producers: dict[str, Entry]
) -> frozenset[str]:
    collected: dict[str, Entry | None] = {str(COLUMNS): None}
    for entry in entries:
        for key in (*entry.wires.contributes, *entry.wires.collecting):
            collected.setdefault(str(key), entry)
    for key in collected:
        if key in producers:
            collector = collected[key]
            who = "pgflow" if collector is None else _label(collector, owner)
            raise MixedKey(
                f"{_label(producers[key], owner)} produces {str(key)!r} as one value, but for "
                f"{who} it collects from many plugins. Contribute to it with @contributes, or use "
                "another key.",
                plugin=producers[key].name,
                origin=producers[key].origin,
                key=str(key),
            )
    return frozenset(collected)


def _check_requirements(
    entries: Sequence[Entry], owner: str, producers: dict[str, Entry], present: frozenset[str]
) -> None:
    for entry in entries:
        for verb, keys in (
            ("requires", entry.wires.requires),
            ("overrides", entry.wires.overrides),
        ):
            for key in keys:
                if key not in producers and key not in present:
                    raise _missing(entry, verb, str(key), owner, producers, present)


def _missing(
    entry: Entry,
    verb: str,
    key: str,
    owner: str,
    producers: dict[str, Entry],
    present: frozenset[str],
) -> MissingProducer:
    candidates = tuple(known_producers(key)[:_SUGGESTED_AT_MOST])
    similar = difflib.get_close_matches(key, sorted({*producers, *present} - {key}), n=1)
    nearest = similar[0] if similar else None
    maker = producers.get(nearest) if nearest is not None else None
    return MissingProducer(
        f"{_label(entry, owner)} {verb} {key!r}, which no plugin produces.\n"
        + (entry.plugin.remedies.get(key) or _way_out(key, candidates, nearest, maker)),
        plugin=entry.name,
        origin=f"{entry.origin} of {owner!r}",
        key=key,
        candidates=candidates,
        nearest=nearest,
    )


def _way_out(
    key: str, candidates: tuple[str, ...], nearest: str | None, maker: Entry | None
) -> str:
    made = f" (produced by {maker.name})" if maker else ""
    if candidates and nearest:
        return f"Add {' or '.join(candidates)}, or did you mean {nearest!r}{made}?"
    if candidates:
        return f"Add {' or '.join(candidates)}."
    if nearest:
        return f"Did you mean {nearest!r}{made}?"
    return f"Add a plugin that @produces({key!r}), or require it as optional({key!r})."
