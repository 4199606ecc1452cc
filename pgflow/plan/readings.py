"""Source columns that are read as another type: what depends on a session, what can fail."""

from __future__ import annotations

from collections.abc import Iterable

from pgflow import idents
from pgflow.errors import StatementFailed
from pgflow.plan.contract import SQLType
from pgflow.plan.decision import Unknown
from pgflow.plan.spec import SourceColumn, SyncSpec

#: Types that tell an instant only where somebody knows the time zone, and how they are read there.
_LOCAL = {"date": "::timestamp", "timestamp without time zone": ""}

#: What a value causes that is none of the type it is read as.
_UNREADABLE = frozenset({"22P02", "22003", "22007", "22008"})


def local_times(spec: SyncSpec, columns: Iterable[SourceColumn], zone: str) -> tuple[str, ...]:
    """Tell which columns become instants by the time zone of the session.

    Args:
        spec: What is planned.
        columns: The source's columns with their own types.
        zone: The session's time zone.

    Returns:
        For each column what an operator should know of it.
    """
    return tuple(
        f"{c.name!r} is {kind}, the target has timestamp with time zone: it is read in the "
        f"session's time zone, now {zone}; in a session with another one the same rows are other "
        f"instants. Say which one is meant in the source: {_meant(c.name, kind)}."
        for c, kind in local_columns(spec, columns)
    )


def local_columns(
    spec: SyncSpec, columns: Iterable[SourceColumn]
) -> tuple[tuple[SourceColumn, str], ...]:
    """Return the columns without a time zone whose target has one, each with its type.

    Args:
        spec: What is planned.
        columns: The source's columns with their own types.
    """
    zoned = {
        c.name for c in spec.target.columns if SQLType.of(c.type).base == "timestamp with time zone"
    }
    typed = ((c, SQLType.of(str(c.type)).base) for c in columns if c.name in zoned)
    return tuple((c, kind) for c, kind in typed if kind in _LOCAL)


def tell_unreadable(
    error: StatementFailed, columns: Iterable[tuple[str, str]], more: str = ""
) -> None:
    """Add to an error which columns a value can be from that could not be read.

    Args:
        error: The error; nothing is added to one of another kind.
        columns: The columns that are read as another type, each with that type.
        more: What is said after them.
    """
    if error.sqlstate not in _UNREADABLE:
        return
    kinds: dict[str, list[str]] = {}
    for column, kind in columns:
        kinds.setdefault(SQLType.of(kind).base, []).append(column)
    if "type " in error.diagnostic:  # else the server names none, or not in English
        kinds = {k: names for k, names in kinds.items() if _named(k) in error.diagnostic}
    if kinds:
        said = "; ".join(f"read as {kind}: {', '.join(names)}" for kind, names in kinds.items())
        error.args = (f"{error}. Columns {said}.{more}",)


def read_here(spec: SyncSpec) -> list[tuple[str, str]]:
    """Return the target columns whose values the source has in another type, with their types.

    Args:
        spec: What is planned, with a source in the target's own database.
    """
    if isinstance(spec.source.columns, Unknown):
        return []
    own = {c.name: SQLType.of(str(c.type)).base for c in spec.source.columns}
    return [
        (c.name, c.type)
        for c in spec.target.columns
        if c.name in own and SQLType.of(c.type).base not in (own[c.name], "text")
    ]


def _named(kind: str) -> str:
    return f"type {kind.removesuffix(' without time zone')}"


def _meant(column: str, kind: str) -> str:
    spelt = idents.quote(column)
    return f"({spelt}{_LOCAL[kind]} AT TIME ZONE 'UTC') AS {spelt}"
