"""What is set on an index after it is made, also on one that carries a constraint."""

from __future__ import annotations

from sqlalchemy import RowMapping

from pgflow import idents
from pgflow.alembic.entity import Entity, Fact
from pgflow.alembic.kinds import relations
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Hazard, Statement


def facts(kept: RowMapping) -> dict[str, Fact]:
    """Read what is set on an index from its row (`reloptions`, `spcname`, ...).

    Args:
        kept: The row; all None where a constraint has no index.
    """
    return {
        "options": relations.storage_options(kept["reloptions"]),
        "tablespace": kept["spcname"],
        "clustered": bool(kept["indisclustered"]),
        "replica_identity": bool(kept["indisreplident"]),
    }


def stored(entity: Entity) -> str:
    """Write options and tablespace as CREATE INDEX takes them, with a space before each."""
    text = ""
    if entity.facts["options"]:
        text += f" WITH ({relations.assignments(relations.texts(entity.facts['options']))})"
    if entity.facts["tablespace"] is not None:
        text += f" TABLESPACE {relations.quoted(entity.facts['tablespace'])}"
    return text


def marks(entity: Entity) -> list[Statement]:
    """Set CLUSTER and replica identity for an index that has just been made."""
    table, name = f"ALTER TABLE {relations.owner(entity.id)}", relations.own(entity.id)
    found = []
    if entity.facts["clustered"]:
        found.append(Statement(f"{table} CLUSTER ON {name}"))
    if entity.facts["replica_identity"]:
        found.append(Statement(f"{table} REPLICA IDENTITY USING INDEX {name}"))
    return found


def unmarked(entity: Entity) -> list[Statement]:
    """Take the replica identity back before an index goes: otherwise the table had none."""
    if not entity.facts["replica_identity"]:
        return []
    return [Statement(f"ALTER TABLE {relations.owner(entity.id)} REPLICA IDENTITY DEFAULT")]


def changes(old: Entity, new: Entity, world: Snapshot) -> list[Statement]:
    """Return what leads from the settings of an index to others.

    Args:
        old: The index, or the constraint that it carries, as it is.
        new: The same as it should be.
        world: The database as it should be.
    """
    index = f"ALTER INDEX {idents.qualify(new.id.schema, new.id.name or '')}"
    found = []
    if old.facts["tablespace"] != new.facts["tablespace"]:
        space = new.facts["tablespace"] or _default_tablespace(new, world)
        found.append(
            Statement(
                f"{index} SET TABLESPACE {relations.quoted(space)}",
                hazards=(Hazard.REWRITES, Hazard.EXCLUSIVE),
            )
        )
    options = (relations.texts(entity.facts["options"]) for entity in (old, new))
    found += [Statement(f"{index} {action}") for action in relations.reset_and_set(*options)]
    return found + _marks(old, new, world)


def _marks(old: Entity, new: Entity, world: Snapshot) -> list[Statement]:
    table, name = f"ALTER TABLE {relations.owner(new.id)}", relations.own(new.id)
    found = []
    if old.facts["clustered"] != new.facts["clustered"]:
        if new.facts["clustered"]:
            found.append(Statement(f"{table} CLUSTER ON {name}"))
        elif not _another(new, world, "clustered"):
            found.append(Statement(f"{table} SET WITHOUT CLUSTER"))
    if old.facts["replica_identity"] != new.facts["replica_identity"]:
        if new.facts["replica_identity"]:
            found.append(Statement(f"{table} REPLICA IDENTITY USING INDEX {name}"))
        elif not _another(new, world, "replica_identity"):
            relation = world.parent(new.id)
            identity = "DEFAULT" if relation is None else relation.facts["replica_identity"]
            found.append(Statement(f"{table} REPLICA IDENTITY {identity}"))
    return found


def _another(entity: Entity, world: Snapshot, fact: str) -> bool:
    relation = world.parent(entity.id)
    parts = [] if relation is None else world.parts(relation.id, "index", "constraint")
    return any(part.facts[fact] for part in parts)


def _default_tablespace(entity: Entity, world: Snapshot) -> Fact:
    relation = world.parent(entity.id)
    space = None if relation is None else relation.notes.get("default_tablespace")
    return space or "pg_default"
