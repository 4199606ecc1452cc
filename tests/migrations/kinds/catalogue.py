"""A database whose catalogue is read by one kind of object at a time."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, text

from pgflow.alembic.entity import Entity
from pgflow.alembic.kind import Kind
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Statement


class Catalogue:
    """Runs SQL, and reads what it made in schema `app`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.reader = Reader(connection)
        self.run("SET search_path = ''")

    def run(self, *statements: str | Statement) -> None:
        """Run SQL texts or statements of a migration as they are."""
        for each in statements:
            self.reader.run(each.sql if isinstance(each, Statement) else each)

    def read(self, kind: Kind, *schemas: str) -> list[Entity]:
        """Read the objects of a kind."""
        return list(kind.read(self.reader, schemas or ("app",)))

    def named(self, kind: Kind, name: str) -> Entity:
        """Read one object by its name."""
        [found] = [entity for entity in self.read(kind) if entity.id.name == name]
        return found

    def names(self, kind: Kind) -> set[str | None]:
        """Return the names of the objects of a kind."""
        return {entity.id.name for entity in self.read(kind)}

    def scalar(self, sql: str) -> object:
        """Return the one value of a query."""
        return self.connection.execute(text(sql)).scalar()

    def tried(self, kind: Kind, *statements: str) -> list[Entity]:
        """Read what statements would make, and undo them."""
        savepoint = self.connection.begin_nested()
        self.run(*statements)
        found = self.read(kind)
        savepoint.rollback()
        return found

    def world(self, entities: Iterable[Entity] = ()) -> Snapshot:
        """Return a snapshot of some objects, without dependencies."""
        user = str(self.scalar("SELECT current_user::text"))
        known = {entity.id: entity for entity in entities}
        return Snapshot(self.reader.version, known, user=user)

    def alter(self, kind: Kind, old: Entity, new: Entity) -> Change:
        """Turn one object into another by what its kind says, and return that."""
        change = kind.change(old, new, (self.world([old]), self.world([new])))
        assert change is not None
        self.run(*change.statements)
        return change


def check_round_trip(catalogue: Catalogue, kind: Kind, *statements: str) -> Entity:
    """Check that what a kind drops and makes again is what it was."""
    catalogue.run(*statements)
    [before] = catalogue.read(kind)
    catalogue.run(*kind.drop(before, catalogue.world()))
    assert catalogue.read(kind) == []
    catalogue.run(*kind.create(before, catalogue.world()))
    [after] = catalogue.read(kind)
    assert after == before
    return before


def check_change(catalogue: Catalogue, kind: Kind, old: str, new: str) -> list[str]:
    """Check that a change leads to what is declared, and back; return its SQL."""
    [after] = catalogue.tried(kind, new)
    catalogue.run(old)
    [before] = catalogue.read(kind)
    change = catalogue.alter(kind, before, after)
    assert catalogue.read(kind) == [after]
    catalogue.alter(kind, after, before)
    assert catalogue.read(kind) == [before]
    return [statement.sql for statement in change.statements]
