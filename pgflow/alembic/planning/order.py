"""The order of steps: what others need is made first, and dropped last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import networkx as nx

from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import constraints
from pgflow.alembic.planning import filling, partitions, refusals
from pgflow.alembic.planning.places import identity_places, places
from pgflow.alembic.planning.route import Route, container, needs
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Statement
from pgflow.alembic.step import Step

_Index = dict[EntityIdentifier, int]


@dataclass
class Graph:
    """Steps by number, and which comes before which.

    Attributes:
        steps: The steps.
        hard: Pairs in which the server insists on the order.
        soft: Pairs in which it is only better: bodies of functions are not checked by it.
    """

    steps: Sequence[Step]
    hard: set[tuple[int, int]] = field(default_factory=set)
    soft: set[tuple[int, int]] = field(default_factory=set)

    def network(self, *, soft: bool = True) -> nx.DiGraph:
        """Return it for networkx, with soft edges or without."""
        graph = nx.DiGraph()
        graph.add_nodes_from(range(len(self.steps)))
        graph.add_edges_from(self.hard | self.soft if soft else self.hard)
        return graph


@dataclass(frozen=True)
class _Ways:
    """Which step makes, drops or alters an object."""

    made: _Index = field(default_factory=dict)
    gone: _Index = field(default_factory=dict)
    altered: _Index = field(default_factory=dict)
    #: The first step that alters an object; `altered` has the last one.
    begun: _Index = field(default_factory=dict)


def graph(route: Route, steps: Sequence[Step]) -> Graph:
    """Find out which step comes before which.

    Args:
        route: The old and the new world.
        steps: The steps, in any order.
    """
    found = Graph(steps)
    ways = _ways(steps)
    for pair in (
        *_before_use(route, steps, ways),
        *_after_use(route, ways),
        *_names(route, ways),
        *_altered_twice(ways),
    ):
        _add(found.hard, pair)
    for pair in (
        *_mentioned(route, steps, ways),
        *_filled(route, steps, ways),
        *_referred(route, ways),
    ):
        _add(found.soft, pair)
    found.soft -= found.hard
    return found


def sort(found: Graph, route: Route) -> list[int]:
    """Return the numbers of the steps in order; those that nothing orders by rank and name.

    Args:
        found: The graph; soft edges in a cycle are given up.
        route: Knows the ranks.

    Raises:
        MigrationCycle: Steps wait for each other.
    """
    network = found.network()
    if not nx.is_directed_acyclic_graph(network):
        _give_up_soft(found, route)
        network = found.network()
    try:
        order = list(nx.lexicographical_topological_sort(network, key=_key(found, route)))
    except nx.NetworkXUnfeasible:
        chain = [found.steps[edge[0]].title for edge in nx.find_cycle(network)]
        raise refusals.cycle(chain) from None
    return _late_last(found, network, order)


def _give_up_soft(found: Graph, route: Route) -> None:
    """Make functions before what their bodies name where there is no other way."""
    steps = list(found.steps)
    for knot in knots(found, soft=True):
        given_up = {(a, b) for a, b in found.soft if a in knot and b in knot}
        found.soft -= given_up
        for number in {then for _, then in given_up}:
            entity = route.new.get(steps[number].id)
            if entity is not None and entity.notes.get("language") == "sql":
                steps[number] = _unchecked(steps[number])
    found.steps = steps


def _unchecked(step: Step) -> Step:
    """Make a function whose body names what is not there yet."""
    off = Statement("SET LOCAL check_function_bodies = off")
    return replace(
        step, statements=(off, *step.statements, Statement("RESET check_function_bodies"))
    )


def knots(found: Graph, *, soft: bool) -> list[set[int]]:
    """Return the sets of steps that wait for each other."""
    network = found.network(soft=soft)
    return [knot for knot in nx.strongly_connected_components(network) if len(knot) > 1]


def _add(pairs: set[tuple[int, int]], pair: tuple[int, int]) -> None:
    if pair[0] != pair[1]:
        pairs.add(pair)


def _ways(steps: Sequence[Step]) -> _Ways:
    ways = _Ways()
    for number, step in enumerate(steps):
        if step.action == "drop":
            ways.gone.update(dict.fromkeys(step.removes, number))
        elif step.action == "create":
            ways.made.update(dict.fromkeys(step.provides, number))
        else:
            ways.begun.setdefault(step.id, number)
            ways.altered[step.id] = number
    return ways


def _altered_twice(ways: _Ways) -> Iterator[tuple[int, int]]:
    """What cannot share the transaction comes after the rest of the change."""
    for identifier, number in ways.begun.items():
        yield number, ways.altered[identifier]


def _raw(world: Snapshot, identifier: EntityIdentifier) -> frozenset[EntityIdentifier]:
    return world.depends.get(identifier, frozenset())


def _before_use(route: Route, steps: Sequence[Step], ways: _Ways) -> Iterator[tuple[int, int]]:
    """What an object needs is made and altered before it, and what holds it is made before it."""
    for number, step in enumerate(steps):
        if step.action == "drop":
            continue
        for one in step.provides:
            # A sequence that is altered may get its column: that must be there by then.
            altered = one.kind == "sequence" and step.action == "alter"
            for needed in _raw(route.new, one) if altered else needs(route.new, one):
                # Only a primary key has to wait until its columns forbid NULL.
                is_key = route.new[one].facts.get("type") == "primary_key"
                altered_by = ways.altered if is_key else ways.begun
                if needed in ways.made:
                    yield ways.made[needed], number
                if needed in altered_by and (
                    is_key or not _forbids_null(steps[altered_by[needed]])
                ):
                    yield altered_by[needed], number
            for holder in container(route.new, one):
                if holder in ways.made:
                    yield ways.made[holder], number
                elif one.kind == "default" and holder in ways.begun:
                    yield ways.begun[holder], number
            if one in ways.made and step.action == "alter":
                yield ways.made[one], number
            yield from _shared(route, one, ways, number)
            yield from _owned(route, one, ways, number)


def _shared(
    route: Route, part: EntityIdentifier, ways: _Ways, number: int
) -> Iterator[tuple[int, int]]:
    """A partition gets its own indexes and keys after those of the whole."""
    for whole in partitions.like_it(route.new, part):
        if whole in ways.made:
            yield ways.made[whole], number


def _forbids_null(step: Step) -> bool:
    """Tell whether a step only makes a column of a big table NOT NULL, on its own."""
    return step.id.kind == "column" and any(each.autocommit for each in step.statements)


def _owned(
    route: Route, sequence: EntityIdentifier, ways: _Ways, number: int
) -> Iterator[tuple[int, int]]:
    """A column takes its sequences over when it is made: they come before it."""
    if sequence.kind == "sequence" and sequence in ways.made:
        for column in _raw(route.new, sequence):
            if column.kind == "column" and column in ways.made:
                yield number, ways.made[column]


def _after_use(route: Route, ways: _Ways) -> Iterator[tuple[int, int]]:
    """What an object needed is dropped after it is dropped or altered so that it does not."""
    for needed, number in ways.gone.items():
        for user in route.dependents.get(needed, ()):
            if user in ways.gone:
                yield ways.gone[user], number
            elif user in ways.altered and needed not in _raw(route.new, user):
                yield ways.altered[user], number
        for holder in container(route.old, needed):
            if holder in ways.gone:
                yield number, ways.gone[holder]
    for needed, number in ways.altered.items():
        yield from _after_users(route, needed, ways, number)
        default = replace(needed, kind="default")
        if needed.kind == "column" and default in ways.gone:
            yield ways.gone[default], number
        yield from _disowned(route, needed, ways, number)


def _after_users(
    route: Route, needed: EntityIdentifier, ways: _Ways, number: int
) -> Iterator[tuple[int, int]]:
    """What is altered waits for what needed it and is dropped, or computed otherwise."""
    for user in route.dependents.get(needed, ()):
        if user in ways.gone:
            yield ways.gone[user], number
        elif user.kind == "column" and user in ways.altered and needed not in _raw(route.new, user):
            yield ways.altered[user], number


def _disowned(
    route: Route, sequence: EntityIdentifier, ways: _Ways, number: int
) -> Iterator[tuple[int, int]]:
    """A sequence leaves its column before that is dropped and would take it along."""
    if sequence.kind == "sequence":
        for column in _raw(route.old, sequence) - _raw(route.new, sequence):
            if column in ways.gone:
                yield number, ways.gone[column]


def _names(route: Route, ways: _Ways) -> Iterator[tuple[int, int]]:
    """A name must be free before something else can have it."""
    leaving: defaultdict[object, list[int]] = defaultdict(list)
    for identifier, number in ways.gone.items():
        for place in (*places(route.old[identifier]), *identity_places(route.old, identifier)):
            leaving[place].append(number)
    for identifier, number in ways.begun.items():
        for place in identity_places(route.old, identifier):
            if place not in identity_places(route.new, identifier):
                leaving[place].append(number)
    coming = {**ways.begun, **ways.made}
    for identifier, number in coming.items():
        own = places(route.new[identifier]) if identifier in ways.made else ()
        for place in (*own, *identity_places(route.new, identifier)):
            for other in leaving.get(place, ()):
                yield other, number


def _mentioned(route: Route, steps: Sequence[Step], ways: _Ways) -> Iterator[tuple[int, int]]:
    for number, step in enumerate(steps):
        if step.action == "drop":
            continue
        for one in step.provides:
            for named in _named(route.new, one):
                for way in (ways.made, ways.altered):
                    if named in way:
                        yield way[named], number


def _named(world: Snapshot, one: EntityIdentifier) -> Iterator[EntityIdentifier]:
    """Give what a body names, with the columns of tables where the server looks for them."""
    entity = world.get(one)
    is_checked = entity is not None and entity.notes.get("language") == "sql"
    for named in world.mentions.get(one, ()):
        yield named
        if is_checked and named.kind == "table":
            yield from (column.id for column in world.parts(named, "column"))


def _referred(route: Route, ways: _Ways) -> Iterator[tuple[int, int]]:
    """What points to rows of a partitioned table goes before its partitions."""
    for table, number in ways.gone.items():
        for user in partitions.referring(route, table) if table.kind == "table" else ():
            if user in ways.gone:
                yield ways.gone[user], number


def _filled(route: Route, steps: Sequence[Step], ways: _Ways) -> Iterator[tuple[int, int]]:
    """What rows get in a column comes from columns that are there by then, or still."""
    for number, step in enumerate(steps):
        for one in step.provides if step.action != "drop" else ():
            for needed in filling.sources(route.new.get(one)):
                for way in (ways.made, ways.altered):
                    if needed in way:
                        yield way[needed], number
                if needed in ways.gone:
                    yield number, ways.gone[needed]


def _key(found: Graph, route: Route) -> Callable[[int], tuple[int, int, tuple[str, ...]]]:
    def key(number: int) -> tuple[int, int, tuple[str, ...]]:
        step = found.steps[number]
        rank = rank_of(route, step.id)
        if step.action == "drop":
            # Roles go last: until then others revoke what was granted to them.
            return 2 if step.id.kind == "role" else 0, -rank, step.id.sort_key
        return 1, rank, _sort_key(route, step.id)

    return key


def _sort_key(route: Route, identifier: EntityIdentifier) -> tuple[str, ...]:
    """Order new columns as they are declared, and all else by name."""
    entity = route.new.get(identifier)
    if identifier.kind != "column" or entity is None:
        return identifier.sort_key
    kind, schema, table, *rest = identifier.sort_key
    return kind, schema, table, f"{entity.notes.get('position', 0):>6}", *rest


def rank_of(route: Route, identifier: EntityIdentifier) -> int:
    """Return where an object comes among those that it neither needs nor is needed by."""
    entity = route.new.get(identifier) or route.old.get(identifier)
    if entity is not None and entity.facts.get("type") == "foreign_key":
        return constraints.FOREIGN_KEY_RANK
    return route.kind(identifier).rank


def _late_last(found: Graph, network: nx.DiGraph, order: list[int]) -> list[int]:
    """Put new values of enums first, and at the end what cannot share the transaction.

    What comes after such a step comes at the end with it.
    """
    alone = {n for n in order if any(each.autocommit for each in found.steps[n].statements)}
    early = {n for n in alone if found.steps[n].id.kind == "enum"}
    late = set(alone - early)
    for number in alone - early:
        late |= nx.descendants(network, number)
    late -= early
    first = [n for n in order if n in early]
    last = [n for n in order if n in late]
    return [*first, *(n for n in order if n not in early and n not in late), *last]
