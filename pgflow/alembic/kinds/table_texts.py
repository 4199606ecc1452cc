"""CREATE TABLE as a person would write it, from a table and its parts."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import constraint_texts, relations, sequences
from pgflow.alembic.kinds.column_clauses import clause, settings
from pgflow.alembic.kinds.table_changes import refuse_typed, switches
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Statement

#: The order of constraints in the text; foreign keys come last.
_ORDER = ("primary_key", "unique", "exclude", "check", "foreign_key")


def create_whole(
    entity: Entity, world: Snapshot, parts: Collection[EntityIdentifier]
) -> Sequence[Statement]:
    """Make a table with all its columns and some of its other parts in one CREATE TABLE."""
    refuse_typed(entity)
    columns = world.parts(entity.id, "column")
    columns.sort(key=lambda column: int(str(column.notes.get("position", 0))))
    defaults = {each.id.name: each for each in _chosen(entity, world, parts, "default")}
    constraints = _chosen(entity, world, parts, "constraint")
    constraints.sort(key=lambda each: (_ORDER.index(str(each.facts["type"])), each.id.sort_key))
    # The defaults of a partition's inherited columns are all that it says of its columns.
    inherited = set(defaults) - {column.id.name for column in columns}
    lines = [
        *(clause(column, defaults.get(column.id.name)) for column in columns),
        *(_inherited_default(defaults[name]) for name in sorted(map(str, inherited))),
        *(constraint_texts.clause(constraint) for constraint in constraints),
    ]
    statements = [Statement(_text(entity, lines))]
    for column in columns:
        statements += settings(column)
        statements += _owned(column, defaults.get(column.id.name), world)
    for constraint in constraints:
        statements += constraint_texts.settings(constraint)
    statements += switches(entity)
    return tuple(statements)


def _chosen(
    entity: Entity, world: Snapshot, parts: Collection[EntityIdentifier], kind: str
) -> list[Entity]:
    return [part for part in world.parts(entity.id, kind) if part.id in parts]


def _inherited_default(default: Entity) -> str:
    return f"{relations.own(default.id)} DEFAULT {default.facts['expression']}"


def _owned(column: Entity, inlined: Entity | None, world: Snapshot) -> list[Statement]:
    """Give the column its sequences; a default that is set later does it for the one it uses."""
    later = None
    if inlined is None:
        later = world.get(relations.sibling(column.id, "default"))
    return [
        sequences.owned(sequence)
        for sequence in sequences.of_column(column.id, world)
        if not sequences.used(later, sequence)
    ]


def _text(entity: Entity, lines: Sequence[str]) -> str:
    facts = entity.facts
    unlogged = "UNLOGGED " if facts["persistence"] == "unlogged" else ""
    text = f"CREATE {unlogged}TABLE {relations.qualified(entity.id)}"
    if facts["partition_of"] is not None:
        text += f" PARTITION OF {facts['partition_of']}"
    body = ",\n".join(f"    {line}" for line in lines)
    if body:
        text += f" (\n{body}\n)"
    elif facts["partition_of"] is None:
        text += " ()"
    return "\n".join([text, *_tail(entity)])


def _tail(entity: Entity) -> list[str]:
    facts = entity.facts
    words = []
    if facts["bound"] is not None:
        words.append(str(facts["bound"]))
    if facts["inherits"]:
        words.append(f"INHERITS ({', '.join(relations.texts(facts['inherits']))})")
    if facts["partition_by"] is not None:
        words.append(f"PARTITION BY {facts['partition_by']}")
    if facts["access_method"] not in {None, "heap"}:
        words.append(f"USING {relations.quoted(facts['access_method'])}")
    if facts["options"]:
        words.append(f"WITH ({relations.assignments(relations.texts(facts['options']))})")
    if facts["tablespace"] is not None:
        words.append(f"TABLESPACE {relations.quoted(facts['tablespace'])}")
    return words
