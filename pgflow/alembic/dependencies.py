"""What depends on what, as the server knows it: `pg_depend` in words of identities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pgflow.alembic.entity import Address, Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import RELATIONS, Edges

# Objects that are only a part or a shadow of others: the rule that is a view's query, the types of
# a relation's rows and of arrays, the index behind a constraint, an identity's sequence, triggers
# that keep a foreign key, NOT NULL since PostgreSQL 18, what a partition got from its parent, what
# an extension brought.
_STAND_INS = """
SELECT d.classid::regclass::text, d.objid::bigint, d.refclassid::regclass::text,
       d.refobjid::bigint, d.refobjsubid
  FROM pg_depend d
 WHERE d.deptype = 'i' AND d.objid >= 16384
   AND d.classid IN ('pg_proc'::regclass, 'pg_cast'::regclass)
UNION ALL
SELECT 'pg_rewrite', r.oid::bigint, 'pg_class', r.ev_class::bigint, 0
  FROM pg_rewrite r WHERE r.oid >= 16384 AND r.rulename = '_RETURN'
UNION ALL
SELECT 'pg_type', t.oid::bigint, 'pg_class', t.typrelid::bigint, 0
  FROM pg_type t WHERE t.oid >= 16384 AND t.typrelid <> 0
UNION ALL
SELECT 'pg_type', t.oid::bigint, 'pg_type', t.typelem::bigint, 0
  FROM pg_type t WHERE t.oid >= 16384 AND t.typelem <> 0 AND t.typtype = 'b'
UNION ALL
SELECT 'pg_type', r.rngmultitypid::bigint, 'pg_type', r.rngtypid::bigint, 0
  FROM pg_range r WHERE r.rngtypid >= 16384
UNION ALL
SELECT 'pg_class', t.typrelid::bigint, 'pg_type', t.oid::bigint, 0
  FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid AND c.relkind = 'c' AND t.oid >= 16384
UNION ALL
SELECT 'pg_attrdef', d.oid::bigint, 'pg_class', d.adrelid::bigint, d.adnum::int
  FROM pg_attrdef d
UNION ALL
SELECT 'pg_class', k.conindid::bigint, 'pg_constraint', k.oid::bigint, 0
  FROM pg_constraint k WHERE k.contype IN ('p', 'u', 'x')
UNION ALL
SELECT 'pg_constraint', k.oid::bigint, 'pg_class', k.conrelid::bigint,
       CASE WHEN k.contype = 'n' THEN k.conkey[1] ELSE 0 END
  FROM pg_constraint k WHERE k.contype IN ('n', 'c') AND k.conrelid <> 0
UNION ALL
SELECT 'pg_constraint', k.oid::bigint, 'pg_type', k.contypid::bigint, 0
  FROM pg_constraint k WHERE k.contypid <> 0
UNION ALL
SELECT 'pg_constraint', k.oid::bigint, 'pg_constraint', k.conparentid::bigint, 0
  FROM pg_constraint k WHERE k.conparentid <> 0
UNION ALL
SELECT 'pg_trigger', t.oid::bigint, 'pg_constraint', t.tgconstraint::bigint, 0
  FROM pg_trigger t WHERE t.tgisinternal AND t.tgconstraint <> 0 AND t.tgparentid = 0
UNION ALL
SELECT 'pg_trigger', t.oid::bigint, 'pg_trigger', t.tgparentid::bigint, 0
  FROM pg_trigger t WHERE t.tgparentid <> 0
UNION ALL
SELECT 'pg_class', i.inhrelid::bigint, 'pg_class', i.inhparent::bigint, 0
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('i', 'I')
UNION ALL
SELECT d.classid::regclass::text, d.objid::bigint, d.refclassid::regclass::text,
       d.refobjid::bigint, d.refobjsubid
  FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
 WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'i' AND d.refobjsubid > 0
UNION ALL
SELECT d.classid::regclass::text, d.objid::bigint, 'pg_type', d.refobjid::bigint, 0
  FROM pg_depend d
 WHERE d.classid IN ('pg_proc'::regclass, 'pg_cast'::regclass) AND d.objid >= 16384
   AND d.refclassid = 'pg_type'::regclass AND d.deptype = 'i'
UNION ALL
SELECT d.classid::regclass::text, d.objid::bigint, 'pg_extension', d.refobjid::bigint, 0
  FROM pg_depend d WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
"""

# What a partition got from its parent needs what the parent's own needs, and the partition.
_CLONES = """
SELECT 'pg_constraint', k.oid::bigint FROM pg_constraint k WHERE k.conparentid <> 0
UNION ALL
SELECT 'pg_trigger', t.oid::bigint FROM pg_trigger t WHERE t.tgparentid <> 0
UNION ALL
SELECT 'pg_class', i.inhrelid::bigint
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('i', 'I')
"""

_EDGES = """
SELECT d.classid::regclass::text, d.objid::bigint, d.objsubid,
       d.refclassid::regclass::text, d.refobjid::bigint, d.refobjsubid
  FROM pg_depend d
 WHERE d.objid >= 16384 AND d.refobjid >= 16384 AND d.deptype <> 'e' AND d.deptype <> 'x'
   AND {side} = ANY(CAST(CAST(:oids AS bigint[]) AS oid[]))
   AND NOT EXISTS (SELECT FROM pg_class t
                    WHERE d.classid = 'pg_class'::regclass AND t.oid = d.objid AND t.relkind = 't')
"""

_WORDS = """
SELECT a.catalogue, a.oid, pg_describe_object(a.catalogue::regclass, a.oid::oid, 0)
  FROM unnest(CAST(:catalogues AS text[]), CAST(:oids AS bigint[])) AS a (catalogue, oid)
"""

#: Catalogues of objects that are nothing to a user, or that stand for an object named elsewhere.
_SILENT = frozenset({"pg_toast", "pg_amop", "pg_amproc", "pg_default_acl", "pg_init_privs"})


class Dependencies(NamedTuple):
    """What depends on what.

    Attributes:
        depends: What each object needs, as the server knows it.
        outsiders: What objects outside need of the objects here.
    """

    depends: Edges
    outsiders: Edges


class _Addresses:
    """Finds the object that an address of the catalogue belongs to."""

    def __init__(
        self,
        entities: Mapping[EntityIdentifier, Entity],
        stand_ins: Mapping[Address, Address],
        clones: Collection[Address],
    ) -> None:
        self._known = {e.address: e.id for e in entities.values() if e.address is not None}
        self.stand_ins = stand_ins
        self.clones = clones

    def entity(self, address: Address) -> EntityIdentifier | None:
        """Return the object at an address, or the one that it is a part of."""
        for place in self._ways(address):
            if place in self._known:
                return self._known[place]
        return None

    def oids(self) -> list[int]:
        """Return the numbers of all objects and of their stand-ins."""
        own = {address.oid for address in self._known}
        return [*own, *(a.oid for a in self.stand_ins if self.entity(a) is not None)]

    def wholes(self, ends: Collection[Address]) -> list[int]:
        """Return the numbers of objects that a user would name, and of their stand-ins."""
        parts = {part.oid for part in self.stand_ins if self.end(part) in ends}
        return [*parts, *(address.oid for address in ends)]

    def end(self, address: Address) -> Address:
        """Return the address of the object that a user would name."""
        return list(self._ways(address))[-1]._replace(column=0)

    def is_clone(self, address: Address) -> bool:
        """Tell whether a partition got an object, or what it is a part of, from its parent."""
        return any(place in self.clones for place in self._ways(address))

    def _ways(self, address: Address) -> Iterable[Address]:
        seen: set[Address] = set()
        place: Address | None = address
        while place is not None and place not in seen:
            seen.add(place)
            yield place
            whole = place._replace(column=0)
            if place.column and whole not in self.stand_ins:
                yield whole
            place = self.stand_ins.get(whole)


def read(reader: Reader, entities: Mapping[EntityIdentifier, Entity]) -> Dependencies:
    """Read what the server knows about dependencies of and on some objects.

    Args:
        reader: The database.
        entities: The objects that were read.

    Returns:
        Their dependencies, and those of others on them.
    """
    addresses = _addresses(reader, entities)
    depends: dict[EntityIdentifier, set[EntityIdentifier]] = defaultdict(set)
    outside: dict[Address, set[EntityIdentifier]] = defaultdict(set)
    for dependent, reference in _edges(reader, "d.refobjid", addresses.oids()):
        needed = addresses.entity(reference)
        if needed is None or addresses.is_clone(dependent):
            continue
        needing = addresses.entity(dependent)
        if needing is None:
            outside[addresses.end(dependent)].add(needed)
        elif _is_edge(needing, needed):
            depends[needing].add(needed)
    return Dependencies(_frozen(depends), _outsiders(reader, addresses, outside))


def needs(
    reader: Reader,
    entities: Mapping[EntityIdentifier, Entity],
    beside: Mapping[EntityIdentifier, Entity],
) -> Edges:
    """Read what some objects need, of each other and of others in the same database.

    Args:
        reader: The database.
        entities: The objects.
        beside: Other people's objects there.

    Returns:
        The dependencies of the first on both.
    """
    addresses = _addresses(reader, {**beside, **entities})
    own = _Addresses(entities, addresses.stand_ins, addresses.clones)
    depends: dict[EntityIdentifier, set[EntityIdentifier]] = defaultdict(set)
    for dependent, reference in _edges(reader, "d.objid", own.oids()):
        if addresses.is_clone(dependent):
            continue
        needing, needed = own.entity(dependent), addresses.entity(reference)
        if needing is not None and needed is not None and _is_edge(needing, needed):
            depends[needing].add(needed)
    return _frozen(depends)


def _addresses(reader: Reader, entities: Mapping[EntityIdentifier, Entity]) -> _Addresses:
    rows = reader.rows(_STAND_INS)
    stand_ins = {Address(*row[:2]): Address(*row[2:]) for row in map(tuple[Any, ...], rows)}
    clones = {Address(*row) for row in map(tuple[Any, ...], reader.rows(_CLONES))}
    return _Addresses(entities, stand_ins, clones)


def _edges(reader: Reader, side: str, oids: Sequence[int]) -> Iterator[tuple[Address, Address]]:
    for row in map(tuple[Any, ...], reader.rows(_EDGES.format(side=side), {"oids": list(oids)})):
        yield Address(*row[:3]), Address(*row[3:])


def _frozen(edges: Mapping[EntityIdentifier, set[EntityIdentifier]]) -> Edges:
    return {one: frozenset(others) for one, others in edges.items()}


def _is_edge(needing: EntityIdentifier, needed: EntityIdentifier) -> bool:
    # That an object needs its schema is told by its identity; the server does not say so of public.
    if needed.kind == "schema" and needing.schema == needed.schema:
        return False
    return needing != needed and not _is_own_relation(needing, needed)


def _is_own_relation(part: EntityIdentifier, whole: EntityIdentifier) -> bool:
    """Tell whether an object belongs to a relation, or a default to its column, by its identity."""
    if part.table is None or part.schema != whole.schema:
        return False
    if whole.kind == "column":
        return part.kind == "default" and (part.table, part.name) == (whole.table, whole.name)
    return whole.kind in RELATIONS and whole.name == part.table


def _outsiders(
    reader: Reader, addresses: _Addresses, outside: Mapping[Address, set[EntityIdentifier]]
) -> Edges:
    """Describe what is outside and needs objects here, and what needs that in its turn."""
    first = {address for address in outside if address.catalogue not in _SILENT}
    above = _above(reader, addresses, first)
    words = _words(reader, {*first, *above})
    found: dict[EntityIdentifier, set[EntityIdentifier]] = defaultdict(set)
    for address, identifier in words.items():
        found[identifier] |= outside.get(address, set())
        found[identifier] |= {words[one] for one in above.get(address, ()) if one in words}
    return {one: frozenset(needed - {one}) for one, needed in found.items()}


def _above(
    reader: Reader, addresses: _Addresses, first: set[Address]
) -> Mapping[Address, set[Address]]:
    """Find what outside needs some outsiders, on any way."""
    found: dict[Address, set[Address]] = defaultdict(set)
    seen, waiting = set(first), set(first)
    while waiting:
        oids = addresses.wholes(waiting)
        waiting = set()
        for dependent, reference in _edges(reader, "d.refobjid", oids):
            upper, lower = addresses.end(dependent), addresses.end(reference)
            if lower not in seen or upper == lower or upper.catalogue in _SILENT:
                continue
            if addresses.entity(dependent) is None:
                found[upper].add(lower)
                waiting |= {upper} - seen
        seen |= waiting
    return found


def _words(reader: Reader, addresses: Collection[Address]) -> dict[Address, EntityIdentifier]:
    if not addresses:
        return {}
    parameters = {
        "catalogues": [a.catalogue for a in addresses],
        "oids": [a.oid for a in addresses],
    }
    return {
        Address(catalogue, oid): EntityIdentifier("", words, kind="outsider")
        for catalogue, oid, words in map(tuple[Any, ...], reader.rows(_WORDS, parameters))
        if words is not None
    }
