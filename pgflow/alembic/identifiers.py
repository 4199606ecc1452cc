"""Full identities of database objects: what an operation is about, so that none is ever lost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pgflow import idents

Phase = Literal["drop", "create"]


@dataclass(frozen=True, slots=True)
class EntityIdentifier:
    """Identifies one object of a database, and in a migration the half that an operation does.

    Attributes:
        schema: The schema that holds it; "" for what lives in none (extensions, roles).
        name: Its unqualified name; None for the schema itself.
        phase: "drop" or "create" for one half of an operation; None for the object as such.
        kind: What it is: "table", "view", "function", ...; None where it is not known.
        arguments: Types of a function's input arguments, as `pg_get_function_identity_arguments`
            prints them without names; None for what takes none. Tells overloads apart.
        table: The relation (of the same schema) that it belongs to, for columns, defaults,
            constraints, indexes, triggers, policies and rules; None for what stands alone.
    """

    schema: str = "public"
    name: str | None = None
    phase: Phase | None = None
    kind: str | None = None
    arguments: str | None = None
    table: str | None = None

    @property
    def sort_key(self) -> tuple[str, str, str, str, str, str]:
        """A key that orders identifiers the same way in every run."""
        parts = (self.kind, self.schema, self.table, self.name, self.arguments, self.phase)
        a, b, c, d, e, f = (part or "" for part in parts)
        return a, b, c, d, e, f

    def at(self, phase: Phase | None) -> EntityIdentifier:
        """Return the same object in another phase."""
        return replace(self, phase=phase)

    def __str__(self) -> str:
        if self.name is None:
            return f"{self.kind or 'schema'} {idents.quote(self.schema)}"
        own = idents.quote(self.name)
        if self.table is not None:
            own = f"{idents.qualify(self.schema or None, self.table)}.{own}"
        else:
            own = idents.qualify(self.schema or None, self.name)
        if self.arguments is not None:
            own += f"({self.arguments})"
        return f"{self.kind} {own}" if self.kind else own
