"""How a sequence counts: its options, as a fact in which only what is not the default stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Largest value of the types that a sequence can have.
_LARGEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}


@dataclass(frozen=True, slots=True)
class Numbering:
    """The row of a sequence in `pg_sequence`.

    Attributes:
        type: Its type: "smallint", "integer" or "bigint".
        start: The first number.
        increment: The step; negative for one that counts down.
        smallest: MINVALUE.
        largest: MAXVALUE.
        cache: How many numbers a session takes at once.
        cycle: Whether it starts again at the end.
    """

    type: str
    start: int
    increment: int
    smallest: int
    largest: int
    cache: int
    cycle: bool

    @property
    def clauses(self) -> tuple[str, ...]:
        """The options as CREATE SEQUENCE takes them, without those that are the default.

        Without the defaults, because the bounds follow the type: an identity column that becomes
        bigint gets the bounds of bigint from the server.
        """
        up = self.increment > 0
        top = _LARGEST[self.type]
        lowest, highest = (1, top) if up else (-top - 1, -1)
        found = []
        if self.start != (self.smallest if up else self.largest):
            found.append(f"START WITH {self.start}")
        if self.increment != 1:
            found.append(f"INCREMENT BY {self.increment}")
        if self.smallest != lowest:
            found.append(f"MINVALUE {self.smallest}")
        if self.largest != highest:
            found.append(f"MAXVALUE {self.largest}")
        if self.cache != 1:
            found.append(f"CACHE {self.cache}")
        if self.cycle:
            found.append("CYCLE")
        return tuple(found)


_WORDS = ("START WITH", "INCREMENT BY", "MINVALUE", "MAXVALUE", "CACHE", "CYCLE")


def alterations(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return the clauses for ALTER SEQUENCE that lead from some options to others.

    Args:
        old: `Numbering.clauses` of the sequence as it is.
        new: `Numbering.clauses` of the sequence as it should be.
    """
    before, after = _by_word(old), _by_word(new)
    changed = [word for word in _WORDS if before.get(word) != after.get(word)]
    # The default of the first number follows the bounds, which the server does not do by itself.
    if "START WITH" not in after and {"INCREMENT BY", "MINVALUE", "MAXVALUE"} & set(changed):
        changed = ["START WITH", *(word for word in changed if word != "START WITH")]
    if counts_up(old) != counts_up(new):
        # That decides what NO MINVALUE and NO MAXVALUE mean.
        changed += [word for word in ("MINVALUE", "MAXVALUE") if word not in (*changed, *after)]
    return [_clause(word, after) for word in changed]


def first(clauses: Sequence[str]) -> int:
    """Return the first number of a sequence with these options."""
    return _start(_by_word(clauses))


def counts_up(clauses: Sequence[str]) -> bool:
    """Tell whether a sequence with these options counts up."""
    return int(_by_word(clauses).get("INCREMENT BY", "1")) > 0


def _by_word(clauses: Sequence[str]) -> dict[str, str]:
    return {
        word: clause.removeprefix(word).strip()
        for clause in clauses
        for word in _WORDS
        if clause.startswith(word)
    }


def _clause(word: str, wanted: dict[str, str]) -> str:
    if word in wanted:
        return f"{word} {wanted[word]}".strip()
    defaults = {
        "INCREMENT BY": "INCREMENT BY 1",
        "MINVALUE": "NO MINVALUE",
        "MAXVALUE": "NO MAXVALUE",
        "CACHE": "CACHE 1",
        "CYCLE": "NO CYCLE",
    }
    return defaults.get(word) or f"START WITH {_start(wanted)}"


def _start(wanted: dict[str, str]) -> int:
    if "START WITH" in wanted:
        return int(wanted["START WITH"])
    up = int(wanted.get("INCREMENT BY", "1")) > 0
    bound = wanted.get("MINVALUE" if up else "MAXVALUE")
    if bound is not None:
        return int(bound)
    return 1 if up else -1
