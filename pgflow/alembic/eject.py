"""The way out: a migration that leaves plain tables, without anything of pgflow's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from sqlalchemy import MetaData

from pgflow import bookkeeping
from pgflow.alembic import comments, planning
from pgflow.alembic.drift import Drift
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.planning import ownership
from pgflow.alembic.registry import KINDS
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.step import Migration, Step
from pgflow.emit.history import system_columns_of
from pgflow.errors import CannotEject
from pgflow.resolve.config import Config

#: System columns that tell of runs; the others tell what was valid, and when.
OF_RUNS = ("loaded_at", "batch_id", "changed_at", "closed_batch_id", "row_hash")

#: Larger than any table: what is dropped here is dropped in one transaction.
_NEVER_BIG = 2**62


def ejection(
    drift: Drift, metadata: Sequence[MetaData], *, drop_system_columns: bool = False
) -> Migration:
    """Plan the migration that leaves plain tables, and the way back.

    Args:
        drift: The database, which is as declared.
        metadata: What is declared.
        drop_system_columns: Whether columns that tell of runs go too.

    Returns:
        What drops pgflow's own tables and the marks in comments; back, what makes them again,
        the tables empty.

    Raises:
        CannotEject: The database is not as declared, or something needs what would go.
    """
    if drift.differences:
        listed = "; ".join(map(str, drift.differences[:5]))
        raise CannotEject(
            f"The database is not as declared: {listed}. Migrate it first, so that the last "
            "migration takes away pgflow and nothing else."
        )
    own = _own_tables(drift.live, metadata)
    if drop_system_columns:
        own |= _columns_of_runs(drift.live, metadata)
    gone = _with_parts(drift.live, own)
    _refuse_dependents(drift.live, gone)
    gone |= _empty_schemas(drift.live, gone, metadata)
    kept = {key: each for key, each in drift.declared.entities.items() if key not in gone}
    plain = replace(drift.declared, entities=kept, depends=_without(drift.declared, gone))
    owner = drift.settings.owner or ""
    planned = planning.migration(drift.live, plain, owner=owner, big_bytes=_NEVER_BIG)
    ours = ownership.ours(drift.live, drift.declared, owner)
    marked = [
        each
        for each in drift.live.entities.values()
        if each.id not in gone and each.id in ours
        if each.mark is not None and each.mark.owner == owner
    ]
    return Migration(
        (*planned.upgrade, *_unmarking(marked)), (*_remarking(marked), *planned.downgrade)
    )


def _own_tables(live: Snapshot, metadata: Iterable[MetaData]) -> set[EntityIdentifier]:
    """Return pgflow's own tables."""
    return {
        EntityIdentifier(table.schema or "", table.name, kind="table")
        for each in metadata
        for schema in bookkeeping.wanted(each, Config.of(each).utility_schema)
        for table in vars(bookkeeping.register(each, schema)).values()
        if not isinstance(table, str)
        and EntityIdentifier(table.schema or "", table.name, kind="table") in live
    }


def _columns_of_runs(live: Snapshot, metadata: Iterable[MetaData]) -> set[EntityIdentifier]:
    found = set()
    for table in (table for each in metadata for table in each.tables.values()):
        system = system_columns_of(table)
        names = {getattr(system, attribute) for attribute in OF_RUNS} - {None}
        for entity in live.of_kind("column"):
            same = entity.id.table == table.name and table.schema in (None, entity.id.schema)
            if same and entity.id.name in names:
                found.add(entity.id)
    return found


def _with_parts(live: Snapshot, own: set[EntityIdentifier]) -> set[EntityIdentifier]:
    """Add what goes together with tables and columns: their parts, and indexes on them."""
    gone = set(own)
    for identifier in own:
        if identifier.kind == "table":
            gone.update(part.id for part in live.parts(identifier))
        elif replace(identifier, kind="default") in live:
            gone.add(replace(identifier, kind="default"))
    places = {(identifier.schema, identifier.table) for identifier in own}
    for identifier, needs in live.depends.items():
        if identifier.table and (identifier.schema, identifier.table) in places and needs & gone:
            gone.add(identifier)
    return gone


def _refuse_dependents(live: Snapshot, gone: set[EntityIdentifier]) -> None:
    for edges in (live.depends, live.outsiders):
        for identifier, needs in edges.items():
            if identifier not in gone and needs & gone:
                needed = next(iter(sorted(needs & gone, key=lambda each: each.sort_key)))
                who = identifier.name if identifier.kind == "outsider" else identifier
                raise CannotEject(
                    f"{who} needs {needed}, which would go. Change it so that it does "
                    "without, or drop it, and eject again."
                )


def _empty_schemas(
    live: Snapshot, gone: set[EntityIdentifier], metadata: Iterable[MetaData]
) -> set[EntityIdentifier]:
    """Return the schemas of pgflow's own tables in which nothing else is."""
    named = {
        schema
        for each in metadata
        for schema in bookkeeping.wanted(each, Config.of(each).utility_schema)
    }
    own = {EntityIdentifier(schema, kind="schema") for schema in named}
    left = {each.schema for each in live.entities if each not in gone and each not in own}
    return {each for each in own if each in live and each.schema not in left}


def _without(
    snapshot: Snapshot, gone: set[EntityIdentifier]
) -> dict[EntityIdentifier, frozenset[EntityIdentifier]]:
    return {one: needs - gone for one, needs in snapshot.depends.items() if one not in gone}


def _unmarking(marked: Iterable[Entity]) -> Iterator[Step]:
    for entity in marked:
        statement = comments.statement(_label(entity), replace(entity, mark=None))
        yield Step(entity.id, "alter", f"Remove pgflow's mark from {entity.id}", (statement,))


def _remarking(marked: Iterable[Entity]) -> Iterator[Step]:
    for entity in marked:
        statement = comments.statement(_label(entity), entity)
        yield Step(entity.id, "alter", f"Mark {entity.id} as pgflow's", (statement,))


def _label(entity: Entity) -> str:
    return KINDS[entity.id.kind or ""].label(entity.id)
