"""Which live objects only change their names: those that say so, and parts that are else equal."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from pgflow import idents
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kind import Kind
from pgflow.alembic.planning.places import Place, places
from pgflow.alembic.planning.route import owning_column
from pgflow.alembic.planning.titles import named
from pgflow.alembic.planning.translation import Names, translate
from pgflow.alembic.snapshot import RELATIONS, Snapshot
from pgflow.errors import AmbiguousRename

_PART = r'(?:"(?:[^"]|"")+"|[^".]+)'
_QUALIFIED = re.compile(rf"(?:(?P<schema>{_PART})\.)?(?P<name>{_PART})")

#: Parts of a relation that get their new name by a rename if nothing else differs.
_PARTS = ("constraint", "index", "statistics", "trigger", "policy", "rule")


_Pair: TypeAlias = tuple[EntityIdentifier, EntityIdentifier]
_Pairs: TypeAlias = Iterable[_Pair]


@dataclass(frozen=True)
class Round:
    """Renames that are done together, in this order; later rounds know the new names.

    Attributes:
        pairs: The old and the new identity of each object, parts of renamed relations left out.
        implied: What gets a new identity by these renames, without one of its own.
    """

    pairs: tuple[_Pair, ...]
    implied: tuple[_Pair, ...] = ()

    @property
    def names(self) -> Names:
        """The renames by old identity."""
        return Names(dict((*self.pairs, *self.implied)))

    @property
    def former(self) -> Names:
        """The renames by new identity."""
        return Names({new: old for old, new in (*self.pairs, *self.implied)})

    @property
    def changes_texts(self) -> bool:
        """Whether definitions of other objects hold what gets another name."""
        return any(old.kind not in _PARTS for old, _ in self.pairs)

    def reversed(self, world: Snapshot) -> Round:
        """Return the way back.

        Args:
            world: What is there before the way back. What has one of the names by now, because
                the way there made it, gets out of the way under another one.
        """
        # What was renamed only to be dropped under the name that the server gives it is gone.
        back = [(new, old) for old, new in reversed(self.pairs) if new in world]
        # The way there may have given a table statistics and sequences that it had not.
        back += [
            pair for one in list(back) for pair in _statistics(world, *one) if pair not in back
        ]
        aside = tuple(_aside(world, back))
        # What is gone by now is made again under its old name.
        former = {new: old for old, new in (*self.pairs, *self.implied) if new not in world}
        return Round((*aside, *back), tuple({**former, **dict(_implied(world, back))}.items()))


def _aside(world: Snapshot, pairs: Sequence[_Pair]) -> Iterator[_Pair]:
    leaving = {old for old, _ in pairs}
    taken = {place: one for one in world.entities.values() for place in places(one)}
    for old, new in pairs:
        for holder in [taken.get(place) for place in places(world[old], new)]:
            if holder is not None and holder.id not in leaving:
                leaving.add(holder.id)
                yield holder.id, _spare(holder, taken)


def _spare(holder: Entity, taken: Mapping[Place, object]) -> EntityIdentifier:
    spare = replace(holder.id, name=idents.fit(f"{holder.id.name}_after"))
    while any(place in taken for place in places(holder, spare)):
        spare = replace(spare, name=idents.fit(f"{spare.name}_"))
    return spare


def find(
    live: Snapshot, declared: Snapshot, owner: str, kinds: Mapping[str, Kind]
) -> tuple[tuple[Round, ...], Snapshot]:
    """Find all renames.

    Args:
        live: The live database.
        declared: The declared world, with `renamed_from` among its notes.
        owner: The name of this migration history.
        kinds: The kinds of objects; some cannot be renamed.

    Returns:
        The rounds in order, and the live world after them.

    Raises:
        AmbiguousRename: Two declared objects have the same old name.
    """
    rounds: list[Round] = []
    for wanted in (_asked_schemas, _asked, _asked_columns, _equal_parts, _owned_sequences):
        possible = (
            (old, new)
            for old, new in wanted(live, declared, owner)
            if kinds[old.kind or ""].rename(old, new) is not None
        )
        pairs = _arranged(_of_same_arguments(list(possible)), live)
        if pairs:
            rounds.append(Round(pairs, tuple(_implied(live, pairs))))
            live = translate(live, rounds[-1].names)
    return tuple(rounds), live


def _of_same_arguments(pairs: Sequence[_Pair]) -> _Pairs:
    """Leave out routines that get other arguments: a new name would not make them the declared."""
    names = Names(dict(pairs))
    return [(old, new) for old, new in pairs if names.arguments(old) == new.arguments]


def _implied(live: Snapshot, pairs: _Pairs) -> Iterator[_Pair]:
    """Give the sequences that go to another schema with the tables that own them."""
    moved = {old: new for old, new in pairs if old.kind == "table" and old.schema != new.schema}
    for entity in live.of_kind("sequence"):
        column = owning_column(live, entity.id)
        table = (
            None if column is None else EntityIdentifier(column.schema, column.table, kind="table")
        )
        if table in moved:
            yield entity.id, replace(entity.id, schema=moved[table].schema)


def _asked_schemas(live: Snapshot, declared: Snapshot, owner: str) -> _Pairs:
    for entity, old_name in _with_old_names(declared):
        if entity.id.kind == "schema":
            yield from _checked(live, replace(entity.id, schema=old_name), entity.id, owner)


def _asked(live: Snapshot, declared: Snapshot, owner: str) -> _Pairs:
    """Give the renames of objects of schemas, whose old name may tell another schema."""
    for entity, old_name in _with_old_names(declared):
        if entity.id.kind in ("schema", "column"):
            continue
        old = replace(entity.id, name=old_name)
        if old not in live:
            schema, name = _split(old_name, entity.id.schema)
            old = replace(entity.id, schema=schema, name=name)
        if old.arguments is not None and old not in live:
            named_so = _signature(old)
            same = [e.id for e in live.of_kind(old.kind or "") if _signature(e.id) == named_so]
            old = same[0] if len(same) == 1 else old
        for pair in _checked(live, old, entity.id, owner):
            yield pair
            yield from _statistics(live, *pair)


def _statistics(world: Snapshot, old: EntityIdentifier, new: EntityIdentifier) -> _Pairs:
    """Give the statistics of a table that moves to another schema; the server leaves them behind.

    Those that no migration has made stay where they are.
    """
    if old.kind == "table" and old.schema != new.schema:
        for part in world.parts(old, "statistics"):
            if part.mark is not None:
                yield part.id, replace(part.id, schema=new.schema, table=new.name)


def _asked_columns(live: Snapshot, declared: Snapshot, owner: str) -> _Pairs:
    for entity, old_name in _with_old_names(declared):
        if entity.id.kind == "column":
            yield from _checked(live, replace(entity.id, name=old_name), entity.id, owner)


def _signature(identifier: EntityIdentifier) -> tuple[str, str | None]:
    return identifier.schema, identifier.name


def _with_old_names(declared: Snapshot) -> Iterator[tuple[Entity, str]]:
    for entity in declared.entities.values():
        old_name = entity.notes.get("renamed_from")
        if isinstance(old_name, str) and old_name:
            yield entity, old_name


def _checked(live: Snapshot, old: EntityIdentifier, new: EntityIdentifier, owner: str) -> _Pairs:
    """Give the rename if the old object is live and no other history's."""
    found = live.get(old)
    if found is None or old == new:
        return
    if found.mark is None or found.mark.owner == owner:
        yield old, new


def _split(name: str, schema: str) -> tuple[str, str]:
    """Take `schema.name` apart; what is none of both is a bare name as it stands."""
    found = _QUALIFIED.fullmatch(name)
    if found is None:
        return schema, name
    return _bare(found["schema"]) if found["schema"] else schema, _bare(found["name"])


def _bare(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _equal_parts(live: Snapshot, declared: Snapshot, owner: str) -> _Pairs:
    """Give the parts of a relation that differ in nothing but their names."""
    for relation in declared.of_kind(*RELATIONS):
        if relation.id not in live:
            continue
        for kind in _PARTS:
            before = [e for e in live.parts(relation.id, kind) if e.id not in declared]
            after = [e for e in declared.parts(relation.id, kind) if e.id not in live]
            yield from _matched(live, _renameable(before, owner), after)


def _renameable(parts: list[Entity], owner: str) -> list[Entity]:
    return [
        part
        for part in parts
        if part.id.kind == "constraint" or (part.mark is not None and part.mark.owner == owner)
    ]


def _matched(live: Snapshot, before: list[Entity], after: list[Entity]) -> _Pairs:
    free = list(before)
    for new in after:
        for old in free:
            moved = translate(Snapshot(live.version, {old.id: old}), Names({old.id: new.id}))
            if dict(moved[new.id].facts) == dict(new.facts):
                free.remove(old)
                yield old.id, new.id
                break


def _owned_sequences(live: Snapshot, declared: Snapshot, owner: str) -> _Pairs:
    """Give the sequences of serial columns whose table or column has another name now."""
    before: dict[object, EntityIdentifier] = {}
    for entity in live.of_kind("sequence"):
        if entity.mark is not None and entity.mark.owner == owner:
            before[entity.facts.get("owned_by")] = entity.id
    for new in declared.of_kind("sequence"):
        column = new.facts.get("owned_by")
        old = before.get(column)
        holder = live.get(new.id)
        # One that already belongs to the column under this name is the one.
        is_there = holder is not None and holder.facts.get("owned_by") == column
        if column and old is not None and old.schema == new.id.schema and not is_there:
            yield old, new.id


def _arranged(pairs: _Pairs, live: Snapshot) -> tuple[_Pair, ...]:
    """Put renames into an order in which each new name is free; leave out those that never are."""
    waiting = _unambiguous(pairs)
    taken = Counter(place for entity in live.entities.values() for place in places(entity))
    done: list[_Pair] = []
    while True:
        ready = [
            old
            for old, new in waiting.items()
            if not any(taken[place] for place in _new_places(live, old, new))
        ]
        if not ready:
            _refuse_swaps(waiting)
            return tuple(done)
        old = ready[0]
        new = waiting.pop(old)
        taken.subtract(places(live[old]))
        taken.update(places(live[old], new))
        done.append((old, new))


def _refuse_swaps(waiting: Mapping[EntityIdentifier, EntityIdentifier]) -> None:
    """Refuse names that are exchanged: nothing tells whether that is to be done or was done."""
    for start in waiting:
        ring = [start]
        while (following := waiting.get(ring[-1])) is not None and following not in ring:
            ring.append(following)
        if following == start:
            names = tuple(named(one) for one in ring)
            raise AmbiguousRename(
                f"{' and '.join(names)} exchange their names by renamed_from=, and nothing tells "
                "whether that has been done already. Give one of them a third name in a migration "
                "of its own, then the others theirs, and remove renamed_from= once it is done.",
                objects=names,
            )


def _new_places(live: Snapshot, old: EntityIdentifier, new: EntityIdentifier) -> set[Place]:
    return {*places(live[old], new)} - {*places(live[old])}


def _unambiguous(pairs: _Pairs) -> dict[EntityIdentifier, EntityIdentifier]:
    found: defaultdict[EntityIdentifier, list[EntityIdentifier]] = defaultdict(list)
    for old, new in pairs:
        found[old].append(new)
    for old, new_ones in found.items():
        if len(new_ones) > 1:
            names = tuple(named(one) for one in new_ones)
            raise AmbiguousRename(
                f"{' and '.join(names)} both say that they were {named(old)} before. Leave "
                "renamed_from= at the one that keeps its rows.",
                objects=names,
            )
    return {old: new_ones[0] for old, new_ones in found.items()}
