"""The contract between source and target: types that would lose values, and columns that grow.

Types are spelt as PostgreSQL spells them (`format_type`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pgflow.errors import SchemaEvolved, SourceMismatch
from pgflow.plan.decision import Unknown
from pgflow.plan.spec import SourceColumn, SyncSpec, TargetColumn

_TYPE = re.compile(
    r"\A(?P<base>[a-z \"]+?)\s*(?:\((?P<p>\d+)(?:,(?P<s>-?\d+))?\))?(?P<rest>[a-z ]*)\Z"
)

_INTEGERS = ("smallint", "integer", "bigint")
_FRACTIONS = ("numeric", "real", "double precision")
_STAMPS = ("timestamp without time zone", "timestamp with time zone")
_TIMES = ("time without time zone", "time with time zone")
_TEXTS = ("text", "character varying", "character", "name")

#: An interval keeps what is above the last field of its type, and loses what is below it.
_FIELDS = ("year", "month", "day", "hour", "minute", "second")
#: Digits of money after the point, as most currencies have them.
_CENTS = 2

_MODIFIER = re.compile(r"\(\d+(?:,-?\d+)?\)")

#: What each type loses of values of the others, in words.
_LOSSES: tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...] = (
    (_FRACTIONS, _INTEGERS, "fractions would be rounded away"),
    (_STAMPS, ("date",), "the time of day would be cut off"),
    (_STAMPS, _TIMES, "the day would be cut off"),
    (("interval",), ("time without time zone",), "whole days would be cut off"),
    (
        ("timestamp with time zone",),
        ("timestamp without time zone",),
        "the time zone would be cut off",
    ),
    (
        ("time with time zone",),
        ("time without time zone",),
        "the time zone would be cut off",
    ),
    (("double precision",), ("real",), "half of the digits would be cut off"),
    (("inet",), ("cidr",), "the host's part of an address would be cut off"),
    (_TEXTS, ('"char"',), "all but the first character would be cut off"),
    (_TEXTS[:3], ("name",), "what is longer than 63 bytes would be cut off"),
)

#: Types in which each takes every value of those before it.
_FAMILIES = (
    ("smallint", "integer", "bigint", "numeric"),
    ("real", "double precision"),
    ("character varying", "text"),
    ("date", "timestamp without time zone"),
)


@dataclass(frozen=True)
class SQLType:
    """A type taken apart.

    Attributes:
        base: Its name without modifiers.
        precision: The first number in parentheses.
        scale: The second; 0 where only the first is given.
    """

    base: str
    precision: int | None = None
    scale: int | None = None

    @classmethod
    def of(cls, text: str, length: int | None = None) -> SQLType:
        """Take a type apart; one of an unknown form is its own name."""
        found = _TYPE.match(text)
        if found is None:
            return cls(text, length)
        base = (found["base"] + found["rest"]).strip()
        if found["p"] is None:
            return cls(base, length)
        return cls(base, int(found["p"]), int(found["s"] or 0))


def unlimited(kind: str) -> str:
    """Spell a type without what a cast to it would round or cut values to.

    Args:
        kind: The type, as `numeric(10,2)`.
    """
    return _MODIFIER.sub("", kind)


def loss(source: SourceColumn, target: TargetColumn) -> str | None:
    """Say what values of a source column would silently lose in the target's.

    Args:
        source: The source column.
        target: The target column.

    Returns:
        The loss in words, or None where there is none, or the server refuses values that do not
        fit.
    """
    if isinstance(source.type, Unknown):
        return None
    kinds = (source.type, target.type)
    if all(kind.endswith("[]") for kind in kinds):
        kinds = (source.type.removesuffix("[]"), target.type.removesuffix("[]"))
    found, wanted = map(SQLType.of, kinds)
    lost = (
        _lost_digits(found, wanted) or _lost_seconds(found, wanted) or _lost_fields(found, wanted)
    )
    if lost is not None:
        return lost
    if found.base == "numeric" and found.scale is not None and found.scale <= 0:
        return None
    return next(
        (
            why
            for sources, targets, why in _LOSSES
            if found.base in sources and wanted.base in targets
        ),
        None,
    )


def _lost_digits(found: SQLType, wanted: SQLType) -> str | None:
    """What a number of a declared scale loses in another one."""
    if {found.base, wanted.base} not in ({"numeric"}, {"numeric", "money"}):
        return None
    has = _CENTS if found.base == "money" else found.scale
    keeps = _CENTS if wanted.base == "money" else wanted.scale
    if has is None or keeps is None or has <= keeps:
        return None
    return f"digits after the {keeps}th would be rounded away"


def _lost_seconds(found: SQLType, wanted: SQLType) -> str | None:
    """What a time of a declared precision loses in another one."""
    kinds = ("time", "interval")
    if not (found.base.startswith(kinds) and wanted.base.startswith(kinds)):
        return None
    if found.precision is None or wanted.precision is None or found.precision <= wanted.precision:
        return None
    return f"digits of a second after the {wanted.precision}th would be rounded away"


def _lost_fields(found: SQLType, wanted: SQLType) -> str | None:
    """What an interval loses in a type of interval that ends with a larger field."""
    if not (found.base.startswith("interval") and wanted.base.startswith("interval ")):
        return None
    last = wanted.base.rpartition(" ")[2]
    if _place(found) <= _FIELDS.index(last):
        return None
    return f"what is less than a {last} would be cut off"


def _place(interval: SQLType) -> int:
    last = interval.base.rpartition(" ")[2]
    return _FIELDS.index(last) if last in _FIELDS else len(_FIELDS) - 1


def is_wider(source: SourceColumn, target: TargetColumn) -> bool:
    """Tell whether the source's type takes every value of the target's, and more.

    Args:
        source: The source column.
        target: The target column.
    """
    if isinstance(source.type, Unknown) or target.domain:
        return False
    found = SQLType.of(source.type, source.length)
    wanted = SQLType.of(target.type, target.length)
    if found.base == wanted.base:
        return _takes_more(found, wanted)
    return any(
        wanted.base in family
        and found.base in family
        and family.index(wanted.base) < family.index(found.base)
        for family in _FAMILIES
    )


def _takes_more(found: SQLType, wanted: SQLType) -> bool:
    """Of two types of one name; without numbers in parentheses a type takes everything."""
    if wanted.precision is None or found == wanted:
        return False
    if found.precision is None:
        return True
    if found.base != "numeric":
        return found.precision > wanted.precision
    before = found.precision - (found.scale or 0) >= wanted.precision - (wanted.scale or 0)
    return before and (found.scale or 0) >= (wanted.scale or 0)


def check_contract(spec: SyncSpec) -> None:
    """Refuse values that would be changed on their way, and, with `evolve`, name what has grown.

    Args:
        spec: What is planned; the source's columns are known.

    Raises:
        SchemaEvolved: With `schema_mode="evolve"`: the source has new columns, or wider ones.
        SourceMismatch: A type would lose values.
    """
    columns = spec.source.columns
    if isinstance(columns, Unknown):
        return
    targets = {column.name: column for column in spec.target.columns}
    if spec.options.schema_mode == "evolve":
        _check_growth(spec, columns, targets)
    losing = [
        f"{c.name!r} is {spelt(c)}, the target has {targets[c.name].type}: {why}"
        for c in columns
        if c.name in targets and (why := loss(c, targets[c.name])) is not None
    ]
    if losing:
        raise SourceMismatch(
            f"types would lose values: {'; '.join(losing)}. If that is meant, cast in the source: "
            "CAST(x AS type), or round().",
            pipeline=spec.owner,
            target=spec.target.label,
        )


def _check_growth(
    spec: SyncSpec, columns: Iterable[SourceColumn], targets: dict[str, TargetColumn]
) -> None:
    own = {spec.options.incremental_column, spec.options.order_by, *spec.target.system.names}
    own.update(column for link in spec.links for column in link.needs)
    added = {c.name: spelt(c) for c in columns if c.name not in targets and c.name not in own}
    widened = {
        c.name: spelt(c) for c in columns if c.name in targets and is_wider(c, targets[c.name])
    }
    if not added and not widened:
        return
    told = [f"{name!r} ({kind}) is new" for name, kind in added.items()]
    told += [
        f"{name!r} is {kind}, the target has {spelt(targets[name])}"
        for name, kind in widened.items()
    ]
    raise SchemaEvolved(
        f"the source has grown: {'; '.join(told)}. Nothing was written. `pgflow evolve "
        f"{spec.owner}` writes the columns into the declaration and the migration into a file; "
        "then run `alembic upgrade head`.",
        pipeline=spec.owner,
        target=spec.target.label,
        added=added,
        widened=widened,
    )


def spelt(column: SourceColumn | TargetColumn) -> str:
    """Spell a column's type with its length.

    Args:
        column: The column; its type is known.
    """
    kind = str(column.type)
    return kind if column.length is None else f"{kind}({column.length})"
