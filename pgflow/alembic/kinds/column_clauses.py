"""Columns as CREATE TABLE and ADD COLUMN write them."""

from __future__ import annotations

from pgflow.alembic.entity import Entity
from pgflow.alembic.kinds import relations
from pgflow.alembic.statement import Statement


def clause(entity: Entity, default: Entity | None, *, nullable: bool = False) -> str:
    """Write a column: its name, type and what holds of it.

    Args:
        entity: The column.
        default: Its default, if that is to be said here.
        nullable: Leave NOT NULL out, whatever the column says.
    """
    facts = entity.facts
    words = [relations.own(entity.id), str(facts["type"])]
    if facts["compression"] is not None:
        words.append(f"COMPRESSION {facts['compression']}")
    if facts["collation"] is not None:
        words.append(f"COLLATE {facts['collation']}")
    if facts["generated"] is not None:
        words.append(f"GENERATED ALWAYS AS ({facts['generated']}) {facts['generation']}")
    elif facts["identity"] is not None:
        words.append(identity(entity))
    if default is not None:
        words.append(f"DEFAULT {default.facts['expression']}")
    if facts["not_null"] and facts["identity"] is None and not nullable:
        words.append("NOT NULL")
    return " ".join(words)


def identity(entity: Entity) -> str:
    """Write how an identity column gets its numbers."""
    options = relations.texts(entity.facts["identity_options"])
    listed = f" ({' '.join(options)})" if options else ""
    return f"GENERATED {entity.facts['identity']} AS IDENTITY{listed}"


def settings(entity: Entity, old: Entity | None = None) -> list[Statement]:
    """Set what a new column is not born with: storage, statistics target and options.

    Args:
        entity: The column as it should be.
        old: The column as it is; None for one that has just been made.
    """
    facts = entity.facts
    actions = []
    if facts["storage"] != (None if old is None else old.facts["storage"]):
        # SET STORAGE DEFAULT exists since 16 only.
        actions.append(f"SET STORAGE {facts['storage'] or entity.notes['default_storage']}")
    if facts["statistics"] != (None if old is None else old.facts["statistics"]):
        target = facts["statistics"]
        actions.append(f"SET STATISTICS {-1 if target is None else target}")
    before = () if old is None else relations.texts(old.facts["options"])
    actions += relations.reset_and_set(before, relations.texts(facts["options"]))
    if old is not None and facts["compression"] != old.facts["compression"]:
        actions.append(f"SET COMPRESSION {facts['compression'] or 'default'}")
    at = f"ALTER TABLE {relations.owner(entity.id)} ALTER COLUMN {relations.own(entity.id)}"
    return [Statement(f"{at} {action}") for action in actions]
