"""Tables of a schema "app" read, made from what was read, and led from one state to another."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from sqlalchemy import Connection

from pgflow.alembic.entity import Entity, Fact
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kind import Kind
from pgflow.alembic.kinds.columns import COLUMN
from pgflow.alembic.kinds.constraints import CONSTRAINT
from pgflow.alembic.kinds.defaults import DEFAULT
from pgflow.alembic.kinds.domains import DOMAIN
from pgflow.alembic.kinds.enums import ENUM
from pgflow.alembic.kinds.indexes import INDEX
from pgflow.alembic.kinds.sequences import SEQUENCE
from pgflow.alembic.kinds.statistics import STATISTICS
from pgflow.alembic.kinds.tables import TABLE, create_whole
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Statement

OURS: tuple[Kind, ...] = (SEQUENCE, TABLE, COLUMN, DEFAULT, CONSTRAINT, INDEX, STATISTICS)
BY_NAME = {kind.name: kind for kind in OURS}
#: What the tables' types are: only read here.
TYPES: tuple[Kind, ...] = (ENUM, DOMAIN)

TYPES_SQL = (
    "CREATE TYPE app.mood AS ENUM ('sad', 'ok'); "
    "CREATE TYPE app.temper AS ENUM ('ok', 'sad', 'great'); "
    "CREATE DOMAIN app.email AS text CHECK (VALUE ~ '@'); "
    "CREATE DOMAIN app.free AS text"
)


def run(conn: Connection, *statements: str | Statement) -> None:
    """Run texts as they are."""
    for statement in statements:
        Reader(conn).run(statement if isinstance(statement, str) else statement.sql)


def setup(conn: Connection, *sql: str) -> None:
    """Make the schema, its types and what a test needs."""
    run(conn, "CREATE SCHEMA app", TYPES_SQL, *sql)


def world(conn: Connection, schemas: Iterable[str] = ("app",)) -> Snapshot:
    """Read the tables, as the server prints them under an empty search path."""
    run(conn, "SET LOCAL search_path = ''")
    reader = Reader(conn)
    entities = {e.id: e for kind in (*TYPES, *OURS) for e in kind.read(reader, list(schemas))}
    run(conn, "SET LOCAL search_path TO DEFAULT")
    return Snapshot(reader.version, entities)


def declared(conn: Connection, *sql: str) -> Snapshot:
    """Return what the schema would hold if it were made anew; nothing stays of it."""
    savepoint = conn.begin_nested()
    run(conn, "DROP SCHEMA app CASCADE")
    setup(conn, *sql)
    found = world(conn)
    savepoint.rollback()
    return found


def built(wanted: Snapshot) -> Iterator[Statement]:
    """Give the statements that make everything of a world from nothing."""
    for sequence in wanted.of_kind("sequence"):
        yield from SEQUENCE.create(sequence, wanted)
    # Parents have smaller numbers than their partitions.
    for table in sorted(wanted.of_kind("table"), key=lambda table: table.address or ()):
        own = wanted.parts(table.id, "default", "constraint")
        parts = {part.id for part in own if part.facts.get("type") != "foreign_key"}
        yield from create_whole(table, wanted, parts)
    for constraint in wanted.of_kind("constraint"):
        if constraint.facts["type"] == "foreign_key":
            yield from CONSTRAINT.create(constraint, wanted)
    for kind in (INDEX, STATISTICS):
        for entity in wanted.of_kind(kind.name):
            yield from kind.create(entity, wanted)


def way(old: Snapshot, new: Snapshot) -> list[Statement]:
    """Return the statements from one world to another: drops, then changes, then what is new."""
    dropped, made, changed = _differences(old, new)
    found: list[Statement] = []
    for entity in sorted(dropped, key=_rank, reverse=True):
        found += BY_NAME[entity.id.kind or ""].drop(entity, old)
    # The sequence of an identity gives its name free for one of the column's own.
    changed.sort(key=lambda each: (not _loses_identity(each[0], old), _rank(each[0])))
    early = [change for entity, change in changed if _loses_identity(entity, old)]
    made.sort(key=_rank)
    alone = [entity for entity in made if entity.id.kind in {"sequence", "table"}]
    found += itertools.chain.from_iterable(change.statements for change in early)
    found += _created(alone, new)
    for _, change in changed[len(early) :]:
        found += change.statements
    added = {entity.id for entity in made}
    return found + _created((each for each in made if not _comes_with(each.id, added)), new)


def _differences(
    old: Snapshot, new: Snapshot
) -> tuple[list[Entity], list[Entity], list[tuple[Entity, Change]]]:
    dropped, made, changed = [], [], []
    for identifier in {**old.entities, **new.entities}:
        before, after = old.get(identifier), new.get(identifier)
        kind = BY_NAME.get(identifier.kind or "")
        if kind is None or (before and after and before.facts == after.facts):
            continue
        change = kind.change(before, after, (old, new)) if before and after else None
        if after and change:
            changed.append((after, change))
            continue
        dropped += [before] if before else []
        made += [after] if after else []
    return dropped, made, changed


def _comes_with(identifier: EntityIdentifier, added: Collection[EntityIdentifier]) -> bool:
    """Tell whether something is made, or its column, or the table of its column."""
    if identifier.kind in {"sequence", "table"}:
        return True
    table = EntityIdentifier(identifier.schema, identifier.table, kind="table")
    if identifier.kind == "column":
        return table in added
    return identifier.kind == "default" and replace(identifier, kind="column") in added


def _created(entities: Iterable[Entity], world: Snapshot) -> list[Statement]:
    kinds = ((entity, BY_NAME[entity.id.kind or ""]) for entity in entities)
    return [each for entity, kind in kinds for each in kind.create(entity, world)]


def facts(found: Snapshot) -> dict[str, dict[str, Fact]]:
    """Return all that is compared, by the names of the objects."""
    return {
        str(entity.id): dict(entity.facts)
        for entity in found.entities.values()
        if entity.id.kind in BY_NAME
    }


def only(found: Snapshot, kind: str, name: str) -> Entity:
    """Return the one object of a kind with a name."""
    (entity,) = (entity for entity in found.of_kind(kind) if entity.id.name == name)
    return entity


def _loses_identity(entity: Entity, old: Snapshot) -> bool:
    return bool(old[entity.id].facts.get("identity")) and not entity.facts.get("identity")


def _rank(entity: Entity) -> tuple[int, bool, tuple[str, ...]]:
    kind = BY_NAME[entity.id.kind or ""]
    return kind.rank, entity.facts.get("type") == "foreign_key", entity.id.sort_key
