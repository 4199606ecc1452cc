"""Functions and procedures: the server's own text of them, and what decides if it can be replaced.

A function is replaced where it stands unless PostgreSQL refuses that: for another result, other
names of its parameters, or a default that goes away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Row

from pgflow import idents
from pgflow.alembic import comments, privileges
from pgflow.alembic.entity import Address, Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds.aggregates import AGGREGATE
from pgflow.alembic.kinds.renaming import moved
from pgflow.alembic.printing import settled
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Statement

__all__ = ["AGGREGATE", "FUNCTION", "PROCEDURE"]

# What a range type brings along (its constructors) depends on it internally and is left out.
_ROUTINES = """
    SELECT p.oid, n.nspname AS schema, p.proname AS name,
           pg_get_functiondef(p.oid) AS definition,
           format(' %I.%I(', n.nspname, p.proname) AS opening,
           ARRAY(SELECT format_type(t.oid, NULL)
                   FROM unnest(p.proargtypes) WITH ORDINALITY AS t (oid, place)
                  ORDER BY place) AS arguments,
           p.proargnames AS names, p.proargmodes::text[] AS modes,
           ARRAY(SELECT format_type(t.oid, NULL)
                   FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]))
                        WITH ORDINALITY AS t (oid, place)
                  ORDER BY place) AS types,
           ARRAY(SELECT pg_get_function_arg_default(p.oid, place)
                   FROM generate_series(1, cardinality(
                        coalesce(p.proallargtypes, p.proargtypes::oid[]))) AS place
                  ORDER BY place) AS defaults,
           pg_get_function_result(p.oid) AS returns, p.proretset AS returns_set,
           format_type(p.prorettype, NULL) AS result_type,
           p.prokind = 'w' AS is_window, l.lanname AS language,
           p.prosrc AS body, p.prosqlbody IS NOT NULL AS is_parsed,
           pg_get_userbyid(p.proowner) AS owner, p.proacl::text[] AS acl, d.description
      FROM pg_proc p
      JOIN pg_namespace n ON n.oid = p.pronamespace
      JOIN pg_language l ON l.oid = p.prolang
      LEFT JOIN pg_description d ON d.objoid = p.oid AND d.classoid = 'pg_proc'::regclass
     WHERE p.prokind::text = ANY(:kinds)
       AND n.nspname = ANY(:schemas)
       AND NOT EXISTS (SELECT FROM pg_depend e
                        WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid
                          AND e.deptype IN ('e', 'i'))
     ORDER BY n.nspname, p.proname, 6
"""


class Parameter(NamedTuple):
    """One parameter of a routine, as the fact "parameters" lists them.

    Attributes:
        mode: "in", "out", "inout", "variadic" or "table".
        name: Its name; "" if it has none.
        type: Its type.
        default: Its default as SQL text; None if it has none.
    """

    mode: str
    name: str
    type: str
    default: str | None


_MODES = {"i": "in", "o": "out", "b": "inout", "v": "variadic", "t": "table"}
_RESULTS = ("out", "inout", "table")


@dataclass(frozen=True)
class _Routine:
    """The kinds "function" and "procedure".

    Attributes:
        name: Either of the two.
        kinds: What `prokind` says of them.
    """

    name: str
    kinds: tuple[str, ...]
    rank: Final = 40

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all functions, or all procedures, of some schemas."""
        asked = {"kinds": list(self.kinds), "schemas": list(schemas)}
        for row in reader.rows(_ROUTINES, asked):
            comment, mark = comments.split(row.description)
            yield Entity(
                id=EntityIdentifier(
                    row.schema, row.name, kind=self.name, arguments=", ".join(row.arguments)
                ),
                facts={
                    # Without what comes before it, the name, so that a rename changes nothing.
                    "definition": self._settled(row),
                    "parameters": tuple(_parameters(row)),
                    "returns": row.returns,
                    "result_type": row.result_type,
                    "returns_set": row.returns_set,
                    "window": row.is_window,
                },
                comment=comment,
                mark=mark,
                owner=row.owner,
                privileges=privileges.parse(row.acl, self.name, row.owner),
                # The server has parsed what stands between BEGIN ATOMIC and END.
                notes={"language": row.language, "body": "" if row.is_parsed else row.body},
                address=Address("pg_proc", row.oid),
            )

    def _settled(self, row: Row[Any]) -> str:
        text = "(" + row.definition.partition(row.opening)[2].removesuffix("\n")
        # What stands between dollar quotes is never touched.
        return settled(text, f"CREATE {self.name.upper()} f" if row.is_parsed else None)

    def label(self, identifier: EntityIdentifier) -> str:
        """Name a routine as COMMENT ON does."""
        own = idents.qualify(identifier.schema, identifier.name or "")
        return f"{self.name.upper()} {own}({identifier.arguments or ''})"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make a routine; one that exists already is not replaced."""
        return (self._definition("CREATE", entity),)

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop a routine."""
        return (Statement(f"DROP {self.label(entity.id)}"),)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
        """Replace a routine in place; None if the server would refuse that."""
        if not replaceable(old, new):
            return None
        return Change((self._definition("CREATE OR REPLACE", new),))

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement]:
        """Rename a routine."""
        return moved(self.name.upper(), old, new)

    def _definition(self, verb: str, entity: Entity) -> Statement:
        own = idents.qualify(entity.id.schema, entity.id.name or "")
        return Statement(f"{verb} {self.name.upper()} {own}{entity.facts['definition']}")


def replaceable(old: Entity, new: Entity) -> bool:
    """Tell whether the server would take one routine in place of another with the same arguments.

    Args:
        old: The routine that is there.
        new: The one to put in its place.
    """
    before, after = parameters(old), parameters(new)
    if any(old.facts[fact] != new.facts[fact] for fact in ("result_type", "returns_set", "window")):
        return False
    return (
        _row(old) == _row(new)
        and _names_stay(before, after)
        and all(map(_default_stays, _inputs(before), _inputs(after)))
    )


def parameters(entity: Entity) -> list[Parameter]:
    """Return the parameters of a routine."""
    listed = entity.facts["parameters"]
    return [
        Parameter(str(mode), str(name), str(type_), None if default is None else str(default))
        for mode, name, type_, default in _tuples(listed)
    ]


def _tuples(listed: object) -> Iterable[tuple[object, ...]]:
    items = listed if isinstance(listed, tuple) else ()
    return (item for item in items if isinstance(item, tuple))


def _parameters(row: Row[Any]) -> Iterable[Parameter]:
    for place, type_ in enumerate(row.types):
        name = row.names[place] if row.names else ""
        mode = row.modes[place] if row.modes else "i"
        default = row.defaults[place]
        yield Parameter(_MODES[mode], name or "", type_, default and settled(default))


def _inputs(listed: Iterable[Parameter]) -> list[Parameter]:
    return [item for item in listed if item.mode not in ("out", "table")]


def _row(entity: Entity) -> list[tuple[str, str]]:
    """Return the columns of the row that is the result, if it is one."""
    # The one result of a function is no row; that of a procedure is.
    if entity.facts["result_type"] != "record":
        return []
    return [(item.name, item.type) for item in parameters(entity) if item.mode in _RESULTS]


def _names_stay(before: Iterable[Parameter], after: Iterable[Parameter]) -> bool:
    both = zip(_inputs(before), _inputs(after), strict=True)
    return all(old.name in ("", new.name) for old, new in both)


def _default_stays(old: Parameter, new: Parameter) -> bool:
    """Tell whether a default, if there is one, may follow the one that was there."""
    if old.default is None:
        return True
    # Where the parameter is polymorphic, the default's type must stay, and is not known here.
    return new.default is not None and (old.default == new.default or not _polymorphic(old.type))


def _polymorphic(type_: str) -> bool:
    return type_.strip('"').startswith("any")


FUNCTION = _Routine("function", ("f", "w"))
PROCEDURE = _Routine("procedure", ("p",))
