"""Partitions, and the foreign keys of others that point to the whole that they are parts of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pgflow import idents
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import relations
from pgflow.alembic.planning.route import Route
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Statement

#: What needs a key: foreign keys, and what is outside and described in words only.
_REFERRING = ("constraint", "outsider")


def referring(route: Route, table: EntityIdentifier) -> Iterator[EntityIdentifier]:
    """Give the foreign keys that point to a table of which another one is a partition.

    The server keeps each of them for every partition as well, so that a partition with referred
    rows cannot go, and none at all can be dropped while such a key is there.

    Args:
        route: The old and the new world.
        table: The partition, in the old world.
    """
    for whole in _wholes(route.old, route.old[table]):
        for key in route.old.parts(whole.id, "constraint", "index"):
            for user in route.dependents.get(key.id, ()):
                if user.kind in _REFERRING:
                    yield user


def like_it(world: Snapshot, part: EntityIdentifier) -> Iterator[EntityIdentifier]:
    """Give what the whole has of the kind of an index or a constraint of a partition.

    The server takes an index, a unique or a foreign key that a partition already has for the
    partition's share of one that the whole gets, so the whole gets its own ones first.

    Args:
        world: The database.
        part: An index or a constraint in it.
    """
    relation = world.parent(part)
    if part.kind in ("index", "constraint") and relation is not None:
        is_key = world[part].facts.get("type") == "foreign_key"
        for whole in _wholes(world, relation):
            for one in world.parts(whole.id, "index", "constraint"):
                if (one.facts.get("type") == "foreign_key") == is_key:
                    yield one.id


def moves(route: Route, table: EntityIdentifier) -> bool:
    """Tell whether a partition is detached and attached again with other bounds.

    Args:
        route: The old and the new world.
        table: A table of both worlds.
    """
    before, after = route.old[table].facts.get("bound"), route.new[table].facts.get("bound")
    return before != after


def is_key(world: Snapshot, column: EntityIdentifier) -> bool:
    """Tell whether a table, or one of its partitions, is partitioned by a column.

    Args:
        world: The database.
        column: The column of a table.
    """
    table = EntityIdentifier(column.schema, column.table, kind="table")
    own = re.compile(rf'(?<![\w$"]){re.escape(idents.quote(column.name or ""))}(?![\w$"])')
    for one in world.of_kind("table"):
        is_part = one.id == table or any(whole.id == table for whole in _wholes(world, one))
        if is_part and own.search(str(one.facts.get("partition_by") or "")):
            return True
    return False


def detached(partition: Entity) -> Sequence[Statement]:
    """Take a partition out of its table, after which foreign keys to the table know it no more."""
    whole = partition.facts["partition_of"]
    return (Statement(f"ALTER TABLE {whole} DETACH PARTITION {relations.qualified(partition.id)}"),)


def _wholes(world: Snapshot, table: Entity) -> Iterator[Entity]:
    """Give the table of which another is a partition, the one of which that is one, and so on."""
    if not table.facts.get("partition_of"):
        return
    by_name = {
        idents.qualify(one.id.schema, one.id.name or ""): one for one in world.of_kind("table")
    }
    whole = by_name.get(str(table.facts.get("partition_of")))
    while whole is not None:
        yield whole
        whole = by_name.get(str(whole.facts.get("partition_of")))
