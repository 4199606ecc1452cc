"""When two rows share a key, and when they differ: PostgreSQL's equality on the real types."""

from __future__ import annotations

from collections.abc import Sequence

from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, join, name, raw, sql


def match(spec: SyncSpec, left: str, right: str) -> Sql:
    """Say that two rows have the same merge key.

    Args:
        spec: What is planned; `on_null_key="match"` makes NULLs equal.
        left: Alias of the one row.
        right: Alias of the other.

    Returns:
        A condition that can be hashed or merged, also where NULLs are equal: arrays of one
        element compare NULL as a value, which IS NOT DISTINCT FROM would do without any index
        or hash. Keys that are arrays stand in rows instead, because an array of arrays does not
        know an empty one from NULL.
    """
    return join(" AND ", (_equal(spec, key, left, right) for key in spec.keys.value))


def _equal(spec: SyncSpec, key: str, left: str, right: str) -> Sql:
    if spec.options.on_null_key != "match":
        return sql("{l} = {r}", l=name(left, key), r=name(right, key))
    template = "ARRAY[{l}] = ARRAY[{r}]"
    if spec.target.column(key).type.endswith("[]"):
        template = "ROW({l})::record = ROW({r})::record"
    return sql(template, l=_plain(spec, key, left), r=_plain(spec, key, right))


def _plain(spec: SyncSpec, column: str, alias: str) -> Sql:
    """A column without its domain: arrays and rows of a domain compare only with their like.

    The target is read under several names, and what has no domain is left as it is by the cast.
    """
    target = spec.target.column(column)
    if not target.domain:
        return name(alias, column)
    return sql("{c}::{kind}", c=name(alias, column), kind=raw(target.type))


def missing(spec: SyncSpec, alias: str) -> Sql:
    """Say that an outer join found no row under this alias."""
    if spec.options.on_null_key == "match":
        return sql("{row} IS NULL", row=name(alias, "pgflow_found"))
    return sql("{key} IS NULL", key=name(alias, spec.keys.value[0]))


def differ(spec: SyncSpec, columns: Sequence[str], left: str, right: str) -> Sql:
    """Say that two rows differ in some of their columns.

    Args:
        spec: What is planned; `change_detection` decides between equality and identity.
        columns: The columns to compare.
        left: Alias of the one row.
        right: Alias of the other.

    Returns:
        A condition; without columns, one that never holds.
    """
    if not columns:
        return raw("false")
    if spec.options.change_detection == "exact":
        return sql(
            "ROW({l})::record OPERATOR(pg_catalog.*<>) ROW({r})::record",
            l=_list(spec, columns, left),
            r=_list(spec, columns, right),
        )
    left_values = join(", ", (comparable(spec, column, left) for column in columns))
    right_values = join(", ", (comparable(spec, column, right) for column in columns))
    template = "({l}) IS DISTINCT FROM ({r})" if len(columns) > 1 else "{l} IS DISTINCT FROM {r}"
    return sql(template, l=left_values, r=right_values)


def comparable(spec: SyncSpec, column: str, alias: str | None) -> Sql:
    """Return a column as something that has an equality: itself, or its text."""
    if spec.target.column(column).comparable:
        return name(alias, column)
    return sql("{column}::text", column=name(alias, column))


def row_hash(spec: SyncSpec, columns: Sequence[str], alias: str) -> Sql:
    """Hash columns by their types' own hash functions, so that equal values hash alike.

    Args:
        spec: What is planned.
        columns: The columns to hash.
        alias: The row's alias.

    Returns:
        An expression of type bytea, 16 bytes; it depends on no setting of the session.
    """
    values = join(", ", (comparable(spec, column, alias) for column in columns))
    return sql(
        "int8send(hash_record_extended(ROW({values})::record, 0))"
        " || int8send(hash_record_extended(ROW({values})::record, 1))",
        values=values,
    )


def _list(spec: SyncSpec, columns: Sequence[str], alias: str) -> Sql:
    return join(", ", (_plain(spec, column, alias) for column in columns))
