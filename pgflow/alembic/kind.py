"""What each kind of object can do: be read, made, changed, dropped; one file a kind, in `kinds`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Statement


class Kind(Protocol):
    """One kind of object.

    Attributes:
        name: The `kind` of its identities: "table", "view", ...
        rank: Where it comes among operations that do not need each other: small comes first
            when things are made, last when they are dropped.
    """

    @property
    def name(self) -> str:
        """The `kind` of its identities."""
        ...

    @property
    def rank(self) -> int:
        """Its place among kinds."""
        ...

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all objects of this kind in some schemas, in one query where possible."""
        ...

    def label(self, identifier: EntityIdentifier) -> str:
        """Name an object as COMMENT ON does: `FUNCTION app.f(integer)`, `TRIGGER t ON app.t`."""
        ...

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make an object; its comment, owner and privileges are set by others."""
        ...

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop an object, never with CASCADE."""
        ...

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
        """Turn one into the other, facts only; None if it must be dropped and made again."""
        ...

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement] | None:
        """Rename an object; None if this kind cannot be renamed."""
        ...
