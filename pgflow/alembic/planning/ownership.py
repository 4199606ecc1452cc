"""What a migration may touch, and the world that it leads to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from pgflow import idents
from pgflow.alembic import privileges
from pgflow.alembic.entity import Entity, Mark
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.snapshot import Edges, Snapshot

#: Kinds that carry no mark of their own: whoever owns the relation owns them.
FOLLOWERS = ("column", "default", "constraint")

#: Kinds whose comment, and the mark in it, `CREATE TABLE ... (LIKE ... INCLUDING ALL)` copies.
COPIED = ("index", "statistics")

#: Kinds that are never taken over: others may use them, whoever declares them as well.
_SHARED = ("schema", "extension", "role")

#: What is known only of the live object.
_MEASURED = ("bytes", "rows")


def ours(live: Snapshot, declared: Snapshot, owner: str) -> frozenset[EntityIdentifier]:
    """Return all that may be changed or dropped: declared now, or marked by an earlier migration.

    Args:
        live: The live database.
        declared: The declared world.
        owner: The name of this migration history, as it stands in marks.
    """
    found = set(declared.entities)
    marked = [
        one for one in live.entities.values() if one.mark is not None and one.mark.owner == owner
    ]
    found.update(one.id for one in marked if one.id.kind not in COPIED)
    found.update(
        one.id for one in marked if one.id.kind in COPIED and _is_original(live, one, found)
    )
    for entity in live.of_kind(*FOLLOWERS):
        parent = live.parent(entity.id)
        if parent is not None and parent.id in found:
            found.add(entity.id)
    return frozenset(found)


def _is_original(live: Snapshot, part: Entity, found: Collection[EntityIdentifier]) -> bool:
    """Tell whether a marked part is on a table of ours, or on that other one it was made for."""
    relation = live.parent(part.id)
    if relation is None or part.mark is None or relation.id in found:
        return True
    return part.mark.table == idents.qualify(relation.id.schema, relation.id.name or "")


def target(
    live: Snapshot, declared: Snapshot, own: frozenset[EntityIdentifier], *, adopt: bool = False
) -> Snapshot:
    """Compose the world after the migration: what is declared beside all that is foreign.

    Args:
        live: The live database, renames done.
        declared: The declared world.
        own: What `ours` returned.
        adopt: Mark what is declared and was not made by a migration.
    """
    entities = {
        identifier: entity for identifier, entity in live.entities.items() if identifier not in own
    }
    for entity in _marked_for_defaults(declared):
        entities[entity.id] = _settled(live, entity, declared.user, adopt=adopt)
    for identifier in _orphans(live, declared, own):
        entities.pop(identifier, None)
    for schema in _inhabited(live, entities):
        entities.setdefault(schema.id, schema)
    return Snapshot(
        version=live.version,
        entities=entities,
        depends=_joined(live.depends, declared.depends, own),
        mentions=_joined(live.mentions, declared.mentions, own),
        outsiders=live.outsiders,
        user=live.user,
    )


def _marked_for_defaults(declared: Snapshot) -> Iterator[Entity]:
    """Give the declared objects, schemas with a mark that names who has default privileges in them.

    Default privileges have no comment; their schema's mark tells to whom migrations gave them.
    """
    named: defaultdict[str, set[str]] = defaultdict(set)
    for entity in declared.of_kind("default_privileges"):
        named[entity.id.schema].update(privileges.grantees(entity))
    for entity in declared.entities.values():
        added = named.get(entity.id.schema)
        if entity.id.kind == "schema" and added and entity.mark is not None:
            yield replace(entity, mark=replace(entity.mark, defaults=frozenset(added)))
        else:
            yield entity


def _inhabited(live: Snapshot, entities: Mapping[EntityIdentifier, Entity]) -> list[Entity]:
    """Return the schemas that hold what is not ours to drop, and so stay, whose they may be."""
    holding = {one.schema for one in entities if one.kind != "schema"}
    needed = {one for edges in live.outsiders.values() for one in edges}
    return [
        schema
        for schema in live.of_kind("schema")
        if schema.id.schema in holding or schema.id in needed
    ]


def _orphans(
    live: Snapshot, declared: Snapshot, own: frozenset[EntityIdentifier]
) -> Iterator[EntityIdentifier]:
    """Give foreign parts of relations that are not there any more."""
    for identifier in live.entities:
        parent = live.parent(identifier)
        if parent is None or identifier in own or parent.id not in own:
            continue
        if parent.id not in declared:
            yield identifier


def _joined(live: Edges, declared: Edges, own: frozenset[EntityIdentifier]) -> Edges:
    foreign = {one: edges for one, edges in live.items() if one not in own}
    return {**foreign, **declared}


def _settled(live: Snapshot, entity: Entity, user: str, *, adopt: bool) -> Entity:
    """Say how a declared object will be: what nobody declares of a live one stays as it is."""
    old = live.get(entity.id)
    if old is None:
        owner = live.user if entity.owner == user else entity.owner
        return replace(entity, owner=owner)
    measured = {name: old.notes[name] for name in _MEASURED if name in old.notes}
    taken = adopt and old.mark is None and old.id.kind not in _SHARED
    return replace(
        entity,
        comment=entity.comment if taken else _comment(live, old, entity),
        mark=entity.mark if taken else _mark(old, entity),
        owner=old.owner,
        privileges=privileges.settled(old, entity),
        notes={**old.notes, **entity.notes, **measured},
    )


def _mark(old: Entity, new: Entity) -> Mark | None:
    """Keep who made the object; what is adopted in silence gets no mark now either."""
    if old.mark is None or new.mark is None:
        return old.mark
    return replace(new.mark, owner=old.mark.owner)


def _comment(live: Snapshot, old: Entity, new: Entity) -> str | None:
    if new.comment is not None:
        return new.comment
    parent = live.parent(old.id) if old.id.kind in FOLLOWERS else old
    # Nobody but its author can have meant the comment of an object that pgflow did not make.
    return new.comment if parent is not None and parent.mark is not None else old.comment
