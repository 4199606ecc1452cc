"""Whether triggers and rules fire: always, never, or by the session's replication role."""

from __future__ import annotations

from collections.abc import Mapping

from pgflow import idents
from pgflow.alembic.entity import Entity, Fact
from pgflow.alembic.statement import Statement

#: What `tgenabled` and `ev_enabled` say, in the words of ALTER TABLE.
STATES: Mapping[str, str] = {
    "O": "ENABLE",
    "D": "DISABLE",
    "R": "ENABLE REPLICA",
    "A": "ENABLE ALWAYS",
}


def firing(noun: str, entity: Entity, *, before: Fact = "ENABLE") -> tuple[Statement, ...]:
    """Bring a trigger or a rule into the state in which it should fire.

    Args:
        noun: "TRIGGER" or "RULE".
        entity: What it should be; its fact "enabled" is one of `STATES`.
        before: The state that it is in; what was just made fires at origin.

    Returns:
        The statement, if the states differ.
    """
    if entity.facts["enabled"] == before:
        return ()
    relation = idents.qualify(entity.id.schema, entity.id.table or "")
    own = idents.quote(entity.id.name or "")
    return (Statement(f"ALTER TABLE {relation} {entity.facts['enabled']} {noun} {own}"),)
