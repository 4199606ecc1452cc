"""Constraints as CREATE TABLE and ADD CONSTRAINT write them."""

from __future__ import annotations

from pgflow import idents
from pgflow.alembic.entity import Entity
from pgflow.alembic.kinds import index_settings, relations
from pgflow.alembic.statement import Statement

_KEYS = ("primary_key", "unique")


def clause(entity: Entity) -> str:
    """Write a constraint with its name, without NOT VALID (which CREATE TABLE does not heed)."""
    facts = entity.facts
    words = [f"CONSTRAINT {relations.own(entity.id)} {facts['definition']}"]
    if facts["type"] in _KEYS:
        words[0] += index_settings.stored(entity).replace(
            " TABLESPACE ", " USING INDEX TABLESPACE "
        )
    if facts["deferrable"]:
        words.append(str(facts["deferrable"]))
    if not facts["enforced"]:
        words.append("NOT ENFORCED")
    return " ".join(words)


def settings(entity: Entity) -> list[Statement]:
    """Set on a new constraint's index what `clause` did not say."""
    facts = entity.facts
    found = []
    # EXCLUDE has it before its WHERE, in the middle of what the server printed.
    if facts["type"] not in _KEYS and facts["tablespace"] is not None:
        index = idents.qualify(entity.id.schema, entity.id.name or "")
        space = relations.quoted(facts["tablespace"])
        found.append(Statement(f"ALTER INDEX {index} SET TABLESPACE {space}"))
    return found + index_settings.marks(entity)
