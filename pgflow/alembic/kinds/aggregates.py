"""Aggregates: plain, moving, ordered-set and hypothetical-set ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Row

from pgflow import idents
from pgflow.alembic import comments, privileges
from pgflow.alembic.entity import Address, Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds.renaming import moved
from pgflow.alembic.literals import literal
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Statement

_AGGREGATES = """
    SELECT p.oid, n.nspname AS schema, p.proname AS name,
           ARRAY(SELECT format_type(t.oid, NULL)
                   FROM unnest(p.proargtypes) WITH ORDINALITY AS t (oid, place)
                  ORDER BY place) AS arguments,
           pg_get_function_arguments(p.oid) AS signature, p.proargnames AS names,
           pg_get_function_result(p.oid) AS returns, p.proparallel::text AS parallel,
           a.aggkind::text AS sort, a.aggnumdirectargs AS direct,
           a.aggtransfn::regproc::text AS sfunc, format_type(a.aggtranstype, NULL) AS stype,
           a.aggtransspace AS sspace, nullif(a.aggfinalfn::regproc::text, '-') AS finalfunc,
           a.aggfinalextra AS finalfunc_extra, a.aggfinalmodify::text AS finalfunc_modify,
           nullif(a.aggcombinefn::regproc::text, '-') AS combinefunc,
           nullif(a.aggserialfn::regproc::text, '-') AS serialfunc,
           nullif(a.aggdeserialfn::regproc::text, '-') AS deserialfunc,
           a.agginitval AS initcond,
           nullif(a.aggmtransfn::regproc::text, '-') AS msfunc,
           nullif(a.aggminvtransfn::regproc::text, '-') AS minvfunc,
           format_type(nullif(a.aggmtranstype, 0), NULL) AS mstype, a.aggmtransspace AS msspace,
           nullif(a.aggmfinalfn::regproc::text, '-') AS mfinalfunc,
           a.aggmfinalextra AS mfinalfunc_extra, a.aggmfinalmodify::text AS mfinalfunc_modify,
           a.aggminitval AS minitcond,
           (SELECT format('OPERATOR(%I.%s)', s.nspname, o.oprname)
              FROM pg_operator o JOIN pg_namespace s ON s.oid = o.oprnamespace
             WHERE o.oid = a.aggsortop) AS sortop,
           pg_get_userbyid(p.proowner) AS owner, p.proacl::text[] AS acl, d.description
      FROM pg_proc p
      JOIN pg_aggregate a ON a.aggfnoid = p.oid
      JOIN pg_namespace n ON n.oid = p.pronamespace
      LEFT JOIN pg_description d ON d.objoid = p.oid AND d.classoid = 'pg_proc'::regclass
     WHERE n.nspname = ANY(:schemas)
       AND NOT EXISTS (SELECT FROM pg_depend e
                        WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid
                          AND e.deptype = 'e')
     ORDER BY n.nspname, p.proname, 4
"""

_MODIFY = {"r": "READ_ONLY", "s": "SHAREABLE", "w": "READ_WRITE"}
_PARALLEL = {"s": "SAFE", "r": "RESTRICTED"}
#: What CREATE OR REPLACE AGGREGATE cannot change, and the names of arguments.
_LASTING = ("returns", "sort", "direct", "names")


class _Aggregate:
    """The kind "aggregate"."""

    name: Final = "aggregate"
    rank: Final = 40

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all aggregates of some schemas."""
        for row in reader.rows(_AGGREGATES, {"schemas": list(schemas)}):
            comment, mark = comments.split(row.description)
            yield Entity(
                id=EntityIdentifier(
                    row.schema, row.name, kind=self.name, arguments=", ".join(row.arguments)
                ),
                facts={
                    "signature": row.signature or "*",
                    "options": tuple(_options(row)),
                    "returns": row.returns,
                    "sort": row.sort,
                    "direct": row.direct,
                    "names": tuple(row.names or ()),
                },
                comment=comment,
                mark=mark,
                owner=row.owner,
                privileges=privileges.parse(row.acl, self.name, row.owner),
                address=Address("pg_proc", row.oid),
            )

    def label(self, identifier: EntityIdentifier) -> str:
        """Name an aggregate as COMMENT ON does; one without arguments takes `*`."""
        own = idents.qualify(identifier.schema, identifier.name or "")
        return f"AGGREGATE {own}({identifier.arguments or '*'})"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make an aggregate."""
        return (_definition("CREATE AGGREGATE", entity),)

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop an aggregate."""
        return (Statement(f"DROP {self.label(entity.id)}"),)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
        """Replace an aggregate in place; None if its result or its arguments are others."""
        if any(old.facts[fact] != new.facts[fact] for fact in _LASTING):
            return None
        return Change((_definition("CREATE OR REPLACE AGGREGATE", new),))

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement]:
        """Rename an aggregate."""
        return moved("AGGREGATE", old, new)


def _definition(verb: str, entity: Entity) -> Statement:
    own = idents.qualify(entity.id.schema, entity.id.name or "")
    options = entity.facts["options"]
    lines = ",\n    ".join(map(str, options if isinstance(options, tuple) else ()))
    return Statement(f"{verb} {own}({entity.facts['signature']}) (\n    {lines}\n)")


def _options(row: Row[Any]) -> Iterator[str]:
    """Write the options of CREATE AGGREGATE, those left out that are as by default."""
    yield f"SFUNC = {row.sfunc}"
    yield f"STYPE = {row.stype}"
    if row.sspace:
        yield f"SSPACE = {row.sspace}"
    # Ordered-set aggregates may change the state in their final function unless told otherwise.
    usual = "r" if row.sort == "n" else "w"
    if row.finalfunc:
        yield from _final(row, "", usual)
    for name in ("combinefunc", "serialfunc", "deserialfunc"):
        if getattr(row, name):
            yield f"{name.upper()} = {getattr(row, name)}"
    if row.initcond is not None:
        yield f"INITCOND = {literal(row.initcond)}"
    if row.msfunc:
        yield from _moving(row, usual)
    if row.sortop:
        yield f"SORTOP = {row.sortop}"
    if row.parallel in _PARALLEL:
        yield f"PARALLEL = {_PARALLEL[row.parallel]}"
    if row.sort == "h":
        yield "HYPOTHETICAL"


def _moving(row: Row[Any], usual: str) -> Iterator[str]:
    yield f"MSFUNC = {row.msfunc}"
    yield f"MINVFUNC = {row.minvfunc}"
    yield f"MSTYPE = {row.mstype}"
    if row.msspace:
        yield f"MSSPACE = {row.msspace}"
    if row.mfinalfunc:
        yield from _final(row, "m", usual)
    if row.minitcond is not None:
        yield f"MINITCOND = {literal(row.minitcond)}"


def _final(row: Row[Any], prefix: str, usual: str) -> Iterator[str]:
    name = f"{prefix}finalfunc"
    yield f"{name.upper()} = {getattr(row, name)}"
    if getattr(row, f"{name}_extra"):
        yield f"{name.upper()}_EXTRA"
    modify = getattr(row, f"{name}_modify")
    if modify != usual:
        yield f"{name.upper()}_MODIFY = {_MODIFY[modify]}"


AGGREGATE = _Aggregate()
