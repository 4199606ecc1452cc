"""Composite types: their attributes, in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from pgflow import idents
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds.renaming import moved
from pgflow.alembic.kinds.type_catalogue import called, collate, drop, read_types
from pgflow.alembic.literals import literal
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Statement

_ATTRIBUTES = """
    (SELECT array_agg(ARRAY[a.attname::text, format_type(a.atttypid, a.atttypmod),
                            CASE WHEN a.attcollation <> b.typcollation
                                 THEN format('%I.%I', cn.nspname, c.collname) END,
                            col_description(t.typrelid, a.attnum)] ORDER BY a.attnum)
       FROM pg_attribute a
       JOIN pg_type b ON b.oid = a.atttypid
       LEFT JOIN pg_collation c ON c.oid = a.attcollation
       LEFT JOIN pg_namespace cn ON cn.oid = c.collnamespace
      WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS attributes
"""
#: Types that are made of other types.
_CARRIERS = ("composite", "domain", "range")
#: Every table has a row type as well; these belong to no table.
_JOINS = "JOIN pg_class r ON r.oid = t.typrelid AND r.relkind = 'c'"


class _Attribute(NamedTuple):
    """An attribute; the fact "attributes" holds tuples of these."""

    name: str
    type: str
    collation: str | None
    comment: str | None

    @property
    def definition(self) -> str:
        """Its type as CREATE TYPE writes it."""
        return f"{self.type}{collate(self.collation)}"


class _Composite:
    """The kind "composite"."""

    name: Final = "composite"
    rank: Final = 20

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all composite types of some schemas that are not the row types of tables."""
        for row, common in read_types(reader, schemas, self.name, "c", _ATTRIBUTES, _JOINS):
            attributes = tuple(tuple(attribute) for attribute in row.attributes or ())
            yield Entity(**common, facts={"attributes": attributes})

    def label(self, identifier: EntityIdentifier) -> str:
        """Name a composite type as COMMENT ON does."""
        return f"TYPE {called(identifier)}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make a composite type."""
        attributes = _attributes(entity)
        listed = ", ".join(f"{idents.quote(a.name)} {a.definition}" for a in attributes.values())
        return (
            Statement(f"CREATE TYPE {called(entity.id)} AS ({listed})"),
            *_comments(entity.id, {}, attributes),
        )

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop a composite type."""
        return drop("TYPE", entity)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
        """Add, drop and alter attributes; None if they would end in another order.

        Also None if one gets another type while columns hold values of the composite type, which
        the server does not allow.
        """
        before, after = _attributes(old), _attributes(new)
        kept = [name for name in before if name in after]
        if list(after)[: len(kept)] != kept:
            return None
        actions = [f"DROP ATTRIBUTE {idents.quote(name)}" for name in before if name not in after]
        retyped = [name for name in kept if before[name].definition != after[name].definition]
        if retyped and _is_stored(old.id, worlds[0]):
            return None
        actions += [
            f"ALTER ATTRIBUTE {idents.quote(name)} TYPE {after[name].definition}"
            for name in retyped
        ]
        actions += [
            f"ADD ATTRIBUTE {idents.quote(attribute.name)} {attribute.definition}"
            for attribute in after.values()
            if attribute.name not in before
        ]
        altered = [Statement(f"ALTER {self.label(new.id)} {', '.join(actions)}")] if actions else []
        # Views and functions that name an attribute hold on to it as they do to a column.
        disturbs = bool(retyped) or len(kept) < len(before)
        return Change((*altered, *_comments(new.id, before, after)), disturbs=disturbs)

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement]:
        """Rename a composite type."""
        return moved("TYPE", old, new)


def _is_stored(identifier: EntityIdentifier, world: Snapshot) -> bool:
    """Tell whether a column holds values of a type, or of another one that is made of it."""
    made_of = {identifier}
    while True:
        users = {one for one, needed in world.depends.items() if made_of & needed} - made_of
        if any(one.kind == "column" for one in users):
            return True
        more = {one for one in users if one.kind in _CARRIERS}
        if not more:
            return False
        made_of |= more


def _attributes(entity: Entity) -> dict[str, _Attribute]:
    stored = entity.facts["attributes"]
    found: dict[str, _Attribute] = {}
    for fact in stored if isinstance(stored, tuple) else ():
        name, type_, collation, comment = fact if isinstance(fact, tuple) else (fact,) * 4
        found[str(name)] = _Attribute(str(name), str(type_), _text(collation), _text(comment))
    return found


def _text(fact: object) -> str | None:
    return None if fact is None else str(fact)


def _comments(
    identifier: EntityIdentifier, before: dict[str, _Attribute], after: dict[str, _Attribute]
) -> Iterable[Statement]:
    for name, attribute in after.items():
        old = before[name].comment if name in before else None
        if attribute.comment != old:
            text = "NULL" if attribute.comment is None else literal(attribute.comment)
            column = f"{called(identifier)}.{idents.quote(name)}"
            yield Statement(f"COMMENT ON COLUMN {column} IS {text}")


COMPOSITE = _Composite()
