"""Source columns and target columns: by name, whatever the case, where that leaves no doubt."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pgflow.declare.options import nearest
from pgflow.errors import SourceMismatch
from pgflow.plan.spec import SyncSpec, TargetColumn
from pgflow.run.sources.families import TIMES, element, family
from pgflow.run.sources.reader import Found

#: What values of a kind can become without loss or guessing; what is not here takes only itself.
_TAKES: Mapping[str, frozenset[str]] = {
    "number": frozenset({"whole", "exact", "float", "boolean", "text", "other"}),
    "whole": frozenset({"whole", "exact", "float", "boolean", "text", "other"}),
    "exact": frozenset({"whole", "exact", "float", "boolean", "text", "other"}),
    "float": frozenset({"whole", "exact", "float", "boolean", "text", "other"}),
    "boolean": frozenset({"boolean", "text", "other"}),
    "date": frozenset({"date", "timestamp", "instant", "text", "other"}),
    "timestamp": frozenset({"date", "timestamp", "instant", "text", "other"}),
    "instant": frozenset({"instant", "timestamp", "text", "other"}),
    "time": frozenset({"time", "interval", "text", "other"}),
    "zoned time": frozenset({"zoned time", "text", "other"}),
    "moment": frozenset({*TIMES, "interval", "text", "other"}),
    "interval": frozenset({"interval", "time", "other"}),
    "uuid": frozenset({"uuid", "text", "other"}),
    "bytes": frozenset({"bytes"}),
    "json": frozenset({"json", "text", "array", "other"}),
    "array": frozenset({"array", "json"}),
}

_SCALE = re.compile(r"numeric\(\d+,(-?\d+)\)")


@dataclass(frozen=True)
class Matched:
    """A column of the stage and the source's column that fills it.

    Attributes:
        name: The name in the stage; for a column of the target, the target's.
        type: The type in the stage, as SQL.
        length: The n of varchar(n) and char(n).
        found: The source's column.
    """

    name: str
    type: str
    length: int | None
    found: Found

    @property
    def base(self) -> str:
        """The type without that length."""
        return self.type if self.length is None else self.type.rpartition("(")[0]


def match(
    spec: SyncSpec,
    found: Sequence[Found],
    *,
    column_map: Mapping[str, str],
    types: Mapping[str, str],
    time_zone: str | None = None,
    only: Collection[str] | None = None,
) -> tuple[Matched, ...]:
    """Say what the stage is made of.

    Args:
        spec: What is planned; its target's columns are known.
        found: The source's columns.
        column_map: Target column to source column.
        types: PostgreSQL types of columns that the target lacks.
        time_zone: What times without a zone are meant in.
        only: The declared columns, if others of the source are to be left there.

    Returns:
        One column of the stage for each of the source. Those that the target lacks keep their
        name, and are refused or left out later, as `schema_mode` says.

    Raises:
        SourceMismatch: A name could mean two columns, `column_map` names a column that is not
            there, or a type does not fit.
    """
    names = [f.name for f in found]
    renamed = _renamed(spec, names, column_map)
    # The incremental and the order column may stand in the source alone.
    known = [*(c.name for c in spec.target.columns), *_needed(spec), *types]
    chosen = _by_name(spec, [n for n in names if n not in renamed], known, set(column_map))
    targets = _typed_by_lookups(spec, types) | {c.name: c for c in spec.target.columns}
    matched, misfits = [], []
    for each in found:
        name = renamed.get(each.name) or chosen[each.name]
        target = targets.get(name)
        if target is None:
            matched.append(Matched(name, _own_type(spec, name, each, types), None, each))
            continue
        if not _takes(each.kind, target.type, time_zone) or _rounds(each.type, target.type):
            misfits.append(
                f"{each.name!r} is {each.type or each.kind}, "
                f"{'the target has' if target in spec.target.columns else 'its lookup needs'} "
                f"{target.type}"
            )
        matched.append(Matched(name, _stage_type(target), target.length, each))
    if only is not None:
        matched = _picked(spec, matched, only)
    if misfits:
        raise _error(
            spec,
            f"types do not fit: {'; '.join(misfits)}. Convert in the source, or change the target."
            + _zone_advice(misfits, time_zone),
        )
    return tuple(matched)


def unknown(spec: SyncSpec) -> tuple[Found, ...]:
    """Return what a source without rows and names would have to deliver."""
    needed = [c.name for c in spec.target.columns if not c.generated]
    return tuple(Found(n) for n in dict.fromkeys([*needed, *_needed(spec)]))


def _picked(spec: SyncSpec, matched: list[Matched], only: Collection[str]) -> list[Matched]:
    """Keep what the target or the run needs, and miss what a source table does not have."""
    have = [m.name for m in matched]
    needed = _needed(spec)
    looked_up = {link.into for link in spec.links}
    for column in spec.target.columns:
        required = column.name in only or not column.nullable
        if column.generated or column.has_default or column.name in looked_up or not required:
            continue
        needed.append(column.name)
    for name in needed:
        if name not in have:
            theirs = [m.found.name for m in matched]
            raise _error(
                spec,
                f"the source table has no column for the target's {name!r}."
                f"{nearest(name, theirs)} Name it by column_map={{{name!r}: ...}}, or write the "
                "SELECT in the function's body.",
            )
    filled = {c.name for c in spec.target.columns if not c.generated} - looked_up
    return [m for m in matched if m.name in filled or m.name in needed]


def _needed(spec: SyncSpec) -> list[str]:
    options = spec.options
    wanted = (options.incremental_column, options.order_by, options.event_timestamp_column)
    links = [column for link in spec.links for column in link.needs]
    return [column for column in (*wanted, *links) if column is not None]


def _typed_by_lookups(spec: SyncSpec, types: Mapping[str, str]) -> dict[str, TargetColumn]:
    """Columns that only lookups read are of the types that those need, unless somebody says so."""
    needed = ((column, kind) for link in spec.links for column, kind in link.types.items())
    return {column: TargetColumn(column, kind) for column, kind in needed if column not in types}


def _renamed(spec: SyncSpec, names: Sequence[str], column_map: Mapping[str, str]) -> dict[str, str]:
    """Source column to target column, as `column_map` says."""
    renamed: dict[str, str] = {}
    for target, source in column_map.items():
        there = [source] if source in names else _same(source, names)
        if len(there) != 1:
            what = f"has {_list(there)}" if there else "has no such column"
            raise _error(
                spec,
                f"column_map= takes {source!r} for {target!r}, and the source {what}."
                f"{nearest(source, list(names))} It delivers: {', '.join(names)}.",
            )
        if there[0] in renamed:
            raise _error(
                spec,
                f"column_map= takes {there[0]!r} for {renamed[there[0]]!r} and for {target!r}; a "
                "column of the source fills one of the target.",
            )
        renamed[there[0]] = target
    return renamed


def _by_name(
    spec: SyncSpec, names: Sequence[str], known: Sequence[str], taken: set[str]
) -> dict[str, str]:
    """Source column to the column that it is for; names that fit exactly come first."""
    known = [k for k in dict.fromkeys(known) if k not in taken]
    chosen = {name: name for name in names if name in known}
    for name in names:
        if name in chosen:
            continue
        candidates = [k for k in _same(name, known) if k not in chosen.values()]
        rivals = [n for n in _same(name, names) if n not in known]
        if len(candidates) == 1 and len(rivals) > 1:
            raise _error(
                spec,
                f"the source's {_list(rivals)} could each be the target's {candidates[0]!r}: they "
                "differ by case only. Say which by column_map=, or rename one.",
            )
        if len(candidates) > 1:
            raise _error(
                spec,
                f"the source's {name!r} could be the target's {_list(candidates)}, which differ by "
                "case only. Say which by column_map=, or rename it in the source.",
            )
        chosen[name] = candidates[0] if candidates else name
    return chosen


def _same(name: str, names: Iterable[str]) -> list[str]:
    return [n for n in names if n.casefold() == name.casefold()]


def _stage_type(target: TargetColumn) -> str:
    """The target's type with its length, so that what is too long is refused by row."""
    if target.length is None:
        return target.type
    kind = "character" if target.type == "bpchar" else target.type
    return f"{kind}({target.length})"


def _own_type(spec: SyncSpec, name: str, found: Found, types: Mapping[str, str]) -> str:
    if name in types:
        return types[name]
    if found.type is not None:
        return found.type
    for option in ("incremental_column", "order_by", "event_timestamp_column"):
        if getattr(spec.options, option) == name:
            raise _error(
                spec,
                f"{option}={name!r} is no column of the target, and the source does not tell its "
                f"type, so its values cannot be ordered. Say it: types={{{name!r}: 'timestamptz'}}"
                " or another type.",
            )
    return "text"


def _takes(kind: str, target: str, time_zone: str | None) -> bool:
    if kind in ("", "text"):  # text is read as the target's type, value by value
        return True
    if family(target) == "array" and kind not in ("array", "json"):
        return False
    if family(target) == "array":
        return family(element(target)) != "array"
    if {kind, family(target)} == {"timestamp", "instant"} and time_zone is None:
        return False
    if (kind, family(target)) == ("date", "instant") and time_zone is None:
        return False
    return family(target) in _TAKES.get(kind, frozenset({kind, "text", "other"}))


def _rounds(own: str | None, target: str) -> bool:
    """Whether a decimal type has more digits behind the point than another."""
    ours, theirs = _SCALE.fullmatch(own or ""), _SCALE.fullmatch(target)
    return ours is not None and theirs is not None and int(ours[1]) > int(theirs[1])


def _zone_advice(misfits: Sequence[str], time_zone: str | None) -> str:
    if time_zone is None and any("timestamp" in m for m in misfits):
        return (
            " Say what times without a zone mean by time_zone= of the source, as in "
            "Query(..., time_zone=), SourceTable(..., time_zone=) or Rows(..., time_zone=)."
        )
    return ""


def _list(names: Iterable[str]) -> str:
    return " and ".join(repr(name) for name in names)


def _error(spec: SyncSpec, message: str) -> SourceMismatch:
    return SourceMismatch(message, pipeline=spec.owner, target=spec.target.label)
