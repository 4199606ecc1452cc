"""What a migration must not do, and how to go on: the sentences of its errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pgflow import idents
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.planning.route import Route
from pgflow.alembic.planning.titles import named
from pgflow.errors import CannotChange, ForeignDependent, MigrationCycle, MissingValue


def foreign(
    route: Route, refused: Mapping[EntityIdentifier, Sequence[EntityIdentifier]]
) -> ForeignDependent:
    """Refuse to drop what objects need that pgflow did not make.

    Args:
        route: The old and the new world.
        refused: What would have to be dropped or changed, with what needs it.
    """
    dependents = tuple(dict.fromkeys(one for several in refused.values() for one in several))
    told = "; ".join(_needed(route, needed, users) for needed, users in refused.items())
    shown = "; ".join(f"{sql};" for sql in _definitions(route, dependents))
    restore = f" As they are now: {shown}" if shown else ""
    it = "it" if len(dependents) == 1 else "them"
    return ForeignDependent(
        f"{_capital(told)}, and pgflow did not make {it}: pgflow never drops what is not its own. "
        f"Drop {it} by hand before this migration and create {it} again afterwards, or declare "
        f"{it} with pgflow.alembic.declare_sql().{restore}",
        objects=tuple(named(one) for one in dependents),
        needed=tuple(named(one) for one in refused),
    )


def _needed(route: Route, needed: EntityIdentifier, users: Sequence[EntityIdentifier]) -> str:
    what = "has to be dropped and made again" if needed in route.new else "is not declared any more"
    if route.old.get(needed) == route.new.get(needed):
        what = "has to be dropped and made again for another change"
    if needed.kind == "column" and needed in route.new:
        what = "has to change"
    verb = "needs" if len(users) == 1 else "need"
    return f"{named(needed)} {what}, but {', '.join(map(named, users))} {verb} it"


def _definitions(route: Route, identifiers: Iterable[EntityIdentifier]) -> list[str]:
    found = []
    for identifier in identifiers:
        entity = route.old.get(identifier)
        if entity is not None and identifier.kind in route.kinds:
            made = route.kind(identifier).create(entity, route.old)
            found += [statement.sql for statement in made]
    return found


def cannot_change(old: Entity, new: Entity) -> CannotChange:
    """Refuse to drop a table or column only to make it again."""
    changed = sorted(
        name.replace("_", " ")
        for name in {*old.facts, *new.facts}
        if old.facts.get(name) != new.facts.get(name)
    )
    return CannotChange(
        f"{_capital(named(new.id))} cannot be changed in place ({', '.join(changed)}), and making "
        "it again would lose its rows. Declare it under a new name, copy the rows in a migration "
        "of your own, and remove the old one after that.",
        object=named(new.id),
    )


def cannot_rebuild(user: EntityIdentifier, needed: EntityIdentifier) -> CannotChange:
    """Refuse to drop what a table or a column is made of."""
    return CannotChange(
        f"{_capital(named(needed))} would have to be dropped and made again, but {named(user)} is "
        "made of it and would lose its rows. Declare it under a new name and move "
        f"{named(user)} to it, then remove the old one.",
        object=named(needed),
    )


def partition_key(column: EntityIdentifier) -> CannotChange:
    """Refuse another type for a column by which a table is partitioned."""
    table = idents.qualify(column.schema, column.table or "")
    return CannotChange(
        f"{_capital(named(column))} cannot get another type, because table {table} is partitioned "
        "by it. Declare the table under a new name, copy the rows in a migration of your own, and "
        "remove the old one after that.",
        object=named(column),
    )


def row_type(column: EntityIdentifier, holder: EntityIdentifier) -> CannotChange:
    """Refuse another type for a column of rows that are kept whole in a column elsewhere."""
    return CannotChange(
        f"{_capital(named(column))} cannot get another type, because {named(holder)} holds rows of "
        f"its table. Declare a new column beside {named(column).removeprefix('column ')}, fill it "
        "in a migration of your own, and remove the old one after that.",
        object=named(column),
    )


def missing_value(column: Entity) -> MissingValue:
    """Refuse a new NOT NULL column for which existing rows have no value."""
    name = named(column.id).removeprefix("column ")
    return MissingValue(
        f"Column {name} is new and NOT NULL, but its table has rows and nothing says what they "
        'get. Give it server_default=, or info={"backfill": "an SQL expression"} (in a class: '
        "pgflow.backfill(...)), or make it nullable first.",
        column=name,
    )


def cycle(titles: Sequence[str]) -> MigrationCycle:
    """Refuse steps that wait for each other."""
    chain = (*titles, titles[0])
    return MigrationCycle(
        f"The steps of this migration wait for each other: {' -> '.join(chain)}. Take one of "
        "these objects out of the declaration, migrate, and declare it again.",
        chain=chain,
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
