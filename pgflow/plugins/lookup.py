"""Lookups: a column of the target gets the version of a dimension, as of the row's own instant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table

from pgflow.declare.lookups import OUTCOMES, Lookup
from pgflow.declare.options import nearest
from pgflow.emit.names import label
from pgflow.emit.versions import Versions, versions_of
from pgflow.errors import InvalidOption, UnknownColumn
from pgflow.plan.link import INSTANT, Link
from pgflow.plugins.planner import cast_type
from pgflow.plugins.sync_keys import LINKS, MERGE_KEYS, SYSTEM_COLUMNS, TARGET
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.plugin import Plugin, contributes, requires


@contributes(LINKS)
@requires(TARGET, SYSTEM_COLUMNS, MERGE_KEYS)
class LookupPlugin(Plugin):
    """Fill columns of a pipeline's target with versions of dimensions; `lookups=` adds it.

    Args:
        *lookups: What is filled, and from where.
    """

    def __init__(self, *lookups: Lookup) -> None:
        for lookup in lookups:
            if not isinstance(lookup, Lookup):
                raise InvalidOption(f"LookupPlugin takes pgflow.Lookup(...), not {lookup!r}.")
        self.lookups = lookups

    def run(self, ctx: FactoryContext) -> None:
        """Contribute each lookup, with the names that the dimension's columns have."""
        target = ctx[TARGET]
        for lookup in self.lookups:
            _refuse_key(lookup, target, ctx[MERGE_KEYS].value)
            ctx.contribute(LINKS, _link(lookup, target, ctx[SYSTEM_COLUMNS].names))


def _refuse_key(lookup: Lookup, target: Table, keys: tuple[str, ...]) -> None:
    """A row whose key depends on another table would be another row when that changes."""
    if lookup.into in keys:
        raise InvalidOption(
            f"{label(target)}: {lookup}: {lookup.into!r} is part of the merge key. When the "
            "dimension is corrected, or a row of it arrives late, the same fact would get another "
            "key and stand there twice. Name columns of the source by keys=, such as "
            f"({', '.join(repr(c) for c in _named(lookup))})."
        )


def _named(lookup: Lookup) -> tuple[str, ...]:
    return (*(lookup.on or ()), lookup.at)


def _link(lookup: Lookup, target: Table, own: tuple[str, ...]) -> Link:
    owner = f"{label(target)}: {lookup}"
    dimension = _table(lookup.dimension, owner)
    versions = versions_of(dimension, owner)
    if lookup.into not in target.columns or lookup.into in own:
        raise UnknownColumn(
            f"{owner}: {lookup.into!r} is no column of {label(target)} that a source could fill."
            f"{nearest(lookup.into, target.columns.keys())}"
        )
    pairs = lookup.pairs(versions.keys, label(target))
    types = {column: cast_type(dimension.columns[key].type) for column, key in pairs}
    return Link(
        schema=dimension.schema,
        table=dimension.name,
        pairs=pairs,
        at=lookup.at,
        into=lookup.into,
        select=_selected(lookup, versions, owner),
        valid_from=versions.valid_from,
        valid_to=versions.valid_to,
        actions=_actions(lookup, target, owner),
        member=_member(lookup, versions, owner),
        types={**types, lookup.at: INSTANT},
    )


def _table(dimension: Any, owner: str) -> Table:
    if isinstance(dimension, Table):
        return dimension
    factory = vars(dimension).get("__factory__") if isinstance(dimension, type) else dimension
    table = getattr(factory, "table", None)
    if not isinstance(table, Table):
        raise InvalidOption(
            f"{owner}: {dimension!r} is no table. Give a class under @pgflow.table, a table "
            "factory, or its SQLAlchemy table."
        )
    return table


def _selected(lookup: Lookup, versions: Versions, owner: str) -> str:
    dimension = versions.table
    if lookup.select is None:
        if versions.version_id is None:
            raise InvalidOption(
                f"{owner}: {label(dimension)} does not number its versions. Have it do so by "
                "system_columns={'version_id': 'version_id'}, or name the column by select=."
            )
        return versions.version_id
    if lookup.select not in dimension.columns:
        raise UnknownColumn(
            f"{owner}: select={lookup.select!r} is no column of {label(dimension)}."
            f"{nearest(lookup.select, dimension.columns.keys())}"
        )
    return lookup.select


def _actions(lookup: Lookup, target: Table, owner: str) -> dict[str, str]:
    """What becomes of a row, by what is the matter with it."""
    takes_null = bool(target.columns[lookup.into].nullable)
    blank = lookup.blank
    if blank is None:
        blank = "member" if lookup.missing == "member" else "null" if takes_null else "error"
    chosen = (
        lookup.missing,
        lookup.early or lookup.missing,
        lookup.gap or lookup.missing,
        blank,
        lookup.missing,
    )
    if "null" in chosen and not takes_null:
        raise InvalidOption(
            f"{owner}: rows without a version are to get NULL, and {lookup.into!r} is NOT NULL. "
            "Let it take NULL, or say 'error' or 'member'."
        )
    return dict(zip(OUTCOMES, chosen, strict=True))


def _member(lookup: Lookup, versions: Versions, owner: str) -> object:
    if not isinstance(lookup.member, Mapping):
        return lookup.member
    member = dict(lookup.member)
    if set(member) != set(versions.keys):
        raise InvalidOption(
            f"{owner}: member={member!r} names no row of {label(versions.table)}, whose key is "
            f"({', '.join(versions.keys)}). Give each of them a value."
        )
    return member
