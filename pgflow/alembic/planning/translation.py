"""The live world under new names, so that it can be compared with what is declared.

The texts are those that the server would print after the renames, as far as they can be told by
their words. Where they cannot, an object looks changed and is made again from its declaration:
what is made always comes from the world in which the server printed it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from pgflow import idents
from pgflow.alembic.entity import Entity, Fact, Privilege
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.snapshot import RELATIONS, Edges, Snapshot

#: A constant, a quoted name, a word: what a text is made of, as far as names go.
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[A-Za-z_\u0080-\uffff][\w$]*|.", re.DOTALL)

#: A constant that names a sequence or a relation: 'app.orders_id_seq'::regclass.
_REGCLASS = re.compile(r"'((?:[^']|'')*)'(?=::regclass)")

#: Facts that hold a user's text as it was written: the server changes no names in it.
_VERBATIM = frozenset(("function", "definition")), frozenset(("procedure", "definition"))

#: Kinds whose output columns are named after what they show: see `_column_words`.
_QUERIES = ("view", "materialized_view", "rule", "function", "procedure")


@dataclass(frozen=True)
class Names:
    """New identities by old ones, for objects and whatever is named after them."""

    moved: Mapping[EntityIdentifier, EntityIdentifier] = field(default_factory=dict)

    @cached_property
    def _schemas(self) -> dict[str, str]:
        return {old.schema: new.schema for old, new in self.moved.items() if old.kind == "schema"}

    @cached_property
    def _relations(self) -> dict[tuple[str, str | None], EntityIdentifier]:
        return {
            (old.schema, old.name): new for old, new in self.moved.items() if old.kind in RELATIONS
        }

    @cached_property
    def columns(self) -> list[tuple[EntityIdentifier, EntityIdentifier]]:
        """The columns among what is renamed."""
        return [(old, new) for old, new in self.moved.items() if old.kind == "column"]

    @cached_property
    def qualified(self) -> dict[tuple[str, str], tuple[str, str]]:
        """New quoted names by old ones, for what is printed with its schema."""
        found = {}
        for old, new in self.moved.items():
            if old.table is None and old.name is not None and new.name is not None:
                key = (idents.quote(old.schema), idents.quote(old.name))
                found[key] = (idents.quote(new.schema), idents.quote(new.name))
        return found

    @cached_property
    def quoted_schemas(self) -> dict[str, str]:
        """New quoted names of schemas by old ones."""
        return {idents.quote(old): idents.quote(new) for old, new in self._schemas.items()}

    def of(self, identifier: EntityIdentifier) -> EntityIdentifier:
        """Return the new identity of an object, which may have changed with its relation's."""
        found = self.moved.get(identifier)
        if found is not None:
            return found
        if identifier.kind == "default":
            column = self.moved.get(replace(identifier, kind="column"))
            if column is not None:
                return replace(column, kind="default")
        if identifier.table is not None:
            relation = self._relations.get((identifier.schema, identifier.table))
            if relation is not None:
                return replace(identifier, schema=relation.schema, table=relation.name)
        return self._with_schema(identifier)

    def arguments(self, identifier: EntityIdentifier) -> str | None:
        """Return the types of a routine's arguments as they are called after the renames."""
        return self._with_schema(identifier).arguments

    def _with_schema(self, identifier: EntityIdentifier) -> EntityIdentifier:
        schema = self._schemas.get(identifier.schema, identifier.schema)
        arguments = identifier.arguments
        if arguments:
            arguments = _words(arguments, self)
        if schema == identifier.schema and arguments == identifier.arguments:
            return identifier
        return replace(identifier, schema=schema, arguments=arguments)


def translate(world: Snapshot, names: Names) -> Snapshot:
    """Return a world as it is after some renames.

    Args:
        world: The world before.
        names: What is renamed.
    """
    entities = {}
    for entity in world.entities.values():
        moved = _entity(entity, names, world)
        entities[moved.id] = moved
    return Snapshot(
        version=world.version,
        entities=entities,
        depends=_edges(world.depends, names),
        mentions=_edges(world.mentions, names),
        outsiders=_edges(world.outsiders, names),
        user=world.user,
    )


def _edges(edges: Edges, names: Names) -> Edges:
    return {
        names.of(one): frozenset(names.of(other) for other in others)
        for one, others in edges.items()
    }


def _entity(entity: Entity, names: Names, world: Snapshot) -> Entity:
    def renamed(text: str) -> str:
        return _columns(_own(_words(text, names), entity.id, names), entity, names, world)

    return replace(
        entity,
        id=names.of(entity.id),
        facts={
            name: fact if {entity.id.kind, name} in _VERBATIM else _fact(fact, renamed)
            for name, fact in entity.facts.items()
        },
        privileges=_privileges(entity, names),
    )


def _fact(fact: Fact, renamed: Callable[[str], str]) -> Fact:
    if isinstance(fact, str):
        return renamed(fact)
    if isinstance(fact, tuple):
        return tuple(_fact(one, renamed) for one in fact)
    return fact


def _privileges(entity: Entity, names: Names) -> frozenset[Privilege] | None:
    columns = {
        old.name: new.name or ""
        for old, new in names.columns
        if (old.schema, old.table) == (entity.id.schema, entity.id.name)
    }
    if entity.privileges is None or not columns:
        return entity.privileges
    return frozenset(
        replace(right, column=columns.get(right.column, right.column))
        for right in entity.privileges
    )


def _words(text: str, names: Names) -> str:
    """Replace qualified names, the qualifiers of their columns, and schemas."""
    if not names.qualified and not names.quoted_schemas:
        return text
    text = _REGCLASS.sub(lambda found: f"'{_plain_words(found[1], names)}'", text)
    return _plain_words(text, names)


def _plain_words(text: str, names: Names) -> str:
    tokens = _TOKEN.findall(text)
    bare = {old[1]: new[1] for old, new in names.qualified.items()}
    for at, token in enumerate(tokens):
        follows = tokens[at + 1 : at + 3]
        before = tokens[at - 1] if at else ""
        if before == "." or len(follows) < 2 or follows[0] != ".":
            continue
        pair = names.qualified.get((token, follows[1]))
        if pair is not None:
            tokens[at], tokens[at + 2] = pair
        elif token in names.quoted_schemas:
            tokens[at] = names.quoted_schemas[token]
        elif token in bare:
            tokens[at] = bare[token]
    return "".join(tokens)


def _own(text: str, identifier: EntityIdentifier, names: Names) -> str:
    """Replace the name of a part where its own definition prints it without a schema."""
    new = names.moved.get(identifier)
    if new is None or identifier.table is None or identifier.kind == "column":
        return text
    old_name, new_name = idents.quote(identifier.name or ""), idents.quote(new.name or "")
    tokens = _TOKEN.findall(text)
    return "".join(new_name if token == old_name else token for token in tokens)


def _columns(text: str, entity: Entity, names: Names, world: Snapshot) -> str:
    """Replace names of columns in the texts of parts of their table.

    A view's text is left alone: `SELECT old` becomes `SELECT new AS old` in it.
    """
    # A table's own texts name its columns, as its partition key does.
    belongs = entity.id.table is not None or entity.id.kind == "table"
    if not names.columns or entity.id.kind in _QUERIES or not belongs:
        return text
    own = (entity.id.schema, entity.id.table if entity.id.table is not None else entity.id.name)
    needed = world.depends.get(entity.id, frozenset())
    here, there = {}, {}
    for old, new in names.columns:
        pair = {idents.quote(old.name or ""): idents.quote(new.name or "")}
        if (old.schema, old.table) == own:
            here.update(pair)
        if old in needed:
            there.update(pair)
    left, word, right = text, "", ""
    if entity.id.kind == "constraint" and " REFERENCES " in text:
        left, word, right = text.partition(" REFERENCES ")
        right = _replaced(right, there if not _is_self(right, own) else {**there, **here})
    return _replaced(left, here) + word + right


def _is_self(references: str, own: tuple[str, str | None]) -> bool:
    return references.startswith(idents.qualify(own[0], own[1] or ""))


def _replaced(text: str, words: Mapping[str, str]) -> str:
    if not words:
        return text
    tokens = _TOKEN.findall(text)
    for at, token in enumerate(tokens):
        called = tokens[at + 1 : at + 2] == ["("]
        if token in words and not called:
            tokens[at] = words[token]
    return "".join(tokens)
