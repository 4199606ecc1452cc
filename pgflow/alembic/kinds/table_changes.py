"""How a table becomes another one, as far as it is not about its columns and other parts."""

from __future__ import annotations

from pgflow.alembic.entity import Entity
from pgflow.alembic.kinds import relations
from pgflow.alembic.statement import Change, Hazard, Statement
from pgflow.errors import CannotChange

_COPIES = (Hazard.REWRITES, Hazard.EXCLUSIVE)


def change(old: Entity, new: Entity) -> Change:
    """Return the statements that lead from a table to another.

    Raises:
        CannotChange: They differ in what only a new table can have.
    """
    _refuse(old, new)
    return Change((*_bound(old, new), *_storage(old, new), *switches(new, old)))


def switches(entity: Entity, old: Entity | None = None) -> list[Statement]:
    """Set what CREATE TABLE cannot say: row security and replica identity.

    Args:
        entity: The table as it should be.
        old: The table as it is; None for one that has just been made.
    """
    facts = entity.facts
    actions = []
    if facts["row_security"] != (old is not None and old.facts["row_security"]):
        actions.append(f"{'ENABLE' if facts['row_security'] else 'DISABLE'} ROW LEVEL SECURITY")
    if facts["forced_row_security"] != (old is not None and old.facts["forced_row_security"]):
        no = "" if facts["forced_row_security"] else "NO "
        actions.append(f"{no}FORCE ROW LEVEL SECURITY")
    if facts["replica_identity"] != ("DEFAULT" if old is None else old.facts["replica_identity"]):
        actions.append(f"REPLICA IDENTITY {facts['replica_identity']}")
    return [Statement(f"{_alter(entity)} {action}") for action in actions]


def refuse_typed(entity: Entity) -> None:
    """Refuse a table that was declared with CREATE TABLE ... OF.

    Raises:
        CannotChange: It was.
    """
    if entity.facts["of_type"] is not None:
        raise CannotChange(
            f"{entity.id} is declared as a table OF {entity.facts['of_type']}. Its columns belong "
            "to that type, so no migration could change them one by one. Declare its columns.",
            object=str(entity.id),
        )


def _refuse(old: Entity, new: Entity) -> None:
    refuse_typed(new)
    for fact, what in (
        ("partition_by", "another partition key"),
        ("partition_of", "another table to be a partition of"),
        ("inherits", "other tables to inherit from"),
        ("of_type", "columns of its own instead of those of a type"),
    ):
        if old.facts[fact] != new.facts[fact]:
            raise CannotChange(
                f"{new.id} is declared with {what} ({_said(new, fact)}, and now {_said(old, fact)})"
                ", which would need a new table. Declare the new table under another name, copy "
                "the rows, and rename it; or change the live table by hand first: a migration "
                "finds nothing to do once both agree.",
                object=str(new.id),
            )


def _said(entity: Entity, fact: str) -> str:
    value = entity.facts[fact]
    if isinstance(value, tuple):
        value = ", ".join(relations.texts(value))
    return str(value) if value else "none"


def _bound(old: Entity, new: Entity) -> list[Statement]:
    if old.facts["bound"] == new.facts["bound"]:
        return []
    parent, name = new.facts["partition_of"], relations.qualified(new.id)
    # The rows are read to see whether they fit.
    return [
        Statement(f"ALTER TABLE {parent} DETACH PARTITION {name}"),
        Statement(
            f"ALTER TABLE {parent} ATTACH PARTITION {name} {new.facts['bound']}",
            hazards=(Hazard.SCANS, Hazard.EXCLUSIVE),
        ),
    ]


def _storage(old: Entity, new: Entity) -> list[Statement]:
    before, after, alter = old.facts, new.facts, _alter(new)
    found = []
    if before["persistence"] != after["persistence"]:
        word = "UNLOGGED" if after["persistence"] == "unlogged" else "LOGGED"
        found.append(Statement(f"{alter} SET {word}", hazards=_COPIES))
    name = after["access_method"]
    if before["access_method"] != name:
        # Only partitioned tables, since PostgreSQL 17, can have one or none.
        method = "DEFAULT" if name is None else relations.quoted(name)
        found.append(Statement(f"{alter} SET ACCESS METHOD {method}", hazards=_COPIES))
    if before["tablespace"] != after["tablespace"]:
        space = after["tablespace"] or new.notes.get("default_tablespace") or "pg_default"
        found.append(
            Statement(f"{alter} SET TABLESPACE {relations.quoted(space)}", hazards=_COPIES)
        )
    options = (relations.texts(facts["options"]) for facts in (before, after))
    found += [Statement(f"{alter} {action}") for action in relations.reset_and_set(*options)]
    return found


def _alter(entity: Entity) -> str:
    return f"ALTER TABLE {relations.qualified(entity.id)}"
