"""What the bodies of functions name, as far as it is among the objects that were read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from pgflow.alembic import bodies
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.snapshot import Edges

_RELATIONS = ("table", "view", "materialized_view", "sequence")
_ROUTINES = ("function", "procedure", "aggregate")
_TYPES = ("enum", "domain", "composite", "range", "table", "view", "materialized_view")

_Places = Mapping[str, Collection[EntityIdentifier]]


def read(entities: Mapping[EntityIdentifier, Entity]) -> Edges:
    """Find what the text bodies of functions and procedures name.

    The server does not check these, so a name without a schema is only a guess: it means the
    object of the function's own schema, or the only one of that name.

    Args:
        entities: All objects, under their declared names.

    Returns:
        For each function or procedure with such a body, what it names.
    """
    relations, routines, types = (_by_name(entities, k) for k in (_RELATIONS, _ROUTINES, _TYPES))
    found: dict[EntityIdentifier, frozenset[EntityIdentifier]] = {}
    for identifier, entity in entities.items():
        body = entity.notes.get("body")
        if not body or identifier.kind not in _ROUTINES:
            continue
        named = bodies.mentions(entity, str(entity.notes.get("language")), str(body))
        targets = {
            *_matches(named.relations, relations, identifier),
            *_matches(named.functions, routines, identifier),
            *_matches(named.types, types, identifier),
        }
        targets.discard(identifier)
        if targets:
            found[identifier] = frozenset(targets)
    return found


def _by_name(entities: Iterable[EntityIdentifier], kinds: Collection[str]) -> _Places:
    found: dict[str, list[EntityIdentifier]] = defaultdict(list)
    for identifier in entities:
        if identifier.kind in kinds and identifier.name is not None:
            found[identifier.name].append(identifier)
    return found


def _matches(
    names: Iterable[tuple[str | None, str]], places: _Places, own: EntityIdentifier
) -> Iterable[EntityIdentifier]:
    for schema, name in names:
        candidates = places.get(name, ())
        if schema is None:
            beside = [each for each in candidates if each.schema == own.schema]
            schemas = {each.schema for each in candidates}
            yield from beside or (candidates if len(schemas) == 1 else ())
        else:
            yield from (each for each in candidates if each.schema == schema)
