"""Lookups against what source and dimensions really have, before any row is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from pgflow.declare.options import nearest
from pgflow.errors import SourceMismatch
from pgflow.plan.decision import Unknown
from pgflow.plan.fit import check_types
from pgflow.plan.link import INSTANT, Link
from pgflow.plan.spec import SourceColumn, SyncSpec
from pgflow.plan.sql import join, name, raw, sql
from pgflow.run.column_facts import source_columns
from pgflow.run.session import Session


def with_links(session: Session, spec: SyncSpec) -> SyncSpec:
    """Let the source count as one that delivers the looked-up columns.

    Args:
        session: A session on the target's database.
        spec: What is planned; the source's own columns are known.

    Returns:
        The spec whose source has the looked-up columns, and lacks those that only serve to find
        them.

    Raises:
        SourceMismatch: The source lacks what a lookup needs, delivers what it fills, or has an
            instant without a time zone; or the dimension's column does not fit the target's.
    """
    columns = spec.source.columns
    if not spec.links or isinstance(columns, Unknown):
        return spec
    filled = [link.into for link in spec.links]
    twice = [column for column, count in Counter(filled).items() if count > 1]
    if twice:
        raise _mismatch(spec, f"several lookups fill {twice[0]!r}. Leave all but one out.")
    for link in spec.links:
        _check(spec, link, columns)
        _compare(session, link, columns)
    ours = {column.name for column in spec.target.columns}
    others = {spec.options.order_by, spec.options.incremental_column}
    passing = {c for link in spec.links for c in link.needs} - ours - others
    kept = tuple(column for column in columns if column.name not in passing)
    added = _looked_up(session, spec)
    return replace(spec, source=replace(spec.source, columns=(*kept, *added)))


def _check(spec: SyncSpec, link: Link, columns: Sequence[SourceColumn]) -> None:
    have = {column.name: column for column in columns}
    for needed in link.needs:
        if needed not in have:
            raise _mismatch(
                spec,
                f"lookup {link.into!r} needs the column {needed!r}, which the source does not "
                f"deliver.{nearest(needed, have)} Deliver it; the target need not have it.",
            )
    if link.into in have:
        raise _mismatch(
            spec,
            f"the source delivers {link.into!r}, which a lookup fills. Leave it out of the source, "
            "or drop the lookup.",
        )
    found = have[link.at].type
    if found != INSTANT:
        raise _mismatch(
            spec,
            f"lookup {link.into!r}: {link.at!r} is {found}, which names no instant without a time "
            f"zone. Cast it in the source: {link.at} AT TIME ZONE 'UTC'.",
        )


def _compare(session: Session, link: Link, columns: Sequence[SourceColumn]) -> None:
    """Have the server say whether keys of these types can be compared, before it must."""
    types = {column.name: column.type for column in columns}
    comparisons = (
        sql("NULL::{kind} = d.{key} AS {key}", kind=raw(str(types[column])), key=name(key))
        for column, key in link.pairs
    )
    query = sql(
        "(SELECT {comparisons} FROM {d} AS d)",
        comparisons=join(", ", comparisons),
        d=link.relation,
    )
    by = ", ".join(column for column, _ in link.pairs)
    session.describe(query, f"compare {by} with the key of {link.label}, for lookup {link.into!r}")


def _looked_up(session: Session, spec: SyncSpec) -> tuple[SourceColumn, ...]:
    fields = tuple(
        field
        for link in spec.links
        for field in session.describe(
            sql(
                "(SELECT {select} AS {into} FROM {d})",
                select=name(link.select),
                into=name(link.into),
                d=link.relation,
            ),
            f"read {link.label}, for lookup {link.into!r}",
        )
    )
    found = source_columns(session, spec.target, fields)
    check_types(spec, found.misfits)
    return found.columns


def _mismatch(spec: SyncSpec, message: str) -> SourceMismatch:
    return SourceMismatch(message, pipeline=spec.owner, target=spec.target.label)
