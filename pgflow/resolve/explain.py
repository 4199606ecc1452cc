"""Why plugins run as they do: a resolution put into words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pgflow.resolve.order import Arrangement, Edge
from pgflow.resolve.wiring import Entry


@dataclass(frozen=True)
class Step:
    """One plugin at its place.

    Attributes:
        plugin: Class name.
        origin: The list and position from which it came.
        requires: Keys that it reads.
        optional: Keys that it reads if they are there.
        produces: Keys that it writes.
        contributes: Collecting keys that it adds to.
        overrides: Keys that it replaces.
        reason: Why it stands where it stands.
    """

    plugin: str
    origin: str
    requires: tuple[str, ...]
    optional: tuple[str, ...]
    produces: tuple[str, ...]
    contributes: tuple[str, ...]
    overrides: tuple[str, ...]
    reason: str

    def lines(self) -> list[str]:
        """Give the step as text: what it reads and writes, where it is from, why it is here."""
        reads = [*self.requires, *(f"{key} (optional)" for key in self.optional)]
        pairs = (
            ("from", self.origin),
            ("reads", ", ".join(reads)),
            ("writes", ", ".join(self.produces)),
            ("adds to", ", ".join(self.contributes)),
            ("replaces", ", ".join(self.overrides)),
            ("why here", self.reason),
        )
        return [f"{title:<9} {text}" for title, text in pairs if text]


@dataclass(frozen=True)
class Explanation:
    """The plugins of one factory in the order in which they ran.

    Attributes:
        name: Name of the factory.
        given: Keys that had a value before any plugin ran.
        steps: The plugins.
    """

    name: str
    given: tuple[str, ...]
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        lines = [f"Plugins of {self.name!r}, in the order in which they run:"]
        if self.given:
            lines.append(f"given by the factory: {', '.join(self.given)}")
        for number, step in enumerate(self.steps, 1):
            lines.append(f"{number:>3}. {step.plugin}")
            lines += [f"       {line}" for line in step.lines()]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Give the explanation as plain data.

        Returns:
            Strings, lists and dicts only, ready for `json.dumps`.
        """
        steps = [
            {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(step).items()}
            for step in self.steps
        ]
        return {"name": self.name, "given": list(self.given), "steps": steps}


def explain(
    name: str, given: Sequence[str], entries: Sequence[Entry], arrangement: Arrangement
) -> Explanation:
    """Put an arrangement into words.

    Args:
        name: Name of the factory.
        given: Keys that had a value before any plugin ran.
        entries: The plugins in list order.
        arrangement: Their order, and its reasons.

    Returns:
        The explanation.
    """
    labels = _labels(entries)
    steps = tuple(
        _step(entries[index], _reason(index, arrangement, labels)) for index in arrangement.order
    )
    return Explanation(name, _plain(given), steps)


def _labels(entries: Sequence[Entry]) -> list[str]:
    """Name each plugin; those that share a class also by where they came from."""
    counts = Counter(entry.name for entry in entries)
    return [e.name if counts[e.name] == 1 else f"{e.name} ({e.origin})" for e in entries]


def _step(entry: Entry, reason: str) -> Step:
    wires = entry.wires
    return Step(
        entry.name,
        entry.origin,
        _plain(wires.requires),
        _plain(wires.optional),
        _plain(wires.produces),
        _plain(wires.contributes),
        _plain(wires.overrides),
        reason,
    )


def _plain(keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(key) for key in keys)


def _reason(index: int, arrangement: Arrangement, labels: Sequence[str]) -> str:
    """Say what a plugin waited for; edges from one plugin are told together."""
    told: dict[int, list[str]] = {}
    place = {plugin: position for position, plugin in enumerate(arrangement.order)}
    for edge in arrangement.edges:
        if edge.then == index:
            told.setdefault(edge.first, []).append(_because(edge))
    parts = [
        f"after {labels[first]}: {', '.join(dict.fromkeys(told[first]))}"
        for first in sorted(told, key=place.__getitem__)
    ]
    return "; ".join(parts) or "list order"


def _because(edge: Edge) -> str:
    if edge.kind == "before":
        return "which asks to run before it"
    if edge.kind == "after":
        return "asks to run after it"
    return f"{edge.kind} {edge.label}"
