"""Range types, each with its multirange type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pgflow import idents
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds.renaming import moved
from pgflow.alembic.kinds.replacement import remake_type
from pgflow.alembic.kinds.type_catalogue import called, drop, read_types
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Statement

_COLUMNS = """
    format_type(r.rngsubtype, NULL) AS subtype,
    (SELECT format('%I.%I', n.nspname, m.typname)
       FROM pg_type m JOIN pg_namespace n ON n.oid = m.typnamespace
      WHERE m.oid = r.rngmultitypid) AS multirange,
    (SELECT format('%I.%I', n.nspname, o.opcname)
       FROM pg_opclass o JOIN pg_namespace n ON n.oid = o.opcnamespace
      WHERE o.oid = r.rngsubopc AND NOT o.opcdefault) AS opclass,
    (SELECT format('%I.%I', n.nspname, c.collname)
       FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
       JOIN pg_type s ON s.oid = r.rngsubtype
      WHERE c.oid = r.rngcollation AND s.typcollation <> c.oid) AS collation,
    (SELECT format('%I.%I', n.nspname, p.proname)
       FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
      WHERE p.oid = r.rngcanonical) AS canonical,
    (SELECT format('%I.%I', n.nspname, p.proname)
       FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
      WHERE p.oid = r.rngsubdiff) AS difference
"""
_JOINS = "JOIN pg_range r ON r.rngtypid = t.oid"

#: The parameters of CREATE TYPE ... AS RANGE, by the facts that they come from.
_PARAMETERS = {
    "subtype": "SUBTYPE",
    "opclass": "SUBTYPE_OPCLASS",
    "collation": "COLLATION",
    "canonical": "CANONICAL",
    "difference": "SUBTYPE_DIFF",
    "multirange": "MULTIRANGE_TYPE_NAME",
}


class _Range:
    """The kind "range"."""

    name: Final = "range"
    rank: Final = 20

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all range types of some schemas."""
        for row, common in read_types(reader, schemas, self.name, "r", _COLUMNS, _JOINS):
            yield Entity(**common, facts={fact: getattr(row, fact) for fact in _PARAMETERS})

    def label(self, identifier: EntityIdentifier) -> str:
        """Name a range type as COMMENT ON does."""
        return f"TYPE {called(identifier)}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make a range type and its multirange type."""
        parameters = ", ".join(
            f"{parameter} = {entity.facts[fact]}"
            for fact, parameter in _PARAMETERS.items()
            if entity.facts[fact] is not None
        )
        return (Statement(f"CREATE TYPE {called(entity.id)} AS RANGE ({parameters})"),)

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop a range type and its multirange type."""
        return drop("TYPE", entity)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change:
        """Rename the multirange type; any other change makes the type again."""
        before, after = str(old.facts["multirange"]), str(new.facts["multirange"])
        others = [fact for fact in _PARAMETERS if fact != "multirange"]
        renamed = _renamed(before, after)
        if all(old.facts[fact] == new.facts[fact] for fact in others) and renamed is not None:
            return Change((renamed,))
        # Its constructor functions would stay behind if it were renamed out of the way.
        return remake_type("TYPE", old, worlds, self.create(new, worlds[1]))

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement]:
        """Rename a range type."""
        return moved("TYPE", old, new)


def _renamed(before: str, after: str) -> Statement | None:
    old, new = _parts(before), _parts(after)
    if old[0] != new[0]:
        return None
    return Statement(f"ALTER TYPE {before} RENAME TO {idents.quote(new[1])}")


def _parts(qualified: str) -> tuple[str, str]:
    """Take a printed name apart: `app."my type"` into `app` and `my type`."""
    parts: list[str] = []
    rest = qualified
    while rest:
        if rest.startswith('"'):
            end = 1
            while rest[end : end + 2] == '""' or rest[end] != '"':
                end += 2 if rest[end : end + 2] == '""' else 1
            parts.append(rest[1:end].replace('""', '"'))
            rest = rest[end + 2 :]
        else:
            own, _, rest = rest.partition(".")
            parts.append(own)
    return parts[0], parts[1]


RANGE = _Range()
