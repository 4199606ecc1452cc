"""How a column becomes another one: its type, NOT NULL, identity and what computes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from pgflow import idents
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import numbering, relations
from pgflow.alembic.kinds.column_clauses import identity, settings
from pgflow.alembic.kinds.column_types import conversion
from pgflow.alembic.literals import literal
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Hazard, Statement

#: From this version on, a generated column can get another expression.
_SET_EXPRESSION = 170000


def change(old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
    """Return the statements that lead from a column to another; None if there are none.

    Args:
        old: The column as it is.
        new: The column as it should be.
        worlds: The database as it is and as it should be.
    """
    computed = _computed(old, new, worlds[0].version)
    if computed is None:
        return None
    retyped = _retyped(old, new, worlds)
    if retyped:
        # The new type brings its own storage and compression.
        reset = {**old.facts, "storage": None, "compression": None}
        before = replace(old, facts=MappingProxyType(reset))
    else:
        before = old
    statements = [
        *retyped,
        *computed,
        *_identity_gone(old, new),
        *_not_null(old, new),
        *_identity(old, new),
        *settings(new, before),
    ]
    return Change(tuple(statements), disturbs=bool(retyped))


def set_not_null(identifier: EntityIdentifier) -> Statement:
    """Make a column NOT NULL."""
    hazards = (Hazard.SCANS, Hazard.EXCLUSIVE)
    return Statement(f"{_at(identifier)} SET NOT NULL", hazards=hazards)


def not_null_online(entity: Entity) -> Sequence[Statement]:
    """Make a column NOT NULL by way of a check that is validated first.

    Args:
        entity: The column as declared.
    """
    table = f"ALTER TABLE {relations.owner(entity.id)}"
    name = idents.quote(
        idents.join_fit(("pgflow", entity.id.table or "", entity.id.name or "", "not_null"))
    )
    column = relations.own(entity.id)
    check = f"CHECK ({column} IS NOT NULL) NOT VALID"
    return (
        *(replace(each, autocommit=True) for each in _backfill(entity)),
        Statement(f"{table} DROP CONSTRAINT IF EXISTS {name}", autocommit=True),
        Statement(f"{table} ADD CONSTRAINT {name} {check}", autocommit=True),
        Statement(f"{table} VALIDATE CONSTRAINT {name}", hazards=(Hazard.SCANS,), autocommit=True),
        Statement(f"{table} ALTER COLUMN {column} SET NOT NULL", autocommit=True),
        Statement(f"{table} DROP CONSTRAINT {name}", autocommit=True),
    )


def _computed(old: Entity, new: Entity, version: int) -> list[Statement] | None:
    before, after = old.facts["generated"], new.facts["generated"]
    if before is None and after is None:
        return []
    at = _at(new.id)
    if after is None:
        # Only what is stored can stay.
        stored = old.facts["generation"] == "STORED"
        return [Statement(f"{at} DROP EXPRESSION")] if stored else None
    if before is None or old.facts["generation"] != new.facts["generation"]:
        return None
    if before == after:
        return []
    kinds = ("type", "collation")
    if version < _SET_EXPRESSION or any(old.facts[fact] != new.facts[fact] for fact in kinds):
        return None
    stored = new.facts["generation"] == "STORED"
    hazards = (Hazard.REWRITES, Hazard.EXCLUSIVE) if stored else ()
    return [Statement(f"{at} SET EXPRESSION AS ({after})", hazards=hazards)]


def _retyped(old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> list[Statement]:
    before, after = str(old.facts["type"]), str(new.facts["type"])
    collation = new.facts["collation"]
    recollated = old.facts["collation"] != collation
    if before == after and not recollated:
        return []
    way = conversion(before, after, relations.own(new.id), worlds)
    words = [f"{_at(new.id)} TYPE {after}"]
    if collation is not None:
        words.append(f"COLLATE {collation}")
    if way.using is not None and new.facts["generated"] is None:
        words.append(f"USING {way.using}")
    hazards: tuple[Hazard, ...] = ()
    if way.rewrites:
        hazards = (Hazard.REWRITES, Hazard.EXCLUSIVE)
    elif recollated:
        # Indexes over the column are built again.
        hazards = (Hazard.SCANS, Hazard.EXCLUSIVE)
    if way.loses and new.facts["generated"] is None:
        hazards = (*hazards, Hazard.DELETES)
    return _in_utc(Statement(" ".join(words), hazards=hazards), way.zoned)


def _in_utc(statement: Statement, zoned: bool) -> list[Statement]:
    """Let times without a zone be UTC for everybody, which also spares the rewrite."""
    if not zoned:
        return [statement]
    return [Statement("SET TimeZone = 'UTC'"), statement, Statement("RESET TimeZone")]


def _not_null(old: Entity, new: Entity) -> list[Statement]:
    if old.facts["not_null"] == new.facts["not_null"]:
        return []
    if not new.facts["not_null"]:
        return [Statement(f"{_at(new.id)} DROP NOT NULL")]
    return [*_backfill(new), set_not_null(new.id)]


def _backfill(entity: Entity) -> list[Statement]:
    value = entity.notes.get("backfill")
    if value is None:
        return []
    column = relations.own(entity.id)
    return [
        Statement(
            f"UPDATE {relations.owner(entity.id)} SET {column} = ({value}) "  # noqa: S608 (the user's own SQL)
            f"WHERE {column} IS NULL",
            hazards=(Hazard.SCANS, Hazard.WRITES),
        )
    ]


def _identity_gone(old: Entity, new: Entity) -> list[Statement]:
    if old.facts["identity"] is None or new.facts["identity"] is not None:
        return []
    return [Statement(f"{_at(new.id)} DROP IDENTITY")]


def _identity(old: Entity, new: Entity) -> list[Statement]:
    before, after = old.facts["identity"], new.facts["identity"]
    if after is None:
        return []
    at = _at(new.id)
    if before is None:
        return [Statement(f"{at} ADD {identity(new)}"), _continued(new)]
    actions = [] if before == after else [f"SET GENERATED {after}"]
    options = (relations.texts(entity.facts["identity_options"]) for entity in (old, new))
    actions += [f"SET {clause}" for clause in numbering.alterations(*options)]
    return [Statement(f"{at} {' '.join(actions)}")] if actions else []


def _continued(entity: Entity) -> Statement:
    """Let the numbers of a new identity go on after those that the rows have already."""
    options = relations.texts(entity.facts["identity_options"])
    best, sign = ("max", ">=") if numbering.counts_up(options) else ("min", "<=")
    table, value = relations.owner(entity.id), f"{best}({relations.own(entity.id)})"
    serial = f"pg_catalog.pg_get_serial_sequence({literal(table)}, {literal(entity.id.name or '')})"
    return Statement(
        f"SELECT pg_catalog.setval({serial}, {value}) FROM {table} "  # noqa: S608 (quoted names)
        f"HAVING {value} {sign} {numbering.first(options)}",
        hazards=(Hazard.SCANS,),
    )


def _at(identifier: EntityIdentifier) -> str:
    return f"ALTER TABLE {relations.owner(identifier)} ALTER COLUMN {relations.own(identifier)}"
