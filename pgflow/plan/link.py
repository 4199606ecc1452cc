"""A lookup as plans see it: which column of which dimension, found by what, and what if not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pgflow import idents
from pgflow.plan.decision import Decision
from pgflow.plan.sql import Sql, name

#: The type of an instant, as the server spells it.
INSTANT = "timestamp with time zone"


@dataclass(frozen=True)
class Link:
    """A lookup, with the names that the dimension's columns really have.

    Attributes:
        schema: The dimension's schema.
        table: The dimension's name.
        pairs: Source column and key of the dimension, for every key.
        at: The source's column with the instant.
        into: The target's column that is filled.
        select: The dimension's column that is taken.
        valid_from: The dimension's column of a version's first instant.
        valid_to: The dimension's column of the first instant after it.
        actions: What becomes of a row, by what is the matter with it.
        member: The unknown member: a value, or keys of the dimension with their values.
        types: The SQL types that the source columns take where nothing else says one: values in
            files and objects of Python have none of their own.
    """

    schema: str | None
    table: str
    pairs: tuple[tuple[str, str], ...]
    at: str
    into: str
    select: str
    valid_from: str
    valid_to: str
    actions: Mapping[str, str] = field(default_factory=dict)
    member: object = None
    types: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The dimension's qualified name, quoted where it needs it."""
        return idents.qualify(self.schema, self.table)

    @property
    def relation(self) -> Sql:
        """The dimension as a fragment."""
        return name(self.schema, self.table)

    @property
    def needs(self) -> tuple[str, ...]:
        """The source columns that it reads."""
        return (*(column for column, _ in self.pairs), self.at)

    @property
    def decision(self) -> Decision[str]:
        """What a preview says about it."""
        by = ", ".join(column for column, _ in self.pairs)
        outcomes = ", ".join(f"{outcome}: {action}" for outcome, action in self.actions.items())
        return Decision(f"{self.label}.{self.select}", f"by {by}, as of {self.at}; {outcomes}")
