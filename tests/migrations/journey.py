"""A database led through several declarations and back again, which must find its way each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from sqlalchemy import Engine, MetaData

from pgflow.alembic import configure_metadata, declare_sql
from tests.migrations.matrix.workshop import Draft, Workshop

#: SQL for `declare_sql`, or a function that declares on a MetaData.
State: TypeAlias = "str | Callable[[MetaData], object]"


def metadata_of(*states: State) -> MetaData:
    """Declare one state on a MetaData of its own."""
    metadata = MetaData()
    for state in states:
        if isinstance(state, str):
            declare_sql(metadata, state)
        else:
            state(metadata)
    configure_metadata(metadata)
    return metadata


class Journey:
    """A database, and the declared states that it has been in.

    Args:
        engine: An engine on a database of its own.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.workshop = Workshop(engine)
        self._way: list[tuple[Draft, Sequence[object]]] = []

    def run(self, sql: str) -> None:
        """Do what somebody else does in the database."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql(sql)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """Return the rows of a query."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(sql)]

    def draft(self, *states: State) -> Draft:
        """Write the migration to a state, and do nothing with it."""
        return self.workshop.draft(metadata_of(*states))

    def go(self, *states: State) -> Draft:
        """Migrate to a state, after which nothing may be left to do."""
        before = self.workshop.state()
        draft = self.draft(*states)
        self.workshop.upgrade(draft)
        again = self.draft(*states)
        assert again.steps == [], again.upgrade
        self._way.append((draft, before))
        return draft

    def go_back(self, steps: int | None = None) -> None:
        """Take migrations back, all if no number is given; each leads to the state before it."""
        for _ in range(len(self._way) if steps is None else steps):
            draft, before = self._way.pop()
            self.workshop.downgrade(draft)
            assert self.workshop.state() == before, draft.downgrade
