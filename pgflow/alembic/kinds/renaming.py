"""New names for objects that `ALTER ... RENAME TO` and `ALTER ... SET SCHEMA` know."""

from __future__ import annotations

from pgflow import idents
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.statement import Statement


def moved(noun: str, old: EntityIdentifier, new: EntityIdentifier) -> tuple[Statement, ...]:
    """Rename an object of a schema, and move it to another schema where that differs.

    Args:
        noun: What ALTER calls it: "VIEW", "FUNCTION", ...
        old: What it is called now; its arguments, if it has any, stay as they are.
        new: What it will be called.

    Returns:
        `ALTER ... RENAME TO`, then `ALTER ... SET SCHEMA`; those of the two that are needed.
    """
    statements = []
    if old.name != new.name:
        statements.append(
            Statement(f"ALTER {noun} {_called(old, old)} RENAME TO {idents.quote(new.name or '')}")
        )
    if old.schema != new.schema:
        statements.append(
            Statement(f"ALTER {noun} {_called(old, new)} SET SCHEMA {idents.quote(new.schema)}")
        )
    return tuple(statements)


def renamed_on(noun: str, old: EntityIdentifier, new: EntityIdentifier) -> tuple[Statement, ...]:
    """Rename what belongs to a relation and is called by it: a trigger, a rule, a policy.

    Args:
        noun: What ALTER calls it: "TRIGGER", "RULE" or "POLICY".
        old: What it is called now.
        new: What it will be called; its relation is called so already.

    Returns:
        The statement, nothing if only its relation has a new name.
    """
    if old.name == new.name:
        return ()
    relation = idents.qualify(new.schema, new.table or "")
    own, other = idents.quote(old.name or ""), idents.quote(new.name or "")
    return (Statement(f"ALTER {noun} {own} ON {relation} RENAME TO {other}"),)


def _called(where: EntityIdentifier, name: EntityIdentifier) -> str:
    arguments = "" if where.arguments is None else f"({where.arguments})"
    return idents.qualify(where.schema, name.name or "") + arguments
