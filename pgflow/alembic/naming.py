"""Declared names into names of scratch schemas, and back."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace

from pgflow import idents
from pgflow.alembic.declared.mentions import Mentions, Register
from pgflow.alembic.entity import Entity, Fact
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.literals import dollar, literal
from pgflow.alembic.snapshot import Edges, Snapshot

#: How the names of all scratch schemas begin.
PREFIX = "pgflow_scratch_"


class Naming:
    """Which scratch schema stands for which declared one.

    Args:
        schemas: The declared schemas.
        register: The names of the declared objects.
    """

    def __init__(self, schemas: Iterable[str], register: Register) -> None:
        # 64 random bits, so that the name occurs nowhere else: not in a body, not in a comment.
        self._prefix = f"{PREFIX}{secrets.token_hex(8)}_"
        self._register = register
        #: The scratch schema of each declared one.
        self.scratch: Mapping[str, str] = {
            schema: f"{self._prefix}{number}" for number, schema in enumerate(sorted(schemas))
        }
        self._real = {scratch: schema for schema, scratch in self.scratch.items()}
        self._bodies: dict[str, str] = {}
        self._pattern = re.compile(re.escape(self._prefix) + r"\d+")

    def rewritten(self, sql: str, named: Mentions) -> str:
        """Let a statement name the scratch schemas of declared objects.

        Args:
            sql: The declared text.
            named: Where it names declared objects.

        Returns:
            The text with other schemas, and nothing else changed.
        """
        changes = [(s.start, s.end, self.scratch[s.schema]) for s in named.spans]
        for start, end, content in named.strings:
            changes.append((start, end, literal(self._in_string(content))))
        if named.body is not None:
            start, end, text, spans = named.body
            body = _changed(text, [(s.start, s.end, self.scratch[s.schema]) for s in spans])
            # Put back as it was, not name by name: there is more than one way to write a name.
            self._bodies[body] = text
            changes.append((start, end, dollar(body)))
        return _changed(sql, changes)

    def _in_string(self, content: str) -> str:
        spans = self._register.in_string(content)
        return _changed(content, [(s.start, s.end, self.scratch[s.schema]) for s in spans])

    def restored(self, snapshot: Snapshot) -> Snapshot:
        """Put the declared names back into all that was read from scratch schemas."""
        restored = map(self._entity, snapshot.entities.values())
        entities = {entity.id: entity for entity in restored}
        return replace(
            snapshot,
            entities=entities,
            depends=self._edges(snapshot.depends),
        )

    def _edges(self, edges: Edges) -> Edges:
        return {
            self.identifier(one): frozenset(self.identifier(other) for other in others)
            for one, others in edges.items()
        }

    def _entity(self, entity: Entity) -> Entity:
        return replace(
            entity,
            id=self.identifier(entity.id),
            facts={name: self._fact(fact) for name, fact in entity.facts.items()},
            notes={name: self._fact(note) for name, note in entity.notes.items()},
            comment=None if entity.comment is None else self._text(entity.comment),
        )

    def identifier(self, identifier: EntityIdentifier) -> EntityIdentifier:
        """Put the declared names back into an identity."""
        return replace(
            identifier,
            schema=self._real.get(identifier.schema, identifier.schema),
            name=None if identifier.name is None else self._text(identifier.name),
            arguments=None if identifier.arguments is None else self._text(identifier.arguments),
        )

    def _fact(self, fact: Fact) -> Fact:
        if isinstance(fact, str):
            return self._text(fact)
        if isinstance(fact, tuple):
            return tuple(self._fact(part) for part in fact)
        return fact

    def _text(self, text: str) -> str:
        if self._prefix not in text:
            return text
        # A name alone is data; a name inside a longer text is SQL, where it may need quotes.
        if text in self._real:
            return self._real[text]
        for body, original in self._bodies.items():
            text = text.replace(body, original)
        return self._pattern.sub(lambda found: idents.quote(self._real[found[0]]), text)

    def told(self, message: str) -> str:
        """Put the declared names back into a message of the server."""
        return self._text(message)


def _changed(text: str, changes: Iterable[tuple[int, int, str]]) -> str:
    for start, end, new in sorted(changes, reverse=True):
        text = text[:start] + new + text[end:]
    return text
