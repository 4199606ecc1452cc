"""The loop that every change must close: compare, plan, run, compare again: nothing; and back.

Used by tests; it runs the planned SQL directly, without Alembic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Engine, MetaData, text

from pgflow.alembic import catalogue, declare_sql, worlds
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.planning import migration
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.step import Migration, Step

_SCHEMAS = r"""
    SELECT nspname FROM pg_namespace
     WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema' ORDER BY 1
"""

#: A MetaData, or texts for `declare_sql`, each alone or with its `renamed_from`.
Declared = MetaData | str | Sequence[str | tuple[str, str]]


class Loop:
    """A database and what is done to it.

    Args:
        engine: The database.
        owner: The name of the migration history.
        big_bytes: From which size on tables are changed online; the planner's own by default.
    """

    def __init__(self, engine: Engine, *, owner: str = "", big_bytes: int = 1 << 25) -> None:
        self.engine = engine
        self.owner = owner
        self.big_bytes = big_bytes

    def plan(self, declared: Declared) -> Migration:
        """Plan the way from the database to a declaration."""
        with self.engine.connect() as connection:
            live, wanted = worlds.compare(connection, metadata(declared), owner=self.owner)
        return migration(live, wanted, owner=self.owner, big_bytes=self.big_bytes)

    def live(self) -> Snapshot:
        """Read everything that is there, whoever made it."""
        with self.engine.connect() as connection:
            schemas = connection.scalars(text(_SCHEMAS)).all()
            return catalogue.read(connection, schemas)

    def run(self, steps: Sequence[Step]) -> None:
        """Run steps, those without a transaction apart."""
        with self.engine.connect() as connection:
            for statement in (each for step in steps for each in step.statements):
                if statement.autocommit:
                    connection.commit()
                    self._alone(statement.sql)
                else:
                    connection.exec_driver_sql(
                        statement.sql, execution_options={"no_parameters": True}
                    )
            connection.commit()

    def _alone(self, sql: str) -> None:
        with self.engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            alone.exec_driver_sql(sql, execution_options={"no_parameters": True})

    def sql(self, *statements: str) -> None:
        """Run somebody else's SQL."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement, execution_options={"no_parameters": True})

    def value(self, query: str) -> object:
        """Return the first value of a query."""
        with self.engine.connect() as connection:
            return connection.scalar(text(query))

    def up(self, declared: Declared) -> Migration:
        """Migrate to a declaration, and hold that nothing is left to do."""
        planned = self.plan(declared)
        self.run(planned.upgrade)
        left = self.plan(declared)
        assert not left.upgrade, shown(left.upgrade)
        assert not left.downgrade, shown(left.downgrade)
        return planned

    def close(self, before: Declared, after: Declared) -> Migration:
        """Go from one declaration to another, back, and there again.

        After the way back everything is as it was, whoever made it.
        """
        self.run(self.plan(before).upgrade)
        start = self.live()
        planned = self.up(after)
        there = self.live()
        self.run(planned.downgrade)
        assert_same(start, self.live())
        left = self.plan(before)
        assert not left.upgrade, shown(left.upgrade)
        self.run(planned.upgrade)
        assert_same(there, self.live())
        return planned


def metadata(declared: Declared) -> MetaData:
    """Return a MetaData that declares some SQL; a MetaData is returned as it is."""
    if isinstance(declared, MetaData):
        return declared
    made = MetaData()
    for each in [declared] if isinstance(declared, str) else declared:
        statement, renamed_from = (each, None) if isinstance(each, str) else each
        declare_sql(made, statement, renamed_from=renamed_from)
    return made


def shown(steps: Sequence[Step]) -> str:
    """Write steps for whoever reads a failed test."""
    lines = []
    for step in steps:
        lines.append(f"{step.action}: {step.title}")
        lines += [f"    {statement.sql}" for statement in step.statements]
    return "\n".join(lines) or "(no steps)"


def titles(steps: Sequence[Step]) -> list[str]:
    """Return what steps say they do."""
    return [step.title for step in steps]


def assert_same(before: Snapshot, after: Snapshot) -> None:
    """Hold that two live worlds are equal, whatever is measured or numbered in them."""
    assert comparable(before) == comparable(after)


def comparable(world: Snapshot) -> dict[EntityIdentifier, Entity]:
    """Return the objects of a world without what no migration can give back."""
    return {
        identifier: replace(entity, notes={}, address=None, facts=dict(entity.facts))
        for identifier, entity in world.entities.items()
        if identifier.kind != "role"
    }
