"""One declared SQL statement, with what it makes and what it is about."""

from __future__ import annotations

from dataclasses import dataclass, field

from pglast import ast

from pgflow.alembic.concealment import first_line
from pgflow.alembic.identifiers import EntityIdentifier

_NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Subject:
    """What a statement does.

    Attributes:
        rank: Where it comes among statements that do not need each other.
        makes: The object that it creates; None if it only changes what others created.
        alters: The objects of others that it changes: what is commented on, granted, altered.
        locks: Relations, as (schema, name), that it would lock more than a reader does.
        roles: The roles that it names.
    """

    rank: int
    makes: EntityIdentifier | None = None
    alters: tuple[EntityIdentifier, ...] = ()
    locks: tuple[tuple[str, str], ...] = ()
    roles: frozenset[str] = _NOBODY


@dataclass(frozen=True)
class Declaration:
    """One declared SQL statement.

    Attributes:
        sql: Its text, without a closing semicolon.
        node: The same, parsed.
        subject: What it does.
        origin: Where it was declared, as an error names it.
        renamed_from: The name that the object has had until now, if it has another.
    """

    sql: str = field(repr=False)
    node: ast.Node = field(repr=False, compare=False)
    subject: Subject
    origin: str
    renamed_from: str | None = None

    @property
    def first_line(self) -> str:
        """The first line of the text, for messages."""
        return first_line(self.sql)
