"""What a step does, as a person would say it."""

from __future__ import annotations

from pgflow import idents
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier

#: How kinds are called where their own names are not words.
_NOUNS = {
    "materialized_view": "materialized view",
    "foreign_table": "foreign table",
    "enum": "type",
    "composite": "type",
    "range": "type",
    "statistics": "statistics",
    "default_privileges": "default privileges",
}

#: What is to be done by hand when a column comes back whose values are lost.
FILL = "fill the column before SET NOT NULL, or the step fails on a table with rows"


def named(identifier: EntityIdentifier) -> str:
    """Name an object in words: `trigger touch on app.orders`."""
    noun = _NOUNS.get(identifier.kind or "", identifier.kind or "object")
    name = identifier.name
    if identifier.kind == "outsider":
        return name or ""
    if name is None:
        return f"{noun} {idents.quote(identifier.schema)}"
    if identifier.kind == "default_privileges":
        role, _, target = name.partition("/")
        where = f" in schema {idents.quote(identifier.schema)}" if identifier.schema else ""
        return f"{noun} of {role} on {target}{where}"
    if identifier.table is None or identifier.kind in ("index", "statistics"):
        arguments = "" if identifier.arguments is None else f"({identifier.arguments})"
        return f"{noun} {idents.qualify(identifier.schema or None, name)}{arguments}"
    relation = idents.qualify(identifier.schema or None, identifier.table)
    if identifier.kind == "column":
        return f"{noun} {relation}.{idents.quote(name)}"
    if identifier.kind == "default":
        return f"{noun} of {relation}.{idents.quote(name)}"
    return f"{noun} {idents.quote(name)} on {relation}"


def create(identifier: EntityIdentifier) -> str:
    """Say that an object is made: `Add column app.orders.total`."""
    verb = {"column": "Add", "constraint": "Add", "default": "Set"}.get(identifier.kind or "")
    return f"{verb or 'Create'} {named(identifier)}"


def drop(identifier: EntityIdentifier) -> str:
    """Say that an object is dropped."""
    return f"Drop {named(identifier)}"


def validate(identifier: EntityIdentifier) -> str:
    """Say that a constraint is checked for the rows that were there before it."""
    return f"Validate {named(identifier)}"


def rename(old: EntityIdentifier, new: EntityIdentifier) -> str:
    """Say that an object gets a new name."""
    if new.name is None:
        called = idents.quote(new.schema)
    elif (old.schema, old.table) == (new.schema, new.table) or new.table is not None:
        called = idents.quote(new.name)
    else:
        called = idents.qualify(new.schema or None, new.name)
    return f"Rename {named(old)} to {called}"


def replace(identifier: EntityIdentifier) -> str:
    """Say that an object gets another definition without being dropped."""
    return f"Replace {named(identifier)}"


def alter(old: Entity, new: Entity) -> str:
    """Say what changes of an object that stays: `Change the type of app.orders.total to ...`."""
    identifier = new.id
    changed = {
        name for name in {*old.facts, *new.facts} if old.facts.get(name) != new.facts.get(name)
    }
    if not changed:
        return _besides(old, new)
    if identifier.kind == "column":
        return _column(changed, new)
    if identifier.kind in ("view", "function", "procedure", "trigger"):
        return replace(identifier)
    if identifier.kind == "default":
        return f"Change the {named(identifier)}"
    return f"Change {named(identifier)}"


def _column(changed: set[str], new: Entity) -> str:
    name = named(new.id).removeprefix("column ")
    if changed == {"type"}:
        return f"Change the type of {name} to {new.facts['type']}"
    if changed == {"not_null"}:
        return f"{'Forbid' if new.facts['not_null'] else 'Allow'} NULL in {name}"
    words = ", ".join(sorted(one.replace("_", " ") for one in changed))
    return f"Change the {words} of {name}"


def _besides(old: Entity, new: Entity) -> str:
    """Say what changes beside the facts: the comment, the mark or rights."""
    if old.comment != new.comment:
        verb = "Remove" if new.comment is None else "Set" if old.comment is None else "Change"
        return f"{verb} the comment of {named(new.id)}"
    if old.mark is None and new.mark is not None:
        return f"Take over {named(new.id)}"
    if new.mark is None and old.mark is not None:
        return f"Give up {named(new.id)}"
    return f"Change the rights on {named(new.id)}"
