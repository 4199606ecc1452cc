"""How each column travels from one PostgreSQL database to another: in binary, or as text.

Binary values mean what their type's number says, and only the numbers of built-in types are the
same everywhere. Every column is cast to the target's type where the source has that very type;
enums, domains, composites and types of extensions travel as text, and the target reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pgflow.errors import SourceMismatch
from pgflow.plan.decision import Unknown
from pgflow.plan.fit import check_types
from pgflow.plan.spec import SourceColumn, SyncSpec
from pgflow.plan.sql import Sql, bind, name, raw, sql
from pgflow.run import column_facts
from pgflow.run.remote.shapes import shapes
from pgflow.run.session import Field, Session
from pgflow.run.sources.origin import OriginColumn

#: Built-in types whose binary form says everything and is the same in every database. The others
#: name objects of one database (regclass), depend on its locale (money), or have none (aclitem).
_PLAIN = [
    "bool",
    "bytea",
    "char",
    "name",
    "int8",
    "int2",
    "int4",
    "text",
    "oid",
    "json",
    "jsonb",
    "point",
    "lseg",
    "path",
    "box",
    "polygon",
    "line",
    "circle",
    "float4",
    "float8",
    "macaddr",
    "macaddr8",
    "inet",
    "cidr",
    "bpchar",
    "varchar",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "interval",
    "timetz",
    "bit",
    "varbit",
    "numeric",
    "uuid",
    "tsvector",
    "tsquery",
    "jsonpath",
    "xid8",
    "pg_lsn",
    "pg_snapshot",
    "int4range",
    "numrange",
    "tsrange",
    "tstzrange",
    "daterange",
    "int8range",
    "int4multirange",
    "nummultirange",
    "tsmultirange",
    "tstzmultirange",
    "datemultirange",
    "int8multirange",
]

_IS_PLAIN = (
    "({t}.oid < 10000 AND {t}.typnamespace = 'pg_catalog'::regnamespace AND coalesce("
    "(SELECT e.typname FROM pg_type e WHERE e.oid = {t}.typelem AND {t}.typcategory = 'A'"
    " AND {t}.typname = '_' || e.typname), {t}.typname)::text = ANY ({{plain}}::text[]))"
)

# Money is a number of the smallest coin, and what that is depends on the locale.
_MONEY = {"money": "numeric", "money[]": "numeric[]"}

#: What the source's server knows of its columns' types.
_THEIRS = (
    "SELECT "  # noqa: S608  # put together from constants
    + column_facts.CAST_TYPE.format(t="s")
    + ", n.nspname::text AS schema, u.typname::text AS typname, u.typtype::text AS kind,\n"
    "       u.typcategory::text AS category, u.oid < 10000 AS built_in\n"
    "  FROM unnest({oids}::oid[], {modifiers}::int4[]) WITH ORDINALITY"
    " AS s(oid, modifier, position)\n"
    "  JOIN pg_type u ON u.oid = s.oid JOIN pg_namespace n ON n.oid = u.typnamespace\n"
    " ORDER BY s.position"
)

#: What the target's server knows of them. A type that it has under the same name counts as the
#: same type: the one of the target's column first, then that of the same schema.
_OURS = (
    "SELECT k.oid::bigint AS known, "  # noqa: S608  # put together from constants
    "a.attname IS NOT NULL AS wanted,\n"
    "       format_type(a.atttypid, a.atttypmod) AS target_type, v.oid::bigint AS oid,\n"
    "       v.typname::text AS typname, v.typcategory::text AS category,\n       "
    + column_facts.CAST_TYPE.format(t="w")
    + ",\n"
    "       coalesce(" + _IS_PLAIN.format(t="v") + ", false) AS plain,\n"
    "       coalesce(" + _IS_PLAIN.format(t="k") + ", false) AS known_plain\n"
    "  FROM unnest({names}::text[], {oids}::oid[], {schemas}::text[], {typnames}::text[],\n"
    "              {kinds}::text[], {built_in}::bool[])\n"
    "       WITH ORDINALITY AS s(name, oid, schema, typname, kind, built_in, position)\n"
    "  LEFT JOIN pg_attribute a ON a.attrelid = {target}::regclass AND a.attname = s.name\n"
    "        AND a.attnum > 0 AND NOT a.attisdropped\n"
    "  LEFT JOIN " + column_facts.UNFOLD.format(oid="a.atttypid", modifier="a.atttypmod") + " AS w"
    " ON true\n"
    "  LEFT JOIN pg_type v ON v.oid = w.oid\n"
    "  LEFT JOIN LATERAL (\n"
    "    SELECT t.* FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace\n"
    "     WHERE CASE WHEN s.built_in THEN t.oid = s.oid AND t.typname = s.typname\n"
    "                ELSE t.typname = s.typname AND t.typtype::text = s.kind AND t.oid >= 10000\n"
    "                END\n"
    "     ORDER BY t.oid IS NOT DISTINCT FROM v.oid DESC, n.nspname = s.schema DESC,\n"
    "              pg_type_is_visible(t.oid) DESC, t.oid LIMIT 1) AS k ON true\n"
    " ORDER BY s.position"
)


@dataclass(frozen=True)
class Carried:
    """A column with the way in which it travels.

    Attributes:
        column: The column, with the type that the stage has for it.
        value: What the source selects for it, of the source `s`.
    """

    column: OriginColumn
    value: Sql


def carry(
    source: Session, target: Session, spec: SyncSpec, fields: Sequence[Field], kept: frozenset[str]
) -> tuple[Carried, ...]:
    """Find out how each column travels.

    Args:
        source: The source's session.
        target: The target's session.
        spec: What is planned.
        fields: The source's columns as its server describes them.
        kept: Columns that keep their own type, because the run compares them with the source.

    Returns:
        The columns, in the same order.

    Raises:
        SourceMismatch: A column is of a type that the target's column does not take.
    """
    theirs = _theirs(source, fields)
    ours = _ours(target, spec, fields, theirs)
    _check(target, spec, fields, theirs, ours)
    _check_shapes(source, target, spec, fields, theirs, ours)
    there = _types_there(source, [o for o in ours if o["plain"]])
    return tuple(
        _carried(field, their, our, there, field.name in kept)
        for field, their, our in zip(fields, theirs, ours, strict=True)
    )


def _carried(
    field: Field, their: dict[str, Any], our: dict[str, Any], there: set[int], kept: bool
) -> Carried:
    own, length = str(their["type"]), their["length"]
    column = OriginColumn(field.name, own, length=length)
    value = name("s", field.name)
    if own in _MONEY and (not our["wanted"] or our["type"] in _MONEY):
        return _cast(column, value, _MONEY[own])
    if our["wanted"] and our["plain"] and our["oid"] in there and not (kept and our["known_plain"]):
        return _cast(column, value, str(our["type"]))
    if our["known_plain"]:
        return _cast(column, value, own)
    return _cast(column, value, "text")


def _cast(column: OriginColumn, value: Sql, kind: str) -> Carried:
    if kind == column.type:
        return Carried(replace(column, stage=kind), value)
    cast = sql("{value}::{kind}", value=value, kind=raw(kind))
    return Carried(replace(column, stage=kind, length=None), cast)


def _theirs(source: Session, fields: Sequence[Field]) -> list[dict[str, Any]]:
    text = sql(
        _THEIRS,
        oids=bind([f.oid for f in fields], "oids"),
        modifiers=bind([f.modifier for f in fields], "modifiers"),
    )
    return list(source.run(text, "read the source's types").rows)


def _ours(
    target: Session, spec: SyncSpec, fields: Sequence[Field], theirs: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    text = sql(
        _OURS,
        names=bind([f.name for f in fields], "names"),
        oids=bind([f.oid for f in fields], "oids"),
        schemas=bind([t["schema"] for t in theirs], "schemas"),
        typnames=bind([t["typname"] for t in theirs], "types"),
        kinds=bind([t["kind"] for t in theirs], "kinds"),
        built_in=bind([t["built_in"] for t in theirs], "built_in"),
        target=bind(spec.target.label, "target"),
        plain=bind(_PLAIN, "plain"),
    )
    return list(target.run(text, "look for the source's types in the target's database").rows)


def _types_there(source: Session, wanted: Sequence[dict[str, Any]]) -> set[int]:
    """Which of the target's types the source's server has under the same number."""
    if not wanted:
        return set()
    text = sql(
        "SELECT t.oid::bigint AS oid FROM pg_type t"
        " JOIN unnest({oids}::oid[], {names}::text[]) AS w(oid, name)"
        " ON t.oid = w.oid AND t.typname = w.name",
        oids=bind([w["oid"] for w in wanted], "oids"),
        names=bind([w["typname"] for w in wanted], "types"),
    )
    return {r["oid"] for r in source.run(text, "look for the target's types").rows}


def _check(
    target: Session,
    spec: SyncSpec,
    fields: Sequence[Field],
    theirs: Sequence[dict[str, Any]],
    ours: Sequence[dict[str, Any]],
) -> None:
    """Refuse what one database would refuse, by the same rule where it has both types."""
    known = [
        (Field(f.name, our["known"], f.modifier), str(their["type"]))
        for f, their, our in zip(fields, theirs, ours, strict=True)
        if our["wanted"] and our["known"] is not None
    ]
    misfits: list[tuple[SourceColumn, str]] = []
    if known:
        found = column_facts.source_columns(target, spec.target, [f for f, _ in known])
        spelt = {f.name: own for f, own in known}
        misfits += [(replace(c, type=spelt[c.name]), kind) for c, kind in found.misfits]
    misfits += [
        (SourceColumn(f.name, str(their["type"])), str(our["target_type"]))
        for f, their, our in zip(fields, theirs, ours, strict=True)
        if our["wanted"] and our["known"] is None and not _readable(their, our)
    ]
    check_types(spec, misfits)


def _check_shapes(
    source: Session,
    target: Session,
    spec: SyncSpec,
    fields: Sequence[Field],
    theirs: Sequence[dict[str, Any]],
    ours: Sequence[dict[str, Any]],
) -> None:
    """Refuse types that only their names have in common: their text would be read as another's."""
    pairs = [
        (f, their, int(our["known"]))
        for f, their, our in zip(fields, theirs, ours, strict=True)
        if our["wanted"] and our["known"] is not None and not their["built_in"]
    ]
    if not pairs:
        return
    there = shapes(source, {f.oid for f, _, _ in pairs})
    here = shapes(target, {known for _, _, known in pairs})
    different = [
        f"{f.name!r} is {their['type']}" for f, their, known in pairs if there[f.oid] != here[known]
    ]
    if different:
        raise SourceMismatch(
            f"{'; '.join(different)}: the target's database has a type of that name, but it is "
            "made of other parts. Make them equal, or cast to a built-in type in the source: "
            "CAST(x AS type).",
            pipeline=spec.owner,
            target=spec.target.label,
        )


def _readable(their: dict[str, Any], our: dict[str, Any]) -> bool:
    """Whether the text of a type that the target does not know may be read as the target's."""
    if our["category"] == "S":
        return True
    if their["category"] == "A":
        return bool(our["category"] == "A")
    return bool(their["kind"] == "p" and our["category"] == "C")


def as_delivered(column: OriginColumn) -> SourceColumn:
    """Return a column as the contract between source and target sees it."""
    kind = column.stage if is_text(column) else column.type
    return SourceColumn(column.name, kind, column.length)


def is_text(column: OriginColumn) -> bool:
    """Whether a column of another type travels as text, so that it sorts differently here."""
    return not isinstance(column.type, Unknown) and column.stage == "text" != column.type
