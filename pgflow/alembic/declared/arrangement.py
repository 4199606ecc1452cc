"""Declared statements in an order in which a server accepts them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from pgflow.alembic.declared.declaration import Declaration


def arranged(
    declarations: Sequence[Declaration], makers: Sequence[frozenset[int]]
) -> list[Declaration]:
    """Order statements so that each comes after those that make what it names.

    Where nothing else decides, the kind of object does, then the order of declaration. Objects
    that need each other in a circle come in the order of their kinds; the server will say what it
    thinks of them.

    Args:
        declarations: The statements.
        makers: For each of them, the numbers of the statements that make what it names.

    Returns:
        All of them, each once.
    """
    waits = [{other for other in needed if other != n} for n, needed in enumerate(makers)]
    followers: dict[int, list[int]] = {}
    for number, needed in enumerate(waits):
        for other in needed:
            followers.setdefault(other, []).append(number)

    def key(number: int) -> tuple[int, int]:
        return declarations[number].subject.rank, number

    ready = [key(number) for number, needed in enumerate(waits) if not needed]
    heapq.heapify(ready)
    done: list[int] = []
    placed: set[int] = set()
    while len(done) < len(declarations):
        if not ready:
            rest = min(key(n) for n in range(len(declarations)) if n not in placed)
            heapq.heappush(ready, rest)
        number = heapq.heappop(ready)[1]
        if number in placed:
            continue
        placed.add(number)
        done.append(number)
        for follower in followers.get(number, ()):
            waits[follower].discard(number)
            if not waits[follower] and follower not in placed:
                heapq.heappush(ready, key(follower))
    return [declarations[number] for number in done]
